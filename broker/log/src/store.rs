//! `LogDir`: one data directory and every partition in it.
//!
//! Owns opening and closing, the set of partitions, and the threads that write segments and flush them. Everything that
//! creates, deletes or moves the start of a partition is a frame of the journal first; the catalogue follows.
//!
//! Three moments of a batch: its journal group is synced (it is acked), a segment thread has written it (memory may
//! forget it), a flush pass has made the segment durable and the catalogue says so (the journal may forget it).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::limits;
use ottla_core::types::{LeaderEpoch, Lsn, Offset, Timestamp, TopicPartition};
use parking_lot::Mutex;

use crate::catalogue;
use crate::disk::{Disk, DiskError, Space};
use crate::journal::{self, Durable, Entropy, Frame, Journal, Offline, Room as JournalRoom, SubmitError};
use crate::partition::{Beginning, DeleteRecordsError, FencedEpoch, Partition};
use crate::shared::{Bounds, Shared};

mod background;
mod doubts;
mod flush;
mod recover;
mod scan;

pub use crate::shared::{Deaf, Observer, StoreStats, SyncedEnd};
pub use recover::{Recovered, Suspicion};
pub(crate) use scan::{covered, scan_folder};

use background::Threads;

/// How a data directory is kept.
pub struct Options {
    /// The journal's own options; `known_synced` is filled in.
    pub journal: journal::Options,
    /// Memory for recent batches.
    pub tail_cache_bytes: usize,
    /// Memory for batches that are not in a segment yet; beyond it appends are refused for the moment.
    pub pending_bytes_max: usize,
    /// Open segment files.
    pub files_max: usize,
    /// So many unflushed bytes start a flush pass at once.
    pub flush_bytes: u64,
    /// The longest that something stays unflushed.
    pub flush_age: Duration,
    /// Free space that appends must leave, besides what is unflushed.
    pub reserve_bytes: u64,
    /// Under which boot of the machine this process runs.
    pub boot: [u8; 16],
    /// Who hears of durable ends.
    pub observer: Arc<dyn Observer>,
    /// Draws the journal's generations.
    pub entropy: Entropy,
    /// Whether the store makes its threads; a simulator calls [`LogDir::pump`] instead.
    pub threads: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("journal", &self.journal)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults, with what has none.
    pub fn new(observer: Arc<dyn Observer>, boot: [u8; 16], entropy: Entropy) -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            journal: journal::Options::default(),
            tail_cache_bytes: limits::TAIL_CACHE_BYTES,
            pending_bytes_max: limits::PRODUCE_BYTES,
            files_max: 512,
            flush_bytes: 32 * MIB,
            flush_age: Duration::from_secs(2),
            reserve_bytes: 64 * MIB,
            boot,
            observer,
            entropy,
            threads: true,
        }
    }
}

/// A data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The catalogue could not be read.
    #[error(transparent)]
    Catalogue(#[from] catalogue::ReadError),
    /// The threads could not be made.
    #[error("start the segment threads: {0}")]
    Threads(std::io::Error),
}

/// A change to the set of partitions was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Terminal for this process (S2).
    #[error(transparent)]
    Offline(#[from] Offline),
    /// Retryable: the journal has no room, or an earlier life of the same partition is still leaving.
    #[error("no room at the moment")]
    Full,
    /// A higher epoch was begun before.
    #[error(transparent)]
    Fenced(#[from] FencedEpoch),
    /// There is no such partition.
    #[error("there is no partition {0} in this data directory")]
    Unknown(TopicPartition),
}

impl From<SubmitError> for StoreError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Offline(offline) => Self::Offline(offline),
            SubmitError::Full(_) | SubmitError::TooLarge { .. } => Self::Full,
        }
    }
}

/// What a data directory holds at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Partitions.
    pub partitions: usize,
    /// Open segment files.
    pub open_files: usize,
    /// Bytes of recent batches in memory.
    pub tail_bytes: usize,
    /// Bytes of batches in memory that are not in a segment yet.
    pub pending_bytes: usize,
    /// Bytes in segments that are not flushed yet.
    pub unflushed_bytes: u64,
    /// Damaged ranges, over all partitions.
    pub damaged_ranges: usize,
    /// Why it takes no writes, if it does not.
    pub offline: Option<String>,
}

/// One open data directory. Dropping it without [`LogDir::close`] leaves it as a crash would.
#[derive(Debug)]
pub struct LogDir {
    shared: Arc<Shared>,
    boot: [u8; 16],
    threads: Mutex<Option<Threads>>,
    threaded: bool,
}

