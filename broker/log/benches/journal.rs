//! The journal's hot path: from a submitted frame to its bytes in the aligned buffer, and to the disk.
//!
//! `submit and pack` runs on a disk that takes everything at once, so that what is measured is ours: the queue, the
//! checksum, the copy. `to the disk` runs on a real file in the target directory, with its flushes.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first thing that does not work")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ottla_core::types::{LeaderEpoch, Lsn, Offset, PartitionIndex, TopicId, TopicPartition};
use ottla_log::disk::real::RealDisk;
use ottla_log::disk::{Disk, DiskError, DiskFile, DiskLock, DiskStats, Entry, LockError, Open, Space};
use ottla_log::journal::{Frame, GroupObserver, Journal, Offline, Options, Pumped, Recovery};

/// Forgets frames as the store does once the segments have them.
struct Deaf;

impl GroupObserver for Deaf {
    fn synced(&self, frames: &mut Vec<(Lsn, Frame)>) {
        frames.clear();
    }

    fn offline(&self, reason: &Offline) {
        panic!("{reason}");
    }
}

/// A disk whose files take everything and keep nothing.
#[derive(Debug, Default)]
struct NullDisk {
    stats: DiskStats,
}

#[derive(Debug)]
struct NullFile(Arc<str>);

impl Disk for NullDisk {
    fn root(&self) -> &Path {
        Path::new("/null")
    }
    fn open(&self, path: &str, _how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        Ok(Arc::new(NullFile(Arc::from(path))))
    }
    fn create_dir(&self, _path: &str) -> Result<(), DiskError> {
        Ok(())
    }
    fn rename(&self, _from: &str, _to: &str) -> Result<(), DiskError> {
        Ok(())
    }
    fn remove(&self, _path: &str) -> Result<(), DiskError> {
        Ok(())
    }
    fn remove_dir(&self, _path: &str) -> Result<(), DiskError> {
        Ok(())
    }
    fn list(&self, _path: &str) -> Result<Vec<Entry>, DiskError> {
        Ok(Vec::new())
    }
    fn size(&self, _path: &str) -> Result<Option<u64>, DiskError> {
        Ok(None)
    }
    fn sync_dir(&self, _path: &str) -> Result<(), DiskError> {
        Ok(())
    }
    fn sync_all(&self) -> Result<(), DiskError> {
        Ok(())
    }
    fn space(&self) -> Result<Space, DiskError> {
        Ok(Space { free: u64::MAX / 2, total: u64::MAX / 2 })
    }
    fn lock(&self, _path: &str) -> Result<Box<dyn DiskLock>, LockError> {
        #[derive(Debug)]
        struct Free;
        impl DiskLock for Free {}
        Ok(Box::new(Free))
    }
    fn stats(&self) -> &DiskStats {
        &self.stats
    }
}

impl DiskFile for NullFile {
    fn path(&self) -> &Arc<str> {
        &self.0
    }
    fn is_direct(&self) -> bool {
        true
    }
    fn len(&self) -> Result<u64, DiskError> {
        Ok(0)
    }
    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> Result<usize, DiskError> {
        Ok(0)
    }
    fn read_bytes(&self, _offset: u64, _length: usize) -> Result<Bytes, DiskError> {
        Ok(Bytes::new())
    }
    fn try_read_cached(&self, _offset: u64, _length: usize) -> Result<Option<Bytes>, DiskError> {
        Ok(None)
    }
    fn write_at(&self, _offset: u64, _buffers: &[std::io::IoSlice<'_>]) -> Result<(), DiskError> {
        Ok(())
    }
    fn sync_data(&self) -> Result<(), DiskError> {
        Ok(())
    }
    fn truncate(&self, _length: u64) -> Result<(), DiskError> {
        Ok(())
    }
    fn allocate(&self, _offset: u64, _length: u64) -> Result<(), DiskError> {
        Ok(())
    }
    fn zero_fill(&self, _offset: u64, _length: u64) -> Result<(), DiskError> {
        Ok(())
    }
}

fn open(disk: Arc<dyn Disk>) -> Journal {
    let mut generation = 0_u64;
    let entropy = Box::new(move || {
        generation += 1;
        generation
    });
    let recovery = Recovery::open(disk, Options::default()).unwrap();
    recovery.start(entropy, Arc::new(Deaf)).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Submits `frames` frames of `tail`, writes them, releases them.
fn round(journal: &Journal, tail: &Bytes, frames: usize) {
    let id = TopicPartition::new(TopicId::from_bytes([7; 16]), PartitionIndex::new(1));
    for n in 0..frames {
        let base = Offset::new(n as i64);
        let frame = Frame::append(id, base, base.plus(1), LeaderEpoch::new(1), [1; 61], tail.clone());
        while journal.submit(frame.clone()).is_err() {
            journal.pump(now()).unwrap();
            journal.release(journal.synced());
            journal.keep().unwrap();
        }
    }
    while let Pumped::Wrote { .. } = journal.pump(now()).unwrap() {}
    journal.release(journal.synced());
    while journal.keep().unwrap() {}
}

/// (Bytes of a batch, batches of a group.)
const SHAPES: [(usize, usize); 4] = [(100, 1000), (1024, 256), (16 * 1024, 32), (1024 * 1024 - 61, 2)];

fn pack(c: &mut Criterion) {
    let mut group = c.benchmark_group("submit and pack");
    for (bytes, frames) in SHAPES {
        let journal = open(Arc::new(NullDisk::default()));
        let tail = Bytes::from(vec![3; bytes]);
        group.throughput(Throughput::Bytes(((bytes + 61) * frames) as u64));
        group.bench_function(BenchmarkId::new(format!("{bytes} B"), frames), |b| {
            b.iter(|| round(&journal, &tail, frames));
        });
    }
    group.finish();
}

fn disk(c: &mut Criterion) {
    let mut group = c.benchmark_group("to the disk");
    group.sample_size(20);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (bytes, frames) in [(100, 1), (1024, 256), (1024 * 1024 - 61, 2)] {
        let journal = open(Arc::new(RealDisk::create(&folder.path().join(bytes.to_string())).unwrap()));
        let tail = Bytes::from(vec![3; bytes]);
        group.throughput(Throughput::Bytes(((bytes + 61) * frames) as u64));
        group.bench_function(BenchmarkId::new(format!("{bytes} B"), frames), |b| {
            b.iter(|| round(&journal, &tail, frames));
        });
    }
    group.finish();
}

criterion_group!(benches, pack, disk);
criterion_main!(benches);
