//! The idempotent producers of one partition: which batch may be appended next, which one is a retry.
//!
//! Owns T1 and T2 for one partition: per producer the epoch and the last five batches, so that a retry of any of them
//! gets its original offset, a gap is refused, and an old epoch never appends again. It must never see a batch whose
//! offset was not assigned (`record` follows the append, under the same lock) and never reads a clock.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

mod refusals;
#[cfg(test)]
mod tests;

pub use refusals::{RUNS_KEPT, Refusals};

/// How many batches of one producer are remembered; Kafka's producers keep at most this many in flight.
pub const BATCHES_KEPT: usize = 5;

/// How many producers of one partition are remembered; beyond it the longest silent ones are forgotten.
pub const PRODUCERS_KEPT: usize = 2048;

/// What a batch says about its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who sent it.
    pub id: ProducerId,
    /// In which of its lives.
    pub epoch: ProducerEpoch,
    /// Sequence number of the batch's first record.
    pub first: Sequence,
    /// Sequence number of the batch's last record; smaller than `first` where the numbers wrap.
    pub last: Sequence,
}

impl Claim {
    /// The claim of a batch with `count` records whose header states `id`, `epoch` and `first`; `None` for a batch
    /// without a producer.
    #[must_use]
    pub fn of_batch(id: ProducerId, epoch: ProducerEpoch, first: Sequence, count: i32) -> Option<Self> {
        if id.get() < 0 {
            return None;
        }
        Some(Self { id, epoch, first, last: advance(first, count.saturating_sub(1)) })
    }
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Sequence number of its first record.
    pub first: Sequence,
    /// Sequence number of its last record.
    pub last: Sequence,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp, which a retry is answered with on LogAppendTime topics.
    pub timestamp: Timestamp,
}

impl Batch {
    /// Offset of its first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(distance(self.first, self.last)))
    }
}

/// What is known of one producer, for snapshots and for DescribeProducers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Who.
    pub id: ProducerId,
    /// Its highest epoch that appended.
    pub epoch: ProducerEpoch,
    /// When it last appended, by the broker's clock.
    pub last_seen: Timestamp,
    /// Its last batches, oldest first; at least one, at most [`BATCHES_KEPT`].
    pub batches: Vec<Batch>,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one: assign an offset.
    Append,
    /// It is a retry of this one: answer with its offset, append nothing.
    Duplicate(Batch),
}

/// Why a batch of a producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A gap, or a retry of a batch that is no longer remembered.
    #[error("producer {id} sent sequence {got} where {expected} follows")]
    OutOfOrderSequence {
        /// Who.
        id: ProducerId,
        /// The first sequence number of the batch.
        got: Sequence,
        /// The only one that would have been taken.
        expected: Sequence,
    },
    /// A producer with a higher epoch has appended since.
    #[error("producer {id} has epoch {current}, the batch has {got}")]
    FencedEpoch {
        /// Who.
        id: ProducerId,
        /// The epoch of the batch.
        got: ProducerEpoch,
        /// The epoch that fences it.
        current: ProducerEpoch,
    },
}

/// Everything known of the producers of one partition. Empty, it owns no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    entries: BTreeMap<ProducerId, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    epoch: ProducerEpoch,
    length: u8,
    last_seen: Timestamp,
    batches: [Batch; BATCHES_KEPT],
}

impl Producers {
    /// Whether the batch is next, a retry, or to be refused. Changes nothing.
    pub fn check(&self, claim: &Claim) -> Result<Verdict, Refused> {
        let Some(entry) = self.entries.get(&claim.id) else {
            // Nothing is known (new, expired, or its records were deleted): any sequence starts a new memory.
            return Ok(Verdict::Append);
        };
        if claim.epoch < entry.epoch {
            return Err(Refused::FencedEpoch { id: claim.id, got: claim.epoch, current: entry.epoch }); // T2
        }
        let expected = if claim.epoch > entry.epoch {
            Sequence::new(0)
        } else {
            if let Some(batch) = entry.kept().iter().find(|b| b.first == claim.first && b.last == claim.last) {
                return Ok(Verdict::Duplicate(*batch));
            }
            advance(entry.newest().last, 1)
        };
        if claim.first != expected {
            return Err(Refused::OutOfOrderSequence { id: claim.id, got: claim.first, expected });
        }
        Ok(Verdict::Append)
    }

    /// Remembers a batch that was appended. A batch at or below what is remembered changes nothing, so that replaying
    /// a log over a snapshot of its middle is harmless.
    pub fn record(&mut self, claim: &Claim, last_offset: Offset, timestamp: Timestamp, now: Timestamp) {
        let batch = Batch { first: claim.first, last: claim.last, last_offset, timestamp };
        if let Some(entry) = self.entries.get_mut(&claim.id) {
            if last_offset > entry.newest().last_offset && claim.epoch >= entry.epoch {
                entry.push(claim.epoch, batch, now);
            }
            return;
        }
        if self.entries.len() >= PRODUCERS_KEPT {
            self.forget_longest_silent();
        }
        self.entries.insert(claim.id, Entry::new(claim.epoch, batch, now));
    }

