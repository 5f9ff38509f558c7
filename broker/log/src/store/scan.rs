//! A data directory without a sound catalogue: everything is found out from the files themselves.
//!
//! Owns telling a torn tail (nothing flushed is missing: cut) from damage (something flushed is: kept apart, S3). Slow by
//! nature: every batch is read once. Removes nothing but the folders of partitions with a tombstone.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_core::producer::Producers;
use ottla_core::types::{Lsn, Offset};

use crate::batch::{HEADER_BYTES, Header};
use crate::damage::DamagedRange;
use crate::disk::{Disk, DiskError, DiskFile, Open};
use crate::epochs::Epochs;
use crate::partition::record::{BYTES_MAX, FILE, PartitionRecord};
use crate::partition::write::{DELETED_SUFFIX, UNREADABLE_SUFFIX};
use crate::partition::{Beginning, Partition};
use crate::segment::scan::{Found, Scanner};
use crate::segment::{Kind, Segment, file_name, folder, parse_log_name};
use crate::shared::Shared;
use crate::sum::{ENTRY_BYTES, HEAD_BYTES, SumId, decode_entries};

/// Finds every partition; returns the folders that nobody can read.
pub(super) fn scan(shared: &Arc<Shared>) -> Result<Vec<String>, DiskError> {
    let mut unreadable = Vec::new();
    for entry in shared.disk.list("")?.into_iter().filter(|entry| entry.directory) {
        if entry.name.ends_with(DELETED_SUFFIX) {
            shared.trash.lock().push(entry.name);
            continue;
        }
        if entry.name.ends_with(UNREADABLE_SUFFIX) {
            unreadable.push(entry.name);
            continue;
        }
        let Some(record) = shared.disk.read_file(&format!("{}/{FILE}", entry.name), BYTES_MAX)? else {
            if has_segments(&*shared.disk, &entry.name)? {
                tracing::error!(folder = entry.name, "a folder with segments does not say whose it is");
                unreadable.push(entry.name);
            }
            continue;
        };
        match PartitionRecord::decode(&record) {
            Ok(record) if folder(&record.name, record.id.partition) != entry.name => {
                tracing::error!(folder = entry.name, id = %record.id, "a folder has the {FILE} of another one");
                unreadable.push(entry.name);
            }
            Ok(record) => {
                let found = scan_folder(&*shared.disk, &entry.name, &record)?;
                let (id, name) = (record.id, shared.names.share(&record.name));
                let reindex = found.reindex;
                let partition = Partition::new(shared, id, name, found.beginning);
                partition.state.lock().reindex = reindex;
                partition.remove_orphans(&found.cut)?;
                let unflushed = found.unflushed;
                shared.space.on_written(unflushed);
                shared.mark_dirty(&partition);
                shared.partitions.write().insert(id, partition);
            }
            Err(problem) => {
                tracing::error!(folder = entry.name, %problem, "a folder's {FILE} cannot be read");
                unreadable.push(entry.name);
            }
        }
    }
    Ok(unreadable)
}

fn has_segments(disk: &dyn Disk, folder: &str) -> Result<bool, DiskError> {
    Ok(disk.list(folder)?.iter().any(|entry| parse_log_name(&entry.name).is_some()))
}

/// What a folder's files say.
#[derive(Debug)]
pub(crate) struct ScannedFolder {
    pub(crate) beginning: Beginning,
    pub(crate) reindex: Vec<Offset>,
    pub(crate) unflushed: u64,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    /// Bytes behind the last sound batch that were never flushed.
    pub(crate) torn_bytes: u64,
    /// Segments behind a torn end: nothing in them was flushed, and the journal has what was promised.
    pub(crate) cut: BTreeSet<Offset>,
    /// Damaged places: file, from, to.
    pub(crate) places: Vec<(String, u32, u32)>,
}

