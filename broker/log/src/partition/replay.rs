//! Putting a partition back together: journal frames at start, and indexes that were lost.
//!
//! Owns what a replayed frame means for one partition. Every step may be repeated: a frame whose effect is in the
//! segments already changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_core::producer::Producers;
use ottla_core::types::{Lsn, Offset, Timestamp};

use crate::batch::Header;
use crate::damage::DamagedRange;
use crate::disk::DiskError;
use crate::index::{Entry as _, OffsetEntry, TimeEntry};
use crate::journal::{Frame, Payload};
use crate::partition::record::{BYTES_MAX, FILE, PartitionRecord};
use crate::partition::{Io, Partition};
use crate::segment::read::Reading;
use crate::segment::scan::{Found, Scanner};
use crate::segment::{Kind, Segment, parse_log_name};
use crate::tail::TailBatch;

/// Why a replayed frame could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The frame is sound but contradicts the log.
    #[error("frame {lsn} holds offsets {base}..{end}, which do not follow {log_end}")]
    Contradiction { lsn: Lsn, base: Offset, end: Offset, log_end: Offset },
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Partition {
    /// A batch of the journal: appended again unless the segments have it. A gap before it is kept apart as damage.
    /// Returns how many bytes wait for the segment now.
    pub(crate) fn replay_append(
        self: &Arc<Self>,
        lsn: Lsn,
        frame: &Frame,
        rolls_at: &BTreeSet<Offset>,
    ) -> Result<usize, ReplayError> {
        let gap = {
            let state = self.state.lock();
            if lsn <= state.floor {
                return Ok(0);
            }
            state.log_end < frame.base
        };
        if gap {
            self.salvage(frame.base)?;
        }
        let mut state = self.state.lock();
        if frame.end <= state.log_end {
            return Ok(0);
        }
        let (base, end) = (frame.base, frame.end);
        state.step_back(base);
        let bytes = frame.payload.to_bytes();
        let header = Header::parse(&bytes).filter(|header| header.check(&bytes) && header.end() == end);
        let Some(header) = header.filter(|header| header.base == base && base >= state.log_end) else {
            return Err(ReplayError::Contradiction { lsn, base, end, log_end: state.log_end });
        };
        if base > state.log_end {
            let range = DamagedRange { from: state.log_end, upto: base };
            let cuts = state.cuts;
            drop(state);
            self.quarantine(range, cuts)?;
            state = self.state.lock();
            state.jump(base);
        }
        state.begin_replayed(&header, rolls_at);
        if let Some(claim) = &header.producer {
            state.producers.record(claim, header.last(), header.max_timestamp, header.max_timestamp);
        }
        // The log may start inside the batch, and its epoch with it.
        let first = base.max(state.log_start);
        state.epochs.note(header.epoch, first);
        state.epoch = state.epoch.max(header.epoch);
        let stored = TailBatch {
            base,
            end,
            max_timestamp: header.max_timestamp,
            appended: Timestamp::NONE,
            position: state.active_bytes,
            payload: Payload::whole(bytes),
        };
        let cost = stored.cost();
        self.shared.budget.on_appended(cost);
        state.tail.push(stored);
        state.active_bytes += header.bytes;
        state.pending_bytes += u64::from(header.bytes);
        state.log_end = end;
        state.last_lsn = lsn;
        state.check();
        drop(state);
        self.on_synced(end);
        Ok(cost)
    }

    /// Whether a replayed batch begins where the log ends, or is in it: of the same history, as far as its epoch tells.
    pub(crate) fn has_place_for(&self, frame: &Frame) -> bool {
        let state = self.state.lock();
        let same = state.epochs.at(frame.base).is_none_or(|epoch| epoch == frame.epoch);
        frame.base == state.log_end || (frame.base < state.log_end && same)
    }

    /// The log start of a replayed frame.
    pub(crate) fn replay_start(self: &Arc<Self>, lsn: Lsn, start: Offset) -> Result<(), DiskError> {
        let mut state = self.state.lock();
        if lsn <= state.floor || start < state.log_start {
            return Ok(());
        }
        (state.start_lsn, state.last_lsn) = (lsn, lsn);
        if start > state.log_end {
            drop(state);
            self.reach(start)?;
            state = self.state.lock();
        }
        state.set_start(start);
        let end = state.log_end;
        drop(state);
        self.on_synced(end);
        Ok(())
    }

    /// What lies between the known end and `start` is below the log start now: nothing is missing. An opted-out partition
    /// may have a file that begins below it and goes on above.
    fn reach(self: &Arc<Self>, start: Offset) -> Result<(), DiskError> {
        self.write_out(Lsn::default())?;
        self.skip_to_file(start)?;
        let mut state = self.state.lock();
        if start > state.log_end {
            state.jump(start);
        }
        Ok(())
    }

    /// The log ended at `end` or behind it, and a cut there is about to be replayed: what skipped the journal since the
    /// catalogue must be known first, or the cut would take its files for what was cut off. Files that are missing were
    /// removed below a log start whose frame may be still to come; the partition's own record tells it already.
    pub(super) fn reach_unjournaled(self: &Arc<Self>, end: Offset) -> Result<(), DiskError> {
        {
            let state = self.state.lock();
            if !state.unjournaled || end <= state.log_end {
                return Ok(());
            }
        }
        self.write_out(Lsn::default())?;
        self.scan_beyond()?;
        let start = self.read_record()?.map_or(end, |record| record.log_start.min(end));
        if start > self.state.lock().log_end { self.reach(start) } else { Ok(()) }
    }

    /// Files that the catalogue names and that are gone were removed below a log start whose frame is still to come: the
    /// partition's own record tells it already. Nothing is written into them again.
    pub(crate) fn notice_removals(self: &Arc<Self>, lsn: Lsn, bases: &BTreeSet<Offset>) -> Result<(), DiskError> {
        let is_gone = |segment: &Segment| segment.written.bytes > 0 && !bases.contains(&segment.base);
        if !self.state.lock().segments.iter().any(is_gone) {
            return Ok(());
        }
        let Some(record) = self.read_record()? else { return Ok(()) };
        // Not the record's start itself, which may lie amid batches that are still to be replayed.
        let first = bases.first().copied().unwrap_or(record.log_start);
        if first <= record.log_start { self.replay_start(lsn, first) } else { Ok(()) }
    }

    /// What the folder says about itself, if it is this partition's.
    pub(crate) fn read_record(&self) -> Result<Option<PartitionRecord>, DiskError> {
        let bytes = self.shared.disk.read_file(&format!("{}/{FILE}", self.place.folder), BYTES_MAX)?;
        let record = bytes.and_then(|bytes| PartitionRecord::decode(&bytes).ok());
        Ok(record.filter(|record| record.id == self.id()))
    }

    /// Goes on with the file that would hold `start`, if there is one behind what is known. What was skipped is in no
    /// file any more: the partition's record knows its producers (T1).
    fn skip_to_file(self: &Arc<Self>, start: Offset) -> Result<(), DiskError> {
        if let Some(record) = self.read_record()? {
            // All of it: a producer that it does not know was forgotten since, and what is older would leave a gap.
            self.state.lock().producers = Producers::restore(record.producers);
        }
        let entries = match self.shared.disk.list(&self.place.folder) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let bases = entries.iter().filter_map(|entry| parse_log_name(&entry.name));
        let Some(base) = bases.filter(|&base| base <= start).max() else { return Ok(()) };
        {
            let mut state = self.state.lock();
            if base <= state.log_end {
                return Ok(());
            }
            state.jump(base);
        }
        self.io.lock().writer = None;
        self.scan_beyond().map(|_batches| ())
    }

    /// The journal has lost frames before `base`. The segment's file may still have their batches: it was written from
    /// the same memory.
    fn salvage(self: &Arc<Self>, base: Offset) -> Result<(), DiskError> {
        self.write_out(Lsn::default())?;
        self.scan_beyond()?;
        let end = self.state.lock().log_end;
        if end > base {
            tracing::error!(folder = %self.place.folder, %end, %base, "salvage overlaps the journal");
        }
        Ok(())
    }

    /// Takes the sound batches that lie behind the known end of the last segment's file: of an opted-out partition, or
    /// where the journal was damaged. Returns how many there were.
    pub(crate) fn scan_beyond(self: &Arc<Self>) -> Result<u64, DiskError> {
        let (segment, end) = {
            let state = self.state.lock();
            let segment = state.segments.last().copied().unwrap_or(Segment::empty(state.log_end));
            (segment, state.log_end)
        };
        let path = self.place.path(segment.base, Kind::Log);
        let length = self.shared.disk.size(&path)?.unwrap_or(0);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if length <= segment.written.bytes {
            return self.scan_next_segment();
        }
        {
            let mut state = self.state.lock();
            if state.segments.is_empty() {
                state.segments.push(segment);
            }
        }
        self.io.lock().folder = true;
        let log = self.shared.pool.read(&self.place, segment.base, Kind::Log)?;
        let mut scanner = Scanner::new(&*log, length, segment.written.bytes, end);
        let mut expected = end;
        let mut found = 0;
        while let Some(Found::Batch { header, .. }) = scanner.step()? {
            if header.base != expected {
                break;
            }
            expected = header.end();
            found += 1;
            self.adopt(segment.base, &header);
        }
        if found > 0 {
            self.on_synced(expected);
            self.distrust(segment.base);
            self.shared.mark_dirty(self);
        }
        // What ends the file may be a torn write of an earlier life, and the log may go on in the next one.
        Ok(found + self.scan_next_segment()?)
    }

    /// A segment may have been begun behind the last known one.
    fn scan_next_segment(self: &Arc<Self>) -> Result<u64, DiskError> {
        let end = {
            let state = self.state.lock();
            if state.segments.last().is_none_or(|segment| segment.base >= state.log_end) {
                return Ok(0);
            }
            state.log_end
        };
        if self.shared.disk.size(&self.place.path(end, Kind::Log))?.unwrap_or(0) == 0 {
            return Ok(0);
        }
        {
            let mut state = self.state.lock();
            state.segments.push(Segment::empty(end));
            state.active_bytes = 0;
            state.active_first = Timestamp::NONE;
        }
        self.io.lock().writer = None;
        self.scan_beyond()
    }

    /// A batch that is in the file already.
    fn adopt(&self, base: Offset, header: &Header) {
        let mut state = self.state.lock();
        let Some(index) = state.segment_of(base) else { return };
        let segment = &mut state.segments[index];
        let written = &mut segment.written;
        if written.bytes == 0 {
            segment.first_timestamp = header.max_timestamp;
        }
        written.bytes += header.bytes;
        written.end = header.end();
        if header.max_timestamp > written.max_timestamp {
            written.max_timestamp = header.max_timestamp;
            written.max_timestamp_offset = header.last();
        }
        let (bytes, first) = (written.bytes, segment.first_timestamp);
        let added = u64::from(header.bytes);
        if let Some(claim) = &header.producer {
            state.producers.record(claim, header.last(), header.max_timestamp, header.max_timestamp);
        }
        state.epochs.note(header.epoch, header.base);
        state.epoch = state.epoch.max(header.epoch);
        state.active_bytes = bytes;
        state.active_first = first;
        state.log_end = header.end();
        state.written_end = header.end();
        self.shared.space.on_written(added);
    }

    fn distrust(&self, base: Offset) {
        self.io.lock().writer = None;
        self.state.lock().reindex.push(base);
    }

    /// Writes both indexes of a segment anew from its batches.
    pub(crate) fn rebuild_index(&self, io: &mut Io, base: Offset) -> Result<(), DiskError> {
        let (segment, interval) = {
            let state = self.state.lock();
            let Some(segment) = state.segments.iter().find(|segment| segment.base == base) else { return Ok(()) };
            (*segment, state.config.index_interval_bytes)
        };
        let reading = Reading { pool: &self.shared.pool, place: &self.place, segment: &segment };
        let (index, times) = index_of(&reading, interval)?;
        for (kind, bytes) in [(Kind::Index, &index), (Kind::TimeIndex, &times)] {
            let file = self.shared.pool.write(&self.place, base, kind)?;
            file.truncate(0)?;
            file.write_at(0, &[std::io::IoSlice::new(bytes)])?;
        }
        io.names_changed = true;
        if io.writer.as_ref().is_some_and(|writer| writer.segment.base == base) {
            // Its sums so far must not be lost with it; a writer that resumes counts entries from the state.
            if let Some(writer) = &mut io.writer {
                writer.segment.written.index_entries = (index.len() as u64 / OffsetEntry::BYTES) as u32;
                writer.segment.written.time_entries = (times.len() as u64 / TimeEntry::BYTES) as u32;
            }
        }
        let mut state = self.state.lock();
        if let Some(known) = state.segments.iter_mut().find(|segment| segment.base == base) {
            for extent in [&mut known.written, &mut known.flushed] {
                extent.index_entries = (index.len() as u64 / OffsetEntry::BYTES) as u32;
                extent.time_entries = (times.len() as u64 / TimeEntry::BYTES) as u32;
            }
        }
        tracing::info!(folder = %self.place.folder, %base, "rebuilt the indexes of a segment");
        Ok(())
    }
}

