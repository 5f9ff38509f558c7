//! One partition's log on a simulated disk: what is in memory, what is synced, what a crash leaves.
//!
//! Owns the difference between written and durable. Every record carries a hash of everything up to it, so that two
//! prefixes are compared at once. One record is one batch.

use std::collections::BTreeMap;

use ottla_core::replica::LogView;
use ottla_core::types::{LeaderEpoch, Offset};

use crate::rng::Rng;

/// One record, and what lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// In which epoch it was appended.
    pub(crate) epoch: LeaderEpoch,
    /// Unique in the whole run.
    pub(crate) value: u64,
    /// Of this record and all before it.
    pub(crate) prefix: u64,
}

/// Per producer, its last record: the number and the offset.
pub(crate) type Producers = BTreeMap<u64, (u64, Offset)>;

/// A log.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimLog {
    /// Offset of the first record, and the hash of everything before it.
    base: usize,
    before: u64,
    /// What lies below was removed by retention: it is kept for oracles, and nobody else sees it.
    start: usize,
    records: Vec<Record>,
    /// Offset behind the last record that is durable.
    synced: usize,
    /// Per producer, its last record below the base: the snapshot that comes with a log that starts over.
    snapshot: Producers,
    /// Everything that it held was lost by a fault that no protocol can survive alone.
    pub(crate) wiped: bool,
    /// Damage was found in it: it is going to be dropped.
    pub(crate) suspect: bool,
    /// In which epoch, as far as its broker knew.
    pub(crate) suspect_in: LeaderEpoch,
}

impl SimLog {
    /// Behind the last record.
    pub(crate) fn end(&self) -> Offset {
        offset(self.base + self.records.len())
    }

    /// Behind the last record that is durable.
    pub(crate) fn synced(&self) -> Offset {
        offset(self.synced)
    }

    /// The record at an offset, removed or not.
    pub(crate) fn get(&self, at: Offset) -> Option<&Record> {
        self.records.get(index(at).checked_sub(self.base)?)
    }

    /// The records of a range, as far as there are any.
    pub(crate) fn range(&self, from: Offset, upto: Offset) -> &[Record] {
        let upto = index(upto).saturating_sub(self.base).min(self.records.len());
        let from = index(from).checked_sub(self.base);
        from.and_then(|from| self.records.get(from..upto)).unwrap_or(&[])
    }

    /// Retention removes everything below `start`.
    pub(crate) fn remove_below(&mut self, start: Offset) {
        self.start = self.start.max(index(start).min(self.base + self.records.len()));
    }

    /// The last record of a producer: its sequence number and offset.
    pub(crate) fn last_of(&self, producer: u64) -> Option<(u64, Offset)> {
        let newest = self.records.iter().enumerate().rev().find(|(_, record)| producer_of(record.value).0 == producer);
        let newest = newest.map(|(at, record)| (producer_of(record.value).1, offset(self.base + at)));
        newest.or_else(|| self.snapshot.get(&producer).copied())
    }

    /// The last number of each producer below `end`.
    pub(crate) fn sequences(&self, end: Offset) -> BTreeMap<u64, u64> {
        let mut last: BTreeMap<u64, u64> =
            self.snapshot.iter().map(|(&producer, &(number, _))| (producer, number)).collect();
        last.extend(self.range(offset(self.base), end).iter().map(|record| producer_of(record.value)));
        last
    }

    /// The last record of each producer below `at`: the snapshot that a log needs which begins there.
    pub(crate) fn producers(&self, at: Offset) -> Producers {
        let mut last = self.snapshot.clone();
        last.extend(self.range(offset(self.base), at).iter().enumerate().map(|(index, record)| {
            let (producer, number) = producer_of(record.value);
            (producer, (number, offset(self.base + index)))
        }));
        last
    }

    /// One record that was never written for each that lies below the first one; the last has the hash of them all.
    pub(crate) fn unknown_below(&self) -> Vec<Record> {
        vec![Record { epoch: LeaderEpoch::NONE, value: 0, prefix: self.before }; self.base]
    }

