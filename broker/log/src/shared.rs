//! What the partitions of one data directory share: journal, files, budgets, the queue of work for its threads.
//!
//! Owns the hand-over from the journal's thread to the segment threads and the accounting of memory and space. Holds no
//! decision about a batch. Lock order: a partition's `io`, then its `state`, then anything here; nothing here is held
//! while a partition's lock is taken.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ottla_core::types::{Lsn, Offset, TopicPartition};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::config::LogConfig;
use crate::disk::{Disk, count, counters};
use crate::files::FilePool;
use crate::journal::{Frame, GroupObserver, Journal, Kind, Offline};
use crate::names::Names;
use crate::partition::Partition;

/// How far a partition's log is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedEnd {
    /// Which partition.
    pub partition: TopicPartition,
    /// Offset behind its last durable batch (on opted-out topics: behind its last written one).
    pub end: Offset,
    /// How many bytes that moved by.
    pub bytes: u64,
}

/// Hears of durable ends. Called from the journal's thread, once per group, before anyone who waits for one of its
/// frames is woken; for opted-out topics from the appending thread. Must not block and must not append.
pub trait Observer: Send + Sync {
    /// These ends have moved; `flushed_end` of each partition says so already. While a cut is not durable yet, an end
    /// that was taken before it may still come, with `flushed_end` below it; none comes once the cut is durable.
    fn synced(&self, ends: &[SyncedEnd]);

    /// The data directory takes no writes any more in this process.
    fn offline(&self, reason: &str);

    /// Offsets of this partition turned out to be damaged, and are kept apart. Called with locks of the partition held.
    fn damaged(&self, _partition: TopicPartition) {}
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deaf;

impl Observer for Deaf {
    fn synced(&self, _ends: &[SyncedEnd]) {}

    fn offline(&self, _reason: &str) {}
}

counters! {
    /// Plain counters of the segments of a data directory; they only grow, except those named `…_now`.
    StoreStats {
        /// Batches appended.
        appends,
        /// Bytes appended.
        appended_bytes,
        /// Retries that were answered with their original offset.
        duplicates,
        /// Appends refused because a budget or the disk was full.
        refused_full,
        /// Bytes served from memory.
        read_memory_bytes,
        /// Bytes served from segment files.
        read_file_bytes,
        /// Ranges found damaged.
        damaged_ranges,
        /// Reads where a sidecar disagreed with sound batches.
        sum_mismatches,
        /// Segments rolled.
        rolls,
        /// Segments removed by retention, deletion or a moved log start.
        segments_removed,
        /// Flush passes.
        flushes,
        /// Files flushed in them, one by one.
        flushed_files,
        /// Flush passes that flushed the whole file system at once.
        full_flushes,
        /// Catalogues written.
        catalogues,
        /// Bytes of the last catalogue.
        catalogue_bytes_now,
    }
}

/// Work for the segment threads.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Partitions that have durable batches to write, or something to remove.
    pub(crate) ready: Vec<Arc<Partition>>,
    /// Partitions that are gone for good.
    pub(crate) removals: Vec<Arc<Partition>>,
    /// Every frame up to this one is durable and its partition was put here.
    pub(crate) synced: Lsn,
    pub(crate) stop: bool,
}

/// The bounds of one data directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) files: usize,
    pub(crate) tail_bytes: usize,
    pub(crate) pending_bytes: usize,
    pub(crate) flush_bytes: u64,
    pub(crate) reserve_bytes: u64,
}

