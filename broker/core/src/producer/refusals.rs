//! The batches that one connection was refused and will send again, so that those behind them are not taken for a gap.
//!
//! A producer with several requests under way sends the next batch before it knows that the last one was refused. A
//! broker that has become the leader in between sees a gap, and OUT_OF_ORDER_SEQUENCE_NUMBER would tell the producer of a
//! lost batch where there is only one to be sent again. Owns what is known of that, per partition and producer: a run of
//! sequence numbers that were refused one after another. It must never excuse a gap that it has not seen refused, nor
//! the same batch twice: who sends it again without what came before leaves a gap.

use std::collections::VecDeque;

use super::{Claim, advance, distance};
use crate::types::{ProducerEpoch, ProducerId, Sequence};

/// How many runs one connection remembers; beyond it the longest unused one is forgotten, and what follows it is a gap.
pub const RUNS_KEPT: usize = 64;

/// What was refused on one connection; `P` names a partition, `E` says why. Empty, it owns no memory.
#[derive(Debug)]
pub struct Refusals<P, E> {
    /// The longest unused one first.
    runs: VecDeque<Run<P, E>>,
}

#[derive(Debug)]
struct Run<P, E> {
    partition: P,
    id: ProducerId,
    epoch: ProducerEpoch,
    /// Sequence number of the first record that was refused.
    first: Sequence,
    /// The one that follows the last record that was refused.
    next: Sequence,
    /// Why the last batch of it was.
    error: E,
}

impl<P, E> Default for Refusals<P, E> {
    fn default() -> Self {
        Self { runs: VecDeque::new() }
    }
}

impl<P: PartialEq, E: Copy> Refusals<P, E> {
    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// A batch was refused with an error after which clients send it again.
    pub fn refused(&mut self, partition: P, claim: &Claim, error: E) {
        let next = advance(claim.last, 1);
        let known = self.take(&partition, claim).filter(|run| run.epoch == claim.epoch && run.next == claim.first);
        // Anything else than the continuation is a new attempt, which begins with the first batch that failed.
        let first = known.map_or(claim.first, |run| run.first);
        self.keep(Run { partition, id: claim.id, epoch: claim.epoch, first, next, error });
    }

    /// A batch was taken: up to its end nothing is missing any more.
    pub fn taken(&mut self, partition: &P, claim: &Claim) {
        let Some(mut run) = self.take(partition, claim).filter(|run| run.epoch == claim.epoch) else { return };
        if distance(run.first, claim.last) < distance(run.first, run.next) {
            run.first = advance(claim.last, 1);
        }
        if run.first != run.next {
            self.keep(run);
        }
    }

    /// Why a batch is to be refused because of the batches right before it that were; `None` where those do not explain
    /// the gap. `expected` is the sequence number that the log would take; `None` if the log knows nothing of the
    /// producer and would take any.
    pub fn behind(&mut self, partition: &P, claim: &Claim, expected: Option<Sequence>) -> Option<E> {
        let mut run = self.take(partition, claim)?;
        let explains = run.epoch == claim.epoch
            && run.next == claim.first
            && expected.is_none_or(|expected| expected == run.first);
        if explains {
            run.next = advance(claim.last, 1);
        }
        let error = run.error;
        self.keep(run);
        explains.then_some(error)
    }

    fn take(&mut self, partition: &P, claim: &Claim) -> Option<Run<P, E>> {
        let at = self.runs.iter().position(|run| run.id == claim.id && run.partition == *partition)?;
        self.runs.remove(at)
    }

