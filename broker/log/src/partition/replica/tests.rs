//! A partition on the simulated disk that a leader pushes to: what is taken, what is refused, what a start finds.
//!
//! Owns the kit that the tests of cuts use too. Must not start a thread unless a test asks for it.

use std::time::{Duration, Instant};

use ottla_core::replica::LogView;
use ottla_core::types::{LeaderEpoch, PartitionIndex, TopicId, TopicPartition};
use parking_lot::Mutex;

use super::*;
use crate::batch::testing::{batch, placed, produced};
use crate::disk::Disk;
use crate::disk::sim::{Random, SimDisk};
use crate::partition::{Cut, TruncateError};
use crate::store::{LogDir, Observer, Options, SyncedEnd};
use crate::verify::verify;

/// What the observer heard.
#[derive(Debug, Default)]
pub(in crate::partition) struct Heard {
    pub(in crate::partition) ends: Mutex<Vec<i64>>,
    pub(in crate::partition) offline: Mutex<usize>,
}

impl Observer for Heard {
    fn synced(&self, ends: &[SyncedEnd]) {
        self.ends.lock().extend(ends.iter().map(|end| end.end.get()));
    }

    fn offline(&self, _reason: &str) {
        *self.offline.lock() += 1;
    }
}

/// A directory with one partition of a replicated topic.
pub(in crate::partition) struct Kit {
    pub(in crate::partition) disk: SimDisk,
    pub(in crate::partition) dir: LogDir,
    pub(in crate::partition) heard: Arc<Heard>,
    pub(in crate::partition) log: Arc<Partition>,
    now: Instant,
}

fn id() -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([7; 16]), PartitionIndex::new(0))
}

pub(in crate::partition) fn at(offset: i64) -> Offset {
    Offset::new(offset)
}

impl Kit {
    pub(in crate::partition) fn new() -> Self {
        Self::opened(SimDisk::new(3), false)
    }

    pub(in crate::partition) fn opted_out() -> Self {
        let mut kit = Self::opened(SimDisk::new(3), true);
        // Once the catalogue says that it skips the journal, it does.
        kit.settle();
        kit
    }

    pub(in crate::partition) fn opened(disk: SimDisk, opted_out: bool) -> Self {
        Self::with_threads(disk, opted_out, false)
    }

    pub(in crate::partition) fn with_threads(disk: SimDisk, opted_out: bool, threads: bool) -> Self {
        let heard = Arc::new(Heard::default());
        let opened: Arc<dyn Disk> = Arc::new(disk.clone());
        let (dir, recovered) = LogDir::open(opened, options(heard.clone(), threads)).unwrap();
        assert_eq!((recovered.damaged, recovered.orphaned_frames), (Vec::new(), 0));
        let log = dir.create(id(), "orders", LeaderEpoch::new(9)).unwrap();
        log.configure(LogConfig {
            segment_bytes: 1_500,
            index_interval_bytes: 200,
            flush_messages: if opted_out { 1_000_000 } else { 1 },
            ..LogConfig::default()
        });
        #[expect(clippy::disallowed_methods, reason = "only the beginning of this test's own time")]
        let now = Instant::now();
        Self { disk, dir, heard, log, now }
    }

    /// The directory after its process was killed.
    pub(in crate::partition) fn killed(self) -> Self {
        let Self { disk, dir, log, .. } = self;
        drop((dir, log));
        Self::reopened(disk.kill())
    }

    /// The directory after the power went.
    pub(in crate::partition) fn crashed(self) -> Self {
        let Self { disk, dir, log, .. } = self;
        drop((dir, log));
        Self::reopened(disk.crash())
    }

    /// The directory after it was killed, and the power went at the `n`-th operation of the next start, if that has so
    /// many.
    pub(in crate::partition) fn stopped_in_start(self, n: u64) -> Self {
        let Self { disk, dir, log, heard, .. } = self;
        drop((dir, log));
        let disk = disk.kill();
        disk.stop_after(n);
        drop(LogDir::open(Arc::new(disk.clone()), options(heard, false)));
        Self::opened(disk.crash(), false)
    }

