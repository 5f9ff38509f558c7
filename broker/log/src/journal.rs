//! The journal: one sequence of frames into which the appends of all partitions of a data directory interleave.
//!
//! Owns the order of frames ([`Lsn`]), their durability, the files they lie in, and their replay after a crash. It must
//! never look into a batch, never decide what a frame means for a partition, never assign an offset, and never
//! overwrite a synced block before its file was released.
//!
//! Invariants:
//! * LSNs are dense: frame `n + 1` is written behind frame `n`, or not at all.
//! * `synced` moves only after a flush that covers it succeeded (S1). One group is in flight at a time.
//! * After the first failed write or flush nothing is written or acknowledged any more by this process (S2).
//! * A file that begins again gets a new random generation, and every start begins a new file, so that neither recycled
//!   frames nor a torn tail can be mistaken for live ones (S8).
//! * A file begins again only after a synced group states that its frames are no longer needed; so a missing file is
//!   noticed.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::types::{LeaderEpoch, Lsn, Offset, TopicPartition};

use crate::disk::{Disk, DiskError, counters};

/// Length of a record batch's header in Kafka's format (magic 2), the part that an append patches.
pub const BATCH_HEADER_BYTES: usize = 61;

/// What a frame says. The numbers are the disk's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One record batch: `base..end` of the partition, in `epoch`; the payload is the batch.
    Append = 1,
    /// The partition exists from here on; the payload is the caller's (name, configuration).
    Create = 2,
    /// The partition is gone, with everything before this frame.
    Delete = 3,
    /// The partition's log was cut: offsets from `end` on are gone.
    Truncate = 4,
    /// The partition's log start moved to `base`.
    LogStart = 5,
    /// The partition's segments are durable up to `end` (excluded).
    FlushedEnd = 6,
    /// The journal's own: nothing more was to be written, or `released` had to be stated. Never replayed.
    Close = 7,
}

/// The bytes of a frame: a short head of its own (the patched batch header) and a shared tail.
///
/// Nothing is copied until the journal's aligned buffer; the segment writer takes the same memory.
#[derive(Clone)]
pub struct Payload {
    head: [u8; BATCH_HEADER_BYTES],
    head_bytes: u8,
    tail: Bytes,
}

impl Payload {
    /// No bytes.
    pub const EMPTY: Self = Self { head: [0; BATCH_HEADER_BYTES], head_bytes: 0, tail: Bytes::new() };

    /// A batch: its patched header and everything behind the header.
    pub const fn batch(head: [u8; BATCH_HEADER_BYTES], tail: Bytes) -> Self {
        Self { head, head_bytes: BATCH_HEADER_BYTES as u8, tail }
    }

    /// Bytes in one piece.
    pub const fn whole(tail: Bytes) -> Self {
        Self { head: [0; BATCH_HEADER_BYTES], head_bytes: 0, tail }
    }

    /// The first part, possibly empty.
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_bytes)]
    }

    /// The second part, possibly empty.
    pub const fn tail(&self) -> &Bytes {
        &self.tail
    }

    /// Length of both parts.
    pub fn len(&self) -> usize {
        usize::from(self.head_bytes) + self.tail.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both parts in one piece; copies unless the first is empty.
    pub fn to_bytes(&self) -> Bytes {
        if self.head_bytes == 0 {
            return self.tail.clone();
        }
        let mut whole = Vec::with_capacity(self.len());
        whole.extend_from_slice(self.head());
        whole.extend_from_slice(&self.tail);
        Bytes::from(whole)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.head().iter().chain(&self.tail[..]).eq(other.head().iter().chain(&other.tail[..]))
    }
}

/// One entry of the journal. What `base`, `end` and `epoch` mean depends on the kind; unused ones are kept as given.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// What it says.
    pub kind: Kind,
    /// About which partition.
    pub partition: TopicPartition,
    /// First offset it concerns.
    pub base: Offset,
    /// Offset behind the last it concerns.
    pub end: Offset,
    /// Leader epoch of the batch, or of the partition.
    pub epoch: LeaderEpoch,
    /// Its bytes.
    pub payload: Payload,
}

