//! Bringing durable batches from memory into the segment files.
//!
//! Owns the order: the folder and what it says about itself, then bytes, then what the partition says is written. Called
//! by the segment threads, and by the appender of an opted-out partition. A round that the disk had no space for is
//! repeated later from the same batch; the batches stay readable from memory.

use std::io::IoSlice;
use std::sync::Arc;

use ottla_core::types::Lsn;

use crate::config::LogConfig;
use crate::disk::{DiskError, Open, count};
use crate::partition::record::{FILE, PartitionRecord};
use crate::partition::{Io, Partition, State, Unsummed};
use crate::phase;
use crate::segment::write::{SegmentWriter, Settings};
use crate::segment::{Kind, Segment};
use crate::tail::TailBatch;

/// How much one step takes out of the tail.
const STEP_BYTES_MAX: usize = 4 * 1024 * 1024;
const STEP_BATCHES_MAX: usize = 1024;

impl Partition {
    /// Writes every durable batch that is not in a segment yet; then removes what lies below a log start that is durable
    /// by `synced`.
    pub(crate) fn write_out(self: &Arc<Self>, synced: Lsn) -> Result<(), DiskError> {
        let mut io = self.io.lock();
        self.cut_if_durable(&mut io, synced)?;
        loop {
            let (batches, segment, config) = {
                let state = self.state.lock();
                if state.deleted {
                    return Ok(());
                }
                // Behind a cut nothing is written before the files are cut.
                let durable = self.flushed_end();
                let durable = state.cut.map_or(durable, |cut| durable.min(cut.end));
                let Some((batches, segment)) = state.next_step(durable) else { break };
                (batches, segment, Arc::clone(&state.config))
            };
            self.prepare_folder(&mut io)?;
            let previous = self.state.lock().before(segment.base);
            self.cut_previous(&io, segment, previous)?;
            let segment = self.write_files(&mut io, segment, &batches, &config)?;
            let cost = batches.iter().map(TailBatch::cost).sum();
            let bytes: u64 = batches.iter().map(|batch| batch.payload.len() as u64).sum();
            {
                let mut state = self.state.lock();
                state.wrote(segment, bytes);
                state.check();
            }
            self.shared.space.on_written(bytes);
            self.shared.mark_dirty(self);
            self.shared.budget.on_written(self, batches.len(), cost);
        }
        self.trim(&mut io, synced)?;
        self.rebuild_indexes(&mut io)
    }

    fn cut_if_durable(self: &Arc<Self>, io: &mut Io, synced: Lsn) -> Result<(), DiskError> {
        let cut = {
            let state = self.state.lock();
            state.cut.filter(|cut| cut.lsn <= synced && !state.deleted)
        };
        cut.map_or(Ok(()), |cut| self.cut_files(io, cut))
    }

    /// For the opted-out path, which holds both locks: writes `batches` behind `segment`, which may be new.
    pub(crate) fn write_segment(
        &self,
        io: &mut Io,
        state: &mut State,
        segment: Segment,
        batches: &[TailBatch],
        config: &LogConfig,
    ) -> Result<Segment, DiskError> {
        if !io.folder {
            let record = self.describe(state);
            self.make_folder(io, &record)?;
        }
        if let Some((base, sealed)) = self.seal_other(io, segment)?
            && let Some(index) = state.segment_of(base)
        {
            state.segments[index].written = sealed.written;
        }
        self.cut_previous(io, segment, state.before(segment.base))?;
        let before = segment.written.bytes;
        let result = self.write_files(io, segment, batches, config);
        if result.is_err() && before == 0 {
            io.writer = None;
        }
        result
    }

