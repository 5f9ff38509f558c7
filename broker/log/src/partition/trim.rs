//! Moving the log start: DeleteRecords, retention by time and by size, and removing the files below it.
//!
//! Owns the order: a journal frame, then the partition's own record with the producers of what is removed (T1), both
//! durable, then the files. A reader below the new start is refused from the moment it moves.

use ottla_core::types::{Lsn, Offset, Timestamp};

use crate::config::LogConfig;
use crate::disk::{DiskError, count};
use crate::journal::{Frame, Offline, SubmitError};
use crate::partition::{Io, Partition, State};
use crate::phase;
use crate::segment::{Kind, Segment};

/// Why the log start did not move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRecordsError {
    /// The offset is not in the log.
    #[error("offset {asked} is not within {start}..={end}")]
    OutOfRange {
        /// The offset.
        asked: Offset,
        /// First offset of the log.
        start: Offset,
        /// Offset behind the last durable batch.
        end: Offset,
    },
    /// The partition was deleted.
    #[error("the partition is deleted")]
    Deleted,
    /// Retryable: the journal has no room.
    #[error("no room at the moment")]
    Full,
    /// Terminal for this process.
    #[error(transparent)]
    Offline(#[from] Offline),
}

impl Partition {
    /// Moves the log start to `offset`; −1 stands for the durable end. It is promised once `durable(lsn)` is ready. A
    /// start that lies behind already stays where it is.
    ///
    /// # Errors
    /// [`DeleteRecordsError`]; nothing has changed then.
    pub fn delete_records(&self, offset: Offset) -> Result<(Offset, Lsn), DeleteRecordsError> {
        let mut structure = self.shared.structure.lock();
        let mut state = self.state.lock();
        let end = self.flushed_end();
        let target = if offset.get() == -1 { end } else { offset };
        if target < Offset::new(0) || target > end {
            return Err(DeleteRecordsError::OutOfRange { asked: target, start: state.log_start, end });
        }
        if target <= state.log_start {
            return Ok((state.log_start, state.last_lsn));
        }
        let lsn = self.move_start(&mut state, target, &mut structure)?;
        Ok((target, lsn))
    }

    /// One retention pass over what is committed: whether the log start moved.
    pub(crate) fn retain(&self, now: Timestamp, committed: Offset) -> Result<bool, DeleteRecordsError> {
        let end = self.flushed_end().min(committed);
        {
            let mut state = self.state.lock();
            let horizon = now.get().saturating_sub(state.config.producer_expiration_ms);
            if state.configured && !state.producers.is_empty() {
                state.producers.expire(Timestamp::new(horizon));
            }
            if state.expired_end(now, end).is_none() {
                return Ok(false);
            }
        }
        let mut structure = self.shared.structure.lock();
        let mut state = self.state.lock();
        let Some(target) = state.expired_end(now, end) else { return Ok(false) };
        self.move_start(&mut state, target, &mut structure)?;
        Ok(true)
    }

    fn move_start(&self, state: &mut State, target: Offset, structure: &mut Lsn) -> Result<Lsn, DeleteRecordsError> {
        if state.deleted {
            return Err(DeleteRecordsError::Deleted);
        }
        let lsn = self.shared.journal()?.submit(Frame::log_start(self.id(), target)).map_err(|error| match error {
            SubmitError::Offline(offline) => DeleteRecordsError::Offline(offline),
            SubmitError::Full(_) | SubmitError::TooLarge { .. } => DeleteRecordsError::Full,
        })?;
        *structure = lsn;
        state.start_lsn = lsn;
        state.last_lsn = lsn;
        state.set_start(target);
        state.check();
        Ok(lsn)
    }

    /// Removes the segments that lie below the log start, once its frame is durable by `synced`.
    pub(crate) fn trim(&self, io: &mut Io, synced: Lsn) -> Result<(), DiskError> {
        let doomed: Vec<Segment> = {
            let state = self.state.lock();
            if state.deleted || state.start_lsn > synced || state.start_lsn == Lsn::default() {
                return Ok(());
            }
            // The folder must not say yet where the log begins now; cutting the files does that.
            if state.cut.is_some_and(|cut| cut.anew) {
                return Ok(());
            }
            state.doomed()
        };
        // What the record says must be durable before the journal forgets the frame, even if no file goes.
        self.persist_record(io)?;
        self.state.lock().start_lsn = Lsn::default();
        self.remove_segments(io, &doomed)
    }

    /// Removes segments and their files.
    pub(crate) fn remove_segments(&self, io: &mut Io, doomed: &[Segment]) -> Result<(), DiskError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let _removing = phase::enter(phase::RETENTION);
        io.names_changed = true;
        if io.writer.as_ref().is_some_and(|writer| doomed.iter().any(|segment| segment.base == writer.segment.base)) {
            io.writer = None;
        }
        io.unsummed.retain(|sums| doomed.iter().all(|segment| segment.base != sums.base));
        {
            let mut state = self.state.lock();
            state.segments.retain(|segment| doomed.iter().all(|gone| gone.base != segment.base));
            state.cursors.clear();
            if state.segments.is_empty() {
                state.active_bytes = 0;
                state.active_first = Timestamp::NONE;
            }
        }
        for segment in doomed {
            self.shared.pool.forget(self.id(), segment.base);
            self.shared.space.on_flushed(u64::from(segment.written.bytes - segment.flushed.bytes));
            count(&self.shared.stats.segments_removed, 1);
            for kind in Kind::ALL {
                match self.shared.disk.remove(&self.place.path(segment.base, kind)) {
                    Err(error) if !error.is_not_found() => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// The log begins at `target` now.
    pub(crate) fn set_start(&mut self, target: Offset) {
        self.log_start = target;
        self.epochs.truncate_start(target);
        self.damage.truncate_start(target);
    }

    /// The segments of which nothing is left above the log start. The last one stays while something of it may still be
    /// written.
    fn doomed(&self) -> Vec<Segment> {
        let last = self.segments.len().saturating_sub(1);
        let gone = |index: usize| match self.segments.get(index + 1) {
            Some(next) => next.base <= self.log_start && self.written_end >= next.base,
            None => index == last && self.log_end <= self.log_start && self.written_end == self.log_end,
        };
        let count = (0..self.segments.len()).take_while(|&index| gone(index)).count();
        self.segments[..count].to_vec()
    }

    /// Where retention would move the log start to; `None` if nothing has expired.
    fn expired_end(&self, now: Timestamp, durable: Offset) -> Option<Offset> {
        if !self.configured || self.deleted || !self.config.delete {
            return None;
        }
        let config: &LogConfig = &self.config;
        let sizes = self.segments.iter().map(|segment| u64::from(segment.written.bytes));
        let mut total: u64 = sizes.sum::<u64>() + self.pending_bytes;
        let mut target = None;
        for (index, segment) in self.segments.iter().enumerate() {
            let end = self.segments.get(index + 1).map_or(self.log_end, |next| next.base);
            // Only what is written and durable as a whole; the active segment too, when all of it has expired.
            if self.written_end < end || durable < end || segment.written.bytes == 0 {
                break;
            }
            let bytes = u64::from(segment.written.bytes);
            let age = now.get().saturating_sub(segment.newest().get());
            let old = config.retention_ms >= 0 && age > config.retention_ms;
            let limit = u64::try_from(config.retention_bytes).ok();
            let much =
                limit.is_some_and(|limit| total.saturating_sub(bytes) >= limit) && index + 1 < self.segments.len();
            if !old && !much {
                break;
            }
            total -= bytes;
            target = Some(end);
        }
        target.filter(|&target| target > self.log_start)
    }
}
