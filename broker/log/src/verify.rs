//! An offline check of a data directory that changes nothing, not even the time of a file.
//!
//! Owns reading everything once: the catalogue, every segment with its sums, and the journal. It may run beside a live
//! broker: what is being written behind the flushed end counts as not flushed, never as damage. It decides nothing and
//! repairs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_core::types::{Lsn, Offset, TopicPartition};

use crate::catalogue::{self, ReadError};
use crate::damage::{Damage, DamagedRange};
use crate::disk::{Disk, DiskError, Open};
use crate::journal::{self, Frame, Hole, Kind as FrameKind, Recovery, Replayed};
use crate::partition::record::{BYTES_MAX, FILE, PartitionRecord};
use crate::partition::write::DELETED_SUFFIX;
use crate::segment::{Kind, file_name, folder, parse_log_name, parse_name};
use crate::store::scan_folder;
use crate::sum::{CHUNK_BYTES, HEAD_BYTES, SumId, decode_entries};

mod expected;

use expected::{Listed, against_catalogue, against_copies};

/// A place in a file that is not what was written there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BadBytes {
    /// The file, relative to the data directory.
    pub file: String,
    /// First byte.
    pub from: u64,
    /// Byte behind the last.
    pub upto: u64,
    /// What is wrong, for people.
    pub what: &'static str,
}

/// What was found of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReport {
    /// Which.
    pub id: TopicPartition,
    /// Its topic's name.
    pub name: String,
    /// First offset that may be read.
    pub log_start: Offset,
    /// Offset behind the last batch, the journal's included.
    pub log_end: Offset,
    /// Offset behind the last batch in its segments.
    pub segment_end: Offset,
    /// Segments.
    pub segments: usize,
    /// Batches in them.
    pub batches: u64,
    /// Records in them, by what the batches state.
    pub records: u64,
    /// Bytes of its `.log` files.
    pub bytes: u64,
    /// Bytes that were never flushed: the journal has them, or nobody was promised anything.
    pub unflushed_bytes: u64,
    /// Offsets that cannot be read.
    pub damaged_offsets: Vec<DamagedRange>,
    /// Where the damage lies.
    pub bad_bytes: Vec<BadBytes>,
    /// Where hints are wrong: nobody believes them, and they are rebuilt. No damage.
    pub stale_hints: Vec<BadBytes>,
}

/// What was found of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogueReport {
    /// It is sound.
    Sound {
        /// How many partitions it lists.
        partitions: usize,
        /// The directory was closed in order, and not opened since.
        clean: bool,
    },
    /// There is none, or it is damaged: a start scans instead.
    Unusable,
}

/// What was found of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalReport {
    /// First frame that is still needed.
    pub released: Lsn,
    /// Last frame.
    pub last: Lsn,
    /// Frames.
    pub frames: u64,
    /// Bytes of a write that was torn by a crash, which is no damage.
    pub torn_bytes: u64,
    /// Frames that are lost.
    pub holes: Vec<Hole>,
}

/// What was found of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The catalogue.
    pub catalogue: CatalogueReport,
    /// The journal.
    pub journal: JournalReport,
    /// Every partition, in order of name and index.
    pub partitions: Vec<PartitionReport>,
    /// Folders that do not say whose they are.
    pub unreadable_folders: Vec<String>,
    /// What is wrong with files of the directory itself.
    pub bad_files: Vec<BadBytes>,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        let whole =
            |partition: &PartitionReport| partition.damaged_offsets.is_empty() && partition.bad_bytes.is_empty();
        let files = self.unreadable_folders.is_empty() && self.bad_files.is_empty();
        self.journal.holes.is_empty() && files && self.partitions.iter().all(whole)
    }
}

/// A directory could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A newer build wrote the catalogue.
    #[error(transparent)]
    Catalogue(#[from] ReadError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Folders that are done.
    pub done: usize,
    /// All folders.
    pub total: usize,
    /// The folder that comes next.
    pub folder: &'a str,
}

