//! One history: random work on a data directory, random ends of it, and the model beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::types::{Lsn, Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};
use ottla_log::config::LogConfig;
use ottla_log::disk::Disk;
use ottla_log::disk::sim::{Random, SimDisk};
use ottla_log::journal;
use ottla_log::partition::{AppendContext, AppendError, Origin, Partition};
use ottla_log::store::{LogDir, Observer, Options, StoreError, SyncedEnd};
use ottla_wire::record::{BatchBuilder, BatchView, Compression};

use super::oracle::{Given, Memory, placed, whole};

/// Which faults a history has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) crashes: bool,
    pub(crate) kills: bool,
    pub(crate) drop_hints: bool,
    pub(crate) opted_out: bool,
    pub(crate) full: bool,
    pub(crate) errors: bool,
    /// Logs are followers' too: they take batches of leaders, are cut, and start over.
    pub(crate) cuts: bool,
}

/// Remembers what was reported as durable.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<SyncedEnd>>);

impl Observer for Heard {
    fn synced(&self, ends: &[SyncedEnd]) {
        self.0.lock().unwrap().extend_from_slice(ends);
    }

    fn offline(&self, _reason: &str) {}
}

const BOOT: [u8; 16] = [1; 16];
const LIVES: u64 = 6;
const STEPS: u64 = 220;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) disk: SimDisk,
    pub(crate) dir: Option<LogDir>,
    pub(crate) known: BTreeMap<TopicPartition, Memory>,
    /// With whether the tombstone was acked.
    pub(crate) deleted: BTreeMap<TopicPartition, (Lsn, bool)>,
    pub(crate) now: Instant,
    pub(crate) clock: i64,
    pub(crate) heard: Arc<Heard>,
    topics: u8,
    /// What happened, for the determinism test.
    pub(crate) trace: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn beginning() -> Instant {
    Instant::now()
}

pub(crate) fn config(opted_out: bool) -> LogConfig {
    LogConfig {
        segment_bytes: 6_000,
        index_interval_bytes: 600,
        retention_ms: 60_000,
        flush_messages: if opted_out { 1_000_000 } else { 1 },
        ..LogConfig::default()
    }
}