impl LogDir {
    /// Opens a data directory that was formatted: reads the catalogue (or scans), replays the journal, starts the threads.
    ///
    /// # Errors
    /// [`OpenError`]; damage is none, it is reported and kept apart.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Recovered), OpenError> {
        let bounds = Bounds {
            files: options.files_max,
            tail_bytes: options.tail_cache_bytes,
            pending_bytes: options.pending_bytes_max,
            flush_bytes: options.flush_bytes,
            reserve_bytes: options.reserve_bytes,
        };
        let shared = Shared::new(disk, Arc::clone(&options.observer), bounds);
        let mut recovered = recover::recover(&shared, options.journal, options.boot, options.entropy)?;
        // Before any thread writes a catalogue by which the next start would notice nothing.
        doubts::settle(&shared, &mut recovered)?;
        let threads = if options.threads {
            shared.journal().map_err(|_| stopped())?.spawn().map_err(OpenError::Threads)?;
            Some(Threads::start(&shared, options.boot, options.flush_age).map_err(OpenError::Threads)?)
        } else {
            None
        };
        let threaded = options.threads;
        Ok((Self { shared, boot: options.boot, threads: Mutex::new(threads), threaded }, recovered))
    }

    /// Begins a partition; one that exists is returned as it is, under the higher epoch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn create(&self, id: TopicPartition, topic: &str, epoch: LeaderEpoch) -> Result<Arc<Partition>, StoreError> {
        let mut structure = self.shared.structure.lock();
        if let Some(known) = self.partition(id) {
            known.begin_epoch(epoch)?;
            return Ok(known);
        }
        if self.shared.leaving.lock().contains_key(&id) {
            return Err(StoreError::Full);
        }
        let start = Offset::new(0);
        let frame = Frame::create(id, start, epoch, Bytes::copy_from_slice(topic.as_bytes()));
        let lsn = self.shared.journal()?.submit(frame)?;
        *structure = lsn;
        let name = self.shared.names.share(topic);
        let partition = Partition::new(&self.shared, id, name, Beginning::empty(epoch, start, lsn));
        self.shared.partitions.write().insert(id, Arc::clone(&partition));
        Ok(partition)
    }

    /// Ends a partition: it takes no appends and no reads from now on. Its files go once the tombstone is durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn delete(&self, id: TopicPartition) -> Result<Lsn, StoreError> {
        let mut structure = self.shared.structure.lock();
        let partition = self.partition(id).ok_or(StoreError::Unknown(id))?;
        let mut state = partition.state.lock();
        self.shared.leaving.lock().insert(id, Arc::clone(&partition));
        let submitted = self.shared.journal().map_err(StoreError::from).and_then(|journal| {
            let lsn = journal.submit(Frame::delete(id))?;
            Ok(lsn)
        });
        match submitted {
            Ok(lsn) => {
                *structure = lsn;
                state.deleted = true;
                drop(state);
                self.shared.partitions.write().remove(&id);
                Ok(lsn)
            }
            Err(error) => {
                self.shared.leaving.lock().remove(&id);
                Err(error)
            }
        }
    }

    /// The partition, if it is here.
    pub fn partition(&self, id: TopicPartition) -> Option<Arc<Partition>> {
        self.shared.partitions.read().get(&id).cloned()
    }

    /// Every partition, in order of id.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        let mut partitions: Vec<_> = self.shared.partitions.read().values().cloned().collect();
        partitions.sort_unstable_by_key(|partition| partition.id());
        partitions
    }

    /// Ready when every frame up to `lsn` is durable, or with the reason why it never will be. Cancel-safe.
    pub fn durable(&self, lsn: Lsn) -> Wait {
        match self.shared.journal() {
            Ok(journal) => Wait(Ok(journal.durable(lsn))),
            Err(offline) => Wait(Err(offline)),
        }
    }

    /// Ready when an append of so many bytes that was refused as [`AppendError::Full`](crate::partition::AppendError)
    /// may be tried again, or when waiting does not help. Cancel-safe. Others may be faster: try, and wait again.
    pub fn room(&self, bytes: usize) -> Room {
        let journal = self.shared.journal().ok().map(|journal| journal.room(bytes));
        Room { shared: Arc::clone(&self.shared), bytes, journal }
    }

    /// Every frame up to this one is durable.
    pub fn synced(&self) -> Lsn {
        self.shared.journal().map_or(Lsn::default(), Journal::synced)
    }

    /// The last frame that was given out.
    pub fn submitted(&self) -> Lsn {
        self.shared.journal().map_or(Lsn::default(), Journal::submitted)
    }

    /// One retention pass over every partition that is configured; returns how many log starts moved. Nothing goes that
    /// is not committed, as `committed` knows of each partition: a leader to come may have to be told of it yet.
    ///
    /// # Errors
    /// When the directory is offline. A partition whose frame found no room is tried again by the next pass.
    pub fn retain(&self, now: Timestamp, committed: impl Fn(TopicPartition) -> Offset) -> Result<usize, Offline> {
        let partitions: Vec<_> = self.shared.partitions.read().values().cloned().collect();
        let mut moved = 0;
        for partition in partitions {
            match partition.retain(now, committed(partition.id())) {
                Ok(true) => moved += 1,
                Ok(false) | Err(DeleteRecordsError::Full | DeleteRecordsError::Deleted) => {}
                Err(DeleteRecordsError::OutOfRange { .. }) => {}
                Err(DeleteRecordsError::Offline(offline)) => return Err(offline),
            }
        }
        Ok(moved)
    }

    /// Counters of segments and reads.
    pub fn stats(&self) -> &Arc<StoreStats> {
        &self.shared.stats
    }

    /// The journal's counters, once it is open.
    pub fn journal_stats(&self) -> Option<&journal::JournalStats> {
        self.shared.journal.get().map(Journal::stats)
    }

    /// What it holds at the moment. Visits every partition.
    pub fn status(&self) -> Status {
        let partitions = self.shared.partitions.read();
        Status {
            partitions: partitions.len(),
            open_files: self.shared.pool.len(),
            tail_bytes: self.shared.budget.held(),
            pending_bytes: self.shared.budget.pending(),
            unflushed_bytes: self.shared.space.unflushed(),
            damaged_ranges: partitions.values().map(|partition| partition.damage().len()).sum(),
            offline: self.shared.offline.get().map(|offline| offline.reason.to_string()),
        }
    }

    /// The cluster has taken note of everything that [`Recovered`] said may be lost: later starts need not say it again.
    ///
    /// # Errors
    /// What the disk said; it is said again then, which harms nobody.
    pub fn doubts_told(&self) -> Result<(), DiskError> {
        doubts::forget(&*self.shared.disk)
    }

    /// How much room the file system has.
    pub fn space(&self) -> Option<Space> {
        self.shared.disk.space().ok()
    }

    /// The disk under it.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    /// One step of everything that threads do otherwise: the journal, then the segments. Whether anything was done.
    ///
    /// # Errors
    /// [`Offline`], from the first failure on.
    pub fn pump(&self, now: Instant) -> Result<bool, Offline> {
        let journal = self.shared.journal()?;
        let mut busy = false;
        while let journal::Pumped::Wrote { .. } = journal.pump(now)? {
            busy = true;
        }
        busy |= journal.keep()?;
        busy |= background::round(&self.shared)?;
        Ok(busy)
    }

    /// One flush pass, now; frames it makes unnecessary are released.
    ///
    /// # Errors
    /// [`Offline`], from the first failure on.
    pub fn flush(&self) -> Result<(), Offline> {
        flush::pass(&self.shared, flush::Pass { boot: self.boot, clean: false, wait: self.threaded })
    }

    /// Ends the directory in order: everything submitted becomes durable, everything written is flushed, and the
    /// catalogue says so. Later calls answer [`Offline`]. Blocks.
    ///
    /// # Errors
    /// [`Offline`] if it was before, or now; what was acked is safe all the same.
    pub fn close(&self) -> Result<(), Offline> {
        let journal = self.shared.journal()?.clone();
        if let Some(threads) = self.threads.lock().take() {
            journal.durable(journal.submitted()).wait()?;
            threads.stop(&self.shared);
            background::round(&self.shared)?;
            flush::pass(&self.shared, flush::Pass { boot: self.boot, clean: false, wait: true })?;
        }
        journal.close()?;
        background::round(&self.shared)?;
        let result = flush::pass(&self.shared, flush::Pass { boot: self.boot, clean: true, wait: false });
        self.shared.close();
        self.shared.rooms.open();
        result
    }
}