impl Frame {
    /// A record batch that holds the offsets `base..end`.
    pub const fn append(
        partition: TopicPartition,
        base: Offset,
        end: Offset,
        epoch: LeaderEpoch,
        head: [u8; BATCH_HEADER_BYTES],
        tail: Bytes,
    ) -> Self {
        Self { kind: Kind::Append, partition, base, end, epoch, payload: Payload::batch(head, tail) }
    }

    /// A partition that begins at `start`; `description` is the caller's.
    pub const fn create(partition: TopicPartition, start: Offset, epoch: LeaderEpoch, description: Bytes) -> Self {
        Self { kind: Kind::Create, partition, base: start, end: start, epoch, payload: Payload::whole(description) }
    }

    /// A partition that is gone.
    pub const fn delete(partition: TopicPartition) -> Self {
        Self::plain(Kind::Delete, partition, Offset::new(0), Offset::new(0))
    }

    /// A log that was cut to `end`.
    pub const fn truncate(partition: TopicPartition, end: Offset, epoch: LeaderEpoch) -> Self {
        Self { kind: Kind::Truncate, partition, base: end, end, epoch, payload: Payload::EMPTY }
    }

    /// A log whose start moved to `start`.
    pub const fn log_start(partition: TopicPartition, start: Offset) -> Self {
        Self::plain(Kind::LogStart, partition, start, start)
    }

    /// Segments that are durable up to `end`.
    pub const fn flushed_end(partition: TopicPartition, end: Offset) -> Self {
        Self::plain(Kind::FlushedEnd, partition, end, end)
    }

    const fn plain(kind: Kind, partition: TopicPartition, base: Offset, end: Offset) -> Self {
        Self { kind, partition, base, end, epoch: LeaderEpoch::NONE, payload: Payload::EMPTY }
    }
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its directory, relative to the disk's root.
    pub directory: String,
    /// Length of one file. A frame that needs a longer one gets it.
    pub file_bytes: u64,
    /// Length of the file that is made at start when none is ready: short, because the first ack waits for its zeros.
    pub first_file_bytes: u64,
    /// Appends are refused when the files would come to more than this (released ones are used again before).
    pub bytes_max: u64,
    /// A group ends with the frame that reaches this length.
    pub group_bytes: usize,
    /// Free space that growing must leave.
    pub reserve_bytes: u64,
    /// After this long without frames a closing frame is written.
    pub idle: Duration,
    /// The caller knows that frames up to this one were synced once (from the catalogue); if the journal ends before,
    /// what lies between is reported as damage and never numbered again.
    pub known_synced: Lsn,
}

impl Default for Options {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            directory: "journal".to_owned(),
            file_bytes: 16 * MIB,
            first_file_bytes: MIB,
            bytes_max: 320 * MIB,
            group_bytes: 4 * 1024 * 1024,
            reserve_bytes: 32 * MIB,
            idle: Duration::from_millis(50),
            known_synced: Lsn::new(0),
        }
    }
}

/// The data directory takes no writes any more in this process (S2). Terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data directory is offline: {reason}")]
pub struct Offline {
    /// The first error, or `closed`.
    pub reason: Arc<str>,
}

/// Why there is no room for a frame right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Full {
    /// A file is being made; wait for [`Journal::room`].
    Growing,
    /// The journal is as long as it may be until frames are released; wait for [`Journal::room`].
    Unreleased,
    /// The disk is full; room comes back when space does.
    DiskFull,
}

/// A frame was not taken; no LSN was used and nothing will be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Retryable: there is no room for it yet.
    #[error("the journal has no room: {0:?}")]
    Full(Full),
    /// Terminal for this frame: longer than any journal file may be.
    #[error("a frame of {bytes} bytes is longer than the journal's limit of {bytes_max}")]
    TooLarge {
        /// Length of the frame.
        bytes: u64,
        /// The longest that fits.
        bytes_max: u64,
    },
    /// Terminal for this process.
    #[error(transparent)]
    Offline(#[from] Offline),
}

