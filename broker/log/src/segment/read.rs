//! Reading batches back from a segment's file.
//!
//! Owns finding the place of an offset, and checking what comes from the disk: both checksums and the chain of offsets
//! (S4). Reports damage and never repairs it; indexes are only places to begin.

use bytes::Bytes;
use ottla_core::types::{Offset, Timestamp};

use crate::batch::{HEADER_BYTES, Header};
use crate::disk::DiskError;
use crate::files::{FilePool, Place};
use crate::index::{self, Entry, OffsetEntry, TimeEntry};
use crate::segment::scan::{Found, Scanner};
use crate::segment::{Extent, Kind, Segment};
use crate::sum::{CHUNK_BYTES, ENTRY_BYTES, SumId, decode_entries, entry_position};

/// Read beyond what was asked for where the first batches may have to be skipped.
const SLACK_BYTES: u32 = 16 * 1024;

/// One segment as a reader sees it; `segment` was copied under the partition's lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) pool: &'a FilePool,
    pub(crate) place: &'a Place,
    pub(crate) segment: &'a Segment,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) position: u32,
    /// The offset of the batch there, if it is known.
    pub(crate) expected: Option<Offset>,
    /// It was found by searching behind damage; going back to the front would only meet that again.
    pub(crate) behind_damage: bool,
}

impl Start {
    /// The segment's first batch.
    pub(crate) fn front(base: Offset) -> Self {
        Self::at(0, base)
    }

    /// A known batch.
    pub(crate) fn at(position: u32, expected: Offset) -> Self {
        Self { position, expected: Some(expected), behind_damage: false }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) from: Offset,
    pub(crate) upto: Offset,
    pub(crate) bytes_max: usize,
    pub(crate) at_least_one: bool,
}

/// What a read came by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    /// Whole batches, contiguous.
    pub(crate) bytes: Bytes,
    /// Behind the last batch: its end and where the next one begins. `None` without batches.
    pub(crate) next: Option<(Offset, u32)>,
    /// A sidecar disagrees although every batch is sound: compare the epochs before serving.
    pub(crate) suspicious: bool,
    /// Where batches stopped being sound.
    pub(crate) damage: Option<BadPlace>,
}

/// A place where a sound batch should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPlace {
    pub(crate) position: u32,
    pub(crate) expected: Offset,
}

/// How a walk through some bytes ended.
enum Walk {
    Done,
    /// The batch at this position (in the segment) is longer than what was read.
    Incomplete {
        position: u32,
        bytes: u32,
        expected: Option<Offset>,
    },
}

