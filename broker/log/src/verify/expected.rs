//! What should be there: the files that the catalogue lists, and both copies of the identity.
//!
//! Owns what can be missed only by someone who knows that it was there: a last segment that is gone, a file that ends too
//! early, a sidecar without its sums, a hint that leads astray. Must not call anything damaged that a live broker may be
//! removing at this moment.

use std::collections::BTreeMap;

use ottla_core::types::{Offset, TopicPartition};

use super::{BadBytes, PartitionReport};
use crate::batch::{HEADER_BYTES, Header};
use crate::damage::{Damage, DamagedRange};
use crate::disk::{Disk, DiskError, Open};
use crate::identity;
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::segment::{Kind, Segment, file_name};
use crate::store::covered;
use crate::sum::SumId;

/// The flushed segments of every partition, as the catalogue has them.
pub(super) type Listed = BTreeMap<TopicPartition, Vec<Segment>>;

/// Adds to `report` what its folder lacks of what the catalogue lists.
pub(super) fn against_catalogue(
    disk: &dyn Disk,
    listed: &Listed,
    folder: &str,
    report: &mut PartitionReport,
) -> Result<(), DiskError> {
    let Some(segments) = listed.get(&report.id) else { return Ok(()) };
    let mut damage: Damage = report.damaged_offsets.iter().copied().collect();
    // What lies below the log start may be gone, or going.
    for segment in segments.iter().filter(|segment| segment.flushed.end > report.log_start) {
        let bytes = u64::from(segment.flushed.bytes);
        let name = |kind| format!("{folder}/{}", file_name(segment.base, kind));
        let log = name(Kind::Log);
        let length = disk.size(&log)?;
        if length.is_none() {
            damage.add(DamagedRange { from: segment.base.max(report.log_start), upto: segment.flushed.end });
            report.bad_bytes.push(BadBytes { file: log, from: 0, upto: bytes, what: "the file is missing" });
            continue;
        }
        if length.is_some_and(|length| length < bytes) {
            let from = length.unwrap_or_default();
            // Where the batches ended that are still there, as far as the folder tells.
            let end = report.segment_end.max(segment.base);
            if end < segment.flushed.end && damage.at(segment.flushed.end.plus(-1)).is_none() {
                damage.add(DamagedRange { from: end, upto: segment.flushed.end });
            }
            report.bad_bytes.push(BadBytes { file: log, from, upto: bytes, what: "the file is too short" });
        }
        let sums = covered(disk, &name(Kind::Sum), SumId { partition: report.id, base: segment.base })?;
        if sums < segment.flushed.bytes {
            let (file, what) = (name(Kind::Sum), "sums are missing");
            report.bad_bytes.push(BadBytes { file, from: u64::from(sums), upto: bytes, what });
        }
        check_hints(disk, segment, name, &mut report.stale_hints)?;
    }
    report.damaged_offsets = damage.ranges().to_vec();
    let end = damage.ranges().last().map_or(report.log_end, |range| range.upto);
    report.log_end = report.log_end.max(end);
    Ok(())
}

/// Whether each entry of both indexes names a batch.
fn check_hints(
    disk: &dyn Disk,
    segment: &Segment,
    name: impl Fn(Kind) -> String,
    stale: &mut Vec<BadBytes>,
) -> Result<(), DiskError> {
    let log = disk.open(&name(Kind::Log), Open::Read)?;
    let index: Vec<OffsetEntry> =
        entries(disk, &name(Kind::Index), segment.base, segment.flushed.index_entries, stale)?;
    for (entry, at) in index.iter().zip(0_u64..) {
        let mut head = [0; HEADER_BYTES];
        let got = log.read_at(u64::from(entry.position), &mut head)?;
        let last = head.get(..got).and_then(Header::parse).map(|header| header.last());
        if last != Some(entry.offset) {
            stale.push(bad_entry::<OffsetEntry>(name(Kind::Index), at));
        }
    }
    let count = segment.flushed.time_entries;
    let times: Vec<TimeEntry> = entries(disk, &name(Kind::TimeIndex), segment.base, count, stale)?;
    let mut before = None;
    for (entry, at) in times.iter().zip(0_u64..) {
        let inside = entry.offset >= segment.base && entry.offset < segment.flushed.end;
        let rises =
            before.is_none_or(|before: TimeEntry| before.timestamp < entry.timestamp && before.offset < entry.offset);
        if !inside || !rises || entry.timestamp > segment.flushed.max_timestamp {
            stale.push(bad_entry::<TimeEntry>(name(Kind::TimeIndex), at));
        }
        before = Some(*entry);
    }
    Ok(())
}

fn bad_entry<E: Entry>(file: String, at: u64) -> BadBytes {
    BadBytes { file, from: at * E::BYTES, upto: (at + 1) * E::BYTES, what: "an entry names no batch" }
}

/// The first `count` entries of an index, fewer where it ends.
fn entries<E: Entry>(
    disk: &dyn Disk,
    file: &str,
    base: Offset,
    count: u32,
    stale: &mut Vec<BadBytes>,
) -> Result<Vec<E>, DiskError> {
    let length = u64::from(count) * E::BYTES;
    if length == 0 {
        return Ok(Vec::new());
    }
    let bytes = match disk.open(file, Open::Read) {
        Err(error) if error.is_not_found() => bytes::Bytes::new(),
        other => other?.read_bytes(0, usize::try_from(length).unwrap_or(usize::MAX))?,
    };
    if (bytes.len() as u64) < length {
        let (file, from) = (file.to_owned(), bytes.len() as u64);
        stale.push(BadBytes { file, from, upto: length, what: "the index is too short" });
    }
    let whole = usize::try_from(E::BYTES).unwrap_or(usize::MAX);
    Ok(bytes.chunks_exact(whole).map(|bytes| E::decode(base, bytes)).collect())
}

/// Both copies of the identity must say the same.
pub(super) fn against_copies(disk: &dyn Disk) -> Result<Vec<BadBytes>, DiskError> {
    let bad = |(file, length): (&str, u64)| {
        let file = file.to_owned();
        BadBytes { file, from: 0, upto: length, what: "a copy of the identity is missing, damaged or older" }
    };
    Ok(identity::unsound_copies(disk)?.into_iter().map(bad).collect())
}
