//! What the world remembers of one partition, and what must hold of the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_core::types::{LeaderEpoch, Lsn, Offset};
use ottla_log::partition::{Partition, ReadError};
use ottla_wire::record::Batches;

/// A batch that was given an offset.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) end: i64,
    pub(crate) bytes: Bytes,
    pub(crate) lsn: Lsn,
    pub(crate) acked: bool,
    /// Of the idempotent producer.
    pub(crate) sequence: Option<i32>,
}

impl Given {
    pub(crate) fn epoch(&self) -> i32 {
        i32::from_be_bytes(self.bytes[12..16].try_into().unwrap())
    }
}

/// How many batches of a producer a log remembers.
const REMEMBERED_MAX: usize = 5;

/// One partition, as its clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) topic: String,
    pub(crate) epoch: i32,
    /// By base offset.
    pub(crate) given: BTreeMap<i64, Given>,
    /// The start that was acked, and the one that was asked for last.
    pub(crate) start: i64,
    pub(crate) asked_start: i64,
    pub(crate) start_lsn: Lsn,
    pub(crate) opted_out: bool,
    /// Next sequence number of the one idempotent producer, and its last batch.
    pub(crate) sequence: i32,
    pub(crate) last_sent: Option<(i64, Bytes)>,
    /// How many of its batches the log still remembers.
    pub(crate) remembered: usize,
    /// While a cut is not acked: its frame, and what the log held before it.
    pub(crate) before: Option<(Lsn, Box<Memory>)>,
}

impl Memory {
    pub(crate) fn new(topic: &str, opted_out: bool) -> Self {
        Self {
            topic: topic.to_owned(),
            epoch: 0,
            given: BTreeMap::new(),
            start: 0,
            asked_start: 0,
            start_lsn: Lsn::default(),
            opted_out,
            sequence: 0,
            last_sent: None,
            remembered: 0,
            before: None,
        }
    }

    /// A batch has its place.
    pub(crate) fn give(&mut self, base: i64, given: Given) {
        if let Some(sequence) = given.sequence {
            self.sequence = sequence + 1;
            self.last_sent = Some((base, given.bytes.clone()));
            self.remembered = (self.remembered + 1).min(REMEMBERED_MAX);
        }
        self.given.insert(base, given);
    }

    /// How many batches of the idempotent producer there are.
    fn produced(&self) -> usize {
        self.given.values().filter(|given| given.sequence.is_some()).count()
    }

    /// Where the log must end if it is cut at `target`.
    pub(crate) fn cut_at(&self, target: i64, start: i64) -> i64 {
        let holder = self.given.iter().find(|(base, given)| **base < target && target < given.end);
        holder.map_or(target, |(base, _)| *base).max(start)
    }

    /// The log was cut; either is right until that is acked.
    pub(crate) fn cut(&mut self, end: i64, lsn: Lsn) {
        self.before = Some((lsn, Box::new(Self { before: None, ..self.clone() })));
        let produced = self.produced();
        self.given.retain(|_, given| given.end <= end);
        self.remembered = self.remembered.saturating_sub(produced - self.produced());
        self.find_last_sent();
    }

    /// The log began again, empty; either is right until that is acked.
    pub(crate) fn start_over(&mut self, start: i64, lsn: Lsn) {
        self.cut(0, lsn);
        (self.start, self.asked_start, self.start_lsn) = (start, start, Lsn::default());
    }

    /// A batch that is gone is sent again under the same number. A log that has forgotten all of the producer's takes any.
    fn find_last_sent(&mut self) {
        let newest = self.given.iter().rfind(|(_, given)| given.sequence.is_some());
        self.sequence = newest.and_then(|(_, given)| given.sequence).map_or(0, |sequence| sequence + 1);
        self.last_sent = newest.map(|(base, given)| (*base, given.bytes.clone())).filter(|_| self.remembered > 0);
    }

    /// Nothing is promised any more.
    pub(crate) fn forget_acks(&mut self) {
        self.given.values_mut().for_each(|given| given.acked = false);
        if let Some((_, before)) = &mut self.before {
            before.forget_acks();
        }
    }

    pub(crate) fn acked_end(&self) -> i64 {
        self.given.values().filter(|given| given.acked).map(|given| given.end).max().unwrap_or(0)
    }

    pub(crate) fn end(&self) -> i64 {
        self.given.values().map(|given| given.end).max().unwrap_or(0)
    }

    /// Everything up to `lsn` was acked.
    pub(crate) fn ack(&mut self, lsn: Lsn) {
        for given in self.given.values_mut() {
            given.acked |= given.lsn <= lsn;
        }
        if self.start_lsn <= lsn {
            self.start = self.start.max(self.asked_start);
        }
        match &mut self.before {
            Some((cut, _)) if *cut <= lsn => self.before = None,
            Some((_, before)) => before.ack(lsn),
            None => {}
        }
    }