impl Reading<'_> {
    /// Batches from the one that holds `wanted.from` on.
    pub(crate) fn batches(&self, start: Start, wanted: Wanted) -> Result<Got, DiskError> {
        let limit = self.segment.written.bytes;
        let mut start = start;
        let mut length = u32::try_from(wanted.bytes_max).unwrap_or(u32::MAX).saturating_add(SLACK_BYTES);
        loop {
            let end = start.position.saturating_add(length).min(limit);
            let (bytes, suspicious) = self.checked(start.position, end)?;
            let mut got = Got { suspicious, ..Got::default() };
            // A file that ends before its extent does is damaged there, not incomplete.
            let cut = bytes.len() < (end - start.position) as usize || end == limit;
            match self.walk(&bytes, start, wanted, cut, &mut got) {
                Walk::Incomplete { position, bytes, expected } if got.next.is_none() => {
                    start = Start { position, expected, ..start };
                    length = bytes.max(length);
                }
                Walk::Incomplete { .. } | Walk::Done => return Ok(got),
            }
        }
    }

    fn walk(&self, bytes: &Bytes, start: Start, wanted: Wanted, cut: bool, got: &mut Got) -> Walk {
        let limit = self.segment.written.bytes;
        let (mut at, mut expected, mut first) = (0, start.expected, None);
        loop {
            let position = start.position + at as u32;
            if position >= limit {
                return Walk::Done;
            }
            let rest = &bytes[at..];
            let bad = BadPlace { position, expected: expected.unwrap_or(wanted.from) };
            if rest.len() < HEADER_BYTES {
                if cut {
                    got.damage = Some(bad);
                    return Walk::Done;
                }
                return Walk::Incomplete { position, bytes: SLACK_BYTES, expected };
            }
            let header = Header::parse(rest).filter(|header| {
                let follows = expected.is_none_or(|offset| header.base == offset);
                follows && header.bytes <= limit - position && header.base >= self.segment.base
            });
            let Some(header) = header else {
                got.damage = Some(bad);
                return Walk::Done;
            };
            let Some(batch) = rest.get(..header.bytes as usize) else {
                if cut {
                    got.damage = Some(bad);
                    return Walk::Done;
                }
                if header.end() > wanted.upto {
                    return Walk::Done;
                }
                return Walk::Incomplete { position, bytes: header.bytes, expected };
            };
            if !header.check(batch) || (first.is_none() && expected.is_none() && header.base > wanted.from) {
                got.damage = Some(bad);
                return Walk::Done;
            }
            if header.end() > wanted.from {
                let begin = first.unwrap_or(at);
                let fits = at + batch.len() - begin <= wanted.bytes_max || (wanted.at_least_one && first.is_none());
                if header.end() > wanted.upto || !fits {
                    return Walk::Done;
                }
                first = Some(begin);
                got.bytes = bytes.slice(begin..at + batch.len());
                got.next = Some((header.end(), position + header.bytes));
            }
            at += batch.len();
            expected = Some(header.end());
        }
    }

    /// The bytes `from..to` of the log, and whether a sidecar disagrees with the chunks they lie in.
    fn checked(&self, from: u32, to: u32) -> Result<(Bytes, bool), DiskError> {
        let first = from / CHUNK_BYTES;
        let aligned = first * CHUNK_BYTES;
        let limit = self.segment.written.bytes;
        let to_aligned = to.div_ceil(CHUNK_BYTES).saturating_mul(CHUNK_BYTES).min(limit);
        let log = self.pool.read(self.place, self.segment.base, Kind::Log)?;
        let bytes = log.read_bytes(u64::from(aligned), (to_aligned - aligned) as usize)?;
        let suspicious = !self.sums_agree(first, &bytes)?;
        let begin = ((from - aligned) as usize).min(bytes.len());
        let end = ((to - aligned) as usize).min(bytes.len());
        Ok((bytes.slice(begin..end), suspicious))
    }

    /// Whether the sidecar agrees with `bytes`, which begin with chunk `first`. Bytes that were never flushed have no
    /// sums yet.
    fn sums_agree(&self, first: u32, bytes: &[u8]) -> Result<bool, DiskError> {
        let flushed = self.segment.flushed.bytes.div_ceil(CHUNK_BYTES);
        let chunks = bytes.len().div_ceil(CHUNK_BYTES as usize) as u32;
        let summed = flushed.saturating_sub(first).min(chunks);
        if summed == 0 {
            return Ok(true);
        }
        let sidecar = match self.pool.read(self.place, self.segment.base, Kind::Sum) {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        };
        let entries = sidecar.read_bytes(entry_position(first), summed as usize * ENTRY_BYTES as usize)?;
        let entries = decode_entries(&entries);
        if entries.len() < summed as usize {
            return Ok(false);
        }
        let id = SumId { partition: self.place.id, base: self.segment.base };
        let mut chunks = bytes.chunks(CHUNK_BYTES as usize).zip(entries).zip(first..);
        Ok(chunks.all(|((content, entry), chunk)| {
            // A sum that covers more than this reader knows to be written belongs to a flush that is under way.
            entry.length as usize > content.len() && chunk + 1 == flushed || id.check(chunk, content, entry)
        }))
    }

    /// Where to begin looking for `from`, by the index if it is sound; `None` if it is not, and the front will do.
    pub(crate) fn locate(&self, from: Offset) -> Result<Option<Start>, DiskError> {
        let front = Start::front(self.segment.base);
        let base = self.segment.base;
        let count = self.segment.written.index_entries;
        if count == 0 || from <= base {
            return Ok(Some(front));
        }
        let file = match self.pool.read(self.place, base, Kind::Index) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let found = match index::search(&*file, base, count, |entry: &OffsetEntry| entry.offset <= from) {
            Ok(found) => found,
            Err(DiskError::Short { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(entry) = found.filter(|entry| entry.offset <= from) else { return Ok(Some(front)) };
        match self.header_at(entry.position)? {
            Some(header) if header.last() == entry.offset => Ok(Some(Start::at(entry.position, header.base))),
            Some(_) | None => Ok(None),
        }
    }

    /// Where to begin looking for the first record that is not older than `timestamp`; `None` as
    /// [`Reading::locate`] has it.
    pub(crate) fn locate_time(&self, timestamp: Timestamp) -> Result<Option<Start>, DiskError> {
        let front = Start::front(self.segment.base);
        let base = self.segment.base;
        let count = self.segment.written.time_entries;
        if count == 0 {
            return Ok(Some(front));
        }
        let file = match self.pool.read(self.place, base, Kind::TimeIndex) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let found = match index::search(&*file, base, count, |entry: &TimeEntry| entry.timestamp < timestamp) {
            Ok(found) => found,
            Err(DiskError::Short { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(entry) = found.filter(|entry| entry.timestamp < timestamp) else { return Ok(Some(front)) };
        let Some(start) = self.locate(entry.offset)? else { return Ok(None) };
        let log = self.pool.read(self.place, base, Kind::Log)?;
        let mut scanner = Scanner::new(&*log, self.segment.written.bytes, start.position, base);
        while let Some(Found::Batch { header, position, .. }) = scanner.step()? {
            if header.last() >= entry.offset {
                let named = header.last() == entry.offset && header.max_timestamp == entry.timestamp;
                return Ok(named.then(|| Start::at(position, header.base)));
            }
        }
        Ok(None)
    }

    /// How far the segment goes below `end`, and the batch that holds `end`, if one does. Begins at an index entry and
    /// believes it only as far as the batches agree.
    pub(crate) fn extent_below(&self, end: Offset) -> Result<(Extent, Option<Offset>), DiskError> {
        let front = (Start::front(self.segment.base), Segment::empty(self.segment.base).written);
        let (start, mut extent) = self.indexed_extent(end)?.unwrap_or(front);
        let log = self.pool.read(self.place, self.segment.base, Kind::Log)?;
        let expected = start.expected.unwrap_or(self.segment.base);
        let mut scanner = Scanner::new(&*log, self.segment.written.bytes, start.position, expected);
        while let Some(found) = scanner.step()? {
            let Found::Batch { position, header, .. } = found else { continue };
            if header.end() > end {
                return Ok((extent, (header.base < end).then_some(header.base)));
            }
            extent.bytes = position + header.bytes;
            extent.end = header.end();
            if header.max_timestamp > extent.max_timestamp {
                extent.max_timestamp = header.max_timestamp;
                extent.max_timestamp_offset = header.last();
            }
        }
        Ok((extent, None))
    }

    /// The batch that the last time entry below `end` names, and what lies before it; `None` if the indexes do not agree
    /// with the batches. Behind it timestamps may be larger, but not before it.
    fn indexed_extent(&self, end: Offset) -> Result<Option<(Start, Extent)>, DiskError> {
        let written = &self.segment.written;
        let index = self.entries_below::<OffsetEntry>(Kind::Index, written.index_entries, end)?;
        let times = self.entries_below::<TimeEntry>(Kind::TimeIndex, written.time_entries, end)?;
        let (Some((index_entries, _)), Some((time_entries, newest))) = (index, times) else { return Ok(None) };
        let mut extent = Extent { index_entries, time_entries, ..Segment::empty(self.segment.base).written };
        let Some(newest) = newest else { return Ok(Some((Start::front(self.segment.base), extent))) };
        let Some(start) = self.locate(newest.offset)? else { return Ok(None) };
        if newest.timestamp > written.max_timestamp || !self.names_a_batch(&newest, start)? {
            return Ok(None);
        }
        (extent.bytes, extent.end) = (start.position, start.expected.unwrap_or(self.segment.base));
        (extent.max_timestamp, extent.max_timestamp_offset) = (newest.timestamp, newest.offset);
        Ok(Some((start, extent)))
    }

    /// How many of the first `count` entries are about offsets below `end`, and the last of them.
    fn entries_below<E: Entry>(
        &self,
        kind: Kind,
        count: u32,
        end: Offset,
    ) -> Result<Option<(u32, Option<E>)>, DiskError> {
        if count == 0 {
            return Ok(Some((0, None)));
        }
        let file = match self.pool.read(self.place, self.segment.base, kind) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        match index::count(&*file, self.segment.base, count, |entry: &E| entry.offset() < end) {
            Ok(found) => Ok(Some(found)),
            Err(DiskError::Short { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a batch ends at the entry's offset and has its timestamp; it is looked for from `start` on.
    fn names_a_batch(&self, entry: &TimeEntry, start: Start) -> Result<bool, DiskError> {
        let log = self.pool.read(self.place, self.segment.base, Kind::Log)?;
        let mut scanner = Scanner::new(&*log, self.segment.written.bytes, start.position, self.segment.base);
        while let Some(found) = scanner.step()? {
            if let Found::Batch { header, .. } = found
                && header.last() >= entry.offset
            {
                return Ok(header.last() == entry.offset && header.max_timestamp == entry.timestamp);
            }
        }
        Ok(false)
    }

    fn header_at(&self, position: u32) -> Result<Option<Header>, DiskError> {
        if self.segment.written.bytes.saturating_sub(position) < HEADER_BYTES as u32 {
            return Ok(None);
        }
        let log = self.pool.read(self.place, self.segment.base, Kind::Log)?;
        let mut head = [0; HEADER_BYTES];
        let got = log.read_at(u64::from(position), &mut head)?;
        Ok(Header::parse(&head[..got]))
    }

    /// Where sound batches go on behind a bad place: the offset, and the position if there is one.
    pub(crate) fn behind(&self, bad: BadPlace) -> Result<(Offset, Option<u32>), DiskError> {
        let log = self.pool.read(self.place, self.segment.base, Kind::Log)?;
        let mut scanner = Scanner::new(&*log, self.segment.written.bytes, bad.position, bad.expected);
        while let Some(found) = scanner.step()? {
            if let Found::Batch { header, position, .. } = found
                && header.base > bad.expected
                && header.end() <= self.segment.written.end
            {
                return Ok((header.base, Some(position)));
            }
        }
        Ok((self.segment.written.end, None))
    }
}