    fn keep(&mut self, run: Run<P, E>) {
        if self.runs.len() >= RUNS_KEPT {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: &str = "not the leader";

    /// A batch of ten records of producer 1.
    fn ten(first: i32) -> Claim {
        of(1, 0, first)
    }

    fn of(id: i64, epoch: i16, first: i32) -> Claim {
        Claim::of_batch(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(first), 10).unwrap()
    }

    fn refused(batches: &[Claim]) -> Refusals<i32, &'static str> {
        let mut refusals = Refusals::default();
        for batch in batches {
            refusals.refused(0, batch, RETRY);
        }
        refusals
    }

    fn at(sequence: i32) -> Option<Sequence> {
        Some(Sequence::new(sequence))
    }

    #[test]
    fn what_comes_behind_a_refused_batch_is_refused_for_the_same_reason() {
        let mut refusals = refused(&[ten(0)]);
        assert_eq!(refusals.behind(&0, &ten(10), at(0)), Some(RETRY));
        assert_eq!(refusals.behind(&0, &ten(20), at(0)), Some(RETRY), "the gap is two batches");
    }

    #[test]
    fn a_gap_that_was_not_refused_is_one() {
        assert_eq!(refused(&[]).behind(&0, &ten(10), at(0)), None);
        let mut refusals = refused(&[ten(10)]);
        let cases = [
            ("it begins before what was refused", 0, ten(20), 0),
            ("it goes on behind it", 0, ten(30), 10),
            ("another partition", 1, ten(20), 10),
            ("another producer", 0, of(2, 0, 20), 10),
            ("another epoch", 0, of(1, 1, 20), 10),
        ];
        for (case, partition, claim, expected) in cases {
            assert_eq!(refusals.behind(&partition, &claim, at(expected)), None, "{case}");
        }
        assert_eq!(refusals.behind(&0, &ten(20), at(10)), Some(RETRY), "none of them has changed anything");
    }

    #[test]
    fn who_sends_again_without_what_came_before_leaves_a_gap() {
        let mut refusals = refused(&[ten(0)]);
        assert_eq!(refusals.behind(&0, &ten(10), at(0)), Some(RETRY));
        assert_eq!(refusals.behind(&0, &ten(10), at(0)), None);
        // An attempt that begins at the beginning is a new one.
        refusals.refused(0, &ten(0), "again");
        assert_eq!(refusals.behind(&0, &ten(10), at(0)), Some("again"));
    }

    #[test]
    fn a_batch_that_is_taken_is_forgotten_and_those_behind_it_are_not() {
        let mut refusals = refused(&[ten(0), ten(10)]);
        refusals.taken(&0, &ten(0));
        assert_eq!(refusals.behind(&0, &ten(20), at(0)), None, "that is not what the log lacks");
        assert_eq!(refusals.behind(&0, &ten(20), at(10)), Some(RETRY));
        refusals.taken(&0, &ten(10));
        refusals.taken(&0, &ten(20));
        assert!(refusals.is_empty());
    }

    #[test]
    fn a_retry_of_what_came_before_takes_nothing_away() {
        let mut refusals = refused(&[ten(10)]);
        refusals.taken(&0, &ten(0));
        assert_eq!(refusals.behind(&0, &ten(20), at(10)), Some(RETRY));
    }

    #[test]
    fn a_producer_of_whom_the_log_knows_nothing_begins_with_what_was_refused() {
        let mut refusals = refused(&[ten(0)]);
        assert_eq!(refusals.behind(&0, &ten(20), None), None);
        assert_eq!(refusals.behind(&0, &ten(10), None), Some(RETRY));
    }

    #[test]
    fn a_new_epoch_knows_nothing_of_the_old_one() {
        let mut refusals = refused(&[ten(0), of(1, 1, 0)]);
        assert_eq!(refusals.behind(&0, &ten(10), at(0)), None);
        assert_eq!(refusals.behind(&0, &of(1, 1, 10), at(0)), Some(RETRY));
    }

    #[test]
    fn numbers_wrap() {
        let mut refusals = refused(&[ten(i32::MAX - 4)]);
        assert_eq!(refusals.behind(&0, &ten(5), at(i32::MAX - 4)), Some(RETRY));
        refusals.taken(&0, &ten(i32::MAX - 4));
        assert_eq!(refusals.behind(&0, &ten(15), at(5)), Some(RETRY));
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unused_goes_first() {
        let mut refusals = Refusals::default();
        for partition in 0..RUNS_KEPT {
            refusals.refused(partition, &ten(0), RETRY);
        }
        assert_eq!(refusals.behind(&0, &ten(10), at(0)), Some(RETRY));
        refusals.refused(RUNS_KEPT, &ten(0), RETRY);
        assert_eq!(refusals.runs.len(), RUNS_KEPT);
        assert_eq!(refusals.behind(&1, &ten(10), at(0)), None);
        assert_eq!(refusals.behind(&0, &ten(20), at(0)), Some(RETRY));
    }
}