/// The two indexes as appending the batches one by one would have made them.
fn index_of(reading: &Reading<'_>, interval: u32) -> Result<(Vec<u8>, Vec<u8>), DiskError> {
    let segment = reading.segment;
    let log = reading.pool.read(reading.place, segment.base, Kind::Log)?;
    let mut scanner = Scanner::new(&*log, segment.written.bytes, 0, segment.base);
    let (mut index, mut times, mut since) = (Vec::new(), Vec::new(), 0_u32);
    let (mut newest, mut newest_entry) = ((Timestamp::NONE, segment.base), Timestamp::NONE);
    while let Some(found) = scanner.step()? {
        let Found::Batch { position, header, .. } = found else { continue };
        if header.max_timestamp > newest.0 {
            newest = (header.max_timestamp, header.last());
        }
        if since > interval {
            OffsetEntry { offset: header.last(), position }.encode(segment.base, &mut index);
            if newest.0 > newest_entry {
                TimeEntry { timestamp: newest.0, offset: newest.1 }.encode(segment.base, &mut times);
                newest_entry = newest.0;
            }
            since = 0;
        }
        since = since.saturating_add(header.bytes);
    }
    Ok((index, times))
}

impl super::State {
    /// A log start in the middle of a batch that no file has yet: the end that a scan took from the start was a guess.
    pub(super) fn step_back(&mut self, base: Offset) {
        if base < self.log_end && self.is_vacant(base) {
            self.segments.retain(|segment| segment.written.bytes > 0);
            (self.log_end, self.written_end) = (base, base);
        }
    }