/// A journal could not be read or begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A newer build wrote it.
    #[error("journal file {path} has format {found}; this build reads up to {supported}: run the newer version again")]
    Newer {
        /// Which file.
        path: Arc<str>,
        /// Its version.
        found: u32,
        /// The newest this build knows.
        supported: u32,
    },
}

/// Frames that were synced once and cannot be read: `first..=last`.
///
/// Every partition that may have been in it is suspect (R12, S3): one whose next append in the replay begins where its
/// last one before the hole ended lost no append in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First missing frame.
    pub first: Lsn,
    /// Last missing frame.
    pub last: Lsn,
}

/// One step of the replay, in LSN order.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// A frame.
    Frame {
        /// Its number.
        lsn: Lsn,
        /// What it says. Its payload shares memory with its neighbours: copy what is kept for long.
        frame: Frame,
    },
    /// Damage.
    Hole(Hole),
}

/// What is told about groups of frames, on the writer's thread. Never blocks, never calls [`Journal::pump`].
pub trait GroupObserver: Send + Sync {
    /// The frames of one group are durable. Called once per group, in LSN order, before anyone who waits for one of
    /// them is woken: flushed ends are updated here. `frames` may be drained; their payloads are the submitted memory.
    fn synced(&self, frames: &mut Vec<(Lsn, Frame)>);

    /// Nothing is written or synced any more. Called once, after the last `synced`.
    fn offline(&self, reason: &Offline);
}

/// Draws one random number; the generation of a file. A recycled file's old frames are told from new ones by it, and
/// no client can guess it.
pub type Entropy = Box<dyn FnMut() -> u64 + Send>;

/// The journal, open for writing. Clones share it.
///
/// Life: [`Recovery::open`] → replay → [`Recovery::start`] → this. Somebody must call [`Journal::pump`] and
/// [`Journal::keep`] in turn: [`Journal::spawn`] makes threads that do, a simulator does it itself.
#[derive(Clone, Debug)]
pub struct Journal {
    stats: Arc<JournalStats>,
}

/// What [`Journal::pump`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// A group was written and synced; there may be more.
    Wrote {
        /// How many frames it held.
        frames: usize,
    },
    /// There was nothing to write. Call again when a frame was submitted, or at this time.
    Idle {
        /// When the closing frame is due.
        wake_at: Option<Instant>,
    },
}

impl Journal {
    /// Takes a frame and numbers it. No IO, no waiting beyond a short lock: called under the partition's own lock, so
    /// that LSN order is offset order. On error nothing was taken.
    ///
    /// # Errors
    /// [`SubmitError::Full`] for appends; the other kinds have a reserve of 1 MiB and are refused only beyond it.
    pub fn submit(&self, _frame: Frame) -> Result<Lsn, SubmitError> {
        Err(SubmitError::Full(Full::Growing))
    }

    /// Whether an append of this many bytes would be taken now.
    ///
    /// # Errors
    /// As [`Journal::submit`].
    pub fn has_room(&self, _bytes: usize) -> Result<(), SubmitError> {
        Err(SubmitError::Full(Full::Growing))
    }

    /// Ready when room may have come back since this call: a file was made or released, or the journal is offline.
    /// Cancel-safe. Ask again after it.
    pub fn room(&self) -> Room {
        Room {}
    }

    /// The last LSN that was given out.
    pub fn submitted(&self) -> Lsn {
        Lsn::new(0)
    }

    /// Every frame up to this one is durable and its observer has been told.
    pub fn synced(&self) -> Lsn {
        Lsn::new(0)
    }

    /// Ready when `synced() >= lsn`, or with the error when the journal went offline before. Cancel-safe.
    pub fn durable(&self, _lsn: Lsn) -> Durable {
        Durable {}
    }

    /// Frames below `lsn` are no longer needed: their effects are durable elsewhere. Never goes back.
    pub fn release(&self, _lsn: Lsn) {}

