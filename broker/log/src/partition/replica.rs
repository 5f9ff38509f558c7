//! Appending what a leader has pushed: batches that have their offsets and epochs already.
//!
//! Owns the order of the checks on a follower: bytes, place and epochs (R7, R9), then room; all batches or none. No limit
//! of a client is checked: the leader has done that, and what it has must be taken as it is.

use std::sync::Arc;

use bytes::Bytes;
use ottla_core::types::{Lsn, Offset, Timestamp};
use parking_lot::MutexGuard;

use crate::batch::Header;
use crate::config::LogConfig;
use crate::journal::Payload;
use crate::partition::append::{Active, Placed, rolls};
use crate::partition::{AppendError, FencedEpoch, Io, Partition, State};
use crate::segment::{Kind, Segment};
use crate::tail::TailBatch;

/// A leader's batches are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicated {
    /// Where the log ends now.
    pub end: Offset,
    /// They are durable once the journal has synced up to here.
    pub lsn: Lsn,
    /// They skipped the journal: what this topic promises holds already, and the observer is not told.
    pub flushed: bool,
}

impl Partition {
    /// Appends whole batches of the leader, as they are: offsets and epochs are in them. The first one begins where the
    /// log ends, each follows on from the one before; epochs never decrease, and none is newer than the one that was
    /// begun here. A log that is empty takes a first batch that begins before its start and holds it: the leader's log
    /// starts inside that batch.
    ///
    /// The observer is never called from inside; the caller may hold a lock that the observer takes.
    ///
    /// # Errors
    /// [`AppendError`]; nothing has changed then. `Malformed`: the bytes are not whole, sound batches that follow on from
    /// this log. `Fenced`: an epoch is older than the newest batch's. `UnknownEpoch`: it has not begun here.
    pub fn append_replica(self: &Arc<Self>, batches: Bytes, now: Timestamp) -> Result<Replicated, AppendError> {
        let batches = split(&batches)?;
        let config = Arc::clone(&self.state.lock().config);
        if config.opted_out() {
            let io = self.io.lock();
            let state = self.state.lock();
            let first = batches.first().map(|batch| batch.header.base);
            if state.skips_journal() && first == Some(state.log_end) {
                return self.replicate_written(io, state, &config, batches, now);
            }
            drop(io);
            return self.replicate_journaled(state, &config, batches, now);
        }
        self.replicate_journaled(self.state.lock(), &config, batches, now)
    }

    fn replicate_journaled(
        &self,
        mut state: MutexGuard<'_, State>,
        config: &LogConfig,
        batches: Vec<Placed>,
        now: Timestamp,
    ) -> Result<Replicated, AppendError> {
        let journal = self.shared.journal()?;
        self.admit_replica(&state, &batches)?;
        let frames: Vec<_> = batches.iter().map(|batch| batch.frame(self.id())).collect();
        let last = self.submit(journal, self.introduction(&state), frames)?;
        let first = (last.get() + 1).saturating_sub(batches.len() as u64);
        if let Some(batch) = batches.first() {
            state.step_back(batch.header.base);
        }
        for (batch, lsn) in batches.into_iter().zip(first..) {
            self.commit(&mut state, config, batch, now, Lsn::new(lsn));
        }
        state.check();
        Ok(Replicated { end: state.log_end, lsn: last, flushed: false })
    }

    /// The opted-out path: into the page cache, segment by segment; then, if all of it is there, into the state.
    fn replicate_written(
        self: &Arc<Self>,
        mut io: MutexGuard<'_, Io>,
        mut state: MutexGuard<'_, State>,
        config: &LogConfig,
        batches: Vec<Placed>,
        now: Timestamp,
    ) -> Result<Replicated, AppendError> {
        let lsn = self.shared.journal()?.synced();
        self.admit_replica(&state, &batches)?;
        let bytes: u64 = batches.iter().map(|batch| u64::from(batch.header.bytes)).sum();
        let groups = lay_out(&state, config, &batches, now);
        let mut written = Vec::with_capacity(groups.len());
        for (segment, stored) in &groups {
            match self.write_segment(&mut io, &mut state, *segment, stored, config) {
                Ok(segment) => written.push(segment),
                Err(error) => return Err(self.unwrite(&mut io, &groups, &error)),
            }
        }
        for batch in batches {
            self.commit(&mut state, config, batch, now, lsn);
        }
        for (segment, (_, stored)) in written.into_iter().zip(&groups) {
            state.wrote(segment, stored.iter().map(|batch| batch.payload.len() as u64).sum());
        }
        state.check();
        let end = state.log_end;
        self.on_synced(end);
        drop(state);
        drop(io);
        for (_, stored) in &groups {
            self.shared.budget.on_written(self, stored.len(), stored.iter().map(TailBatch::cost).sum());
        }
        self.shared.space.on_written(bytes);
        self.shared.mark_dirty(self);
        Ok(Replicated { end, lsn, flushed: true })
    }

