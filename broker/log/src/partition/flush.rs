//! Making written bytes durable: what a flush pass needs of one partition, and what it reports back.
//!
//! Owns the bookkeeping between `written` and `flushed`. The pass itself, its order and its pace are the store's.

use std::sync::Arc;

use ottla_core::types::Offset;

use crate::disk::{DiskError, Open};
use crate::epochs::CHECKPOINT;
use crate::partition::record::FILE;
use crate::partition::{CutFiles, Io, Partition, Unsummed};
use crate::segment::{Extent, Kind, Segment};
use crate::sum::{CHUNK_BYTES, HEAD_BYTES, RunningSum, SumId};

/// One segment with unflushed bytes, as it was when the pass began.
#[derive(Clone, Debug)]
pub(crate) struct FlushItem {
    pub(crate) base: Offset,
    /// What will be flushed.
    pub(crate) extent: Extent,
    /// What was flushed before.
    pub(crate) flushed_bytes: u32,
    sums: Unsummed,
}

/// What a pass has to do for one partition.
#[derive(Debug)]
pub(crate) struct FlushPlan {
    pub(crate) partition: Arc<Partition>,
    pub(crate) items: Vec<FlushItem>,
    /// The folder's names must be synced, and its `partition.state`.
    pub(crate) names_changed: bool,
    /// Files that were cut.
    pub(crate) cut: Option<CutFiles>,
    /// How often the log had been cut; a cut since then makes `items` wrong.
    cuts: u64,
}