    /// Writes and syncs one group, if there is something to write: the submitted frames, or the closing frame after
    /// [`Options::idle`]. One caller at a time; others wait.
    ///
    /// # Errors
    /// [`Offline`], from the first failed write or sync on.
    pub fn pump(&self, _now: Instant) -> Result<Pumped, Offline> {
        Ok(Pumped::Idle { wake_at: None })
    }

    /// Makes and removes files if that is due, off the writer's path. Returns whether it did something.
    ///
    /// # Errors
    /// [`Offline`] when the disk failed in another way than being full.
    pub fn keep(&self) -> Result<bool, Offline> {
        Ok(false)
    }

    /// Starts the two threads that call [`Journal::pump`] and [`Journal::keep`] until [`Journal::close`].
    ///
    /// # Errors
    /// What the system said.
    pub fn spawn(&self) -> std::io::Result<()> {
        Ok(())
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> &JournalStats {
        &self.stats
    }

    /// Writes what was submitted and a closing frame, ends the threads, lets go of the observer. Later frames are
    /// refused with [`Offline`] (`closed`).
    ///
    /// # Errors
    /// [`Offline`] if it was before, or now.
    pub fn close(&self) -> Result<(), Offline> {
        Ok(())
    }
}

/// Waits for room. See [`Journal::room`].
#[derive(Debug)]
pub struct Room {}

impl Future for Room {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Waits for durability. See [`Journal::durable`].
#[derive(Debug)]
pub struct Durable {}

impl Durable {
    /// Blocks this thread until then; only where another thread pumps.
    ///
    /// # Errors
    /// [`Offline`] when the journal went offline before.
    pub fn wait(self) -> Result<(), Offline> {
        Ok(())
    }
}

impl Future for Durable {
    type Output = Result<(), Offline>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

/// The journal as it was found, on its way back. Nothing is written before [`Recovery::start`], so that an offline
/// check can stop before it.
#[derive(Debug)]
pub struct Recovery {
    report: Report,
}

/// What a replay came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// First frame that was still needed, as the journal states.
    pub released: Lsn,
    /// Last frame.
    pub last: Lsn,
    /// Frames that were replayed.
    pub frames: u64,
    /// Bytes behind the last frame that look like a torn write, and were cut off.
    pub torn_bytes: u64,
    /// Damage, in LSN order.
    pub holes: Vec<Hole>,
}

impl Recovery {
    /// Finds the journal's files and their order. A missing directory is an empty journal.
    ///
    /// # Errors
    /// [`OpenError`]; damaged content is none.
    pub fn open(_disk: Arc<dyn Disk>, _options: Options) -> Result<Self, OpenError> {
        Ok(Self { report: Report::default() })
    }

    /// The next step of the replay; `None` at the end. Reads one group at a time.
    ///
    /// # Errors
    /// [`OpenError::Disk`] when a file cannot be read.
    pub fn step(&mut self) -> Result<Option<Replayed>, OpenError> {
        Ok(None)
    }

    /// What was found until now; complete once [`Recovery::step`] has returned `None`.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Ends the replay (running through what is left of it) and begins a new file behind it.
    ///
    /// # Errors
    /// [`OpenError::Disk`], `NoSpace` among them when no file is ready and none can be made.
    pub fn start(self, _entropy: Entropy, _observer: Arc<dyn GroupObserver>) -> Result<Journal, OpenError> {
        Ok(Journal { stats: Arc::default() })
    }
}

counters! {
    /// Plain counters of a journal; they only grow.
    JournalStats {
        /// Groups written and synced.
        groups,
        /// Frames in them.
        frames,
        /// Bytes written, with padding.
        bytes,
        /// Bytes of padding and of unused file ends.
        padding_bytes,
        /// Closing frames.
        closing_frames,
        /// Files made.
        files_made,
        /// Files that began again.
        files_recycled,
        /// Files removed.
        files_removed,
        /// Files that are written through the page cache because the file system cannot do without.
        buffered_files,
        /// Appends refused because there was no room.
        refused,
        /// Files made on the writer's path because none was ready.
        files_made_late,
    }
}
