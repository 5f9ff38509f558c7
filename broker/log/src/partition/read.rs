//! Reading batches: from memory where they are recent, else from the segments.
//!
//! Owns the seam between the two, and what happens when a segment turns out to be damaged: the range is quarantined and
//! persisted before anyone hears of it, and every other offset stays readable (S3, S4).

use std::sync::Arc;

use bytes::Bytes;
use ottla_core::types::Offset;

use crate::batch::Header;
use crate::damage::DamagedRange;
use crate::disk::{DiskError, count};
use crate::partition::{Io, Partition, State};
use crate::segment::Segment;
use crate::segment::read::{BadPlace, Got, Reading, Start, Wanted};

/// How many sequential readers a partition remembers the places of.
const CURSORS_MAX: usize = 4;

/// Where a reader will go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    offset: Offset,
    base: Offset,
    position: u32,
}

/// What a read came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Whole batches, one behind the other, cut at any place. The first may begin below the offset that was asked for.
    pub chunks: Vec<Bytes>,
    /// Their length.
    pub bytes: usize,
    /// Where to go on; the offset that was asked for when there was nothing.
    pub next: Offset,
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {asked} is not within {start}..={end}")]
    OutOfRange {
        /// The offset.
        asked: Offset,
        /// First offset of the log.
        start: Offset,
        /// Offset behind the last batch.
        end: Offset,
    },
    /// The offset lies in a range that is damaged on this disk.
    #[error("offsets {}..{} are damaged on disk", range.from, range.upto)]
    Damaged {
        /// The range.
        range: DamagedRange,
    },
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] DiskError),
}

/// A segment as it was when the log had been cut so often.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    segment: &'a Segment,
    cuts: u64,
}

/// What to do next, decided under the lock.
enum Step {
    Done,
    Segment { segment: Segment, start: Option<Start>, upto: Offset },
    Hole(DamagedRange),
}