    /// Forgets who has not appended since `horizon`.
    pub fn expire(&mut self, horizon: Timestamp) {
        self.entries.retain(|_, entry| entry.last_seen >= horizon);
    }

    /// Forgets every batch at or past `end`: after a truncation, or for a snapshot of what is durable. A producer of
    /// which nothing is left is unknown.
    pub fn truncate(&mut self, end: Offset) {
        self.entries.retain(|_, entry| entry.truncate(end));
    }

    /// Everything below `end`, in order of producer id.
    #[must_use]
    pub fn snapshot(&self, end: Offset) -> Vec<ProducerState> {
        let mut states = Vec::with_capacity(self.entries.len());
        for (&id, entry) in &self.entries {
            let batches: Vec<Batch> = entry.kept().iter().copied().filter(|b| b.last_offset < end).collect();
            if !batches.is_empty() {
                states.push(ProducerState { id, epoch: entry.epoch, last_seen: entry.last_seen, batches });
            }
        }
        states
    }

    /// What a snapshot said. Of a state with too many batches the newest are kept, one without any is dropped: a
    /// snapshot comes from a disk.
    #[must_use]
    pub fn restore(states: impl IntoIterator<Item = ProducerState>) -> Self {
        let mut entries = BTreeMap::new();
        for state in states {
            let skipped = state.batches.len().saturating_sub(BATCHES_KEPT);
            let mut batches = state.batches.into_iter().skip(skipped);
            let Some(first) = batches.next() else { continue };
            let mut entry = Entry::new(state.epoch, first, state.last_seen);
            for batch in batches {
                entry.push(state.epoch, batch, state.last_seen);
            }
            entries.insert(state.id, entry);
        }
        Self { entries }
    }

    /// Takes over what a snapshot of a later moment knows: per producer, the newer of the two memories.
    pub fn merge(&mut self, states: impl IntoIterator<Item = ProducerState>) {
        for (id, entry) in Self::restore(states).entries {
            match self.entries.get(&id) {
                Some(known) if known.newest().last_offset >= entry.newest().last_offset => {}
                Some(_) | None => {
                    self.entries.insert(id, entry);
                }
            }
        }
    }

    /// Whether anything is known of this one; any sequence number is taken from one that is unknown.
    #[must_use]
    pub fn knows(&self, id: ProducerId) -> bool {
        self.entries.contains_key(&id)
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes room for many at once, so that a flood of new producers costs a constant share of a scan each.
    fn forget_longest_silent(&mut self) {
        let mut seen: Vec<(Timestamp, ProducerId)> = self.entries.iter().map(|(&id, e)| (e.last_seen, id)).collect();
        seen.sort_unstable();
        for (_, id) in seen.into_iter().take(PRODUCERS_KEPT / 8) {
            self.entries.remove(&id);
        }
    }
}

impl Entry {
    fn new(epoch: ProducerEpoch, batch: Batch, now: Timestamp) -> Self {
        let mut batches = [Batch::default(); BATCHES_KEPT];
        batches[0] = batch;
        Self { epoch, length: 1, last_seen: now, batches }
    }

    fn kept(&self) -> &[Batch] {
        &self.batches[..usize::from(self.length)]
    }

    fn newest(&self) -> &Batch {
        &self.batches[usize::from(self.length) - 1]
    }

    fn push(&mut self, epoch: ProducerEpoch, batch: Batch, now: Timestamp) {
        if epoch != self.epoch {
            *self = Self::new(epoch, batch, now);
            return;
        }
        if usize::from(self.length) == BATCHES_KEPT {
            self.batches.rotate_left(1);
        } else {
            self.length += 1;
        }
        self.batches[usize::from(self.length) - 1] = batch;
        self.last_seen = self.last_seen.max(now);
    }

    /// Whether anything is left.
    fn truncate(&mut self, end: Offset) -> bool {
        let left = self.kept().iter().take_while(|batch| batch.last_offset < end).count();
        if left == 0 {
            return false;
        }
        self.length = u8::try_from(left).expect("at most BATCHES_KEPT batches are kept");
        true
    }
}

/// `sequence` moved on by `by`, past `i32::MAX` to 0.
fn advance(sequence: Sequence, by: i32) -> Sequence {
    let sum = i64::from(sequence.get()) + i64::from(by);
    let wrapped = if sum > i64::from(i32::MAX) { sum - (i64::from(i32::MAX) + 1) } else { sum };
    Sequence::new(i32::try_from(wrapped).unwrap_or(i32::MAX))
}

/// How far `last` lies behind `first`, across the wrap.
fn distance(first: Sequence, last: Sequence) -> i32 {
    let gap = i64::from(last.get()) - i64::from(first.get());
    let wrapped = if gap < 0 { gap + i64::from(i32::MAX) + 1 } else { gap };
    i32::try_from(wrapped).unwrap_or(i32::MAX)
}