    /// Nothing that was cut off is called damaged, by nobody.
    fn reopened(disk: SimDisk) -> Self {
        let seen: Arc<dyn Disk> = Arc::new(disk.clone());
        let report = verify(&seen, |_| {}).unwrap();
        assert!(report.is_sound(), "{report:?}");
        drop(seen);
        Self::opened(disk, false)
    }

    pub(in crate::partition) fn pump(&mut self) {
        for _ in 0..3 {
            self.now += Duration::from_millis(1);
            self.dir.pump(self.now).unwrap();
        }
    }

    /// Everything durable, in segments, flushed and stated.
    pub(in crate::partition) fn settle(&mut self) {
        self.pump();
        self.dir.flush().unwrap();
    }

    /// Ten offsets to a batch, with this epoch.
    pub(in crate::partition) fn push(&self, base: i64, batches: i64, epoch: i32) -> Result<Replicated, AppendError> {
        let bytes: Vec<u8> = (0..batches).flat_map(|n| ten(base + 10 * n, epoch)).collect();
        self.log.append_replica(bytes.into(), Timestamp::new(5))
    }

    /// Base offset and epoch of every batch that can be read.
    pub(in crate::partition) fn read(&self) -> Vec<(i64, i32)> {
        let (mut from, end) = (self.log.log_start(), self.log.log_end());
        let mut found = Vec::new();
        while from < end {
            let read = self.log.read(from, end, 700, true).unwrap();
            let bytes = read.chunks.concat();
            let mut rest = &bytes[..];
            while let Some(header) = Header::parse(rest) {
                let (batch, behind) = rest.split_at(header.bytes as usize);
                assert!(header.check(batch));
                found.push((header.base.get(), header.epoch.get()));
                rest = behind;
            }
            from = read.next;
        }
        found
    }

    pub(in crate::partition) fn cut(&self, end: i64) -> Result<Cut, TruncateError> {
        self.log.truncate(at(end))
    }
}

fn options(heard: Arc<Heard>, threads: bool) -> Options {
    let mut numbers = Random::new(1);
    let mut options = Options::new(heard, [1; 16], Box::new(move || numbers.next()));
    options.threads = threads;
    options.flush_age = Duration::from_millis(1);
    options.reserve_bytes = 0;
    options.journal.reserve_bytes = 0;
    options.journal.file_bytes = 64 * 1024;
    options.journal.first_file_bytes = 64 * 1024;
    options.tail_cache_bytes = 1_000;
    options
}

fn ten(base: i64, epoch: i32) -> Vec<u8> {
    placed(batch(10, 240, base + i64::from(epoch)), base, epoch)
}

pub(in crate::partition) fn run(from: i64, upto: i64, epoch: i32) -> Vec<(i64, i32)> {
    (from..upto).step_by(10).map(|base| (base, epoch)).collect()
}

#[test]
fn batches_are_taken_as_they_are() {
    let mut kit = Kit::new();
    let first = kit.push(0, 3, 2).unwrap();
    assert_eq!((first.end, first.flushed), (at(30), false));
    let second = kit.push(30, 9, 4).unwrap();
    assert!(second.lsn > first.lsn);
    assert_eq!(kit.log.flushed_end(), at(0));
    kit.pump();
    assert!(kit.dir.synced() >= second.lsn);
    assert_eq!(kit.log.flushed_end(), at(120));
    let expected = [run(0, 30, 2), run(30, 120, 4)].concat();
    assert_eq!(kit.read(), expected);
    assert_eq!(kit.log.segments(), 3);
    let kit = kit.crashed();
    assert_eq!(kit.read(), expected);
    assert_eq!(kit.log.last_epoch(), Some(LeaderEpoch::new(4)));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let kit = Kit::new();
    kit.push(0, 2, 5).unwrap();
    let submitted = kit.dir.submitted();
    let good = ten(20, 5);
    let mut flipped = good.clone();
    flipped[70] ^= 1;
    let malformed = [
        Vec::new(),
        flipped,
        good[..good.len() - 1].to_vec(),
        [good.clone(), ten(20, 5)].concat(),
        [good.clone(), ten(40, 5)].concat(),
        [good.clone(), vec![0; 30]].concat(),
        ten(10, 5),
        ten(30, 5),
        ten(20, -1),
    ];
    for bytes in malformed {
        assert_eq!(kit.log.append_replica(bytes.into(), Timestamp::new(5)), Err(AppendError::Malformed));
    }
    let older = [good.clone(), ten(30, 4)].concat();
    let fenced = FencedEpoch { got: LeaderEpoch::new(4), current: LeaderEpoch::new(5) };
    assert_eq!(kit.log.append_replica(older.into(), Timestamp::new(5)), Err(fenced.into()));
    assert_eq!(kit.push(20, 1, 4), Err(fenced.into()));
    let unknown = AppendError::UnknownEpoch { got: LeaderEpoch::new(10), current: LeaderEpoch::new(9) };
    assert_eq!(kit.push(20, 1, 10), Err(unknown));
    assert_eq!((kit.dir.submitted(), kit.log.log_end()), (submitted, at(20)));
    assert_eq!(kit.log.last_epoch(), Some(LeaderEpoch::new(5)));
}

