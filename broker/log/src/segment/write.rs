//! Appending to the files of one segment: batches, index entries, running sums.
//!
//! Owns the order in which they are written and the space that is reserved ahead. A write that failed may be repeated:
//! nothing counts as written before all of it was. Never syncs and never reads a batch.

use std::io::IoSlice;

use ottla_core::types::Timestamp;

use crate::disk::{DiskError, DiskFile};
use crate::files::{FilePool, Place};
use crate::index::{Entry as _, OffsetEntry, TimeEntry};
use crate::segment::{Extent, Kind, Segment};
use crate::sum::{CHUNK_BYTES, RunningSum, SumId};
use crate::tail::TailBatch;

/// How many buffers go into one write; the system's limit is 1,024.
const SLICES_MAX: usize = 512;
/// Space is reserved ahead from this length on, so that small partitions stay small.
const ALLOCATE_FROM: u32 = 1024 * 1024;
const ALLOCATE_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    pub(crate) segment: Segment,
    pub(crate) sums: RunningSum,
    /// Its files are new: their directory must be synced.
    pub(crate) made: bool,
    /// There may be bytes of an earlier life behind what is written.
    excess: bool,
    /// The journal is being replayed: what is written is all that will come for now.
    replaying: bool,
    since_entry: u32,
    newest_entry: Timestamp,
    allocated: u32,
}

/// What writing depends on besides the batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) index_interval_bytes: u32,
    /// Reserve all of this at once (`preallocate`); 0 reserves as it grows.
    pub(crate) preallocate_bytes: u32,
}

impl SegmentWriter {
    /// Goes on behind what `segment` has written. Bytes that are missing are replaced by zeros, which no reader takes for
    /// a batch. Bytes behind it, of a life that ended there, are cut; but while the journal is replayed they are only
    /// overwritten: they may be flushed already, and a crash must not find them gone.
    pub(crate) fn resume(pool: &FilePool, place: &Place, segment: Segment, replaying: bool) -> Result<Self, DiskError> {
        let file = pool.write(place, segment.base, Kind::Log)?;
        let written = segment.written.bytes;
        let length = file.len()?;
        let excess = length > u64::from(written);
        if length < u64::from(written) {
            tracing::error!(file = %file.path(), length, expected = written, "the segment's file is too short");
        }
        if length != u64::from(written) && !(excess && replaying) {
            file.truncate(u64::from(written))?;
        }
        let whole = written / CHUNK_BYTES * CHUNK_BYTES;
        let partial = file.read_bytes(u64::from(whole), (written - whole) as usize)?;
        let id = SumId { partition: place.id, base: segment.base };
        Ok(Self {
            segment,
            sums: RunningSum::resume(id, written, &partial),
            made: written == 0,
            excess: excess && replaying,
            replaying,
            since_entry: 0,
            newest_entry: segment.written.max_timestamp,
            allocated: written,
        })
    }

    /// Writes `batches`, which follow what is written.
    pub(crate) fn write(
        &mut self,
        pool: &FilePool,
        place: &Place,
        batches: &[TailBatch],
        settings: Settings,
    ) -> Result<(), DiskError> {
        let base = self.segment.base;
        let log = pool.write(place, base, Kind::Log)?;
        self.reserve(&*log, settings);
        write_log(&*log, batches)?;
        let mut plan = Plan::new(self);
        for batch in batches {
            plan.add(batch, settings.index_interval_bytes);
        }
        let old = self.segment.written;
        if !plan.index.is_empty() {
            let at = u64::from(old.index_entries) * OffsetEntry::BYTES;
            pool.write(place, base, Kind::Index)?.write_at(at, &[IoSlice::new(&plan.index)])?;
        }
        if !plan.times.is_empty() {
            let at = u64::from(old.time_entries) * TimeEntry::BYTES;
            pool.write(place, base, Kind::TimeIndex)?.write_at(at, &[IoSlice::new(&plan.times)])?;
        }
        let Plan { extent, since_entry, newest_entry, first_timestamp, last_append, .. } = plan;
        self.segment.written = extent;
        self.segment.first_timestamp = first_timestamp;
        self.segment.last_append = last_append;
        self.since_entry = since_entry;
        self.newest_entry = newest_entry;
        for batch in batches {
            self.sums.update(batch.payload.head());
            self.sums.update(batch.payload.tail());
        }
        Ok(())
    }

