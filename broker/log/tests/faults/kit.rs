//! A small data directory whose content is known, and the comparison with what a start makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ottla_core::types::{ClusterId, DirectoryId, Incarnation, LeaderEpoch, Offset, PartitionIndex};
use ottla_core::types::{Timestamp, TopicId, TopicPartition};
use ottla_log::config::LogConfig;
use ottla_log::damage::DamagedRange;
use ottla_log::disk::Disk;
use ottla_log::disk::sim::{Random, SimDisk};
use ottla_log::identity::{self, Identity};
use ottla_log::journal;
use ottla_log::partition::{AppendContext, AppendError, Appended, Origin, Partition, ReadError};
use ottla_log::store::{Deaf, LogDir, Observer, Options, Recovered};
use ottla_wire::record::{BatchBuilder, BatchView, Batches, Compression};

/// The batches of one partition by base offset, with the offset behind each.
pub(crate) type Content = BTreeMap<i64, (i64, Bytes)>;

pub(crate) const TOPIC: &str = "orders";

pub(crate) fn partition(index: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([7; 16]), PartitionIndex::new(index))
}

/// A directory that is being filled.
pub(crate) struct Kit {
    pub(crate) disk: SimDisk,
    pub(crate) dir: LogDir,
    pub(crate) content: BTreeMap<TopicPartition, Content>,
    now: Instant,
    clock: i64,
}

pub(crate) fn config() -> LogConfig {
    LogConfig { segment_bytes: 3_000, index_interval_bytes: 300, ..LogConfig::default() }
}

fn options(observer: Arc<dyn Observer>) -> Options {
    let mut numbers = Random::new(11);
    let mut options = Options::new(observer, [1; 16], Box::new(move || numbers.next()));
    options.journal = journal::Options {
        file_bytes: 64 * 1024,
        first_file_bytes: 64 * 1024,
        bytes_max: 512 * 1024,
        group_bytes: 8 * 1024,
        reserve_bytes: 0,
        ..journal::Options::default()
    };
    options.tail_cache_bytes = 0;
    options.reserve_bytes = 0;
    options.threads = false;
    options
}

pub(crate) fn open(disk: &SimDisk) -> Result<(LogDir, Recovered), ottla_log::store::OpenError> {
    open_with(disk, Arc::new(Deaf))
}

pub(crate) fn open_with(
    disk: &SimDisk,
    observer: Arc<dyn Observer>,
) -> Result<(LogDir, Recovered), ottla_log::store::OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    LogDir::open(disk, options(observer))
}

impl Kit {
    /// A new directory with one topic of two partitions.
    pub(crate) fn new() -> Self {
        Self::observed(Arc::new(Deaf))
    }

    pub(crate) fn observed(observer: Arc<dyn Observer>) -> Self {
        let disk = SimDisk::new(5);
        let identity = Identity {
            cluster: ClusterId::from_bytes([1; 16]),
            directory: DirectoryId::from_bytes([2; 16]),
            incarnation: Incarnation::new(3),
        };
        identity::write(&disk, identity).unwrap();
        let (dir, _) = open_with(&disk, observer).unwrap();
        #[expect(clippy::disallowed_methods, reason = "only the beginning of this test's own time")]
        let now = Instant::now();
        let mut kit = Self { disk, dir, content: BTreeMap::new(), now, clock: 1_000_000 };
        for index in 0..2 {
            let log = kit.dir.create(partition(index), TOPIC, LeaderEpoch::new(0)).unwrap();
            log.configure(config());
            kit.content.insert(partition(index), Content::new());
        }
        kit
    }

    /// A directory with several segments, flushed and closed in order.
    pub(crate) fn closed() -> (SimDisk, BTreeMap<TopicPartition, Content>) {
        let mut kit = Self::new();
        kit.fill();
        kit.dir.close().unwrap();
        let Self { disk, dir, content, .. } = kit;
        drop(dir);
        (disk.kill(), content)
    }

    /// Acked batches in two epochs, over several segments of each partition.
    pub(crate) fn fill(&mut self) {
        for round in 0..4 {
            for index in 0..2 {
                let epoch = LeaderEpoch::new(round / 2);
                self.dir.partition(partition(index)).unwrap().begin_epoch(epoch).unwrap();
                for _ in 0..6 {
                    self.append(index);
                }
            }
            self.pump();
        }
    }

