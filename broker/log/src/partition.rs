//! The log of one partition: its ends, its segments, its recent batches, its producers.
//!
//! Owns the offsets of one partition: nobody else assigns one. Invariants, under `state`:
//! * `log_start` ≤ `written_end` ≤ `log_end`, and `flushed_end` ≤ `log_end`; only a cut takes any of them back;
//! * batches from `written_end` on are in the tail; batches below it are in segments, as far as not damaged;
//! * a batch gets its offset and its place in the journal in one step, so that LSN order is offset order;
//! * an offset is assigned only when nothing stands in the way any more: fence, size, sequence, memory, space (R7, S6).
//!
//! There is no thread, task or timer per partition, and no open file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ottla_core::producer::{ProducerState, Producers};
use ottla_core::types::{LeaderEpoch, Lsn, Offset, PartitionIndex, ProducerId, Timestamp, TopicPartition};
use parking_lot::Mutex;

use crate::config::LogConfig;
use crate::damage::{Damage, DamagedRange};
use crate::epochs::Epochs;
use crate::files::Place;
use crate::segment::write::SegmentWriter;
use crate::segment::{Segment, folder};
use crate::shared::Shared;
use crate::tail::Tail;

pub mod append;
pub(crate) mod flush;
pub mod lookup;
pub mod read;
pub mod record;
mod replay;
pub mod replica;
mod trim;
pub mod truncate;
mod view;
pub(crate) mod write;

pub use append::{AppendContext, AppendError, Appended, Origin};
pub use read::{Read, ReadError};
pub(crate) use replay::ReplayError;
pub use replica::Replicated;
pub use trim::DeleteRecordsError;
pub use truncate::{Cut, TruncateError};
pub(crate) use truncate::{CutFiles, PendingCut};

/// The log of one partition. Always behind an `Arc`; clones of that share it.
#[derive(Debug)]
pub struct Partition {
    pub(crate) place: Place,
    name: Arc<str>,
    pub(crate) shared: Arc<Shared>,
    flushed_end: AtomicI64,
    /// It stands in the writers' queue.
    pub(crate) queued: AtomicBool,
    /// It stands in the flusher's list.
    pub(crate) dirty: AtomicBool,
    /// It was deleted and has let go of its memory and its files.
    pub(crate) gone: AtomicBool,
    pub(crate) io: Mutex<Io>,
    pub(crate) state: Mutex<State>,
}

/// What writing its files needs; taken before `state`.
#[derive(Debug, Default)]
pub(crate) struct Io {
    pub(crate) writer: Option<Box<SegmentWriter>>,
    /// Sums of segments that were left before a flush could write them.
    pub(crate) unsummed: Vec<Unsummed>,
    /// The folder and its `partition.state` are there.
    pub(crate) folder: bool,
    /// Names in the folder changed since its last sync.
    pub(crate) names_changed: bool,
    /// How many epochs the checkpoint lists.
    pub(crate) epochs_listed: usize,
    /// Files that were cut since the last flush.
    pub(crate) cut: Option<CutFiles>,
}

/// Sidecar entries that wait for a flush.
#[derive(Clone, Debug)]
pub(crate) struct Unsummed {
    pub(crate) base: Offset,
    pub(crate) position: u64,
    pub(crate) entries: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Arc<LogConfig>,
    /// The catalogue on disk says that this partition skips the journal, so that a start looks at its files.
    pub(crate) unjournaled: bool,
    /// The broker has said what the topic's configuration is.
    pub(crate) configured: bool,
    pub(crate) deleted: bool,
    /// Its folder and what that says about it are durable.
    pub(crate) settled: bool,
    /// The leader epoch that may append.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) log_start: Offset,
    /// The frame that moved it there; files below may go once it is durable.
    pub(crate) start_lsn: Lsn,
    pub(crate) written_end: Offset,
    pub(crate) log_end: Offset,
    /// Length of the last segment once everything appended is written.
    pub(crate) active_bytes: u32,
    /// Largest timestamp of the last segment's first batch.
    pub(crate) active_first: Timestamp,
    pub(crate) pending_bytes: u64,
    pub(crate) last_lsn: Lsn,
    /// Frames at or below are of an earlier life, or were cut off and nothing of them is in a file any more.
    pub(crate) floor: Lsn,
    /// What was cut off may still be in the files.
    pub(crate) cut: Option<PendingCut>,
    /// The last frame that cut something off.
    pub(crate) cut_lsn: Lsn,
    /// How often something was cut off: what was copied before the last time describes files that are gone.
    pub(crate) cuts: u64,
    pub(crate) segments: Vec<Segment>,
    pub(crate) tail: Tail,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    pub(crate) damage: Damage,
    pub(crate) cursors: Vec<read::Cursor>,
    /// Segments whose index was found wrong.
    pub(crate) reindex: Vec<Offset>,
}

