//! Cutting a log at its end, and starting it over: what a follower does whose log leaves its leader's.
//!
//! Owns the order of a cut (S8): the frame in the journal and the state in one step; the files only once the frame is
//! durable, and before any later batch is written into them; the frame is forgotten only once the files are flushed as
//! they are now. Until the catalogue states the floor, a start replays the frame and cuts again. Batches that were cut
//! off are never read, written, listed or reported afterwards. Never decides where to cut (R8).

use std::sync::Arc;

use ottla_core::producer::{ProducerState, Producers};
use ottla_core::types::{Lsn, Offset, Timestamp};

use crate::damage::Damage;
use crate::disk::{DiskError, count};
use crate::epochs::Epochs;
use crate::journal::{Frame, Offline, SubmitError};
use crate::partition::record::{BYTES_MAX, FILE, PartitionRecord};
use crate::partition::{Io, Partition, State};
use crate::producers;
use crate::segment::read::Reading;
use crate::segment::{Kind, Segment, parse_name};
use crate::sum::{CHUNK_BYTES, RunningSum, SumId, entry_position};
use crate::tail::TailBatch;

/// A log was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it ends now.
    pub end: Offset,
    /// The cut is durable once the journal has synced up to here.
    pub lsn: Lsn,
}

/// Why a log was not cut. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TruncateError {
    /// Terminal for this process (S2).
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The partition was deleted.
    #[error("the partition is deleted")]
    Deleted,
    /// What lies below the log start cannot be cut.
    #[error("offset {asked} is below the log start, {start}")]
    BelowStart {
        /// The offset.
        asked: Offset,
        /// First offset of the log.
        start: Offset,
    },
    /// Retryable soon after this frame is durable: the cut before is on its way.
    #[error("the cut before, frame {lsn}, is still on its way")]
    Cutting {
        /// Its frame.
        lsn: Lsn,
    },
    /// Retryable: the journal has no room.
    #[error("no room at the moment")]
    Full,
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] DiskError),
}

impl From<SubmitError> for TruncateError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Offline(offline) => Self::Offline(offline),
            SubmitError::Full(_) | SubmitError::TooLarge { .. } => Self::Full,
        }
    }
}

/// A cut whose files are still to be cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingCut {
    /// Its frame.
    pub(crate) lsn: Lsn,
    /// Batches of earlier frames that end past this are cut off; nothing at or past it is written to a file yet.
    pub(crate) end: Offset,
    /// Every file of a segment that begins here or behind is to go.
    files_from: Offset,
    /// Nothing was left: the folder must not say where the log begins now before the frame is durable.
    pub(crate) anew: bool,
}

/// Files that were cut, for the flush that makes it durable.
#[derive(Clone, Debug)]
pub(crate) struct CutFiles {
    pub(crate) lsn: Lsn,
    /// The segments that were shortened.
    pub(crate) bases: Vec<Offset>,
}

/// Where a log will end.
#[derive(Clone, Copy, Debug)]
struct Place {
    end: Offset,
    /// What is left of the segment in which that lies, if its file has more.
    last: Option<Segment>,
}

impl Partition {
    /// Cuts off every batch that ends past `end`: one that holds `end` goes as a whole, so the log may end before it. The
    /// cut holds for every reader and for the next append when this returns; it survives a crash once `durable(lsn)` is
    /// ready. Before that, a start finds the log as it was or as it is. An end at or past the log's changes nothing.
    ///
    /// May block on the disk and on the segment threads, never on the observer.
    ///
    /// # Errors
    /// [`TruncateError`]; nothing has changed then.
    pub fn truncate(self: &Arc<Self>, end: Offset) -> Result<Cut, TruncateError> {
        let mut io = self.io.lock();
        self.settle_cut(&mut io)?;
        let place = self.find_cut(end)?;
        let mut structure = self.shared.structure.lock();
        let mut state = self.state.lock();
        if state.deleted {
            return Err(TruncateError::Deleted);
        }
        if end < state.log_start {
            return Err(TruncateError::BelowStart { asked: end, start: state.log_start });
        }
        if end >= state.log_end {
            return Ok(Cut { end: state.log_end, lsn: state.last_lsn });
        }
        let place = Place { end: place.end.max(state.log_start), ..place };
        let lsn = self.shared.journal()?.submit(Frame::truncate(self.id(), place.end, state.epoch))?;
        *structure = lsn;
        self.cut_state(&mut io, &mut state, lsn, place);
        Ok(Cut { end: place.end, lsn })
    }

