//! A data directory of format version 1, written once and kept: what it holds must stay readable by every later build.
//!
//! `e2e/fixtures/data-v1/` holds the directory as a kill left it, its last batches in the journal alone, and `content`, one
//! line for each batch. The zeros that end a journal file are left out. Nobody edits any of it by hand: a change of format
//! adds a directory beside it, written by `OTTLA_WRITE_FIXTURE=data-v2 cargo test -p ottla-log --test fixture`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_core::types::{ClusterId, DirectoryId, Incarnation, LeaderEpoch, Offset, PartitionIndex};
use ottla_core::types::{Timestamp, TopicId, TopicPartition};
use ottla_log::config::LogConfig;
use ottla_log::disk::Disk;
use ottla_log::disk::real::RealDisk;
use ottla_log::identity::{self, Identity};
use ottla_log::partition::{AppendContext, Origin, Partition};
use ottla_log::store::{Deaf, LogDir, Options, Recovered};
use ottla_log::verify::verify;
use ottla_wire::record::{BatchBuilder, BatchView, Batches, Compression};

const IDENTITY: Identity = Identity {
    cluster: ClusterId::from_bytes([0xc1; 16]),
    directory: DirectoryId::from_bytes([0xd1; 16]),
    incarnation: Incarnation::new(42),
};
const TOPICS: [(&str, u8, i32); 2] = [("orders", 1, 2), ("payments.v1", 2, 1)];
const START: i64 = 5;
/// Every journal file of a fixture is that long.
const JOURNAL_FILE_BYTES: usize = 256 * 1024;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures")
}

fn id(topic: u8, index: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([topic; 16]), PartitionIndex::new(index))
}

fn open(directory: &Path) -> (LogDir, Recovered) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory).unwrap());
    let mut number = 0;
    let mut options = Options::new(
        Arc::new(Deaf),
        [9; 16],
        Box::new(move || {
            number += 1;
            number
        }),
    );
    options.reserve_bytes = 0;
    options.journal.reserve_bytes = 0;
    options.journal.file_bytes = JOURNAL_FILE_BYTES as u64;
    options.journal.first_file_bytes = JOURNAL_FILE_BYTES as u64;
    LogDir::open(disk, options).unwrap()
}

/// The partition's batches as lines: folder, base offset, epoch, and the records in hexadecimal.
fn describe(log: &Arc<Partition>) -> String {
    let mut lines = String::new();
    let (mut at, end) = (log.log_start(), log.log_end());
    while at < end {
        let read = log.read(at, end, 1 << 20, true).unwrap();
        for batch in Batches::new(read.chunks.concat().into()) {
            let batch = batch.unwrap();
            let bytes: String = batch.bytes().iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
            let header = batch.header();
            let (base, epoch) = (header.base_offset, header.partition_leader_epoch);
            writeln!(lines, "{}-{} {base} {epoch} {bytes}", log.name(), log.index()).unwrap();
        }
        at = read.next;
    }
    lines
}

fn describe_all(dir: &LogDir) -> String {
    dir.partitions().iter().map(describe).collect()
}

/// Fills a new directory: several segments, epochs, an idempotent producer, a compressed batch, a moved log start.
fn write_fixture(directory: &Path) -> String {
    fs::create_dir_all(directory).unwrap();
    identity::write(&RealDisk::open(directory).unwrap(), IDENTITY).unwrap();
    let (dir, _) = open(directory);
    for (topic, number, partitions) in TOPICS {
        for index in 0..partitions {
            let log = dir.create(id(number, index), topic, LeaderEpoch::new(0)).unwrap();
            log.configure(LogConfig { segment_bytes: 4_000, index_interval_bytes: 500, ..LogConfig::default() });
            append(&dir, &log, 0..30);
        }
    }
    let (_, lsn) = dir.partition(id(1, 0)).unwrap().delete_records(Offset::new(START)).unwrap();
    dir.durable(lsn).wait().unwrap();
    dir.close().unwrap();
    drop(dir);
    // A second life, which ends by a kill.
    let (dir, _) = open(directory);
    for log in dir.partitions() {
        append(&dir, &log, 30..33);
    }
    describe_all(&dir)
}

fn append(dir: &LogDir, log: &Arc<Partition>, batches: std::ops::Range<i32>) {
    let mut last = None;
    for n in batches {
        let epoch = LeaderEpoch::new(n / 10);
        log.begin_epoch(epoch).unwrap();
        last = Some(log.append(batch(log.name(), log.index().get(), n), context(epoch)).unwrap());
    }
    dir.durable(last.unwrap().lsn).wait().unwrap();
}