    /// Begins a segment for a replayed batch where one began before, so that no file is left of which nobody knows.
    fn begin_replayed(&mut self, header: &Header, rolls_at: &BTreeSet<Offset>) {
        let (base, end) = (header.base, header.end());
        let bytes_max = i32::MAX.cast_unsigned();
        let full = self.active_bytes.checked_add(header.bytes).is_none_or(|bytes| bytes > bytes_max);
        let fresh = |segment: &Segment| segment.base == base && segment.written.bytes == 0;
        let begins = (full || rolls_at.contains(&base) || self.skips(base)) && !self.segments.last().is_some_and(fresh);
        let far = |segment: &Segment| end.get() - segment.base.get() > i64::from(i32::MAX);
        if begins || self.segments.last().is_none_or(far) {
            self.segments.push(Segment::empty(base));
            self.active_bytes = 0;
            self.active_first = header.max_timestamp;
        }
    }

    /// Behind the last batch that is in a file.
    pub(super) fn data_end(&self) -> Offset {
        let last = self.segments.iter().rev().find(|segment| segment.written.bytes > 0);
        last.map_or(Offset::new(0), |segment| segment.written.end)
    }

    /// The next batch will have this offset although the one before ends below it.
    pub(crate) fn jump(&mut self, base: Offset) {
        self.log_end = base;
        self.written_end = base;
        self.segments.push(Segment::empty(base));
        self.active_bytes = 0;
        self.active_first = Timestamp::NONE;
    }
}

impl Partition {
    /// The replay is over: what lies behind the last batch of the segment that was being written was never promised.
    pub(crate) fn cut_excess(&self) -> Result<(), DiskError> {
        match &mut self.io.lock().writer {
            Some(writer) => writer.cut_excess(&self.shared.pool, &self.place),
            None => Ok(()),
        }
    }

    /// Removes segment files that recovery found and nobody knows: of a history that was cut off, or never promised.
    pub(crate) fn remove_orphans(&self, bases: &BTreeSet<Offset>) -> Result<(), DiskError> {
        let mut io = self.io.lock();
        let known: BTreeSet<Offset> = self.state.lock().segments.iter().map(|segment| segment.base).collect();
        for &base in bases.difference(&known) {
            tracing::warn!(folder = %self.place.folder, %base, "removing a segment file that nothing refers to");
            self.shared.pool.forget(self.id(), base);
            for kind in Kind::ALL {
                match self.shared.disk.remove(&self.place.path(base, kind)) {
                    Err(error) if !error.is_not_found() => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            io.names_changed = true;
        }
        Ok(())
    }
}