/// Goes through every segment of a folder.
pub(crate) fn scan_folder(disk: &dyn Disk, folder: &str, record: &PartitionRecord) -> Result<ScannedFolder, DiskError> {
    let mut bases: Vec<Offset> = disk.list(folder)?.iter().filter_map(|entry| parse_log_name(&entry.name)).collect();
    bases.sort_unstable();
    let mut scanned = ScannedFolder {
        beginning: Beginning {
            epoch: record.epoch,
            log_start: record.log_start,
            log_end: record.log_start,
            floor: Lsn::default(),
            unjournaled: false,
            segments: Vec::new(),
            epochs: Epochs::default(),
            producers: Producers::restore(record.producers.iter().cloned()),
            damage: record.damage.clone(),
        },
        reindex: Vec::new(),
        unflushed: 0,
        batches: 0,
        records: 0,
        torn_bytes: 0,
        cut: BTreeSet::new(),
        places: Vec::new(),
    };
    let mut flushed = Vec::with_capacity(bases.len());
    for &base in &bases {
        let path = format!("{folder}/{}", file_name(base, Kind::Sum));
        flushed.push(covered(disk, &path, SumId { partition: record.id, base })?);
    }
    for (at, &base) in bases.iter().enumerate() {
        // Sums are written after the bytes of every earlier segment were flushed: behind the last sum, and only there,
        // what is missing was never flushed.
        let last = flushed[at + 1..].iter().all(|&covered| covered == 0);
        let place = Place { base, covered: flushed[at], next: bases.get(at + 1).copied(), last };
        // A segment that lies below the log start as a whole was about to be removed; trimming does that.
        let before = scanned.beginning.segments.last();
        let known = before.map_or(record.log_start.min(base), |segment| segment.written.end);
        if base > known && base > record.log_start {
            if flushed[at..].iter().all(|&covered| covered == 0) {
                scanned.cut.extend(&bases[at..]);
                break;
            }
            scanned.beginning.damage.add(DamagedRange { from: known.max(record.log_start), upto: base });
        }
        if base < known {
            tracing::error!(folder, %base, %known, "a segment begins inside the one before it; it is left alone");
            continue;
        }
        if scanned.segment(disk, folder, place)? {
            scanned.cut.extend(&bases[at + 1..]);
            break;
        }
    }
    let beginning = &mut scanned.beginning;
    let damaged = beginning.damage.ranges().last().map_or(beginning.log_start, |range| range.upto);
    let written = beginning.segments.last().map_or(beginning.log_start, |segment| segment.written.end);
    beginning.log_end = written.max(beginning.log_start).max(damaged);
    beginning.epochs.truncate_start(beginning.log_start);
    beginning.damage.truncate_start(beginning.log_start);
    if let Some(latest) = beginning.epochs.latest() {
        beginning.epoch = beginning.epoch.max(latest);
    }
    Ok(scanned)
}

/// One segment among the others of its folder.
#[derive(Clone, Copy, Debug)]
struct Place {
    base: Offset,
    /// How many of its bytes were flushed for certain.
    covered: u32,
    next: Option<Offset>,
    /// No later segment was flushed.
    last: bool,
}

