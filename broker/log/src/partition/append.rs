//! Appending a batch: every reason to refuse it, then an offset.
//!
//! Owns the order of the checks: nothing that can refuse a batch comes after its offset was assigned. On the journal's
//! path there is no IO; an opted-out partition writes to the page cache, which is all that it promises.

use std::sync::Arc;

use bytes::Bytes;
use ottla_core::producer::{Refused, Verdict};
use ottla_core::types::{LeaderEpoch, Lsn, Offset, Timestamp, TopicPartition};
use ottla_wire::record::BatchView;
use parking_lot::MutexGuard;

use crate::batch::{HEADER_BYTES, Header, patch, stamp};
use crate::config::{LogConfig, TimestampType};
use crate::disk::count;
use crate::journal::{Frame, Full, Journal, Kind, Offline, Payload, SubmitError};
use crate::partition::{FencedEpoch, Io, Partition, State};
use crate::segment::Segment;
use crate::shared::{SyncedEnd, refused};
use crate::tail::TailBatch;

/// Whose batch it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's: limits and sequences are checked.
    Client,
    /// The broker's own coordinator's: only the epoch is checked.
    Coordinator,
}

/// What an append depends on besides the batch.
#[derive(Clone, Copy, Debug)]
pub struct AppendContext {
    /// The epoch in which the caller believes to lead.
    pub epoch: LeaderEpoch,
    /// The time.
    pub now: Timestamp,
    /// Whose batch it is.
    pub origin: Origin,
}

/// A batch has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base: Offset,
    /// Offset of its last record.
    pub last: Offset,
    /// The time the log gave it; −1 unless the topic says LogAppendTime.
    pub append_time: Timestamp,
    /// The log start at that moment.
    pub start: Offset,
    /// It is durable once the journal has synced up to here.
    pub lsn: Lsn,
    /// It was a retry: the offsets are the original's.
    pub duplicate: bool,
}