    fn write_files(
        &self,
        io: &mut Io,
        segment: Segment,
        batches: &[TailBatch],
        config: &LogConfig,
    ) -> Result<Segment, DiskError> {
        let rolls = io.writer.as_ref().is_some_and(|writer| writer.segment.base != segment.base);
        let _rolling = rolls.then(|| phase::enter(phase::SEGMENT_ROLL));
        if let Some((base, sealed)) = self.seal_other(io, segment)? {
            let mut state = self.state.lock();
            if let Some(index) = state.segment_of(base) {
                state.segments[index].written = sealed.written;
            }
        }
        let writer = match &mut io.writer {
            Some(writer) => writer,
            none => {
                let replaying = self.shared.journal.get().is_none();
                let resumed = SegmentWriter::resume(&self.shared.pool, &self.place, segment, replaying)?;
                io.names_changed |= resumed.made;
                none.insert(Box::new(resumed))
            }
        };
        let preallocate_bytes = if config.preallocate { config.segment_bytes } else { 0 };
        let settings = Settings { index_interval_bytes: config.index_interval_bytes, preallocate_bytes };
        writer.write(&self.shared.pool, &self.place, batches, settings)?;
        Ok(writer.segment)
    }

    /// A segment begins, and nobody has written the one before in this life: a torn write may be behind its end.
    fn cut_previous(&self, io: &Io, segment: Segment, previous: Option<Segment>) -> Result<(), DiskError> {
        let begins = segment.written.bytes == 0 && io.writer.is_none() && self.shared.journal.get().is_some();
        let Some(previous) = previous.filter(|_| begins) else { return Ok(()) };
        let written = u64::from(previous.written.bytes);
        let length = self.shared.disk.size(&self.place.path(previous.base, Kind::Log))?;
        if length.is_some_and(|length| length > written) {
            self.shared.pool.write(&self.place, previous.base, Kind::Log)?.truncate(written)?;
        }
        Ok(())
    }

    /// Ends the segment that was written before, if it is another one; returns what it has become.
    fn seal_other(
        &self,
        io: &mut Io,
        segment: Segment,
    ) -> Result<Option<(ottla_core::types::Offset, Segment)>, DiskError> {
        match &mut io.writer {
            Some(writer) if writer.segment.base != segment.base => {
                writer.seal(&self.shared.pool, &self.place)?;
                let sealed = writer.segment;
                let (position, entries) = writer.sums.pending();
                io.unsummed.push(Unsummed { base: sealed.base, position, entries });
                io.writer = None;
                Ok(Some((sealed.base, sealed)))
            }
            Some(_) | None => Ok(None),
        }
    }

    pub(crate) fn prepare_folder(&self, io: &mut Io) -> Result<(), DiskError> {
        if io.folder {
            return Ok(());
        }
        let record = self.describe(&self.state.lock());
        self.make_folder(io, &record)
    }