pub(crate) fn options(seed: u64, observer: Arc<dyn Observer>) -> Options {
    let mut numbers = Random::new(seed ^ 0x5eed);
    let mut options = Options::new(observer, BOOT, Box::new(move || numbers.next()));
    options.journal = journal::Options {
        file_bytes: 128 * 1024,
        first_file_bytes: 64 * 1024,
        bytes_max: 1024 * 1024,
        group_bytes: 32 * 1024,
        reserve_bytes: 16 * 1024,
        ..journal::Options::default()
    };
    options.tail_cache_bytes = 20_000;
    options.pending_bytes_max = 200_000;
    options.files_max = 12;
    options.reserve_bytes = 32 * 1024;
    options.threads = false;
    options
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let disk = SimDisk::new(seed);
        if plan.full {
            disk.set_capacity(Some(1_500_000));
        }
        Self {
            plan,
            random: Random::new(seed),
            disk,
            dir: None,
            known: BTreeMap::new(),
            deleted: BTreeMap::new(),
            now: beginning(),
            clock: 1_000_000,
            heard: Arc::default(),
            topics: 0,
            trace: Vec::new(),
        }
    }

    /// Several lives of a data directory, each ended in some way; returns what happened.
    pub(crate) fn run(mut self) -> Vec<String> {
        for life in 0..LIVES {
            if !self.open() {
                continue;
            }
            if (self.plan.crashes || self.plan.kills) && !self.random.one_in(5) {
                let at = 1 + self.random.below(400);
                self.disk.stop_after(at);
            } else if self.plan.errors {
                let at = 1 + self.random.below(300);
                self.disk.fail_after(at);
            }
            let steps = self.random.below(STEPS);
            for _ in 0..steps {
                if !self.step() {
                    break;
                }
            }
            self.end(life);
        }
        self.disk.set_capacity(None);
        (self.plan.crashes, self.plan.kills) = (false, false);
        assert!(self.open(), "the last start has no faults");
        self.trace
    }

    /// Opens the directory and compares it with the model. `false` if the disk stopped meanwhile.
    pub(crate) fn open(&mut self) -> bool {
        let early = (self.plan.crashes || self.plan.kills) && self.random.one_in(4);
        if early {
            let at = 1 + self.random.below(60);
            self.disk.stop_after(at); // a crash inside recovery
        }
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let (dir, recovered) = match LogDir::open(disk, options(self.random.next(), self.heard.clone())) {
            Ok(opened) => opened,
            Err(error) if early => {
                self.trace.push(format!("open failed: {error}"));
                self.end_life();
                return false;
            }
            Err(error) => panic!("open: {error}"),
        };
        assert_eq!(recovered.damaged, [], "nothing was damaged: {recovered:?} {:#?}", self.trace);
        assert_eq!((recovered.orphaned_frames, recovered.suspect.len()), (0, 0), "{recovered:?} {:#?}", self.trace);
        self.trace.push(format!("open: {} partitions, {} batches", recovered.partitions, recovered.batches));
        self.dir = Some(dir);
        self.check_partitions(early)
    }

    fn check_partitions(&mut self, early: bool) -> bool {
        let dir = self.dir.as_ref().expect("it was opened");
        // Numbers of frames that a crash cut off are given out again: they say nothing about those tombstones.
        for (lsn, _) in self.deleted.values_mut().filter(|(_, acked)| !acked) {
            *lsn = Lsn::new(u64::MAX);
        }
        for log in dir.partitions().iter().filter(|log| !self.known.contains_key(&log.id())) {
            let acked = self.deleted.get(&log.id()).is_some_and(|(_, acked)| *acked);
            assert!(!acked, "a deleted partition came back: {:#?}", self.trace);
            // The tombstone was lost in the crash: another one takes its place, under another number.
            match dir.delete(log.id()) {
                Ok(lsn) => self.deleted.insert(log.id(), (lsn, false)),
                Err(_) => return self.after_early_end(),
            };
        }
        for id in self.known.keys().copied().collect::<Vec<_>>() {
            let memory = self.known.get_mut(&id).expect("it is known");
            memory.epoch += 1;
            // A partition without records has no files: without the catalogue the broker creates it again.
            let log = match dir.create(id, &memory.topic, memory.leader_epoch()) {
                Ok(log) => log,
                Err(StoreError::Offline(_)) if early => return self.after_early_end(),
                Err(error) => panic!("create: {error}"),
            };
            log.configure(config(memory.opted_out));
            let stopped = early && self.disk.size("catalogue").is_err();
            if stopped {
                return self.after_early_end();
            }
            memory.check_recovered(&log);
        }
        true
    }

    fn after_early_end(&mut self) -> bool {
        self.trace.push("stopped while opening".to_owned());
        self.dir = None;
        self.end_life();
        false
    }

    fn step(&mut self) -> bool {
        self.clock += i64::try_from(self.random.below(400)).unwrap();
        self.now += Duration::from_millis(self.random.below(30));
        if self.plan.cuts
            && let Some(done) = self.follow()
        {
            return done;
        }
        match self.random.below(100) {
            0..=2 => self.create(),
            3..=69 => self.append(),
            70..=71 => self.delete_records(),
            72 if self.known.len() > 2 => self.delete(),
            73..=76 => self.retain(),
            77..=80 => self.read_somewhere(),
            81..=84 => self.flush(),
            _ => self.pump(),
        }
    }

    pub(crate) fn dir(&self) -> &LogDir {
        self.dir.as_ref().expect("a life has a directory")
    }

    pub(crate) fn some_partition(&mut self) -> Option<TopicPartition> {
        let index = self.random.index(self.known.len());
        self.known.keys().nth(index).copied()
    }

    pub(crate) fn log(&self, id: TopicPartition) -> Arc<Partition> {
        self.dir().partition(id).expect("a known partition is there")
    }

    fn create(&mut self) -> bool {
        if self.known.len() >= 8 {
            return true;
        }
        self.topics += 1;
        let id = TopicPartition::new(TopicId::from_bytes([self.topics; 16]), PartitionIndex::new(0));
        // Names come back after a deletion, under another id.
        let topic = format!("topic{}", self.random.below(4) + 4 * u64::from(self.topics % 2));
        if self.known.values().any(|memory| memory.topic == topic) {
            return true;
        }
        let opted_out = self.plan.opted_out && self.random.one_in(3);
        let memory = Memory::new(&topic, opted_out);
        match self.dir().create(id, &topic, memory.leader_epoch()) {
            Ok(log) => log.configure(config(opted_out)),
            Err(StoreError::Full) => return true,
            Err(_) => return false,
        }
        self.known.insert(id, memory);
        true
    }

    pub(crate) fn batch(&mut self, producer: Option<i32>) -> BatchView {
        let mut builder = BatchBuilder::new(Compression::None);
        if let Some(sequence) = producer {
            builder = builder.producer(77, 0, sequence);
        }
        let count = if producer.is_some() { 1 } else { 1 + self.random.below(4) };
        for _ in 0..count {
            let long = self.random.one_in(12);
            let size = self.random.below(if long { 1_400 } else { 250 });
            let value: Vec<u8> = (0..size).map(|n| (n ^ self.random.next()) as u8).collect();
            builder.append(self.clock, None, Some(&value), &[]);
        }
        builder.build_view().unwrap()
    }

    fn append(&mut self) -> bool {
        let Some(id) = self.some_partition() else { return self.create() };
        let idempotent = self.random.one_in(3);
        let sequence = self.known[&id].sequence;
        let retry = idempotent && self.random.one_in(3) && self.known[&id].last_sent.is_some();
        if retry {
            return self.retry(id);
        }
        let batch = self.batch(idempotent.then_some(sequence));
        let (bytes, count) = (batch.bytes().clone(), batch.header().record_count);
        let log = self.log(id);
        let memory = self.known.get_mut(&id).unwrap();
        let cx =
            AppendContext { epoch: memory.leader_epoch(), now: Timestamp::new(self.clock), origin: Origin::Client };
        match log.append(batch, cx) {
            Ok(appended) => {
                assert!(!appended.duplicate);
                assert_eq!(appended.base.get(), memory.end().max(memory.asked_start));
                let bytes = placed(&bytes, appended.base, cx.epoch);
                let opted_out = memory.opted_out;
                // The page cache is all that an opted-out topic promises.
                let acked = opted_out && log.flushed_end() > appended.last;
                let given = Given {
                    end: appended.last.get() + 1,
                    bytes,
                    lsn: appended.lsn,
                    acked,
                    sequence: idempotent.then_some(sequence),
                };
                memory.give(appended.base.get(), given);
                true
            }
            Err(AppendError::Full | AppendError::NoSpace) => self.pump(),
            Err(AppendError::Offline(_)) => {
                if memory.opted_out {
                    // Its bytes may be in the file already: the client does not know, and neither does the model.
                    let base = Offset::new(memory.end().max(memory.asked_start));
                    let end = base.get() + i64::from(count);
                    let bytes = placed(&bytes, base, cx.epoch);
                    let sequence = idempotent.then_some(sequence);
                    let given = Given { end, bytes, lsn: Lsn::new(u64::MAX), acked: false, sequence };
                    memory.given.insert(base.get(), given);
                }
                false
            }
            Err(error) => panic!("append: {error}"),
        }
    }

    /// The idempotent producer sends its last batch again: it must get its original offset (T1).
    fn retry(&mut self, id: TopicPartition) -> bool {
        let memory = &self.known[&id];
        let (base, bytes) = memory.last_sent.clone().unwrap();
        let cx =
            AppendContext { epoch: memory.leader_epoch(), now: Timestamp::new(self.clock), origin: Origin::Client };
        let batch = BatchView::split_from(&mut Bytes::clone(&bytes)).unwrap();
        match self.log(id).append(batch, cx) {
            Ok(appended) => {
                assert!(appended.duplicate, "a retry was appended again");
                assert_eq!(appended.base.get(), base);
                true
            }
            Err(AppendError::Offline(_)) => false,
            Err(error) => panic!("retry: {error}"),
        }
    }

    fn delete_records(&mut self) -> bool {
        let Some(id) = self.some_partition() else { return true };
        let log = self.log(id);
        let (start, end) = (log.log_start().get(), log.flushed_end().get());
        let target = start + i64::try_from(self.random.below((end - start + 1).cast_unsigned())).unwrap();
        match log.delete_records(Offset::new(target)) {
            Ok((now, lsn)) => {
                assert_eq!(now.get(), target);
                self.note_start(id, target, lsn);
                true
            }
            Err(ottla_log::partition::DeleteRecordsError::Full) => true,
            Err(_) => false,
        }
    }

    fn note_start(&mut self, id: TopicPartition, target: i64, lsn: Lsn) {
        let memory = self.known.get_mut(&id).unwrap();
        if target > memory.asked_start {
            (memory.asked_start, memory.start_lsn) = (target, lsn);
        }
    }

    fn retain(&mut self) -> bool {
        if self.random.one_in(3) {
            self.clock += 70_000;
        }
        // Sometimes only a part of each log is committed.
        let share = self.clock.rem_euclid(8);
        let ids: Vec<_> = self.known.keys().copied().collect();
        let bound = |id: TopicPartition| {
            let log = self.log(id);
            if share > 3 { i64::MAX } else { log.log_start().get().max(log.log_end().get() * share / 4) }
        };
        let bounds: BTreeMap<_, _> = ids.iter().map(|id| (*id, bound(*id))).collect();
        let committed = |id| Offset::new(bounds.get(&id).copied().unwrap_or(i64::MAX));
        if self.dir().retain(Timestamp::new(self.clock), committed).is_err() {
            return false;
        }
        for id in ids {
            let start = self.log(id).log_start().get();
            assert!(start <= bounds[&id], "{id}: retention removed below {start}, committed up to {}", bounds[&id]);
            let submitted = self.dir().submitted();
            self.note_start(id, start, submitted);
        }
        true
    }

    fn delete(&mut self) -> bool {
        let Some(id) = self.some_partition() else { return true };
        match self.dir().delete(id) {
            Ok(lsn) => {
                self.known.remove(&id);
                self.deleted.insert(id, (lsn, false));
                true
            }
            Err(StoreError::Full) => true,
            Err(_) => false,
        }
    }

    fn read_somewhere(&mut self) -> bool {
        let Some(id) = self.some_partition() else { return true };
        let log = self.log(id);
        let (start, end) = (log.log_start().get(), log.log_end().get());
        if start == end {
            return true;
        }
        let from = start + i64::try_from(self.random.below((end - start).cast_unsigned())).unwrap();
        let bytes_max = 1 + self.random.index(9_000);
        match log.read(Offset::new(from), Offset::new(end), bytes_max, true) {
            Ok(read) => {
                let next = self.known[&id].compare(&whole(&read.chunks), from);
                assert!(next > from);
                true
            }
            Err(ottla_log::partition::ReadError::Io(_)) => false,
            Err(error) => panic!("read: {error}"),
        }
    }

    fn flush(&mut self) -> bool {
        self.pump() && self.dir().flush().is_ok()
    }

    pub(crate) fn pump(&mut self) -> bool {
        let done = self.dir().pump(self.now).is_ok();
        self.acknowledge();
        self.check_heard();
        done
    }

    /// What was reported as durable must be in the log.
    pub(crate) fn check_heard(&self) {
        for heard in std::mem::take(&mut *self.heard.0.lock().unwrap()) {
            let Some(memory) = self.known.get(&heard.partition) else { continue };
            let end = memory.end().max(memory.asked_start);
            assert!(heard.end.get() <= end, "{}: {heard:?} was cut off, the log ends at {end}", memory.topic);
        }
    }

    /// What is synced was acked to someone.
    fn acknowledge(&mut self) {
        let synced = self.dir().synced();
        for memory in self.known.values_mut() {
            memory.ack(synced);
        }
        for (lsn, acked) in self.deleted.values_mut() {
            *acked |= *lsn <= synced;
        }
    }

    fn end(&mut self, life: u64) {
        self.acknowledge();
        let orderly = self.random.one_in(4);
        if orderly && self.dir().close().is_ok() {
            for memory in self.known.values_mut() {
                memory.ack(Lsn::new(u64::MAX - 1));
            }
            self.trace.push(format!("life {life}: closed"));
        }
        self.dir = None;
        self.end_life();
    }

    fn end_life(&mut self) {
        self.heard.0.lock().unwrap().clear();
        // What was deleted without an ack may come back or not; either is right, and it is deleted again by nobody.
        let power = self.plan.crashes && (!self.plan.kills || self.random.one_in(2)) || self.plan.errors;
        self.disk = if power { self.disk.crash() } else { self.disk.kill() };
        self.trace.push(format!(
            "{} after {} operations",
            if power { "crash" } else { "kill" },
            self.disk.operations()
        ));
        if self.plan.drop_hints {
            self.drop_hints();
        }
        if power {
            self.known.values_mut().filter(|memory| memory.opted_out).for_each(Memory::forget_acks);
        }
    }

    fn drop_hints(&mut self) {
        let catalogue = self.random.one_in(2);
        for file in self.disk.files() {
            let hint = file.ends_with(".index") || file.ends_with(".timeindex") || file.ends_with("checkpoint");
            if (hint && self.random.one_in(2)) || (catalogue && file == "catalogue") {
                self.disk.remove(&file).unwrap();
            }
        }
    }
}