/// One data directory, as its partitions see it.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) pool: FilePool,
    pub(crate) journal: OnceLock<Journal>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) stats: Arc<StoreStats>,
    pub(crate) names: Names,
    pub(crate) partitions: RwLock<HashMap<TopicPartition, Arc<Partition>>>,
    /// Deleted, but their files are still there.
    pub(crate) leaving: Mutex<HashMap<TopicPartition, Arc<Partition>>>,
    pub(crate) queue: Mutex<Queue>,
    /// Wakes a writer that has nothing to do.
    pub(crate) work: Condvar,
    /// Wakes a writer that waits for more.
    pub(crate) urgent: Condvar,
    /// Partitions whose segments have unflushed bytes.
    pub(crate) dirty: Mutex<Vec<Arc<Partition>>>,
    /// Serialises what changes the set of partitions or their starts with the catalogue's view of it; holds the last
    /// such frame.
    pub(crate) structure: Mutex<Lsn>,
    /// Partitions with batches whose folder is not durable yet, by the frame that names them.
    pub(crate) unsettled: Mutex<HashMap<TopicPartition, Lsn>>,
    pub(crate) budget: Budget,
    pub(crate) space: SpaceGuard,
    /// So many unflushed bytes make a flush urgent.
    pub(crate) flush_bytes: u64,
    pub(crate) offline: OnceLock<Offline>,
    /// The observer has heard of it.
    told: AtomicBool,
    pub(crate) written: AtomicU64,
    /// What holds for a partition until the broker says otherwise.
    pub(crate) defaults: Arc<LogConfig>,
    /// The last configurations: most partitions share one.
    configs: Mutex<Vec<Arc<LogConfig>>>,
    pub(crate) flusher: Flusher,
    /// Held by the flush pass that is under way.
    pub(crate) pass: Mutex<()>,
    pub(crate) rooms: Rooms,
    /// Folders and files of deleted partitions.
    pub(crate) trash: Mutex<Vec<String>>,
}

/// What wakes the flusher.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    pub(crate) signal: Mutex<Signal>,
    pub(crate) wake: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Signal {
    /// Something is dirty.
    pub(crate) dirty: bool,
    /// Enough is dirty that it must not wait.
    pub(crate) urgent: bool,
    /// A catalogue is wanted even if nothing is dirty.
    pub(crate) catalogue: bool,
    pub(crate) stop: bool,
}

/// Who waits for room.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    pub(crate) wakers: Mutex<Vec<std::task::Waker>>,
}

impl Rooms {
    /// Room may have come back.
    pub(crate) fn open(&self) {
        for waker in std::mem::take(&mut *self.wakers.lock()) {
            waker.wake();
        }
    }
}

/// So many waiting bytes are written without waiting for more.
pub(crate) const WRITE_NOW_BYTES: usize = 1024 * 1024;

/// How many configurations are shared.
const CONFIGS_KEPT: usize = 16;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("root", &self.disk.root()).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, observer: Arc<dyn Observer>, bounds: Bounds) -> Arc<Self> {
        let defaults = Arc::new(LogConfig::default());
        Arc::new(Self {
            pool: FilePool::new(Arc::clone(&disk), bounds.files),
            disk,
            journal: OnceLock::new(),
            observer,
            stats: Arc::default(),
            names: Names::default(),
            partitions: RwLock::default(),
            leaving: Mutex::default(),
            queue: Mutex::default(),
            work: Condvar::new(),
            urgent: Condvar::new(),
            dirty: Mutex::default(),
            structure: Mutex::default(),
            unsettled: Mutex::default(),
            budget: Budget::new(bounds.tail_bytes, bounds.pending_bytes),
            space: SpaceGuard::new(bounds.reserve_bytes),
            flush_bytes: bounds.flush_bytes,
            offline: OnceLock::new(),
            told: AtomicBool::new(false),
            written: AtomicU64::new(0),
            configs: Mutex::new(vec![Arc::clone(&defaults)]),
            defaults,
            flusher: Flusher::default(),
            pass: Mutex::new(()),
            rooms: Rooms::default(),
            trash: Mutex::default(),
        })
    }

    pub(crate) fn journal(&self) -> Result<&Journal, Offline> {
        if let Some(offline) = self.offline.get() {
            return Err(offline.clone());
        }
        self.journal.get().ok_or_else(|| Offline { reason: Arc::from("not open yet") })
    }

    /// S2: the first error that is not about space ends all writing of this process, and every ack that is still waiting.
    /// May be called under a partition's locks.
    pub(crate) fn fail(&self, reason: &str) {
        self.fail_quietly(reason);
        self.tell();
    }

    /// The same where the caller's own locks forbid to call the observer: the journal's thread tells it.
    pub(crate) fn fail_quietly(&self, reason: &str) {
        let offline = Offline { reason: Arc::from(reason) };
        if self.offline.set(offline.clone()).is_ok() {
            tracing::error!(reason, "the data directory is offline");
            if let Some(journal) = self.journal.get() {
                journal.take_offline(offline);
            }
            self.work.notify_all();
            self.urgent.notify_all();
            self.flusher.wake.notify_all();
            self.rooms.open();
        }
    }

    /// Ends the directory without a failure.
    pub(crate) fn close(&self) {
        if self.offline.set(Offline { reason: Arc::from("closed") }).is_ok() {
            self.told.store(true, Ordering::Release);
        }
    }

    /// Tells the observer, once, if the directory is offline.
    pub(crate) fn tell(&self) {
        let Some(offline) = self.offline.get() else { return };
        if !self.told.swap(true, Ordering::AcqRel) {
            self.observer.offline(&offline.reason);
        }
    }

    /// Puts a partition into the writers' queue.
    pub(crate) fn enqueue(&self, partition: &Arc<Partition>) {
        if !partition.queued.swap(true, Ordering::AcqRel) {
            self.queue.lock().ready.push(Arc::clone(partition));
        }
        self.work.notify_one();
    }

    /// Puts a partition into the flusher's list.
    pub(crate) fn mark_dirty(&self, partition: &Arc<Partition>) {
        if !partition.dirty.swap(true, Ordering::AcqRel) {
            self.dirty.lock().push(Arc::clone(partition));
        }
        let urgent = self.space.unflushed() >= self.flush_bytes;
        let mut signal = self.flusher.signal.lock();
        if !signal.dirty || urgent && !signal.urgent {
            signal.dirty = true;
            signal.urgent |= urgent;
            self.flusher.wake.notify_one();
        }
    }

    /// The catalogue must say something new soon.
    pub(crate) fn request_catalogue(&self) {
        let mut signal = self.flusher.signal.lock();
        signal.catalogue = true;
        signal.dirty = true;
        self.flusher.wake.notify_one();
    }

    /// One copy of a configuration that many partitions have.
    pub(crate) fn intern(&self, config: Arc<LogConfig>) -> Arc<LogConfig> {
        let mut configs = self.configs.lock();
        if let Some(known) = configs.iter().find(|known| **known == config) {
            return Arc::clone(known);
        }
        if configs.len() >= CONFIGS_KEPT {
            configs.remove(0);
        }
        configs.push(Arc::clone(&config));
        config
    }

    /// Every frame up to this one is in the segments' files.
    pub(crate) fn written(&self) -> Lsn {
        Lsn::new(self.written.load(Ordering::Acquire))
    }
}