    /// The folder and what it says about itself; both are made durable by the next flush, before the journal forgets.
    /// A record that is there already holds what no batch says: it is replaced as a whole.
    fn make_folder(&self, io: &mut Io, record: &PartitionRecord) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        disk.create_dir(&self.place.folder)?;
        if !self.owns_folder()? {
            self.move_aside()?;
            disk.create_dir(&self.place.folder)?;
        }
        let path = format!("{}/{FILE}", self.place.folder);
        match disk.open(&path, Open::CreateNew) {
            Ok(file) => file.write_at(0, &[IoSlice::new(&record.encode())])?,
            Err(DiskError::Exists { .. }) => disk.replace_file(&path, &record.encode())?,
            Err(error) => return Err(error),
        }
        io.folder = true;
        io.names_changed = true;
        Ok(())
    }

    /// Whether the folder says that it is this partition's.
    fn has_record(&self) -> Result<bool, DiskError> {
        self.read_record().map(|record| record.is_some())
    }

    /// Whether what lies in the folder may be overwritten: it is this partition's, or nothing of it was ever flushed.
    fn owns_folder(&self) -> Result<bool, DiskError> {
        if self.has_record()? {
            return Ok(true);
        }
        let entries = self.shared.disk.list(&self.place.folder)?;
        Ok(!entries.iter().any(|entry| entry.name.ends_with(Kind::Sum.suffix())))
    }

    /// The folder holds flushed segments and does not say that they are this partition's: whatever they are, they are
    /// kept for who can read them (S3).
    fn move_aside(&self) -> Result<(), DiskError> {
        let disk = &self.shared.disk;
        let taken = disk.list("")?.into_iter().map(|entry| entry.name).collect::<std::collections::BTreeSet<_>>();
        let free = (1_u32..).map(|n| format!("{}.{n}{UNREADABLE_SUFFIX}", self.place.folder));
        let Some(to) = free.into_iter().find(|name| !taken.contains(name)) else { return Ok(()) }; // of 2^32
        tracing::error!(folder = %self.place.folder, %to, "a folder that cannot be read is moved out of the way");
        disk.rename(&self.place.folder, &to)?;
        disk.sync_dir("")
    }

    /// What `partition.state` says now.
    pub(crate) fn describe(&self, state: &State) -> PartitionRecord {
        PartitionRecord {
            id: self.id(),
            name: self.name().to_owned(),
            log_start: state.log_start,
            epoch: state.epoch,
            damage: state.damage.clone(),
            producers: state.producers.snapshot(self.flushed_end()),
        }
    }

    /// Replaces `partition.state`, durably. `io` is held so that an older one never replaces a newer one.
    pub(crate) fn persist_record(&self, io: &mut Io) -> Result<(), DiskError> {
        let record = self.describe(&self.state.lock());
        if !io.folder {
            self.shared.disk.create_dir(&self.place.folder)?;
            io.folder = true;
            io.names_changed = true;
        }
        self.shared.disk.replace_file(&format!("{}/{FILE}", self.place.folder), &record.encode())
    }

    /// The files of a deleted partition move out of the way of a topic of the same name; returns where to.
    pub(crate) fn leave(&self) -> Result<Option<String>, DiskError> {
        let mut io = self.io.lock();
        self.drop_memory();
        self.shared.pool.forget_partition(self.id());
        self.shared.unsettled.lock().remove(&self.id());
        let segments = std::mem::take(&mut self.state.lock().segments);
        let unflushed: u64 = segments.iter().map(|s| u64::from(s.written.bytes - s.flushed.bytes)).sum();
        self.shared.space.on_flushed(unflushed);
        count(&self.shared.stats.segments_removed, segments.len() as u64);
        // From here on the folder is not this partition's: a flush that is still to come must not write into it.
        // One whose segments are all gone has a folder that nobody has looked at since the start.
        if !std::mem::take(&mut io.folder) && !self.has_record()? {
            return Ok(None);
        }
        let to = format!("{}.{}{DELETED_SUFFIX}", self.place.folder, hex(self.id().topic.to_bytes()));
        match self.shared.disk.rename(&self.place.folder, &to) {
            Ok(()) => Ok(Some(to)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Ends the name of a folder that stood where a partition had to begin, and could not be read.
pub(crate) const UNREADABLE_SUFFIX: &str = "-unreadable";
/// Ends the name of a folder whose partition has a durable tombstone.
pub(crate) const DELETED_SUFFIX: &str = "-delete";

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl State {
    /// The next durable batches of one segment that are not written, and that segment.
    fn next_step(&self, durable: ottla_core::types::Offset) -> Option<(Vec<TailBatch>, Segment)> {
        let from = self.written_end;
        let index = self.segment_of(from)?;
        let upto = self.segments.get(index + 1).map_or(durable, |next| durable.min(next.base));
        let mut bytes = 0;
        let batches: Vec<TailBatch> = self
            .tail
            .range(from, upto)
            .take(STEP_BATCHES_MAX)
            .take_while(|batch| {
                let more = bytes < STEP_BYTES_MAX;
                bytes += batch.payload.len();
                more
            })
            .cloned()
            .collect();
        (!batches.is_empty()).then(|| (batches, self.segments[index]))
    }

    /// The last segment that begins before `base`.
    fn before(&self, base: ottla_core::types::Offset) -> Option<Segment> {
        self.segments.iter().rev().find(|segment| segment.base < base).copied()
    }

    /// `segment` holds `bytes` more now.
    pub(crate) fn wrote(&mut self, segment: Segment, bytes: u64) {
        // What lies between is below the log start, or lost: nothing is left to write of it.
        self.written_end = self.tail.from(segment.written.end).next().map_or(self.log_end, |batch| batch.base);
        self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
        if let Some(index) = self.segment_of(segment.base) {
            let flushed = self.segments[index].flushed;
            self.segments[index] = Segment { flushed, ..segment };
        }
    }
}