/// Checks the data directory on `disk`.
///
/// # Errors
/// [`VerifyError`]; damage is none, it is in the report.
pub fn verify(disk: &Arc<dyn Disk>, mut progress: impl FnMut(Progress<'_>)) -> Result<Report, VerifyError> {
    let (catalogue, listed, floors, mut found) = from_catalogue(&**disk)?;
    let folders: Vec<String> = disk
        .list("")?
        .into_iter()
        .filter(|entry| entry.directory && !entry.name.ends_with(DELETED_SUFFIX))
        .map(|entry| entry.name)
        .collect();
    let mut unreadable_folders = Vec::new();
    for (done, name) in folders.iter().enumerate() {
        progress(Progress { done, total: folders.len(), folder: name });
        match check_folder(&**disk, name) {
            Ok(Folder::Partition(mut report)) => {
                against_catalogue(&**disk, &listed, name, &mut report)?;
                found.insert(report.id, *report);
            }
            Ok(Folder::Unreadable) => unreadable_folders.push(name.clone()),
            Ok(Folder::Other) => {}
            Err(error) if error.is_not_found() => {} // deleted meanwhile by a live broker
            Err(error) => return Err(error.into()),
        }
    }
    let journal = check_journal(disk, &floors, &mut found)?;
    let mut partitions: Vec<PartitionReport> = found.into_values().collect();
    partitions.sort_by(|a, b| (&a.name, a.id.partition).cmp(&(&b.name, b.id.partition)));
    let bad_files = against_copies(&**disk)?;
    Ok(Report { catalogue, journal, partitions, unreadable_folders, bad_files })
}

type Found = BTreeMap<TopicPartition, PartitionReport>;

/// Frames at or below are done with, by partition.
type Floors = BTreeMap<TopicPartition, Lsn>;

fn from_catalogue(disk: &dyn Disk) -> Result<(CatalogueReport, Listed, Floors, Found), VerifyError> {
    let Some((summary, entries)) = catalogue::read(disk)? else {
        return Ok((CatalogueReport::Unusable, Listed::new(), Floors::new(), Found::new()));
    };
    let floors = entries.iter().map(|entry| (entry.id, entry.floor)).collect();
    let report = CatalogueReport::Sound { partitions: entries.len(), clean: summary.clean };
    let (mut listed, mut found) = (Listed::new(), Found::new());
    for entry in entries {
        // One whose segments are listed but whose folder is gone has lost them.
        let end = entry.segments.last().map_or(entry.log_start, |segment| segment.flushed.end);
        let lost = (end > entry.log_start).then_some(DamagedRange { from: entry.log_start, upto: end });
        let mut report = empty(entry.id, entry.name, entry.log_start);
        (report.log_end, report.segment_end) = (end, end);
        report.damaged_offsets.extend(lost);
        found.insert(entry.id, report);
        listed.insert(entry.id, entry.segments);
    }
    Ok((report, listed, floors, found))
}

fn empty(id: TopicPartition, name: String, start: Offset) -> PartitionReport {
    PartitionReport {
        id,
        name,
        log_start: start,
        log_end: start,
        segment_end: start,
        segments: 0,
        batches: 0,
        records: 0,
        bytes: 0,
        unflushed_bytes: 0,
        damaged_offsets: Vec::new(),
        bad_bytes: Vec::new(),
        stale_hints: Vec::new(),
    }
}

enum Folder {
    Partition(Box<PartitionReport>),
    Unreadable,
    Other,
}

fn check_folder(disk: &dyn Disk, name: &str) -> Result<Folder, DiskError> {
    let bases: Vec<Offset> = disk.list(name)?.iter().filter_map(|entry| parse_log_name(&entry.name)).collect();
    let Some(bytes) = disk.read_file(&format!("{name}/{FILE}"), BYTES_MAX)? else {
        return Ok(if bases.is_empty() { Folder::Other } else { Folder::Unreadable });
    };
    let Ok(record) = PartitionRecord::decode(&bytes) else { return Ok(Folder::Unreadable) };
    let scanned = scan_folder(disk, name, &record)?;
    let beginning = &scanned.beginning;
    let mut report = empty(record.id, record.name.clone(), beginning.log_start);
    report.log_end = beginning.log_end;
    report.segment_end = beginning.log_end;
    report.segments = beginning.segments.len();
    report.batches = scanned.batches;
    report.records = scanned.records;
    report.unflushed_bytes = scanned.unflushed + scanned.torn_bytes;
    report.damaged_offsets = beginning.damage.ranges().to_vec();
    let place = |(file, from, upto): &(String, u32, u32)| BadBytes {
        file: file.clone(),
        from: u64::from(*from),
        upto: u64::from(*upto),
        what: "no sound batch",
    };
    report.bad_bytes = scanned.places.iter().map(place).collect();
    for base in bases {
        report.bytes += disk.size(&format!("{name}/{}", file_name(base, Kind::Log)))?.unwrap_or(0);
        check_sums(disk, name, SumId { partition: record.id, base }, &mut report.bad_bytes)?;
    }
    if folder(&record.name, record.id.partition) != name {
        let file = format!("{name}/{FILE}");
        report.bad_bytes.push(BadBytes { file, from: 0, upto: bytes.len() as u64, what: "another folder's record" });
    }
    Ok(Folder::Partition(Box::new(report)))
}

/// Compares every chunk that was flushed with its sum. The sidecar is read first: a live broker only adds behind it.
fn check_sums(disk: &dyn Disk, name: &str, id: SumId, bad: &mut Vec<BadBytes>) -> Result<(), DiskError> {
    const SIDECAR_BYTES_MAX: usize = 1024 * 1024;
    let path = format!("{name}/{}", file_name(id.base, Kind::Sum));
    let Some(sidecar) = disk.read_file(&path, SIDECAR_BYTES_MAX)? else { return Ok(()) };
    let sound = sidecar.split_at_checked(HEAD_BYTES as usize).filter(|(head, _)| id.check_head(head));
    let Some((_, entries)) = sound else {
        bad.push(BadBytes { file: path, from: 0, upto: HEAD_BYTES, what: "another sidecar's head" });
        return Ok(());
    };
    let file = format!("{name}/{}", file_name(id.base, Kind::Log));
    let log = disk.open(&file, Open::Read)?;
    for (chunk, entry) in (0_u32..).zip(decode_entries(entries)) {
        let from = u64::from(chunk) * u64::from(CHUNK_BYTES);
        let bytes = log.read_bytes(from, entry.length.min(CHUNK_BYTES) as usize)?;
        if !id.check(chunk, &bytes, entry) {
            let upto = from + u64::from(entry.length.min(CHUNK_BYTES));
            bad.push(BadBytes { file: file.clone(), from, upto, what: "the sum differs" });
        }
    }
    Ok(())
}

/// A cut that no catalogue states as done: from there on the files are what a start will make of them, and nothing that
/// they lack is missing.
fn cut(disk: &Arc<dyn Disk>, frame: &Frame, report: &mut PartitionReport) -> Result<(), DiskError> {
    let name = folder(&report.name, report.id.partition);
    let bases: Vec<Offset> = match disk.list(&name) {
        Err(error) if error.is_not_found() => Vec::new(),
        listed => listed?.iter().filter_map(|entry| parse_log_name(&entry.name)).collect(),
    };
    let cut_in = bases.into_iter().filter(|base| *base < frame.end).max().unwrap_or_default();
    let base_of = |bad: &BadBytes| bad.file.rsplit('/').next().and_then(parse_name).map(|(base, _)| base);
    report.bad_bytes.retain(|bad| base_of(bad).is_none_or(|base| base < cut_in));
    report.stale_hints.retain(|bad| base_of(bad).is_none_or(|base| base < cut_in));
    let mut damage: Damage = report.damaged_offsets.iter().copied().collect();
    damage.truncate_end(frame.end);
    report.damaged_offsets = damage.ranges().to_vec();
    if frame.base == frame.end {
        report.log_end = report.log_end.min(frame.end);
        report.log_start = report.log_start.min(frame.end);
    } else {
        (report.log_start, report.log_end) = (frame.base, frame.base);
    }
    Ok(())
}

/// Reads the journal through; batches that no segment has yet move the ends.
fn check_journal(disk: &Arc<dyn Disk>, floors: &Floors, found: &mut Found) -> Result<JournalReport, VerifyError> {
    let mut recovery = Recovery::open(Arc::clone(disk), journal::Options::default())?;
    while let Some(step) = recovery.step()? {
        let Replayed::Frame { lsn, frame } = step else { continue };
        match frame.kind {
            FrameKind::Append => {
                if let Some(report) = found.get_mut(&frame.partition) {
                    report.log_end = report.log_end.max(frame.end);
                }
            }
            FrameKind::Create => {
                let name = String::from_utf8_lossy(&frame.payload.to_bytes()).into_owned();
                found.entry(frame.partition).or_insert_with(|| empty(frame.partition, name, frame.base));
            }
            FrameKind::LogStart => {
                if let Some(report) = found.get_mut(&frame.partition) {
                    report.log_start = report.log_start.max(frame.base);
                    report.log_end = report.log_end.max(frame.base);
                    report.damaged_offsets.retain(|range| range.upto > frame.base);
                }
            }
            FrameKind::Delete => {
                found.remove(&frame.partition);
            }
            FrameKind::Truncate => {
                let floor = floors.get(&frame.partition).copied().unwrap_or_default();
                if let Some(report) = found.get_mut(&frame.partition).filter(|_| lsn > floor) {
                    cut(disk, &frame, report)?;
                }
            }
            FrameKind::FlushedEnd | FrameKind::Close => {}
        }
    }
    let report = recovery.report();
    Ok(JournalReport {
        released: report.released,
        last: report.last,
        frames: report.frames,
        torn_bytes: report.torn_bytes,
        holes: report.holes.clone(),
    })
}