impl Drop for LogDir {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(threads) = self.threads.lock().take() {
            threads.stop(&self.shared);
        }
        if let Some(journal) = self.shared.journal.get() {
            journal.abandon();
        }
        // Partitions hold the directory; it must not hold them.
        self.shared.partitions.write().clear();
        self.shared.leaving.lock().clear();
        self.shared.budget.clear();
        self.shared.dirty.lock().clear();
        *self.shared.queue.lock() = crate::shared::Queue::default();
    }
}

fn stopped() -> OpenError {
    OpenError::Threads(std::io::Error::other("the data directory went offline"))
}

/// Waits for durability. See [`LogDir::durable`].
#[derive(Debug)]
pub struct Wait(Result<Durable, Offline>);

impl Wait {
    /// Blocks this thread until then; only where threads pump.
    ///
    /// # Errors
    /// [`Offline`] when the directory went offline before.
    pub fn wait(self) -> Result<(), Offline> {
        self.0?.wait()
    }
}

impl Future for Wait {
    type Output = Result<(), Offline>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(durable) => Pin::new(durable).poll(cx),
            Err(offline) => Poll::Ready(Err(offline.clone())),
        }
    }
}

/// Waits for room. See [`LogDir::room`].
#[derive(Debug)]
pub struct Room {
    shared: Arc<Shared>,
    bytes: usize,
    journal: Option<JournalRoom>,
}

impl Future for Room {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.shared.budget.admits(self.bytes) {
            // Registered before looking again, so that no round between the two is missed.
            self.shared.rooms.wakers.lock().push(cx.waker().clone());
            if !self.shared.budget.admits(self.bytes) && self.shared.offline.get().is_none() {
                return Poll::Pending;
            }
        }
        match &mut self.journal {
            Some(journal) => Pin::new(journal).poll(cx).map(|_room_or_no_use| ()),
            None => Poll::Ready(()),
        }
    }
}
