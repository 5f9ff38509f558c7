//! Finding offsets by time, as ListOffsets asks.
//!
//! Owns the walk from segments through batches to records. Here, and only here, a batch is opened for a client's
//! question, with a bound on what comes out of it.

use std::sync::Arc;

use bytes::Bytes;
use ottla_core::types::{LeaderEpoch, Offset, Timestamp};
use ottla_wire::record::{BatchView, RecordIter};

use crate::batch::Header;
use crate::disk::DiskError;
use crate::partition::Partition;
use crate::segment::read::{Reading, Start};
use crate::segment::scan::{Found, Scanner};
use crate::segment::{Kind, Segment};
use crate::tail::TailBatch;

/// What may come out of a batch that is opened for a question.
const OPENED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A record that answers a question about time: its timestamp, its offset, the epoch of its batch.
pub type TimedOffset = (Timestamp, Offset, LeaderEpoch);

impl Partition {
    /// The first record below `upto` that is not older than `timestamp`. May block on the disk.
    ///
    /// # Errors
    /// What the disk said.
    pub fn offset_for_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
        upto: Offset,
    ) -> Result<Option<TimedOffset>, DiskError> {
        let (segments, start, written) = {
            let state = self.state.lock();
            (state.segments.clone(), state.log_start, state.written_end)
        };
        let wanted = |segment: &&Segment| segment.written.max_timestamp >= timestamp && segment.written.end > start;
        for segment in segments.iter().filter(wanted) {
            let reading = Reading { pool: &self.shared.pool, place: &self.place, segment };
            let begin = reading.locate_time(timestamp)?.unwrap_or_else(|| {
                self.distrust_index(segment.base);
                Start::front(segment.base)
            });
            let found = self.walk(segment, begin, |header, bytes| {
                if header.base >= upto {
                    return Some(None);
                }
                let newer = header.max_timestamp >= timestamp && header.end() > start;
                let hit = newer.then(|| first_record(header, bytes, start, timestamp)).flatten();
                hit.filter(|hit| hit.1 < upto).map(Some)
            })?;
            if let Some(answer) = found {
                return Ok(answer);
            }
        }
        let recent: Vec<TailBatch> = {
            let state = self.state.lock();
            let from = written.max(start);
            state.tail.from(from).filter(|b| b.max_timestamp >= timestamp && b.base < upto).cloned().collect()
        };
        for batch in recent {
            let bytes = batch.payload.to_bytes();
            let Some(header) = Header::parse(&bytes) else { continue };
            if let Some(hit) = first_record(&header, &bytes, start, timestamp).filter(|hit| hit.1 < upto) {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    /// The first record that has the largest timestamp of the log below `upto`. May block on the disk.
    ///
    /// # Errors
    /// What the disk said.
    pub fn max_timestamp(self: &Arc<Self>, upto: Offset) -> Result<Option<TimedOffset>, DiskError> {
        let largest = {
            let state = self.state.lock();
            let live = state.segments.iter().filter(|segment| segment.written.end > state.log_start);
            let written = live.map(|segment| segment.written.max_timestamp).max();
            let recent = state.tail.from(state.written_end).filter(|batch| batch.end <= upto);
            written.into_iter().chain(recent.map(|batch| batch.max_timestamp)).max()
        };
        match largest {
            Some(timestamp) if timestamp.get() >= 0 => {
                let found = self.offset_for_timestamp(timestamp, upto)?;
                // The segment's maximum may lie below the log start: then the largest that is left is less.
                if found.is_some() { Ok(found) } else { self.largest_by_walk(upto) }
            }
            Some(_) | None => Ok(None),
        }
    }

    fn largest_by_walk(self: &Arc<Self>, upto: Offset) -> Result<Option<TimedOffset>, DiskError> {
        let (segments, start) = {
            let state = self.state.lock();
            (state.segments.clone(), state.log_start)
        };
        let mut largest = Timestamp::NONE;
        for segment in segments.iter().filter(|segment| segment.written.end > start) {
            let front = Start::front(segment.base);
            self.walk(segment, front, |header, bytes| {
                if header.base >= upto {
                    return Some(());
                }
                if header.end() > start && header.max_timestamp > largest {
                    let inside = records(bytes).filter(|(offset, _)| *offset >= start && *offset < upto);
                    largest = inside.map(|(_, timestamp)| timestamp).max().unwrap_or(largest).max(largest);
                }
                None
            })?;
        }
        if largest.get() < 0 { Ok(None) } else { self.offset_for_timestamp(largest, upto) }
    }

    /// Visits the sound batches of a segment from `start` on until the visitor has an answer.
    fn walk<T>(
        &self,
        segment: &Segment,
        start: Start,
        mut visit: impl FnMut(&Header, &Bytes) -> Option<T>,
    ) -> Result<Option<T>, DiskError> {
        let log = match self.shared.pool.read(&self.place, segment.base, Kind::Log) {
            Err(error) if error.is_not_found() => return Ok(None), // removed meanwhile
            other => other?,
        };
        let expected = start.expected.unwrap_or(segment.base);
        let mut scanner = Scanner::new(&*log, segment.written.bytes, start.position, expected);
        while let Some(found) = scanner.step()? {
            if let Found::Batch { header, bytes, .. } = found
                && let Some(answer) = visit(&header, &bytes)
            {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

/// The first record of a batch at or past `start` that is not older than `timestamp`.
fn first_record(header: &Header, bytes: &Bytes, start: Offset, timestamp: Timestamp) -> Option<TimedOffset> {
    let mut inside = records(bytes).filter(|(offset, _)| *offset >= start);
    let (offset, timestamp) = inside.find(|(_, time)| *time >= timestamp)?;
    Some((timestamp, offset, header.epoch))
}

/// Offsets and timestamps of a batch's records; those behind the first that cannot be read are left out.
fn records(bytes: &Bytes) -> impl Iterator<Item = (Offset, Timestamp)> + use<> {
    let view = BatchView::split_from(&mut bytes.clone()).ok();
    let records = view.and_then(|view| RecordIter::new(&view, OPENED_BYTES_MAX).ok());
    let sound = records.into_iter().flatten().map_while(Result::ok);
    sound.map(|record| (Offset::new(record.offset), Timestamp::new(record.timestamp)))
}