/// Why a batch was not appended. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Terminal for this process (S2).
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The partition was deleted.
    #[error("the partition is deleted")]
    Deleted,
    /// The caller is a deposed leader.
    #[error(transparent)]
    Fenced(#[from] FencedEpoch),
    /// The caller knows of an epoch that this log does not: retry.
    #[error("leader epoch {got} has not begun here; current is {current}")]
    UnknownEpoch {
        /// The caller's.
        got: LeaderEpoch,
        /// This log's.
        current: LeaderEpoch,
    },
    /// The bytes are no batch, or not exactly one.
    #[error("the batch is malformed")]
    Malformed,
    /// Longer than `max.message.bytes`.
    #[error("a batch of {bytes} bytes is longer than max.message.bytes, {bytes_max}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Longer than a segment.
    #[error("a batch of {bytes} bytes is longer than a segment, {bytes_max}")]
    LargerThanSegment {
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A timestamp outside of what the topic takes.
    #[error("timestamp {timestamp} is not within {from}..={upto}")]
    InvalidTimestamp {
        /// The batch's.
        timestamp: Timestamp,
        /// The oldest that is taken.
        from: Timestamp,
        /// The newest that is taken.
        upto: Timestamp,
    },
    /// Its producer is fenced, or its sequence number does not follow.
    #[error(transparent)]
    Producer(#[from] Refused),
    /// The disk is too full to promise anything: retry.
    #[error("no space left for more records")]
    NoSpace,
    /// A budget of memory or of the journal is used up: retry when there is room.
    #[error("no room at the moment")]
    Full,
}

/// A batch that is ready for an offset.
struct Prepared {
    head: [u8; HEADER_BYTES],
    body: Bytes,
    header: Header,
    max_timestamp: Timestamp,
    append_time: Timestamp,
}

impl Prepared {
    fn bytes(&self) -> u32 {
        self.header.bytes
    }

    /// Gives it the next offset.
    fn place(mut self, state: &State, cx: AppendContext) -> Placed {
        patch(&mut self.head, state.log_end, cx.epoch);
        Placed {
            header: Header { base: state.log_end, epoch: cx.epoch, ..self.header },
            payload: Payload::batch(self.head, self.body),
            max_timestamp: self.max_timestamp,
        }
    }
}

/// A batch with its offset and its epoch, in the header and in the bytes.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) header: Header,
    pub(super) payload: Payload,
    pub(super) max_timestamp: Timestamp,
}

impl Placed {
    pub(super) fn frame(&self, id: TopicPartition) -> Frame {
        let (base, end, epoch) = (self.header.base, self.header.end(), self.header.epoch);
        Frame { kind: Kind::Append, partition: id, base, end, epoch, payload: self.payload.clone() }
    }

    /// The batch as the tail keeps it.
    pub(super) fn stored(self, position: u32, now: Timestamp) -> TailBatch {
        TailBatch {
            base: self.header.base,
            end: self.header.end(),
            max_timestamp: self.max_timestamp,
            appended: now,
            position,
            payload: self.payload,
        }
    }
}

impl Partition {
    /// Gives the batch the next offsets. The caller has checked what the protocol says about it (checksum, counts); what
    /// depends on this log is checked here. When this returns `Ok`, the batch is the next one in the journal; it is
    /// durable once `durable(lsn)` is ready, and readable below [`Partition::log_end`].
    ///
    /// # Errors
    /// [`AppendError`]; no offset was used and nothing has changed.
    pub fn append(self: &Arc<Self>, batch: BatchView, cx: AppendContext) -> Result<Appended, AppendError> {
        let config = Arc::clone(&self.state.lock().config);
        let prepared = prepare(batch.into_bytes(), &config, cx)?;
        if config.opted_out() {
            let io = self.io.lock();
            let state = self.state.lock();
            if state.skips_journal() {
                return self.append_written(io, state, &config, prepared, cx);
            }
            // Until the catalogue says that it opted out, and while batches from before that are on their way, the
            // journal is what a start goes by.
            drop(io);
            return self.append_journaled(state, &config, prepared, cx);
        }
        self.append_journaled(self.state.lock(), &config, prepared, cx)
    }

    fn append_journaled(
        &self,
        mut state: MutexGuard<'_, State>,
        config: &LogConfig,
        prepared: Prepared,
        cx: AppendContext,
    ) -> Result<Appended, AppendError> {
        let journal = self.shared.journal()?;
        if let Some(duplicate) = self.admit(&state, &prepared, cx)? {
            return Ok(duplicate);
        }
        let (append_time, start) = (prepared.append_time, state.log_start);
        let batch = prepared.place(&state, cx);
        let (base, last) = (batch.header.base, batch.header.last());
        let frame = batch.frame(self.id());
        let lsn = match self.introduction(&state) {
            None => journal.submit(frame).map_err(|error| self.refusal(error))?,
            Some(introduction) => self.submit(journal, Some(introduction), vec![frame])?,
        };
        self.commit(&mut state, config, batch, cx.now, lsn);
        state.check();
        Ok(Appended { base, last, append_time, start, lsn, duplicate: false })
    }

    /// A partition without segments has no folder that says whose it is, and the catalogue is only a hint: its first
    /// batch follows a frame that names it.
    pub(super) fn introduction(&self, state: &State) -> Option<Frame> {
        let known = !state.segments.is_empty() || state.settled;
        let name = || Bytes::copy_from_slice(self.name().as_bytes());
        (!known).then(|| Frame::create(self.id(), state.log_start, state.epoch, name()))
    }

    /// Hands frames to the journal, all or none; an introduction is kept until the folder is durable. Returns the number
    /// of the last one.
    pub(super) fn submit(
        &self,
        journal: &Journal,
        introduction: Option<Frame>,
        batches: Vec<Frame>,
    ) -> Result<Lsn, AppendError> {
        let introduces = introduction.is_some();
        let frames = introduction.into_iter().chain(batches).collect();
        let (first, last) = journal.submit_all(frames).map_err(|error| self.refusal(error))?;
        if introduces {
            self.shared.unsettled.lock().insert(self.id(), first);
        }
        Ok(last)
    }

    /// The opted-out path: the promise is the page cache, so the batch goes there before anyone hears of its offset.
    fn append_written(
        self: &Arc<Self>,
        mut io: MutexGuard<'_, Io>,
        mut state: MutexGuard<'_, State>,
        config: &LogConfig,
        prepared: Prepared,
        cx: AppendContext,
    ) -> Result<Appended, AppendError> {
        let lsn = self.shared.journal()?.synced();
        if let Some(duplicate) = self.admit(&state, &prepared, cx)? {
            return Ok(duplicate);
        }
        let (append_time, start) = (prepared.append_time, state.log_start);
        let batch = prepared.place(&state, cx);
        let (base, last, end) = (batch.header.base, batch.header.last(), batch.header.end());
        let bytes = u64::from(batch.header.bytes);
        let segment = match state.active().filter(|active| !rolls(Some(*active), config, &batch)) {
            Some(_) => state.segments[state.segments.len() - 1],
            None => Segment::empty(base),
        };
        let stored = batch.clone().stored(segment.written.bytes, cx.now);
        // On an error no offset has left and nothing counts as written: the next append overwrites the bytes.
        let written = self
            .write_segment(&mut io, &mut state, segment, std::slice::from_ref(&stored), config)
            .map_err(|error| self.write_failed(&error))?;
        self.commit(&mut state, config, batch, cx.now, lsn);
        state.wrote(written, bytes);
        state.check();
        self.on_synced(end);
        drop(state);
        drop(io);
        self.shared.budget.on_written(self, 1, stored.cost());
        self.shared.space.on_written(bytes);
        self.shared.mark_dirty(self);
        self.shared.observer.synced(&[SyncedEnd { partition: self.id(), end, bytes }]);
        Ok(Appended { base, last, append_time, start, lsn, duplicate: false })
    }

    /// Every reason to refuse, and the answer to a retry. Changes nothing.
    fn admit(&self, state: &State, batch: &Prepared, cx: AppendContext) -> Result<Option<Appended>, AppendError> {
        if state.deleted {
            return Err(AppendError::Deleted);
        }
        if cx.epoch < state.epoch {
            return Err(FencedEpoch { got: cx.epoch, current: state.epoch }.into());
        }
        if cx.epoch > state.epoch {
            return Err(AppendError::UnknownEpoch { got: cx.epoch, current: state.epoch });
        }
        if cx.origin == Origin::Client
            && let Some(claim) = &batch.header.producer
            && let Verdict::Duplicate(known) = state.producers.check(claim)?
        {
            count(&self.shared.stats.duplicates, 1);
            let stamped = batch.append_time != Timestamp::NONE;
            return Ok(Some(Appended {
                base: known.base_offset(),
                last: known.last_offset,
                append_time: if stamped { known.timestamp } else { Timestamp::NONE },
                start: state.log_start,
                lsn: state.last_lsn,
                duplicate: true,
            }));
        }
        self.admit_bytes(batch.bytes() as usize).map(|()| None)
    }

    /// Whether memory and disk have room for so much more.
    pub(super) fn admit_bytes(&self, bytes: usize) -> Result<(), AppendError> {
        if !self.shared.budget.admits(bytes) {
            refused(&self.shared);
            return Err(AppendError::Full);
        }
        if !self.shared.space.admits(bytes as u64) {
            refused(&self.shared);
            if self.shared.space.ask() {
                self.shared.work.notify_all();
            }
            return Err(AppendError::NoSpace);
        }
        Ok(())
    }

    /// The batch has its offset: everything that follows from that.
    pub(super) fn commit(&self, state: &mut State, config: &LogConfig, batch: Placed, now: Timestamp, lsn: Lsn) {
        let (base, end, bytes) = (batch.header.base, batch.header.end(), batch.header.bytes);
        if rolls(state.active(), config, &batch) {
            if !state.segments.is_empty() {
                count(&self.shared.stats.rolls, 1);
            }
            state.segments.push(Segment::empty(base));
            state.active_bytes = 0;
            state.active_first = batch.max_timestamp;
        }
        if let Some(claim) = &batch.header.producer {
            state.producers.record(claim, batch.header.last(), batch.max_timestamp, now);
        }
        state.epochs.note(batch.header.epoch, base.max(state.log_start));
        let stored = batch.stored(state.active_bytes, now);
        self.shared.budget.on_appended(stored.cost());
        self.shared.space.on_appended(u64::from(bytes));
        state.tail.push(stored);
        state.active_bytes = state.active_bytes.saturating_add(bytes);
        state.pending_bytes += u64::from(bytes);
        state.log_end = end;
        state.last_lsn = lsn;
        count(&self.shared.stats.appends, 1);
        count(&self.shared.stats.appended_bytes, u64::from(bytes));
    }

    fn refusal(&self, error: SubmitError) -> AppendError {
        match error {
            SubmitError::Full(Full::DiskFull) => {
                refused(&self.shared);
                AppendError::NoSpace
            }
            SubmitError::Full(Full::Growing | Full::Unreleased) => {
                refused(&self.shared);
                AppendError::Full
            }
            SubmitError::TooLarge { bytes, bytes_max } => AppendError::TooLarge { bytes, bytes_max },
            SubmitError::Offline(offline) => AppendError::Offline(offline),
        }
    }

    fn write_failed(&self, error: &crate::disk::DiskError) -> AppendError {
        let refusal = self.write_failed_quietly(error);
        self.shared.tell();
        refusal
    }

    /// The same where the observer must not be called.
    pub(super) fn write_failed_quietly(&self, error: &crate::disk::DiskError) -> AppendError {
        if error.is_no_space() {
            refused(&self.shared);
            return AppendError::NoSpace;
        }
        self.shared.fail_quietly(&error.to_string());
        AppendError::Offline(Offline { reason: Arc::from(error.to_string()) })
    }
}

/// What does not depend on the log's state.
fn prepare(bytes: Bytes, config: &LogConfig, cx: AppendContext) -> Result<Prepared, AppendError> {
    let header = Header::parse(&bytes).filter(|header| header.bytes as usize == bytes.len());
    let (Some(header), Some(head)) = (header, bytes.first_chunk::<HEADER_BYTES>()) else {
        return Err(AppendError::Malformed);
    };
    let mut head = *head;
    let body = bytes.slice(HEADER_BYTES..);
    let size = u64::from(header.bytes);
    if cx.origin == Origin::Client && size > u64::from(config.max_message_bytes) {
        return Err(AppendError::TooLarge { bytes: size, bytes_max: config.max_message_bytes.into() });
    }
    if header.bytes > config.segment_bytes {
        return Err(AppendError::LargerThanSegment { bytes: size, bytes_max: config.segment_bytes.into() });
    }
    let (mut max_timestamp, mut append_time) = (header.max_timestamp, Timestamp::NONE);
    match config.timestamp_type {
        TimestampType::LogAppendTime if !header.control() => {
            stamp(&mut head, &body, cx.now);
            (max_timestamp, append_time) = (cx.now, cx.now);
        }
        TimestampType::CreateTime if cx.origin == Origin::Client => check_timestamps(config, &header, cx.now)?,
        TimestampType::CreateTime | TimestampType::LogAppendTime => {}
    }
    Ok(Prepared { head, body, header, max_timestamp, append_time })
}

/// Without opening the batch: its largest timestamp, and the first record's for the lower bound.
fn check_timestamps(config: &LogConfig, header: &Header, now: Timestamp) -> Result<(), AppendError> {
    let from = Timestamp::new(now.get().saturating_sub(config.timestamp_before_max_ms));
    let upto = Timestamp::new(now.get().saturating_add(config.timestamp_after_max_ms));
    for timestamp in [header.base_timestamp, header.max_timestamp] {
        if timestamp.get() >= 0 && (timestamp < from || timestamp > upto) {
            return Err(AppendError::InvalidTimestamp { timestamp, from, upto });
        }
    }
    Ok(())
}

/// The segment that the next batch goes to unless it rolls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub(super) base: Offset,
    /// Its length once everything appended is written.
    pub(super) bytes: u32,
    /// Largest timestamp of its first batch.
    pub(super) first: Timestamp,
}