impl GroupObserver for Shared {
    fn synced(&self, frames: &mut Vec<(Lsn, Frame)>) {
        let Some(&(last, _)) = frames.last() else { return };
        // A segment failed while this group was on its way: nobody is told that it is durable (S2).
        if self.offline.get().is_some() {
            return;
        }
        let mut ends: Vec<(SyncedEnd, Lsn, Arc<Partition>)> = Vec::new();
        let mut removals = Vec::new();
        let mut slots: HashMap<TopicPartition, usize> = HashMap::new();
        {
            let partitions = self.partitions.read();
            for (lsn, frame) in frames.drain(..) {
                if frame.kind == Kind::Delete {
                    removals.extend(self.leaving.lock().remove(&frame.partition));
                    continue;
                }
                let bytes = if frame.kind == Kind::Append { frame.payload.len() as u64 } else { 0 };
                if let Some(&slot) = slots.get(&frame.partition) {
                    let (end, at, _) = &mut ends[slot];
                    end.bytes += bytes;
                    if frame.kind == Kind::Append {
                        (end.end, *at) = (frame.end, lsn);
                    }
                    continue;
                }
                // Frames before a tombstone are of the life that it ends, whoever has the id now.
                if self.leaving.lock().contains_key(&frame.partition) {
                    continue;
                }
                let Some(partition) = partitions.get(&frame.partition) else { continue };
                slots.insert(frame.partition, ends.len());
                let end = if frame.kind == Kind::Append { frame.end } else { Offset::new(0) };
                ends.push((SyncedEnd { partition: frame.partition, end, bytes }, lsn, Arc::clone(partition)));
            }
        }
        for (end, lsn, partition) in &mut ends {
            end.end = partition.on_group(*lsn, end.end);
        }
        {
            let mut queue = self.queue.lock();
            for (_, _, partition) in &ends {
                if !partition.queued.swap(true, Ordering::AcqRel) {
                    queue.ready.push(Arc::clone(partition));
                }
            }
            queue.removals.append(&mut removals);
            queue.synced = last;
        }
        self.work.notify_one();
        if self.budget.pending() >= WRITE_NOW_BYTES {
            self.urgent.notify_one();
        }
        let ends: Vec<SyncedEnd> = ends.into_iter().map(|(end, ..)| end).collect();
        self.observer.synced(&ends);
    }

    fn offline(&self, reason: &Offline) {
        self.fail(&reason.reason);
    }
}