/// What a partition begins with: nothing, or what recovery found.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) floor: Lsn,
    pub(crate) unjournaled: bool,
    pub(crate) segments: Vec<Segment>,
    pub(crate) epochs: Epochs,
    pub(crate) producers: Producers,
    pub(crate) damage: Damage,
}

impl Beginning {
    pub(crate) fn empty(epoch: LeaderEpoch, start: Offset, floor: Lsn) -> Self {
        Self {
            epoch,
            log_start: start,
            log_end: start,
            floor,
            unjournaled: false,
            segments: Vec::new(),
            epochs: Epochs::default(),
            producers: Producers::default(),
            damage: Damage::default(),
        }
    }
}

/// An epoch that must not go back did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leader epoch {got} is fenced; current is {current}")]
pub struct FencedEpoch {
    /// The epoch that was presented.
    pub got: LeaderEpoch,
    /// The epoch that holds.
    pub current: LeaderEpoch,
}

impl Partition {
    pub(crate) fn new(shared: &Arc<Shared>, id: TopicPartition, name: Arc<str>, origin: Beginning) -> Arc<Self> {
        let place = Place { id, folder: Arc::from(folder(&name, id.partition)) };
        let folder = !origin.segments.is_empty();
        let last = origin.segments.last();
        let state = State {
            unjournaled: origin.unjournaled,
            configured: false,
            config: Arc::clone(&shared.defaults),
            deleted: false,
            settled: folder,
            epoch: origin.epoch,
            log_start: origin.log_start,
            start_lsn: Lsn::default(),
            written_end: origin.log_end,
            log_end: origin.log_end,
            active_bytes: last.map_or(0, |segment| segment.written.bytes),
            active_first: last.map_or(Timestamp::NONE, |segment| segment.first_timestamp),
            pending_bytes: 0,
            last_lsn: Lsn::default(),
            floor: origin.floor,
            cut: None,
            cut_lsn: Lsn::default(),
            cuts: 0,
            segments: origin.segments,
            tail: Tail::default(),
            epochs: origin.epochs,
            producers: origin.producers,
            damage: origin.damage,
            cursors: Vec::new(),
            reindex: Vec::new(),
        };
        Arc::new(Self {
            place,
            name,
            shared: Arc::clone(shared),
            flushed_end: AtomicI64::new(state.log_end.get()),
            queued: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            io: Mutex::new(Io { folder, ..Io::default() }),
            state: Mutex::new(state),
        })
    }

    /// Which partition this is.
    pub fn id(&self) -> TopicPartition {
        self.place.id
    }

    /// Its topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index within the topic.
    pub fn index(&self) -> PartitionIndex {
        self.place.id.partition
    }