    /// Drops every batch; the log begins again, empty, at `start`, which may lie anywhere, with what `producers` did below
    /// (T1). Otherwise as [`Partition::truncate`].
    ///
    /// # Errors
    /// [`TruncateError`]; nothing has changed then.
    pub fn start_over(self: &Arc<Self>, start: Offset, producers: &[ProducerState]) -> Result<Lsn, TruncateError> {
        let mut io = self.io.lock();
        self.settle_cut(&mut io)?;
        let mut structure = self.shared.structure.lock();
        let mut state = self.state.lock();
        if state.deleted {
            return Err(TruncateError::Deleted);
        }
        if start < Offset::new(0) {
            return Err(TruncateError::BelowStart { asked: start, start: Offset::new(0) });
        }
        // Where a log begins is no hint: without a folder, the frame before says whose start it is.
        let introduction = self.introduction(&state);
        let introduces = introduction.is_some();
        let frames = introduction.into_iter().chain([Frame::start_over(
            self.id(),
            start,
            state.epoch,
            producers::to_bytes(producers),
        )]);
        let (first, lsn) = self.shared.journal()?.submit_all(frames.collect())?;
        if introduces {
            self.shared.unsettled.lock().insert(self.id(), first);
        }
        *structure = lsn;
        self.empty_state(&mut io, &mut state, lsn, start, producers.to_vec());
        Ok(lsn)
    }

    /// Replays the frame of a cut.
    pub(crate) fn replay_cut(self: &Arc<Self>, lsn: Lsn, frame: &Frame) -> Result<(), DiskError> {
        if lsn <= self.state.lock().floor {
            return Ok(());
        }
        if frame.base == frame.end {
            self.reach_unjournaled(frame.end)?;
        }
        let mut io = self.io.lock();
        let pending = {
            let place = self.find_cut(frame.end)?;
            let mut state = self.state.lock();
            if frame.base == frame.end {
                // The frame says where the log ended then. Its start may be that of a later frame, which is replayed too.
                let end = frame.end.min(state.log_end);
                state.log_start = state.log_start.min(end);
                self.cut_state(&mut io, &mut state, lsn, Place { end, ..place });
            } else {
                let known = producers::from_bytes(&frame.payload.to_bytes()).unwrap_or_else(|error| {
                    tracing::error!(folder = %self.place.folder, %error, "the producers of a log that started over");
                    Vec::new()
                });
                self.empty_state(&mut io, &mut state, lsn, frame.base, known);
            }
            state.cut
        };
        if let Some(cut) = pending {
            self.cut_files(&mut io, cut)?;
        }
        // A catalogue follows only after a flush, which these files wait for.
        self.state.lock().floor = lsn;
        Ok(())
    }

    /// One cut at a time: the files of the one before are cut first.
    fn settle_cut(self: &Arc<Self>, io: &mut Io) -> Result<(), TruncateError> {
        let Some(cut) = self.state.lock().cut else { return Ok(()) };
        let durable = cut.lsn <= self.shared.journal()?.synced();
        // A folder is made by the segment threads alone: they know whether another one is leaving it.
        if !durable || (cut.anew && !self.has_folder(io)?) {
            return Err(TruncateError::Cutting { lsn: cut.lsn });
        }
        Ok(self.cut_files(io, cut)?)
    }

    /// Where the log ends if it is cut at `end`. The caller holds `io`, so that what is written stays as it is.
    fn find_cut(&self, end: Offset) -> Result<Place, DiskError> {
        let segment = {
            let state = self.state.lock();
            if end >= state.written_end {
                let inside = state.tail.from(end).next().filter(|batch| batch.base < end);
                return Ok(Place { end: inside.map_or(end, |batch| batch.base), last: None });
            }
            state.segment_of(end).map(|index| state.segments[index])
        };
        let Some(segment) = segment.filter(|segment| segment.base < end && end < segment.written.end) else {
            return Ok(Place { end, last: None });
        };
        let reading = Reading { pool: &self.shared.pool, place: &self.place, segment: &segment };
        let (written, inside) = match reading.extent_below(end) {
            // Lost, which readers will find; or, while the journal is replayed, removed for this cut or a later one.
            Err(error) if error.is_not_found() => (Segment::empty(segment.base).written, None),
            found => found?,
        };
        Ok(Place { end: inside.unwrap_or(end), last: Some(Segment { written, ..segment }) })
    }