impl Partition {
    /// Whole batches from the one that holds `from` on, all below `upto`, up to `bytes_max`; the first one comes whatever
    /// its length if `at_least_one`. May block on the disk when it leaves the tail; see [`Partition::in_memory`].
    ///
    /// # Errors
    /// [`ReadError`], when not even one batch could be read.
    pub fn read(
        self: &Arc<Self>,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Read, ReadError> {
        let mut read = Read { next: from, ..Read::default() };
        let mut cuts = None;
        loop {
            let first = at_least_one && read.bytes == 0;
            if read.bytes >= bytes_max && !first {
                return Ok(read);
            }
            let left = bytes_max.saturating_sub(read.bytes);
            // What was read before a cut and what is read behind it may not be of one history.
            let seen = self.cuts();
            if *cuts.get_or_insert(seen) != seen && read.bytes > 0 {
                return Ok(read);
            }
            cuts = Some(seen);
            match self.step(&mut read, upto, left, first) {
                Ok(Step::Done) => return Ok(read),
                Ok(Step::Hole(range)) => self.quarantine(range, seen)?,
                Ok(Step::Segment { segment, start, upto }) => {
                    let wanted = Wanted { from: read.next, upto, bytes_max: left, at_least_one: first };
                    let before = read.bytes;
                    match self.read_segment(Seen { segment: &segment, cuts: seen }, start, wanted, &mut read) {
                        Ok(()) if read.bytes == before => return Ok(read), // the next batch does not fit
                        Ok(()) => {}
                        Err(Stop::Damaged | Stop::Cut) => {} // look again: the state says what it is now
                        Err(Stop::Removed) => self.check_missing(Seen { segment: &segment, cuts: seen }, read.next)?,
                        Err(Stop::Disk(_)) if read.bytes > 0 => return Ok(read),
                        Err(Stop::Disk(error)) => return Err(error.into()),
                    }
                }
                Err(_) if read.bytes > 0 => return Ok(read),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a read at `from` would be answered from memory alone.
    pub fn in_memory(&self, from: Offset) -> bool {
        let state = self.state.lock();
        from >= state.log_end || state.tail.start().is_some_and(|start| start <= from)
    }

    /// The first offset from which on everything is in memory; `None` if nothing is.
    pub fn tail_start(&self) -> Option<Offset> {
        self.state.lock().tail.start()
    }

    /// How often the log was cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.state.lock().cuts
    }

    fn step(&self, read: &mut Read, upto: Offset, left: usize, first: bool) -> Result<Step, ReadError> {
        let state = self.state.lock();
        let from = read.next;
        if from < state.log_start || from > state.log_end {
            return Err(ReadError::OutOfRange { asked: from, start: state.log_start, end: state.log_end });
        }
        let mut upto = upto.min(state.log_end);
        if from >= upto {
            return Ok(Step::Done);
        }
        if let Some(range) = state.damage.at(from) {
            return Err(ReadError::Damaged { range });
        }
        if let Some(range) = state.damage.next(from) {
            upto = upto.min(range.from);
        }
        if state.tail.start().is_some_and(|start| start <= from) {
            let taken = state.tail.read(from, upto, left, first);
            read.chunks.extend(taken.chunks);
            read.bytes += taken.bytes;
            read.next = taken.next.unwrap_or(from);
            count(&self.shared.stats.read_memory_bytes, taken.bytes as u64);
            return Ok(Step::Done);
        }
        Ok(state.locate(from, upto))
    }

    fn read_segment(
        self: &Arc<Self>,
        seen: Seen<'_>,
        start: Option<Start>,
        wanted: Wanted,
        read: &mut Read,
    ) -> Result<(), Stop> {
        let Seen { segment, cuts } = seen;
        let reading = Reading { pool: &self.shared.pool, place: &self.place, segment };
        let start = match start {
            Some(start) => start,
            None => reading.locate(wanted.from)?.unwrap_or_else(|| {
                self.distrust_index(segment.base);
                Start::front(segment.base)
            }),
        };
        let got = reading.batches(start, wanted)?;
        if got.suspicious {
            self.compare_epochs(seen, &got)?;
        }
        if let Some((next, position)) = got.next {
            // The bytes may have been cut and overwritten while they were read.
            if !self.remember(Cursor { offset: next, base: segment.base, position }, cuts) {
                return Err(Stop::Cut);
            }
            count(&self.shared.stats.read_file_bytes, got.bytes.len() as u64);
            read.bytes += got.bytes.len();
            read.chunks.push(got.bytes);
            read.next = next;
            return Ok(());
        }
        match got.damage {
            None => Ok(()),
            // The place came from an index or a cursor: look from the front before judging.
            Some(_) if start.position != 0 && !start.behind_damage => {
                self.distrust_index(segment.base);
                let front = Start::front(segment.base);
                self.read_segment(seen, Some(front), wanted, read)
            }
            Some(bad) => match self.judge(&reading, bad, wanted.from, cuts)? {
                // The damage lies before what was asked for: go on behind it.
                Some(start) => self.read_segment(seen, Some(start), wanted, read),
                None => Err(Stop::Damaged),
            },
        }
    }

    /// A sidecar disagrees. Every byte of a batch but its epoch is under its own checksum or in the chain of offsets; the
    /// epoch is compared here, and then the sidecar is what is wrong.
    fn compare_epochs(&self, seen: Seen<'_>, got: &Got) -> Result<(), Stop> {
        let Seen { segment, cuts } = seen;
        count(&self.shared.stats.sum_mismatches, 1);
        let mut rest = &got.bytes[..];
        while let Some(header) = Header::parse(rest) {
            // The log may start inside this batch, and its epoch with it.
            let (known, gone) = {
                let state = self.state.lock();
                (state.epochs.at(header.base.max(state.log_start)), header.end() <= state.log_start)
            };
            if known != Some(header.epoch) && !gone {
                let range = DamagedRange { from: header.base, upto: header.end() };
                tracing::error!(folder = %self.place.folder, base = %segment.base, offset = %header.base, "a batch's epoch is wrong");
                self.quarantine(range, cuts)?;
                return Err(Stop::Damaged);
            }
            rest = rest.get(header.bytes as usize..).unwrap_or_default();
        }
        Ok(())
    }

    /// No sound batch where one should be. Returns where to go on if the offset that was asked for lies behind.
    fn judge(&self, reading: &Reading<'_>, bad: BadPlace, from: Offset, cuts: u64) -> Result<Option<Start>, Stop> {
        let log_start = self.state.lock().log_start;
        if log_start > from {
            return Err(Stop::Removed);
        }
        let (upto, position) = reading.behind(bad)?;
        let upto = upto.max(bad.expected.plus(1));
        // Below the log start nothing is promised: recovery may have left a gap where files had gone.
        self.quarantine(DamagedRange { from: bad.expected.max(log_start), upto }, cuts)?;
        let start = |position| Start { position, expected: Some(upto), behind_damage: true };
        Ok(if upto <= from { position.map(start) } else { None })
    }

    /// Keeps a range apart, durably, and says so once. Not if the log was cut since `cuts` was read: then what was found
    /// is not what is there.
    pub(crate) fn quarantine(&self, range: DamagedRange, cuts: u64) -> Result<(), DiskError> {
        let mut io = self.io.lock();
        let (news, anew) = {
            let mut state = self.state.lock();
            if state.cuts != cuts {
                return Ok(());
            }
            (state.damage.add(range), state.cut.is_some_and(|cut| cut.anew))
        };
        if news {
            count(&self.shared.stats.damaged_ranges, 1);
            tracing::error!(
                folder = %self.place.folder, from = %range.from, upto = %range.upto,
                "offsets are damaged on disk and kept apart"
            );
            // A disk that is full or read-only must not make the range servable: it stays known to this process.
            // While the log starts over, cutting its files persists it.
            if !anew && let Err(error) = self.persist_record(&mut io) {
                tracing::error!(folder = %self.place.folder, %error, "the damaged range could not be persisted");
            }
            self.shared.observer.damaged(self.id());
        }
        Ok(())
    }

    /// A segment's file was not there: it was removed, or it is lost.
    fn check_missing(&self, seen: Seen<'_>, from: Offset) -> Result<(), DiskError> {
        let Seen { segment, cuts } = seen;
        let lost = {
            let state = self.state.lock();
            state.log_start <= from && state.segments.iter().any(|known| known.base == segment.base)
        };
        if lost { self.quarantine(DamagedRange { from, upto: segment.written.end }, cuts) } else { Ok(()) }
    }

    /// Keeps a reader's place; `false` if the log was cut since `cuts` was read.
    fn remember(&self, cursor: Cursor, cuts: u64) -> bool {
        let mut state = self.state.lock();
        if state.cuts != cuts {
            return false;
        }
        state.cursors.retain(|known| known.offset != cursor.offset);
        if state.cursors.len() >= CURSORS_MAX {
            state.cursors.remove(0);
        }
        state.cursors.push(cursor);
        true
    }

    /// The index led astray: the segment threads rebuild it.
    pub(crate) fn distrust_index(self: &Arc<Self>, base: Offset) {
        {
            let mut state = self.state.lock();
            state.cursors.retain(|known| known.base != base);
            if state.reindex.contains(&base) {
                return;
            }
            state.reindex.push(base);
        }
        self.shared.enqueue(self);
    }

    /// Rebuilds what readers complained about.
    pub(crate) fn rebuild_indexes(&self, io: &mut Io) -> Result<(), DiskError> {
        let bases = {
            let mut state = self.state.lock();
            std::mem::take(&mut state.reindex)
        };
        for base in bases {
            self.rebuild_index(io, base)?;
        }
        Ok(())
    }
}

/// Why a segment gave nothing.
enum Stop {
    Removed,
    Damaged,
    /// The log was cut meanwhile.
    Cut,
    Disk(DiskError),
}

impl From<DiskError> for Stop {
    fn from(error: DiskError) -> Self {
        // The segment was removed between looking and opening.
        if error.is_not_found() { Self::Removed } else { Self::Disk(error) }
    }
}

impl State {
    /// Which segment holds `from`, and where to begin in it.
    fn locate(&self, from: Offset, upto: Offset) -> Step {
        let next_base = |index: Option<usize>| {
            let next = self.segments.get(index.map_or(0, |index| index + 1)).map(|segment| segment.base);
            next.into_iter().chain(self.tail.start()).min().unwrap_or(self.log_end)
        };
        let Some(index) = self.segment_of(from) else {
            return Step::Hole(DamagedRange { from, upto: next_base(None) });
        };
        let segment = self.segments[index];
        if from >= segment.written.end {
            return Step::Hole(DamagedRange { from, upto: next_base(Some(index)) });
        }
        let cursor = self.cursors.iter().find(|cursor| cursor.offset == from && cursor.base == segment.base);
        let start = cursor.map(|cursor| Start::at(cursor.position, from));
        Step::Segment { segment, start, upto }
    }
}