    fn kept(&self) -> &[Record] {
        &self.records[self.start - self.base..]
    }

    /// The hash of everything below `end`; `None` if the log is shorter.
    pub(crate) fn prefix(&self, end: Offset) -> Option<u64> {
        match index(end).checked_sub(self.base)?.checked_sub(1) {
            None => Some(self.before),
            Some(last) => self.records.get(last).map(|record| record.prefix),
        }
    }

    /// Adds a record at the end.
    pub(crate) fn append(&mut self, epoch: LeaderEpoch, value: u64) -> Record {
        let before = self.records.last().map_or(self.before, |record| record.prefix);
        let mixed = before ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(epoch.get().unsigned_abs());
        let record = Record { epoch, value, prefix: Rng::new(mixed).draw() };
        self.records.push(record);
        record
    }

    /// A flush that covers everything below `end` has succeeded.
    pub(crate) fn sync(&mut self, end: Offset) {
        self.synced = self.synced.max(index(end)).min(self.base + self.records.len());
    }

    /// A cut, durable at once.
    pub(crate) fn truncate(&mut self, end: Offset) {
        self.records.truncate(index(end).saturating_sub(self.base));
        let end = self.base + self.records.len();
        self.synced = self.synced.min(end);
        self.start = self.start.min(end);
    }

    /// Nothing is left but what is known of everything below `at`.
    pub(crate) fn start_over(&mut self, at: Offset, before: u64, snapshot: Producers) {
        let at = index(at);
        *self = Self { base: at, before, start: at, synced: at, snapshot, wiped: true, ..Self::default() };
    }

    /// Damage, found in this epoch: some of the newest records are gone, durable or not.
    pub(crate) fn damage(&mut self, rng: &mut Rng, epoch: LeaderEpoch) {
        let kept = rng.within(self.start as u64, (self.base + self.records.len()) as u64 + 1);
        self.truncate(offset(usize::try_from(kept).unwrap_or(0)));
        self.synced = self.base + self.records.len();
        self.suspect = true;
        self.suspect_in = epoch;
    }

    /// What was not durable is gone; returns how much.
    pub(crate) fn drop_unsynced(&mut self) -> usize {
        let lost = self.base + self.records.len() - self.synced;
        self.records.truncate(self.synced - self.base);
        lost
    }

    /// The power goes: of what was not durable, some first part may have come to the disk.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let torn = rng.within(0, (self.base + self.records.len() - self.synced) as u64 + 1);
        let kept = self.synced + usize::try_from(torn).unwrap_or(0);
        self.truncate(offset(kept));
        self.synced = kept;
    }
}

impl LogView for SimLog {
    fn log_start(&self) -> Offset {
        offset(self.start)
    }

    fn first_epoch(&self) -> Option<LeaderEpoch> {
        self.kept().first().map(|record| record.epoch)
    }

    fn log_end(&self) -> Offset {
        self.end()
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.kept().last().map(|record| record.epoch)
    }

    fn end_of_epoch(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let kept = self.kept();
        let last = kept.last()?;
        if asked == last.epoch {
            return Some((asked, self.end()));
        }
        let next = kept.partition_point(|record| record.epoch <= asked);
        kept.get(next)?;
        let epoch = next.checked_sub(1).map_or(asked, |before| kept[before].epoch);
        Some((epoch, offset(self.start + next)))
    }
}

/// Who wrote a value, and as which of its records; producer 0 numbers nothing.
pub(crate) fn producer_of(value: u64) -> (u64, u64) {
    (value >> 32, value & u64::from(u32::MAX))
}

/// The offset of an index.
pub(crate) fn offset(index: usize) -> Offset {
    Offset::new(i64::try_from(index).unwrap_or(i64::MAX))
}

fn index(offset: Offset) -> usize {
    usize::try_from(offset.get()).unwrap_or(0)
}