    /// Everything that a cut changes in memory.
    fn cut_state(&self, io: &mut Io, state: &mut State, lsn: Lsn, place: Place) {
        let Place { end, last } = place;
        self.drop_tail(state, end);
        let unflushed = state.unflushed();
        let segments = state.segments.len();
        state.segments.retain(|segment| segment.base < end);
        let mut unindexed = None;
        if let Some(cut) = last
            && let Some(segment) = state.segments.last_mut().filter(|segment| segment.base == cut.base)
        {
            unindexed = (segment.written.index_entries > 0 && cut.written.index_entries == 0).then_some(cut.base);
            *segment = cut;
            if segment.flushed.bytes >= segment.written.bytes {
                segment.flushed = segment.written;
            }
        }
        let mut files_from = end;
        while let Some(empty) = state.segments.last().filter(|segment| state.is_empty(segment)) {
            files_from = files_from.min(empty.base);
            state.segments.pop();
        }
        count(&self.shared.stats.segments_removed, (segments - state.segments.len()) as u64);
        self.shared.space.on_flushed(unflushed - state.unflushed());
        state.log_end = end;
        // The log may end before its only batch that is not written: then nothing is left to write.
        let waiting = state.tail.from(state.written_end).next().is_some();
        state.written_end = if waiting { state.written_end.min(end) } else { end };
        state.epochs.truncate_end(end);
        state.producers.truncate(end);
        state.damage.truncate_end(end);
        state.measure_active();
        self.set_flushed_end(self.flushed_end().min(end));
        self.note_cut(io, state, PendingCut { lsn, end, files_from, anew: false });
        state.reindex.extend(unindexed);
    }

    /// Everything that starting over changes in memory.
    fn empty_state(&self, io: &mut Io, state: &mut State, lsn: Lsn, start: Offset, producers: Vec<ProducerState>) {
        let nothing = Offset::new(0);
        self.drop_tail(state, nothing);
        self.shared.space.on_flushed(state.unflushed());
        count(&self.shared.stats.segments_removed, state.segments.len() as u64);
        state.segments.clear();
        (state.log_start, state.log_end, state.written_end) = (start, start, start);
        // The new start is in the frame of the cut.
        state.start_lsn = Lsn::default();
        state.epochs = Epochs::default();
        state.producers = Producers::restore(producers);
        state.damage = Damage::default();
        state.measure_active();
        self.set_flushed_end(start);
        self.note_cut(io, state, PendingCut { lsn, end: nothing, files_from: nothing, anew: true });
    }

    /// Frees the batches that end past `end`.
    fn drop_tail(&self, state: &mut State, end: Offset) {
        let written = state.written_end;
        let (mut freed, mut pending) = (0, 0);
        for batch in state.tail.cut(end) {
            freed += batch.cost();
            if batch.end > written {
                pending += batch.cost();
                state.pending_bytes = state.pending_bytes.saturating_sub(batch.payload.len() as u64);
            }
        }
        self.shared.budget.on_dropped(freed, pending);
    }

    fn note_cut(&self, io: &mut Io, state: &mut State, cut: PendingCut) {
        state.last_lsn = cut.lsn;
        state.cut_lsn = cut.lsn;
        state.cut = Some(cut);
        state.cuts += 1;
        state.cursors.clear();
        let segments = &state.segments;
        state.reindex.retain(|base| segments.iter().any(|segment| segment.base == *base));
        // A start replays this frame until a catalogue has its floor: what comes behind it must be in the journal too.
        state.unjournaled = false;
        // Both describe bytes that are no more; a flush sums what is left from the file.
        io.writer = None;
        io.unsummed.clear();
        io.epochs_listed = usize::MAX;
        state.check();
    }

    /// The frame of the cut is durable: the files follow. May be repeated at any point.
    pub(crate) fn cut_files(self: &Arc<Self>, io: &mut Io, cut: PendingCut) -> Result<(), DiskError> {
        let mut bases = Vec::new();
        // A folder that is not this partition's, or not yet, has nothing of it; it is made to say where the log begins.
        if !self.has_folder(io)? {
            let state = self.state.lock();
            let needless = state.log_start == Offset::new(0) || self.shared.journal.get().is_none();
            if needless && state.segments.is_empty() {
                // The next batch introduces the partition again.
                self.shared.unsettled.lock().remove(&self.id());
            }
            drop(state);
            if !needless {
                self.prepare_folder(io)?;
            }
        } else {
            self.remove_files(cut.files_from)?;
            let last = {
                let state = self.state.lock();
                let kept = |segment: &&Segment| segment.base < cut.files_from && segment.written.bytes > 0;
                state.segments.iter().rev().find(kept).copied()
            };
            if let Some(segment) = last {
                self.cut_segment(&segment)?;
                bases.push(segment.base);
            }
            self.persist_record(io)?;
            io.names_changed = true;
        }
        io.cut = Some(CutFiles { lsn: cut.lsn, bases });
        let mut state = self.state.lock();
        state.cut = None;
        // A flush that was planned since the cut saw its files as they were before this.
        state.cuts += 1;
        drop(state);
        self.shared.mark_dirty(self);
        Ok(())
    }