impl State {
    /// The last segment, unless the log goes on behind a gap.
    pub(super) fn active(&self) -> Option<Active> {
        let last = self.segments.last().filter(|_| !self.skips(self.log_end))?;
        Some(Active { base: last.base, bytes: self.active_bytes, first: self.active_first })
    }

    /// Whether the next batch goes to the page cache and not to the journal.
    pub(super) fn skips_journal(&self) -> bool {
        self.config.opted_out() && self.unjournaled && self.cut.is_none() && self.written_end == self.log_end
    }
}

/// Whether the batch begins a new segment.
pub(super) fn rolls(active: Option<Active>, config: &LogConfig, batch: &Placed) -> bool {
    let Some(active) = active else { return true };
    if active.bytes == 0 {
        return false;
    }
    let full = active.bytes.checked_add(batch.header.bytes).is_none_or(|bytes| bytes > config.segment_bytes);
    let jitter = jitter(active.base, config.segment_jitter_ms);
    let age = batch.max_timestamp.get().saturating_sub(active.first.get());
    let old = active.first.get() >= 0 && age > config.segment_ms.saturating_sub(jitter);
    let far = batch.header.end().get() - active.base.get() > i64::from(i32::MAX);
    let entries = u64::from(active.bytes) / u64::from(config.index_interval_bytes.max(1));
    let indexed = entries * 12 >= u64::from(config.segment_index_bytes.max(12));
    full || old || far || indexed
}

/// Spreads the rolls of partitions whose segments began together, the same way every time.
fn jitter(base: Offset, jitter_ms: i64) -> i64 {
    if jitter_ms <= 0 {
        return 0;
    }
    let mixed = base.get().cast_unsigned().wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    mixed.cast_signed() % jitter_ms
}