impl ScannedFolder {
    /// Goes through one segment; whether the log is torn in it.
    fn segment(&mut self, disk: &dyn Disk, folder: &str, place: Place) -> Result<bool, DiskError> {
        let Place { base, covered, next, last } = place;
        let name = format!("{folder}/{}", file_name(base, Kind::Log));
        let log = disk.open(&name, Open::Read)?;
        let limit = u32::try_from(log.len()?).unwrap_or(u32::MAX);
        let mut torn = false;
        let mut segment = Segment::empty(base);
        let mut scanner = Scanner::new(&*log, limit.max(covered), 0, base).exact();
        while let Some(found) = scanner.step()? {
            match found {
                Found::Batch { position, header, .. } => {
                    if header.base > segment.written.end && last && position >= covered {
                        self.torn_bytes = u64::from(limit.saturating_sub(position));
                        torn = true;
                        break;
                    }
                    if header.base > segment.written.end {
                        self.damage(&name, segment.written.end, header.base, segment.written.bytes, position);
                    }
                    self.batch(&mut segment, position, &header);
                }
                Found::Damage { position, until, followed } => {
                    if position >= covered && last {
                        self.torn_bytes = u64::from(limit.saturating_sub(position));
                        torn = true;
                        break;
                    }
                    if followed {
                        continue; // the batch that follows tells which offsets are missing
                    }
                    let upto = next.unwrap_or_else(|| stated_end(&*log, position, limit, segment.written.end));
                    let from = segment.written.end;
                    self.damage(&name, from, upto.max(from.plus(1)), position, until);
                    segment.written.bytes = until.min(limit.max(covered));
                    segment.written.end = upto.max(from.plus(1));
                }
            }
        }
        if segment.written.bytes == 0 {
            // Nothing of it is left, or nothing was ever in it: the next batch begins it anew.
            self.cut.insert(base);
            return Ok(torn);
        }
        segment.flushed = segment.written;
        if covered < segment.written.bytes {
            segment.flushed.bytes = covered;
            self.unflushed += u64::from(segment.written.bytes - covered);
        }
        self.reindex.push(base);
        self.beginning.segments.push(segment);
        Ok(torn)
    }

    fn batch(&mut self, segment: &mut Segment, position: u32, header: &Header) {
        let written = &mut segment.written;
        if written.bytes == 0 {
            segment.first_timestamp = header.max_timestamp;
        }
        written.bytes = position + header.bytes;
        written.end = header.end();
        if header.max_timestamp > written.max_timestamp {
            written.max_timestamp = header.max_timestamp;
            written.max_timestamp_offset = header.last();
        }
        self.beginning.epochs.note(header.epoch, header.base);
        if let Some(claim) = &header.producer {
            self.beginning.producers.record(claim, header.last(), header.max_timestamp, header.max_timestamp);
        }
        self.batches += 1;
        self.records += u64::from(header.last_delta.unsigned_abs()) + 1;
    }

    fn damage(&mut self, file: &str, from: Offset, upto: Offset, position: u32, until: u32) {
        if self.beginning.damage.add(DamagedRange { from, upto }) {
            tracing::error!(file, %from, %upto, position, until, "offsets are damaged on disk");
        }
        self.places.push((file.to_owned(), position, until));
    }
}

/// How many bytes of a segment its sidecar covers: those were flushed. 0 without a sound sidecar.
pub(crate) fn covered(disk: &dyn Disk, path: &str, id: SumId) -> Result<u32, DiskError> {
    let file = match disk.open(path, Open::Read) {
        Err(error) if error.is_not_found() => return Ok(0),
        other => other?,
    };
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(1024 * 1024);
    let bytes = file.read_bytes(0, length)?;
    let Some((head, entries)) = bytes.split_at_checked(HEAD_BYTES as usize) else { return Ok(0) };
    if !id.check_head(head) || entries.len() < ENTRY_BYTES as usize {
        return Ok(0);
    }
    Ok(decode_entries(entries).iter().fold(0_u32, |sum, entry| sum.saturating_add(entry.length)))
}

/// How far damaged batches go by their own headers: all that is known about offsets of which nothing sound follows.
fn stated_end(log: &dyn DiskFile, position: u32, limit: u32, from: Offset) -> Offset {
    let (mut at, mut end) = (position, from);
    loop {
        let mut head = [0; HEADER_BYTES];
        let header = match log.read_at(u64::from(at), &mut head) {
            Ok(HEADER_BYTES) => Header::parse(&head).filter(|header| header.base == end),
            Ok(_) | Err(_) => None,
        };
        let Some(header) = header.filter(|header| header.bytes <= limit.saturating_sub(at)) else { return end };
        end = header.end();
        at += header.bytes;
    }
}
