//! One partition's log on a simulated disk: what is in memory, what is synced, what a crash leaves.
//!
//! Owns the difference between written and durable. Every record carries a hash of everything up to it, so that two
//! prefixes are compared at once. One record is one batch.

use ottla_core::replica::LogView;
use ottla_core::types::{LeaderEpoch, Offset};

use crate::rng::Rng;

/// One record, and what lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// In which epoch it was appended.
    pub epoch: LeaderEpoch,
    /// Unique in the whole run.
    pub value: u64,
    /// Of this record and all before it.
    pub prefix: u64,
}

/// A log.
#[derive(Clone, Debug, Default)]
pub struct SimLog {
    records: Vec<Record>,
    synced: usize,
    /// Everything that it held was lost by a fault that no protocol can survive alone.
    pub wiped: bool,
    /// Damage was found in it: it is going to be dropped.
    pub suspect: bool,
}

impl SimLog {
    /// Behind the last record.
    pub fn end(&self) -> Offset {
        offset(self.records.len())
    }

    /// Behind the last record that is durable.
    pub fn synced(&self) -> Offset {
        offset(self.synced)
    }

    /// The record at an offset.
    pub fn get(&self, at: Offset) -> Option<&Record> {
        self.records.get(index(at))
    }

    /// The records of a range, as far as there are any.
    pub fn range(&self, from: Offset, upto: Offset) -> &[Record] {
        let upto = index(upto).min(self.records.len());
        self.records.get(index(from)..upto).unwrap_or(&[])
    }

    /// The hash of everything below `end`; `None` if the log is shorter.
    pub fn prefix(&self, end: Offset) -> Option<u64> {
        match index(end).checked_sub(1) {
            None => Some(0),
            Some(last) => self.records.get(last).map(|record| record.prefix),
        }
    }

    /// Adds a record at the end.
    pub fn append(&mut self, epoch: LeaderEpoch, value: u64) -> Record {
        let before = self.records.last().map_or(0, |record| record.prefix);
        let mixed = before ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(epoch.get().unsigned_abs());
        let record = Record { epoch, value, prefix: Rng::new(mixed).draw() };
        self.records.push(record);
        record
    }

    /// A flush that covers everything below `end` has succeeded.
    pub fn sync(&mut self, end: Offset) {
        self.synced = self.synced.max(index(end)).min(self.records.len());
    }

    /// A cut, durable at once.
    pub fn truncate(&mut self, end: Offset) {
        self.records.truncate(index(end));
        self.synced = self.synced.min(self.records.len());
    }

    /// What was not durable is gone; returns how much.
    pub fn drop_unsynced(&mut self) -> usize {
        let lost = self.records.len() - self.synced;
        self.records.truncate(self.synced);
        lost
    }

    /// The power goes: of what was not durable, some first part may have come to the disk.
    pub fn crash(&mut self, rng: &mut Rng) {
        let torn = rng.within(0, (self.records.len() - self.synced) as u64 + 1);
        let kept = self.synced + usize::try_from(torn).unwrap_or(0);
        self.records.truncate(kept);
        self.synced = self.records.len();
    }
}

impl LogView for SimLog {
    fn log_start(&self) -> Offset {
        Offset::new(0)
    }

    fn log_end(&self) -> Offset {
        self.end()
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.records.last().map(|record| record.epoch)
    }

    fn end_of_epoch(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let last = self.records.last()?;
        if asked == last.epoch {
            return Some((asked, self.end()));
        }
        let next = self.records.partition_point(|record| record.epoch <= asked);
        self.records.get(next)?;
        let epoch = next.checked_sub(1).map_or(asked, |before| self.records[before].epoch);
        Some((epoch, offset(next)))
    }
}

/// The offset of an index.
pub fn offset(index: usize) -> Offset {
    Offset::new(i64::try_from(index).unwrap_or(i64::MAX))
}

fn index(offset: Offset) -> usize {
    usize::try_from(offset.get()).unwrap_or(0)
}