impl Partition {
    /// What has to be flushed now. Takes over the sums of left segments: a pass that fails takes the directory offline.
    pub(crate) fn flush_plan(self: &Arc<Self>) -> Result<FlushPlan, DiskError> {
        let mut io = self.io.lock();
        let mut sums = std::mem::take(&mut io.unsummed);
        if let Some(writer) = &io.writer {
            let (position, entries) = writer.sums.pending();
            sums.push(Unsummed { base: writer.segment.base, position, entries });
        }
        let state = self.state.lock();
        let mut items = Vec::new();
        for segment in state.segments.iter().filter(|segment| segment.flushed != segment.written) {
            let known = sums.iter().position(|sum| sum.base == segment.base).map(|at| sums.swap_remove(at));
            let sums = match known {
                Some(sums) => sums,
                None => self.sum_file(segment)?,
            };
            let flushed_bytes = segment.flushed.bytes;
            items.push(FlushItem { base: segment.base, extent: segment.written, flushed_bytes, sums });
        }
        let cuts = state.cuts;
        let epochs = state.epochs.entries().len();
        let checkpoint = (epochs != io.epochs_listed && io.folder).then(|| state.epochs.checkpoint());
        drop(state);
        // A first flush makes a sidecar, whose name must be durable like its content.
        let first = items.iter().any(|item| item.flushed_bytes == 0);
        let names_changed = std::mem::take(&mut io.names_changed) || first;
        if let Some(text) = checkpoint {
            match self.write_checkpoint(&text) {
                Ok(()) => io.epochs_listed = epochs,
                // A hint can wait for room: no record needs it.
                Err(error) if error.is_no_space() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(FlushPlan { partition: Arc::clone(self), items, names_changed, cut: io.cut.take(), cuts })
    }

    /// The sums of bytes that no writer of this life has seen: recovery found them unflushed.
    fn sum_file(&self, segment: &Segment) -> Result<Unsummed, DiskError> {
        let (from, to) = (segment.flushed.bytes / CHUNK_BYTES * CHUNK_BYTES, segment.written.bytes);
        let log = self.shared.pool.read(&self.place, segment.base, Kind::Log)?;
        let mut sums = RunningSum::resume(SumId { partition: self.id(), base: segment.base }, from, &[]);
        let mut position = from;
        while position < to {
            let bytes = log.read_bytes(u64::from(position), (to - position).min(16 * CHUNK_BYTES) as usize)?;
            if bytes.is_empty() {
                break; // the file is shorter than it was: readers will find that
            }
            sums.update(&bytes);
            position += u32::try_from(bytes.len()).expect("at most what was asked for");
        }
        let (position, entries) = sums.pending();
        Ok(Unsummed { base: segment.base, position, entries })
    }

    /// A hint, so neither synced nor replaced as a whole: it is rebuilt from the batches.
    fn write_checkpoint(&self, text: &str) -> Result<(), DiskError> {
        let file = self.shared.disk.open(&format!("{}/{CHECKPOINT}", self.place.folder), Open::Create)?;
        file.truncate(0)?;
        file.write_at(0, &[std::io::IoSlice::new(text.as_bytes())])
    }

    /// The bytes of `item` are durable: its sums follow.
    pub(crate) fn write_sums(&self, plan: &FlushPlan, item: &FlushItem) -> Result<(), DiskError> {
        // Under `io`, so that a segment which is being removed does not come back as a file.
        let _io = self.io.lock();
        let here = {
            let state = self.state.lock();
            state.cuts == plan.cuts && state.segments.iter().any(|segment| segment.base == item.base)
        };
        if !here {
            return Ok(());
        }
        let sidecar = self.shared.pool.write(&self.place, item.base, Kind::Sum)?;
        if item.flushed_bytes == 0 {
            // What an earlier segment of the same name may have left.
            sidecar.truncate(0)?;
            let head = SumId { partition: self.id(), base: item.base }.head();
            sidecar.write_at(0, &[std::io::IoSlice::new(&head)])?;
        }
        debug_assert!(item.sums.position >= HEAD_BYTES, "entries lie behind the head");
        sidecar.write_at(item.sums.position, &[std::io::IoSlice::new(&item.sums.entries)])
    }

    /// Syncs one file of a segment, unless it was removed meanwhile.
    pub(crate) fn sync_file(&self, base: Offset, kind: Kind) -> Result<(), DiskError> {
        match self.shared.pool.read(&self.place, base, kind) {
            Ok(file) => file.sync_data(),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Syncs the folder's own facts and its names.
    pub(crate) fn sync_names(&self) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        match disk.open(&format!("{}/{FILE}", self.place.folder), Open::Write) {
            Ok(file) => file.sync_data()?,
            Err(error) if error.is_not_found() => {} // its partition was deleted meanwhile
            Err(error) => return Err(error),
        }
        match disk.sync_dir(&self.place.folder) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        }
        let first = {
            let mut state = self.state.lock();
            !std::mem::replace(&mut state.settled, true)
        };
        if first {
            disk.sync_dir("")?;
            self.shared.unsettled.lock().remove(&self.id());
        }
        Ok(())
    }

    /// The pass stopped for want of space: its sums wait for the next one.
    pub(crate) fn unplan(&self, plan: &FlushPlan) {
        let mut io = self.io.lock();
        io.names_changed |= plan.names_changed;
        if io.cut.is_none() {
            io.cut.clone_from(&plan.cut);
        }
        if self.state.lock().cuts != plan.cuts {
            return;
        }
        for item in &plan.items {
            let live = io.writer.as_ref().is_some_and(|writer| writer.segment.base == item.base);
            if !live && io.unsummed.iter().all(|sums| sums.base != item.base) {
                io.unsummed.push(item.sums.clone());
            }
        }
    }

    /// The partition comes back to the journal: what is only in the page cache must not have a gap behind it.
    pub(crate) fn opt_in(self: &Arc<Self>) -> Result<(), DiskError> {
        let bases: Vec<Offset> = {
            let _io = self.io.lock();
            let mut state = self.state.lock();
            state.unjournaled = false;
            let unflushed = state.segments.iter().filter(|segment| segment.flushed != segment.written);
            unflushed.map(|segment| segment.base).collect()
        };
        for base in bases {
            self.sync_file(base, Kind::Log)?;
        }
        if self.io.lock().names_changed { self.sync_names() } else { Ok(()) }
    }

    /// The pass has made everything in `plan` durable, sums included. Not if the log was cut meanwhile: then the next
    /// pass does it, and this one must not let the journal forget. Whether it counts.
    pub(crate) fn on_flushed(&self, plan: &FlushPlan) -> bool {
        let mut io = self.io.lock();
        if self.state.lock().cuts != plan.cuts {
            return false;
        }
        for item in &plan.items {
            self.on_item_flushed(&mut io, item);
        }
        true
    }

    fn on_item_flushed(&self, io: &mut Io, item: &FlushItem) {
        if let Some(writer) = &mut io.writer
            && writer.segment.base == item.base
        {
            writer.sums.forget_before(item.extent.bytes / CHUNK_BYTES);
        }
        let mut state = self.state.lock();
        let Some(index) = state.segment_of(item.base) else { return };
        let segment = &mut state.segments[index];
        if segment.base == item.base && item.extent.bytes >= segment.flushed.bytes {
            self.shared.space.on_flushed(u64::from(item.extent.bytes - segment.flushed.bytes));
            segment.flushed = item.extent;
        }
    }
}