    /// A write failed: what was written before it counts as nothing. New files go; what lies behind the end of the last
    /// known segment is overwritten by the next append.
    fn unwrite(
        &self,
        io: &mut Io,
        groups: &[(Segment, Vec<TailBatch>)],
        error: &crate::disk::DiskError,
    ) -> AppendError {
        io.writer = None;
        for (segment, _) in groups.iter().filter(|(segment, _)| segment.written.bytes == 0) {
            io.unsummed.retain(|sums| sums.base != segment.base);
            self.shared.pool.forget(self.id(), segment.base);
            for kind in Kind::ALL {
                // The disk has failed already; a file that stays is found by the next start.
                let _ = self.shared.disk.remove(&self.place.path(segment.base, kind));
            }
        }
        self.write_failed_quietly(error)
    }

    /// Every reason to refuse a leader's batches. Changes nothing.
    fn admit_replica(&self, state: &State, batches: &[Placed]) -> Result<(), AppendError> {
        if state.deleted {
            return Err(AppendError::Deleted);
        }
        let mut newest = state.epochs.latest();
        for Placed { header, .. } in batches {
            if let Some(current) = newest.filter(|&newest| header.epoch < newest) {
                return Err(FencedEpoch { got: header.epoch, current }.into()); // R9
            }
            if header.epoch > state.epoch {
                return Err(AppendError::UnknownEpoch { got: header.epoch, current: state.epoch });
            }
            newest = Some(header.epoch);
        }
        let Some(first) = batches.first().map(|batch| &batch.header) else { return Err(AppendError::Malformed) };
        let holds_start = first.base < state.log_end && state.log_end < first.end() && state.is_vacant(first.base);
        if first.base != state.log_end && !holds_start {
            let (base, expected) = (first.base, state.log_end);
            tracing::error!(folder = %self.place.folder, %base, %expected, "a leader's batch does not follow on");
            return Err(AppendError::Malformed);
        }
        self.admit_bytes(batches.iter().map(|batch| batch.header.bytes as usize).sum())
    }
}

/// The batches in `bytes`, which must be nothing but whole, sound ones, each where the one before ends.
fn split(bytes: &Bytes) -> Result<Vec<Placed>, AppendError> {
    let mut batches: Vec<Placed> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let header = Header::parse(&bytes[at..]).filter(|header| header.epoch.get() >= 0);
        let header = header.ok_or(AppendError::Malformed)?;
        let end = at + header.bytes as usize;
        let sound = bytes.get(at..end).is_some_and(|batch| header.check(batch));
        let follows = batches.last().is_none_or(|before| before.header.end() == header.base);
        if !sound || !follows {
            return Err(AppendError::Malformed);
        }
        let payload = Payload::whole(bytes.slice(at..end));
        batches.push(Placed { header, payload, max_timestamp: header.max_timestamp });
        at = end;
    }
    if batches.is_empty() { Err(AppendError::Malformed) } else { Ok(batches) }
}

/// Which batches go into which segment, and where.
fn lay_out(state: &State, config: &LogConfig, batches: &[Placed], now: Timestamp) -> Vec<(Segment, Vec<TailBatch>)> {
    let mut groups: Vec<(Segment, Vec<TailBatch>)> = Vec::new();
    let mut active = state.active();
    for batch in batches {
        let rolled = rolls(active, config, batch);
        let mut place = active.filter(|_| !rolled).unwrap_or(Active {
            base: batch.header.base,
            bytes: 0,
            first: batch.max_timestamp,
        });
        if rolled || groups.is_empty() {
            let known = state.segments.last().copied().filter(|_| !rolled);
            groups.push((known.unwrap_or(Segment::empty(place.base)), Vec::new()));
        }
        if let Some((_, stored)) = groups.last_mut() {
            stored.push(batch.clone().stored(place.bytes, now));
        }
        place.bytes = place.bytes.saturating_add(batch.header.bytes);
        active = Some(place);
    }
    groups
}

impl State {
    /// Whether the log is empty and a batch may begin at `base`, before it: no file has anything from there on.
    pub(super) fn is_vacant(&self, base: Offset) -> bool {
        self.log_end == self.log_start && self.pending_bytes == 0 && base >= self.data_end()
    }
}

#[cfg(test)]
pub(in crate::partition) mod tests;