    /// Whether there is a folder that this partition may change. While the journal is replayed it may be gone, or that of
    /// a later partition of the same name.
    fn has_folder(&self, io: &Io) -> Result<bool, DiskError> {
        let disk = &self.shared.disk;
        let bytes = disk.read_file(&format!("{}/{FILE}", self.place.folder), BYTES_MAX)?;
        match bytes.map(|bytes| PartitionRecord::decode(&bytes)) {
            Some(Ok(record)) => Ok(record.id == self.id()),
            Some(Err(_)) | None if !io.folder => Ok(false),
            Some(Err(_)) | None => match disk.list(&self.place.folder) {
                Err(error) if error.is_not_found() => Ok(false),
                listed => listed.map(|_| true),
            },
        }
    }

    /// Removes every file of a segment that begins at `from` or behind, newest first, known or not.
    fn remove_files(&self, from: Offset) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        let entries = disk.list(&self.place.folder)?;
        let mut doomed: Vec<(Offset, Kind)> = entries.iter().filter_map(|entry| parse_name(&entry.name)).collect();
        doomed.retain(|(base, _)| *base >= from);
        doomed.sort_unstable_by(|a, b| b.cmp(a));
        for (base, kind) in doomed {
            self.shared.pool.forget(self.id(), base);
            match disk.remove(&self.place.path(base, kind)) {
                Err(error) if !error.is_not_found() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Brings the files of the last segment to what is left of it. The sums go first: they never say more than the bytes.
    fn cut_segment(&self, segment: &Segment) -> Result<(), DiskError> {
        let (disk, pool) = (&self.shared.disk, &self.shared.pool);
        let size = |kind| disk.size(&self.place.path(segment.base, kind));
        let Some(length) = size(Kind::Log)? else { return Ok(()) };
        let (written, flushed) = (segment.written.bytes, segment.flushed.bytes);
        let whole = flushed / CHUNK_BYTES;
        let sums = size(Kind::Sum)?.map(|_| pool.write(&self.place, segment.base, Kind::Sum)).transpose()?;
        if let Some(sums) = &sums {
            sums.truncate(if flushed == 0 { 0 } else { entry_position(whole) })?;
        }
        let log = pool.write(&self.place, segment.base, Kind::Log)?;
        if length > u64::from(written) {
            log.truncate(u64::from(written))?;
        }
        let from = whole * CHUNK_BYTES;
        let Some(sums) = sums.filter(|_| flushed > from) else { return Ok(()) };
        let partial = log.read_bytes(u64::from(from), (flushed - from) as usize)?;
        if partial.len() == (flushed - from) as usize {
            let id = SumId { partition: self.id(), base: segment.base };
            let (position, entry) = RunningSum::resume(id, flushed, &partial).pending();
            sums.write_at(position, &[std::io::IoSlice::new(&entry)])?;
        }
        Ok(())
    }

    /// The replay is over: a log that begins again, and has no batch, gets the folder that says where.
    pub(crate) fn settle_start(self: &Arc<Self>) -> Result<(), DiskError> {
        let mut io = self.io.lock();
        {
            let state = self.state.lock();
            if state.cuts == 0 || !state.segments.is_empty() || state.log_start == Offset::new(0) {
                return Ok(());
            }
        }
        self.prepare_folder(&mut io)?;
        self.shared.mark_dirty(self);
        Ok(())
    }

    /// The files of a cut are about to count: their lengths become durable.
    pub(crate) fn sync_cut(&self, cut: &CutFiles) -> Result<(), DiskError> {
        for &base in &cut.bases {
            self.sync_file(base, Kind::Log)?;
            self.sync_file(base, Kind::Sum)?;
        }
        Ok(())
    }

    /// The files of a cut are durable: its frame need not be replayed any more.
    pub(crate) fn on_cut_flushed(&self, cut: &CutFiles) {
        let mut state = self.state.lock();
        state.floor = state.floor.max(cut.lsn);
    }
}

impl State {
    fn unflushed(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.written.bytes - segment.flushed.bytes)).sum()
    }

    /// Whether nothing is in a segment, nor on its way there.
    fn is_empty(&self, segment: &Segment) -> bool {
        segment.written.bytes == 0 && self.tail.from(segment.base).next().is_none()
    }

    /// How long the last segment will be, and which timestamp it began with.
    fn measure_active(&mut self) {
        (self.active_bytes, self.active_first) = match self.segments.last() {
            None => (0, Timestamp::NONE),
            Some(last) => {
                let waiting = self.tail.last().filter(|batch| batch.end > self.written_end);
                let end = |batch: &TailBatch| batch.position + u32::try_from(batch.payload.len()).unwrap_or(u32::MAX);
                let first = self.tail.from(last.base).next().filter(|batch| batch.base == last.base);
                let unwritten = last.written.bytes == 0;
                (
                    waiting.map_or(last.written.bytes, end),
                    first.filter(|_| unwritten).map_or(last.first_timestamp, |batch| batch.max_timestamp),
                )
            }
        };
    }
}

#[cfg(test)]
mod tests;