    /// First offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.state.lock().log_start
    }

    /// Offset of the next record.
    pub fn log_end(&self) -> Offset {
        self.state.lock().log_end
    }

    /// Offset behind the last batch that is durable; on opted-out topics: behind the last one that is written.
    pub fn flushed_end(&self) -> Offset {
        Offset::new(self.flushed_end.load(Ordering::Acquire))
    }

    /// The epoch of the newest batch.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.state.lock().epochs.latest()
    }

    /// The leader epoch that may append.
    pub fn epoch(&self) -> LeaderEpoch {
        self.state.lock().epoch
    }

    /// Where an epoch ended, as OffsetForLeaderEpoch answers: the largest epoch not above it, and the offset behind its
    /// last batch. `None` for an epoch newer than every batch.
    pub fn end_of_epoch(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.state.lock();
        state.epochs.end_of(asked, state.log_end)
    }

    /// The epoch of the batch at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.state.lock().epochs.at(offset)
    }

    /// What is known of its producers.
    pub fn producers(&self) -> Vec<ProducerState> {
        self.state.lock().producers.snapshot(Offset::new(i64::MAX))
    }

    /// Whether anything is known of this producer.
    pub fn knows_producer(&self, id: ProducerId) -> bool {
        self.state.lock().producers.knows(id)
    }

    /// What is known of its producers below `end`: what a log needs that begins there (T1).
    pub fn producers_below(&self, end: Offset) -> Vec<ProducerState> {
        self.state.lock().producers.snapshot(end)
    }

    /// The offsets that cannot be read any more.
    pub fn damage(&self) -> Vec<DamagedRange> {
        self.state.lock().damage.ranges().to_vec()
    }

    /// How many bytes its batches take, those that are not in a segment yet included.
    pub fn size_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.segments.iter().map(|segment| u64::from(segment.written.bytes)).sum::<u64>() + state.pending_bytes
    }

    /// How many segments it has.
    pub fn segments(&self) -> usize {
        self.state.lock().segments.len()
    }

    /// The configuration acts from the next append on. A topic that opts in again is flushed first, which blocks.
    pub fn configure(self: &Arc<Self>, config: impl Into<Arc<LogConfig>>) {
        let config = self.shared.intern(config.into());
        let opts_in = {
            let mut state = self.state.lock();
            state.configured = true;
            if state.config.opted_out() != config.opted_out() {
                self.shared.request_catalogue();
            }
            state.config = Arc::clone(&config);
            state.unjournaled && !config.opted_out()
        };
        if opts_in && let Err(error) = self.opt_in() {
            self.shared.fail(&error.to_string());
        }
    }

    /// From now on only this epoch appends (A5, R6).
    ///
    /// # Errors
    /// A higher one was begun before.
    pub fn begin_epoch(&self, epoch: LeaderEpoch) -> Result<(), FencedEpoch> {
        let mut state = self.state.lock();
        if epoch < state.epoch {
            return Err(FencedEpoch { got: epoch, current: state.epoch });
        }
        state.epoch = epoch;
        Ok(())
    }

    /// Everything below `end` is durable.
    pub(crate) fn on_synced(&self, end: Offset) {
        self.flushed_end.fetch_max(end.get(), Ordering::AcqRel);
    }

    /// A group of frames is durable, the last batch of this partition's in frame `lsn`, with `end` behind it. Returns
    /// what is durable now. Of batches that were cut off meanwhile nothing is said: what lies below the cut is durable,
    /// because it was appended before them.
    pub(crate) fn on_group(&self, lsn: Lsn, end: Offset) -> Offset {
        // Under the lock, so that no cut comes between the look at it and the new end.
        let state = self.state.lock();
        let kept = state.cut.as_ref().filter(|cut| lsn < cut.lsn).map_or(end, |cut| end.min(cut.end));
        self.on_synced(kept);
        self.flushed_end()
    }

    pub(crate) fn set_flushed_end(&self, end: Offset) {
        self.flushed_end.store(end.get(), Ordering::Release);
    }

    /// Frees up to `batches` of the oldest cached batches; returns what that frees.
    pub(crate) fn evict(&self, batches: u32) -> usize {
        let mut state = self.state.lock();
        let written = state.written_end;
        let mut freed = 0;
        for _ in 0..batches {
            match state.tail.evict(written) {
                0 => break,
                cost => freed += cost,
            }
        }
        freed
    }

    /// What an open file, a budget and the disk do not know any more: memory of a partition that is gone.
    pub(crate) fn drop_memory(&self) {
        self.gone.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        let written = state.written_end;
        let pending: usize = state.tail.from(written).map(crate::tail::TailBatch::cost).sum();
        let freed = state.tail.clear();
        state.pending_bytes = 0;
        self.shared.budget.on_dropped(freed, pending);
    }
}

impl State {
    /// The segment that holds `offset`, or would.
    pub(crate) fn segment_of(&self, offset: Offset) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base <= offset).checked_sub(1)
    }

    /// Whether a batch at `base` would not follow on from the last segment: the log start has passed what lay between, or
    /// it is lost. Inside a segment batches are contiguous, which is how damage is found, so another one begins.
    pub(crate) fn skips(&self, base: Offset) -> bool {
        let waiting = self.tail.last().filter(|batch| batch.end > self.written_end).map(|batch| batch.end);
        let end = waiting.or_else(|| self.segments.last().map(|segment| segment.written.end));
        end.is_some_and(|end| end < base)
    }

    /// Asserts what must hold after every change.
    pub(crate) fn check(&self) {
        assert!(self.log_start <= self.log_end, "log start {} is past the log end {}", self.log_start, self.log_end);
        assert!(self.written_end <= self.log_end, "written past the log end");
        debug_assert!(
            self.tail.from(self.written_end).next().is_none_or(|batch| batch.base == self.written_end)
                || self.written_end == self.log_end,
            "batches that are not written must be in the tail"
        );
    }
}
