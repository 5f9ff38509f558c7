//! The timers of one shard, ordered by deadline.
//!
//! Owns which alarm is set for which key: at most one per key, a later setting replaces the earlier.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::words::{Generation, GroupId, MemberId};

/// What a timer is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A member must show life.
    Session(GroupId, MemberId),
    /// The join phase of a group must end.
    Join(GroupId),
    /// The sync phase of a group must end.
    Sync(GroupId),
    /// Offsets may have expired.
    Expiry,
}

/// What to do when it rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Remove the member if it is not waiting for an answer.
    SessionExpired,
    /// Go on without those that have not joined.
    JoinDeadline,
    /// The first rebalance of a group: go on, or wait again if someone new has come.
    InitialJoin { delay: Duration, remaining: Duration },
    /// Remove those that have not fetched their assignment of this generation.
    SyncDeadline { generation: Generation },
    /// Look for expired offsets.
    Expire,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Instant, u64), (Key, Alarm)>,
    set: BTreeMap<Key, (Instant, u64)>,
    sequence: u64,
}

impl Timers {
    pub(super) fn set(&mut self, key: Key, at: Instant, alarm: Alarm) {
        self.sequence += 1;
        let slot = (at, self.sequence);
        if let Some(old) = self.set.insert(key.clone(), slot) {
            self.due.remove(&old);
        }
        self.due.insert(slot, (key, alarm));
    }

    pub(super) fn cancel(&mut self, key: &Key) {
        if let Some(slot) = self.set.remove(key) {
            self.due.remove(&slot);
        }
    }

    /// Takes the earliest alarm whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Key, Alarm)> {
        let entry = self.due.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let (key, alarm) = entry.remove();
        self.set.remove(&key);
        Some((key, alarm))
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.set.clear();
    }

    /// The two maps mirror each other.
    pub(super) fn check(&self) {
        assert_eq!(self.due.len(), self.set.len(), "a timer stands in one map only");
    }
}