/// Memory for recent batches, over all partitions.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    pending_max: usize,
    /// Everything that is in a ring.
    held: AtomicUsize,
    /// What of it is not in a segment yet.
    pending: AtomicUsize,
    /// Who cached how many batches, oldest first.
    order: Mutex<VecDeque<(Arc<Partition>, u32)>>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize, pending_max: usize) -> Self {
        let (held, pending) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { bytes_max, pending_max, held, pending, order: Mutex::default() }
    }

    /// Whether another batch may wait for the segment threads.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        let pending = self.pending.load(Ordering::Relaxed);
        // One batch that is larger than the budget is admitted alone.
        pending == 0 || pending + bytes <= self.pending_max
    }

    pub(crate) fn on_appended(&self, cost: usize) {
        self.held.fetch_add(cost, Ordering::Relaxed);
        self.pending.fetch_add(cost, Ordering::Relaxed);
    }

    /// `batches` of `partition` are in its segment; what that makes too much is evicted, oldest first.
    pub(crate) fn on_written(&self, partition: &Arc<Partition>, batches: usize, cost: usize) {
        self.pending.fetch_sub(cost, Ordering::Relaxed);
        let batches = u32::try_from(batches).unwrap_or(u32::MAX);
        self.order.lock().push_back((Arc::clone(partition), batches));
        while self.held.load(Ordering::Relaxed) > self.bytes_max {
            let Some((partition, batches)) = self.order.lock().pop_front() else { break };
            self.on_freed(partition.evict(batches));
        }
    }

    /// Batches left a ring in another way; `pending` of them had not been written.
    pub(crate) fn on_dropped(&self, cost: usize, pending: usize) {
        self.on_freed(cost);
        self.pending.fetch_sub(pending, Ordering::Relaxed);
    }

    fn on_freed(&self, cost: usize) {
        self.held.fetch_sub(cost, Ordering::Relaxed);
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.order.lock().clear();
    }

    /// Forgets partitions that are gone, so that they can be freed.
    pub(crate) fn purge(&self) {
        let gone = |partition: &Arc<Partition>| partition.gone.load(Ordering::Relaxed);
        self.order.lock().retain(|(partition, _)| !gone(partition));
    }
}

/// Stops admission while the disk could not hold what is already promised.
#[derive(Debug)]
pub(crate) struct SpaceGuard {
    reserve: u64,
    /// Free space when it was last asked for, less what was appended since.
    free: AtomicU64,
    /// Bytes in segments that were not flushed.
    unflushed: AtomicU64,
    asked: AtomicBool,
    exhausted: AtomicBool,
}

impl SpaceGuard {
    pub(crate) fn new(reserve: u64) -> Self {
        Self {
            reserve,
            free: AtomicU64::new(u64::MAX),
            unflushed: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            exhausted: AtomicBool::new(false),
        }
    }

    /// Asks the disk.
    pub(crate) fn refresh(&self, disk: &dyn Disk, pending: usize) {
        if let Ok(space) = disk.space() {
            self.free.store(space.free.saturating_sub(pending as u64), Ordering::Relaxed);
        }
        self.asked.store(false, Ordering::Relaxed);
        self.exhausted.store(false, Ordering::Relaxed);
    }

    /// A write found the disk full: nothing is admitted until it has been asked again.
    pub(crate) fn exhausted(&self) {
        self.free.store(0, Ordering::Relaxed);
        self.exhausted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Whether `bytes` more fit beside what is unflushed and the reserve.
    pub(crate) fn admits(&self, bytes: u64) -> bool {
        let free = self.free.load(Ordering::Relaxed);
        free == u64::MAX || free >= self.unflushed() + self.reserve + bytes
    }

    pub(crate) fn on_appended(&self, bytes: u64) {
        let free = self.free.load(Ordering::Relaxed);
        if free != u64::MAX {
            self.free.store(free.saturating_sub(bytes), Ordering::Relaxed);
        }
    }

    /// Someone was refused: the next round of the writers looks again. Whether this is the first to say so.
    pub(crate) fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn on_written(&self, bytes: u64) {
        self.unflushed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn on_flushed(&self, bytes: u64) {
        self.unflushed.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unflushed(&self) -> u64 {
        self.unflushed.load(Ordering::Relaxed)
    }
}

/// Counts a refusal.
pub(crate) fn refused(shared: &Shared) {
    count(&shared.stats.refused_full, 1);
}