    /// Whether a log after a start may be this one, as far as ends and batches tell.
    fn is_like(&self, log: &Arc<Partition>) -> bool {
        let (start, end) = (log.log_start().get(), log.log_end().get());
        let starts = start >= self.start && start <= self.asked_start.max(self.start);
        let ends = end >= self.acked_end() && end <= self.end().max(start);
        let mut at = Offset::new(start);
        while starts && ends && at.get() < end {
            let Ok(read) = log.read(at, log.log_end(), 1 << 20, true) else { return false };
            let same = Batches::new(whole(&read.chunks)).all(|batch| {
                let batch = batch.expect("a read returns whole batches");
                let given = self.given.get(&batch.header().base_offset);
                given.is_some_and(|given| given.bytes == *batch.bytes())
            });
            if !same || read.bytes == 0 {
                return false;
            }
            at = read.next;
        }
        starts && ends
    }

    /// After a start: what is there must be what was given, and everything acked must be there. Forgets what is gone.
    pub(crate) fn check_recovered(&mut self, log: &Arc<Partition>) {
        // A cut that was not acked is there as a whole or not at all.
        if let Some((_, before)) = self.before.take()
            && !self.is_like(log)
        {
            let epoch = self.epoch;
            *self = Self { epoch, ..*before };
        }
        let (start, end) = (log.log_start().get(), log.log_end().get());
        assert!(start >= self.start, "{}: acked start {} went back to {start}", self.topic, self.start);
        assert!(start <= self.asked_start.max(self.start), "{}: start {start} was never asked for", self.topic);
        assert!(end >= self.acked_end(), "{}: acked up to {}, log ends at {end}", self.topic, self.acked_end());
        assert!(end <= self.end().max(start), "{}: given up to {}, log ends at {end}", self.topic, self.end());
        let produced = self.produced();
        self.given.retain(|_, given| given.end <= end);
        // At least so many: after a cut there may be none before them.
        self.remembered = self.remembered.saturating_sub(produced - self.produced());
        for given in self.given.values_mut() {
            given.acked = true; // it survived: it is durable now
        }
        (self.start, self.asked_start) = (start, start);
        self.find_last_sent();
        self.check_all(log);
        self.check_epochs(log);
    }

    /// Reads the whole log in pieces of several sizes and compares.
    pub(crate) fn check_all(&self, log: &Arc<Partition>) {
        let (start, end) = (log.log_start(), log.log_end());
        for bytes_max in [1, 700, 1 << 20] {
            let mut at = start;
            let mut expected = start.get();
            while at < end {
                let read = log.read(at, end, bytes_max, true).unwrap_or_else(|error| panic!("{}: {error}", self.topic));
                assert!(read.bytes > 0, "{}: nothing at {at} of {end}", self.topic);
                expected = self.compare(&whole(&read.chunks), expected);
                assert_eq!(read.next.get(), expected);
                at = read.next;
            }
            assert_eq!(at, end);
        }
        assert!(matches!(log.read(end.plus(1), end.plus(2), 1, true), Err(ReadError::OutOfRange { .. })));
    }

    /// Epochs never decrease, and the log knows of each where it begins (R9).
    fn check_epochs(&self, log: &Arc<Partition>) {
        let mut newest = i32::MIN;
        for (&base, given) in self.given.iter().filter(|(_, given)| given.end > log.log_start().get()) {
            assert!(given.epoch() >= newest, "{}: epoch {} after {newest}", self.topic, given.epoch());
            newest = given.epoch();
            let at = log.epoch_at(Offset::new(base).max(log.log_start()));
            assert_eq!(at, Some(LeaderEpoch::new(newest)), "{}: epoch at {base}", self.topic);
        }
        if newest >= 0 {
            assert_eq!(log.last_epoch(), Some(LeaderEpoch::new(newest)), "{}", self.topic);
        }
    }

    /// `bytes` must be batches that were given, from the one that holds `from` on, without a gap; returns their end.
    pub(crate) fn compare(&self, bytes: &Bytes, from: i64) -> i64 {
        let mut end = from;
        for batch in Batches::new(bytes.clone()) {
            let batch = batch.expect("a read returns whole batches");
            let base = batch.header().base_offset;
            assert!(base == end || (end == from && base <= from), "{}: batch {base} after {end}", self.topic);
            let given = self.given.get(&base).unwrap_or_else(|| panic!("{}: nobody was given {base}", self.topic));
            assert_eq!(batch.bytes(), &given.bytes, "{}: other bytes at {base}", self.topic);
            end = given.end;
        }
        end
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch::new(self.epoch)
    }
}

/// The chunks of a read in one piece.
pub(crate) fn whole(chunks: &[Bytes]) -> Bytes {
    let mut whole = BytesMut::new();
    for chunk in chunks {
        whole.extend_from_slice(chunk);
    }
    whole.freeze()
}

/// The bytes of a produced batch as the log must have them.
pub(crate) fn placed(bytes: &Bytes, base: Offset, epoch: LeaderEpoch) -> Bytes {
    let mut whole = BytesMut::from(&bytes[..]);
    whole[..8].copy_from_slice(&base.get().to_be_bytes());
    whole[12..16].copy_from_slice(&epoch.get().to_be_bytes());
    whole.freeze()
}