    /// Ends the segment: Kafka's last time entry, and no space reserved any more.
    pub(crate) fn seal(&mut self, pool: &FilePool, place: &Place) -> Result<(), DiskError> {
        let written = &mut self.segment.written;
        if written.max_timestamp > self.newest_entry {
            let entry = TimeEntry { timestamp: written.max_timestamp, offset: written.max_timestamp_offset };
            let mut bytes = Vec::new();
            entry.encode(self.segment.base, &mut bytes);
            let at = u64::from(written.time_entries) * TimeEntry::BYTES;
            pool.write(place, self.segment.base, Kind::TimeIndex)?.write_at(at, &[IoSlice::new(&bytes)])?;
            written.time_entries += 1;
            self.newest_entry = written.max_timestamp;
        }
        if self.allocated > written.bytes {
            pool.write(place, self.segment.base, Kind::Log)?.truncate(u64::from(written.bytes))?;
            self.allocated = written.bytes;
            self.excess = false;
        }
        self.cut_excess(pool, place)
    }

    /// Everything that was promised is written: what lies behind it goes.
    pub(crate) fn cut_excess(&mut self, pool: &FilePool, place: &Place) -> Result<(), DiskError> {
        self.replaying = false;
        if std::mem::take(&mut self.excess) {
            let written = u64::from(self.segment.written.bytes);
            let log = pool.write(place, self.segment.base, Kind::Log)?;
            if log.len()? > written {
                log.truncate(written)?;
            }
        }
        Ok(())
    }

    /// Reserves space ahead; that it cannot be had is found out by the write.
    fn reserve(&mut self, log: &dyn DiskFile, settings: Settings) {
        let written = self.segment.written.bytes;
        if self.replaying {
            return;
        }
        let wanted = if settings.preallocate_bytes > 0 {
            settings.preallocate_bytes
        } else if written >= ALLOCATE_FROM {
            written.saturating_add(written.min(ALLOCATE_BYTES_MAX))
        } else {
            return;
        };
        let low = self.allocated.saturating_sub(written) < wanted.saturating_sub(written) / 4;
        if low && wanted > self.allocated {
            let from = self.allocated.max(written);
            if log.allocate(u64::from(from), u64::from(wanted - from)).is_ok() {
                self.allocated = wanted;
            }
        }
    }
}

/// What a segment will be once some batches are written.
struct Plan {
    extent: Extent,
    base: ottla_core::types::Offset,
    index: Vec<u8>,
    times: Vec<u8>,
    since_entry: u32,
    newest_entry: Timestamp,
    first_timestamp: Timestamp,
    last_append: Timestamp,
}

impl Plan {
    fn new(writer: &SegmentWriter) -> Self {
        Self {
            extent: writer.segment.written,
            base: writer.segment.base,
            index: Vec::new(),
            times: Vec::new(),
            since_entry: writer.since_entry,
            newest_entry: writer.newest_entry,
            first_timestamp: writer.segment.first_timestamp,
            last_append: writer.segment.last_append,
        }
    }

    /// Kafka's order: the entries name the batch that comes when the interval has passed.
    fn add(&mut self, batch: &TailBatch, interval: u32) {
        let extent = &mut self.extent;
        let last = batch.end.plus(-1);
        if extent.bytes == 0 {
            self.first_timestamp = batch.max_timestamp;
        }
        if batch.max_timestamp > extent.max_timestamp {
            extent.max_timestamp = batch.max_timestamp;
            extent.max_timestamp_offset = last;
        }
        if self.since_entry > interval {
            OffsetEntry { offset: last, position: batch.position }.encode(self.base, &mut self.index);
            extent.index_entries += 1;
            if extent.max_timestamp > self.newest_entry {
                let entry = TimeEntry { timestamp: extent.max_timestamp, offset: extent.max_timestamp_offset };
                entry.encode(self.base, &mut self.times);
                extent.time_entries += 1;
                self.newest_entry = extent.max_timestamp;
            }
            self.since_entry = 0;
        }
        let bytes = u32::try_from(batch.payload.len()).unwrap_or(u32::MAX);
        self.since_entry = self.since_entry.saturating_add(bytes);
        extent.bytes = batch.position.saturating_add(bytes);
        extent.end = batch.end;
        self.last_append = self.last_append.max(batch.appended);
    }
}

fn write_log(log: &dyn DiskFile, batches: &[TailBatch]) -> Result<(), DiskError> {
    let mut slices = Vec::with_capacity((2 * batches.len()).min(SLICES_MAX));
    let mut at = batches.first().map_or(0, |batch| u64::from(batch.position));
    let mut length = 0;
    for batch in batches {
        if slices.len() + 2 > SLICES_MAX {
            log.write_at(at, &slices)?;
            slices.clear();
            at += length;
            length = 0;
        }
        for part in [batch.payload.head(), batch.payload.tail()] {
            if !part.is_empty() {
                slices.push(IoSlice::new(part));
                length += part.len() as u64;
            }
        }
    }
    if slices.is_empty() { Ok(()) } else { log.write_at(at, &slices) }
}