    /// Gives one batch its place; it is acked once [`Kit::pump`] has returned.
    pub(crate) fn append(&mut self, index: i32) -> Appended {
        let log = self.dir.partition(partition(index)).unwrap();
        self.clock += 1;
        let (appended, bytes) = append_one(&log, self.clock);
        let content = self.content.get_mut(&partition(index)).unwrap();
        content.insert(appended.base.get(), (appended.last.get() + 1, bytes));
        appended
    }

    /// Acked batches that no flush has seen.
    pub(crate) fn fill_more(&mut self) {
        for round in 0..6 {
            for index in 0..2 {
                for _ in 0..=round % 3 {
                    self.append(index);
                }
            }
            self.pump();
        }
    }

    /// One step of every thread.
    pub(crate) fn pump(&mut self) {
        assert!(self.try_pump());
    }

    /// One step of every thread; `false` if the disk said no.
    pub(crate) fn try_pump(&mut self) -> bool {
        self.now += Duration::from_millis(1);
        self.dir.pump(self.now).is_ok()
    }

    /// The directory of a later life, with what it held.
    pub(crate) fn resumed(self, disk: SimDisk, dir: LogDir, content: BTreeMap<TopicPartition, Content>) -> Self {
        Self { disk, dir, content, ..self }
    }

    /// Long enough without work for the journal's closing frame.
    pub(crate) fn idle(&mut self) {
        self.now += Duration::from_secs(1);
        self.pump();
    }
}

/// One batch of up to three records, and its bytes as the log must have them.
pub(crate) fn append_one(log: &Arc<Partition>, clock: i64) -> (Appended, Bytes) {
    let (appended, bytes) = try_append_one(log, clock);
    let appended = appended.unwrap();
    let mut placed = BytesMut::from(&bytes[..]);
    placed[..8].copy_from_slice(&appended.base.get().to_be_bytes());
    placed[12..16].copy_from_slice(&log.epoch().get().to_be_bytes());
    (appended, placed.freeze())
}

/// The same where it may be refused, and the bytes as they were sent.
pub(crate) fn try_append_one(log: &Arc<Partition>, clock: i64) -> (Result<Appended, AppendError>, Bytes) {
    let mut builder = BatchBuilder::new(Compression::None);
    for n in 0..1 + clock % 3 {
        let value = format!("value {n} of {clock} in partition {}: {}", log.id(), "x".repeat(90));
        builder.append(clock, None, Some(value.as_bytes()), &[]);
    }
    let batch: BatchView = builder.build_view().unwrap();
    let bytes = batch.bytes().clone();
    let cx = AppendContext { epoch: log.epoch(), now: Timestamp::new(clock), origin: Origin::Client };
    (log.append(batch, cx), bytes)
}

/// What can be read of a log, and what it says is damaged.
pub(crate) fn readable(log: &Arc<Partition>) -> (BTreeMap<i64, Bytes>, Vec<DamagedRange>) {
    let (mut batches, mut damaged) = (BTreeMap::new(), Vec::new());
    let (mut at, end) = (log.log_start(), log.log_end());
    while at < end {
        match log.read(at, end, 900, true) {
            Ok(read) => {
                assert!(read.bytes > 0 && read.next > at, "nothing at {at} of {end}");
                let whole: Vec<u8> = read.chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
                for batch in Batches::new(Bytes::from(whole)) {
                    let batch = batch.expect("a read returns whole batches");
                    batches.insert(batch.header().base_offset, batch.bytes().clone());
                }
                at = read.next;
            }
            Err(ReadError::Damaged { range }) => {
                assert!(range.from <= at && at < range.upto, "{range:?} does not hold {at}");
                damaged.push(range);
                at = range.upto;
            }
            Err(error) => panic!("read at {at}: {error}"),
        }
    }
    (batches, damaged)
}

/// What a start lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Batches, over all partitions.
    pub(crate) batches: usize,
    /// Ranges that are named.
    pub(crate) ranges: usize,
    /// Partitions that end before their last batch.
    pub(crate) short: Vec<TopicPartition>,
}

