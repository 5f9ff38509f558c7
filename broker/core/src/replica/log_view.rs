//! What a replica asks its log, and how two logs are compared.
//!
//! Owns finding the point where a follower's log leaves the leader's (KIP-101, KIP-279, KIP-320). It never changes a log,
//! and never believes that equal ends mean equal logs.

use crate::types::{LeaderEpoch, Offset};

/// The log of one partition, as it is at the moment of a step. The shell's log implements it; reading has no effect.
pub trait LogView {
    /// First offset that is kept.
    fn log_start(&self) -> Offset;

    /// Offset of the next record, durable or not.
    fn log_end(&self) -> Offset;

    /// Epoch of the newest batch.
    fn last_epoch(&self) -> Option<LeaderEpoch>;

    /// Where an epoch ended: the largest epoch not above `asked` of which there are batches, and the offset behind its
    /// last one. If every batch is newer, `asked` itself and where the oldest begins. `None` if every batch is older, or
    /// there is none.
    fn end_of_epoch(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;
}

/// What the leader says about a follower's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is a prefix of the leader's: go on from its end.
    Prefix,
    /// It leaves the leader's: the leader's batches of `epoch`, and of anything older, end at `end`. The follower cuts
    /// off what is beyond, by its own epochs, and asks again.
    Diverged {
        /// The largest epoch of the leader's log not above the follower's last.
        epoch: LeaderEpoch,
        /// Where that ends.
        end: Offset,
    },
    /// It ends before the leader's begins: start over, there.
    TooOld {
        /// Where the leader's log begins.
        start: Offset,
    },
}

/// Compares a follower's log, which ends at `end` with a batch of `last_epoch`, with the leader's.
pub fn compare(leader: &dyn LogView, last_epoch: Option<LeaderEpoch>, end: Offset) -> Comparison {
    let start = leader.log_start();
    if end < start {
        return Comparison::TooOld { start };
    }
    let Some(asked) = last_epoch else {
        // Nothing is in it, so nothing can differ.
        return if end <= leader.log_end() { Comparison::Prefix } else { Comparison::TooOld { start } };
    };
    let (epoch, epoch_end) = leader.end_of_epoch(asked).unwrap_or_else(|| match leader.last_epoch() {
        Some(last) => (last, leader.log_end()),
        None => (LeaderEpoch::NONE, start),
    });
    if epoch == asked && end <= epoch_end { Comparison::Prefix } else { Comparison::Diverged { epoch, end: epoch_end } }
}

/// Where a follower cuts its own log, given the leader's answer (KIP-279): at most at `end`, and nothing newer than
/// `epoch` stays. Below the follower's end, unless the leader's answer makes no sense.
pub fn cut(follower: &dyn LogView, epoch: LeaderEpoch, end: Offset) -> Offset {
    let own = if follower.last_epoch().is_some_and(|last| last <= epoch) {
        follower.log_end()
    } else {
        follower.end_of_epoch(epoch).map_or(follower.log_start(), |(_, own)| own)
    };
    own.min(end).max(follower.log_start())
}