fn batch(topic: &str, index: i32, n: i32) -> BatchView {
    let compression = if n % 7 == 3 { Compression::Zstd } else { Compression::None };
    let mut builder = BatchBuilder::new(compression);
    if n % 2 == 0 {
        builder = builder.producer(1_000, 2, n / 2 * 3);
    }
    for record in 0..3 {
        let value = format!("record {record} of batch {n} of {topic}-{index}: {}", "payload ".repeat(8));
        let key = format!("key-{}", n % 4);
        builder.append(
            1_700_000_000_000 + i64::from(n * 10 + record),
            Some(key.as_bytes()),
            Some(value.as_bytes()),
            &[],
        );
    }
    builder.build_view().unwrap()
}

fn context(epoch: LeaderEpoch) -> AppendContext {
    AppendContext { epoch, now: Timestamp::new(1_700_000_001_000), origin: Origin::Client }
}

/// Copies a directory, without what `skip` names; with or without the zeros that end a journal file.
fn copy(from: &Path, to: &Path, skip: &[&str], pad: bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if skip.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(&name), skip, pad);
        } else {
            let mut bytes = fs::read(entry.path()).unwrap();
            if name.to_string_lossy().ends_with(".jnl") {
                let length = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                bytes.resize(if pad { JOURNAL_FILE_BYTES } else { length }, 0);
            }
            fs::write(to.join(&name), bytes).unwrap();
        }
    }
}

/// Checks everything that version 1 of the directory is known to hold.
fn check(dir: &LogDir, recovered: &Recovered, content: &str) {
    assert_eq!((&recovered.damaged[..], &recovered.suspect[..]), (&[][..], &[][..]), "{recovered:?}");
    assert_eq!(recovered.unreadable_folders, Vec::<String>::new());
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in content.lines() {
        expected.entry(line.split(' ').next().unwrap()).or_default().push(line);
    }
    assert_eq!(expected.len(), dir.partitions().len());
    for log in dir.partitions() {
        let folder = format!("{}-{}", log.name(), log.index());
        let found = describe(&log);
        assert_eq!(found.lines().collect::<Vec<_>>(), expected[&folder[..]], "{folder}");
        let producers = log.producers();
        assert_eq!(producers.len(), 1, "{folder}: {producers:?}");
        assert_eq!(log.end_of_epoch(LeaderEpoch::new(1)), Some((LeaderEpoch::new(1), Offset::new(60))), "{folder}");
    }
    let log = dir.partition(id(1, 0)).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (Offset::new(START), Offset::new(99)));
    // A retry of the idempotent producer's last batch is known, and the log goes on.
    let epoch = LeaderEpoch::new(3);
    log.begin_epoch(epoch).unwrap();
    let again = log.append(batch("orders", 0, 32), context(epoch)).unwrap();
    assert!(again.duplicate && again.base == Offset::new(96), "{again:?}");
    let next = log.append(batch("orders", 0, 33), context(epoch)).unwrap();
    assert_eq!(next.base, Offset::new(99));
    dir.durable(next.lsn).wait().unwrap();
}

#[test]
fn every_version_of_the_data_directory_is_read() {
    if let Ok(name) = std::env::var("OTTLA_WRITE_FIXTURE") {
        let (made, kept) = (tempfile::tempdir().unwrap(), fixtures().join(&name));
        assert!(!kept.exists(), "{name} is there already: formats that were released do not change");
        let content = write_fixture(made.path());
        copy(made.path(), &kept.join("data"), &[identity::LOCK], false);
        fs::write(kept.join("content"), content).unwrap();
    }
    let mut versions = 0;
    for version in fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()) {
        let content = fs::read_to_string(version.join("content")).unwrap();
        for scanned in [false, true] {
            let copied = tempfile::tempdir().unwrap();
            copy(&version.join("data"), copied.path(), if scanned { &["catalogue"] } else { &[] }, true);
            let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(copied.path()).unwrap());
            assert_eq!(identity::read(&*disk).unwrap(), Some(IDENTITY), "{}", version.display());
            let report = verify(&disk, |_| {}).unwrap();
            assert!(report.is_sound(), "{}: {report:?}", version.display());
            let (dir, recovered) = open(copied.path());
            assert_eq!(recovered.scanned, scanned);
            check(&dir, &recovered, &content);
            dir.close().unwrap();
        }
        versions += 1;
    }
    assert!(versions > 0, "there is no fixture");
}

#[test]
fn this_build_writes_what_the_newest_fixture_holds() {
    let made = tempfile::tempdir().unwrap();
    let content = write_fixture(made.path());
    let kept = fs::read_to_string(fixtures().join("data-v1/content")).unwrap();
    assert_eq!(content, kept, "the generator and the fixture differ: add a fixture, do not change this one");
}