/// Compares a directory with what was acked: other bytes are never served, and what is missing is named, unless the log
/// ends before it.
pub(crate) fn compare(dir: &LogDir, content: &BTreeMap<TopicPartition, Content>) -> Loss {
    let mut loss = Loss::default();
    for (&id, content) in content {
        let log = dir.partition(id).unwrap_or_else(|| panic!("{id} is gone"));
        let (batches, damaged) = readable(&log);
        for (base, bytes) in &batches {
            let known = content.get(base).unwrap_or_else(|| panic!("{id}: nobody was given {base}"));
            assert_eq!(&known.1, bytes, "{id}: other bytes at {base}");
        }
        for (&base, &(end, _)) in content.iter().filter(|(base, _)| !batches.contains_key(base)) {
            loss.batches += 1;
            let known = log.damage();
            let named = known.iter().any(|range| range.from.get() <= base && end <= range.upto.get());
            let beyond = end > log.log_end().get();
            assert!(named || beyond, "{id}: {base}..{end} is lost and nobody says so: {known:?}");
            if !named && !loss.short.contains(&id) {
                loss.short.push(id);
            }
        }
        loss.ranges += damaged.len();
        look_up(&log, &batches);
        assert!(matches!(
            log.read(log.log_end().plus(1), Offset::new(i64::MAX), 1, true),
            Err(ReadError::OutOfRange { .. })
        ));
    }
    loss
}

/// Reads and searches that go by the indexes must find the same.
fn look_up(log: &Arc<Partition>, batches: &BTreeMap<i64, Bytes>) {
    for (&base, bytes) in batches.iter().rev().step_by(7) {
        let read = log.read(Offset::new(base), log.log_end(), 1, true).unwrap();
        assert_eq!(read.chunks.concat(), bytes[..], "at {base}");
        let batch = BatchView::split_from(&mut bytes.clone()).unwrap();
        let time = Timestamp::new(batch.header().max_timestamp);
        let (_, offset, _) = log.offset_for_timestamp(time, log.log_end()).unwrap().unwrap();
        assert_eq!(offset.get(), base, "at {time}");
    }
}

/// The directory after a start: it must open, take appends and serve.
pub(crate) fn restart(disk: &SimDisk, content: &BTreeMap<TopicPartition, Content>) -> (LogDir, Recovered, Loss) {
    let (dir, recovered) = open(disk).unwrap();
    let loss = compare(&dir, content);
    #[expect(clippy::disallowed_methods, reason = "only the beginning of this test's own time")]
    let now = Instant::now();
    for log in dir.partitions() {
        log.configure(config());
    }
    for _ in 0..3 {
        dir.pump(now).unwrap();
    }
    dir.flush().unwrap();
    assert_eq!(compare(&dir, content).batches, loss.batches, "a second look finds the same");
    (dir, recovered, loss)
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// One bit, at so many hundredths of the file.
    Flip(usize),
    /// Everything behind so many hundredths.
    Cut(usize),
    /// All of it.
    Delete,
}

pub(crate) const HARMS: [Harm; 7] =
    [Harm::Flip(0), Harm::Flip(37), Harm::Flip(71), Harm::Flip(99), Harm::Cut(0), Harm::Cut(60), Harm::Delete];

/// Does it; `false` if the file has no such place.
pub(crate) fn harm(disk: &SimDisk, file: &str, harm: Harm) -> bool {
    let length = usize::try_from(disk.size(file).unwrap().unwrap()).unwrap();
    match harm {
        Harm::Flip(at) => disk.flip_bit(file, (length * at / 100 * 8 + at % 8) as u64),
        Harm::Cut(at) => length > 0 && disk.cut(file, length * at / 100),
        Harm::Delete => disk.remove(file).is_ok(),
    }
}

/// The files whose names end so.
pub(crate) fn files(disk: &SimDisk, suffix: &str) -> Vec<String> {
    let files: Vec<String> = disk.files().into_iter().filter(|file| file.ends_with(suffix)).collect();
    assert!(!files.is_empty(), "there is no {suffix}");
    files
}