#[test]
fn producers_are_known_as_if_they_had_sent_it_here() {
    let kit = Kit::new();
    let sent: Vec<u8> = (0..3).flat_map(|n| placed(produced(1, 9, 5, 77, 0, n), n.into(), 3)).collect();
    kit.log.append_replica(sent.into(), Timestamp::new(5)).unwrap();
    let known = kit.log.producers();
    assert_eq!((known[0].id.get(), known[0].batches.len()), (77, 3));
    assert_eq!(known[0].batches[2].last_offset, at(2));
}

#[test]
fn an_opted_out_partition_keeps_them_at_once_and_tells_nobody() {
    let kit = Kit::opted_out();
    let heard = kit.heard.ends.lock().len();
    let replicated = kit.push(0, 12, 3).unwrap();
    assert_eq!((replicated.end, replicated.flushed), (at(120), true));
    assert_eq!((kit.log.flushed_end(), kit.heard.ends.lock().len()), (at(120), heard));
    assert_eq!(kit.read(), run(0, 120, 3));
    assert_eq!(kit.log.segments(), 3);
    let kit = kit.killed();
    assert_eq!(kit.read(), run(0, 120, 3));
}

#[test]
fn a_failed_write_of_an_opted_out_partition_is_told_from_elsewhere() {
    let kit = Kit::opted_out();
    kit.push(0, 2, 3).unwrap();
    kit.disk.fail_after(1);
    assert!(matches!(kit.push(20, 9, 3), Err(AppendError::Offline(_))));
    assert_eq!(kit.log.log_end(), at(20));
    assert_eq!(*kit.heard.offline.lock(), 0, "the caller may hold the observer's lock");
    assert!(kit.dir.pump(kit.now).is_err());
}

#[test]
fn an_empty_log_takes_the_batch_that_holds_its_start() {
    let mut kit = Kit::new();
    kit.log.start_over(at(25), &[]).unwrap();
    assert_eq!(kit.push(0, 1, 3), Err(AppendError::Malformed));
    kit.push(20, 2, 3).unwrap();
    kit.settle();
    assert_eq!(kit.push(20, 1, 3), Err(AppendError::Malformed));
    let kit = kit.killed();
    assert_eq!((kit.log.log_start(), kit.log.log_end()), (at(25), at(40)));
    assert_eq!(kit.read(), [(20, 3), (30, 3)]);
}

#[test]
fn the_view_is_what_the_machine_expects() {
    let kit = Kit::new();
    let ask = |epoch: i32| {
        let found = LogView::end_of_epoch(&*kit.log, LeaderEpoch::new(epoch));
        found.map(|(epoch, end)| (epoch.get(), end.get()))
    };
    assert_eq!((ask(3), LogView::last_epoch(&*kit.log)), (None, None));
    kit.push(0, 2, 2).unwrap();
    kit.push(20, 2, 4).unwrap();
    let cases = [(1, Some((1, 0))), (2, Some((2, 20))), (3, Some((2, 20))), (4, Some((4, 40))), (5, None)];
    for (asked, expected) in cases {
        assert_eq!(ask(asked), expected, "epoch {asked}");
    }
    assert_eq!(LogView::last_epoch(&*kit.log), Some(LeaderEpoch::new(4)));
    assert_eq!(LogView::log_end(&*kit.log), at(40));
}
