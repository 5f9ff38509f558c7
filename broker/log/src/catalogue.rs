//! The catalogue: one file that knows every partition of a data directory, so that start opens nothing else.
//!
//! Owns its format and its atomic replacement. It is a hint (S5): whatever is wrong with it, the data directory is
//! scanned instead. It states the last frame that created, deleted or moved something and is reflected in it, and per
//! partition what is durable in its segments; the journal replays the rest.

use std::io::IoSlice;
use std::sync::Arc;

use ottla_core::producer::ProducerState;
use ottla_core::types::{LeaderEpoch, Lsn, Offset, TopicPartition};

use crate::codec::{Body, Fields, Unusable, crc_of, low32};
use crate::damage::Damage;
use crate::disk::{Disk, DiskError, DiskFile, Open, TEMPORARY_SUFFIX};
use crate::epochs::{EpochStart, Epochs};
use crate::partition::record::{decode_damage, encode_damage};
use crate::producers;
use crate::segment::{Extent, Segment};

/// Its name in the data directory.
pub const FILE: &str = "catalogue";

const MAGIC: [u8; 8] = *b"OTTLCATA";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 80;
const ENTRY_BYTES_MIN: usize = 64;
const SEGMENT_BYTES: usize = 24 + EXTENT_BYTES;
const EXTENT_BYTES: usize = 36;
const CHUNK_BYTES: usize = 64 * 1024;

/// What a catalogue says about the whole directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Creations, deletions, truncations and log-start moves up to this frame are reflected; later ones are not.
    pub structure: Lsn,
    /// The journal had synced up to this frame.
    pub synced: Lsn,
    /// Under which boot of the machine it was written.
    pub boot: [u8; 16],
    /// Everything was flushed and nothing was appended after it.
    pub clean: bool,
}

/// What a catalogue says about one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub id: TopicPartition,
    /// Its topic's name.
    pub name: String,
    /// Frames at or below this one are of an earlier life of the same id, or cut off.
    pub floor: Lsn,
    /// The highest leader epoch that was begun.
    pub epoch: LeaderEpoch,
    /// First offset that may be read.
    pub log_start: Offset,
    /// Whether it skipped the journal when last configured.
    pub opted_out: bool,
    /// Its epochs.
    pub epochs: Epochs,
    /// Its segments; of each, what is durable.
    pub segments: Vec<Segment>,
    /// What cannot be read.
    pub damage: Damage,
    /// The producers as of `producers_end`.
    pub producers: Vec<ProducerState>,
    /// Every batch below it is reflected in `producers`.
    pub producers_end: Offset,
}

/// Writes a catalogue entry by entry, without holding all of it.
#[derive(Debug)]
pub struct Writer<'a> {
    disk: &'a dyn Disk,
    file: Arc<dyn DiskFile>,
    summary: Summary,
    body: Body,
    position: u64,
    digest: crc_fast::Digest,
    entries: u32,
}

impl<'a> Writer<'a> {
    /// Begins a catalogue beside the present one.
    ///
    /// # Errors
    /// What the disk said.
    pub fn begin(disk: &'a dyn Disk, summary: Summary) -> Result<Self, DiskError> {
        let file = disk.open(&format!("{FILE}{TEMPORARY_SUFFIX}"), Open::Create)?;
        file.truncate(0)?;
        let digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        Ok(Self { disk, file, summary, body: Body::default(), position: HEAD_BYTES as u64, digest, entries: 0 })
    }

    /// Adds a partition.
    ///
    /// # Errors
    /// What the disk said.
    pub fn add(&mut self, entry: &Entry) -> Result<(), DiskError> {
        encode(entry, &mut self.body);
        self.entries += 1;
        if self.body.0.len() >= CHUNK_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    /// Puts it in the place of the present one, durably.
    ///
    /// # Errors
    /// What the disk said.
    pub fn finish(mut self) -> Result<u64, DiskError> {
        self.write_out()?;
        let mut head = Body::default();
        head.raw(&MAGIC).u16(VERSION).u8(u8::from(self.summary.clean)).u8(0);
        head.u64(self.summary.structure.get()).u64(self.summary.synced.get()).raw(&self.summary.boot);
        head.u32(self.entries).u64(self.position - HEAD_BYTES as u64).u32(low32(self.digest.finalize()));
        head.0.resize(HEAD_BYTES - 4, 0);
        let sum = crc_of(&[&head.0]);
        head.u32(sum);
        self.file.write_at(0, &[IoSlice::new(&head.0)])?;
        self.file.sync_data()?;
        self.disk.rename(&format!("{FILE}{TEMPORARY_SUFFIX}"), FILE)?;
        self.disk.sync_dir("")?;
        Ok(self.position)
    }

    fn write_out(&mut self) -> Result<(), DiskError> {
        if !self.body.0.is_empty() {
            self.digest.update(&self.body.0);
            self.file.write_at(self.position, &[IoSlice::new(&self.body.0)])?;
            self.position += self.body.0.len() as u64;
            self.body.0.clear();
        }
        Ok(())
    }
}

/// The catalogue of a directory: `Ok(None)` if there is none or it is damaged, which is logged and means a scan.
///
/// # Errors
/// The disk failed, or a newer build wrote it.
pub fn read(disk: &dyn Disk) -> Result<Option<(Summary, Vec<Entry>)>, ReadError> {
    let Some(bytes) = disk.read_file(FILE, usize::MAX)? else { return Ok(None) };
    match decode_all(&bytes) {
        Ok(found) => Ok(Some(found)),
        Err(Unusable::Damaged) => {
            tracing::warn!(bytes = bytes.len(), "the catalogue is damaged; scanning the data directory");
            Ok(None)
        }
        Err(Unusable::Newer { found, supported }) => Err(ReadError::Newer { found, supported }),
    }
}

/// Makes sure that no catalogue is there after any crash: what is about to be done to the files rests on its absence, and
/// one whose removal was not durable would come back to describe them as they were.
///
/// # Errors
/// What the disk said.
pub fn forget(disk: &dyn Disk) -> Result<(), DiskError> {
    match disk.remove(FILE) {
        Err(error) if !error.is_not_found() => return Err(error),
        Ok(()) | Err(_) => {}
    }
    disk.sync_dir("")
}

/// Why a catalogue could not be read although it may be sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A newer build wrote it.
    #[error("the catalogue has format {found}; this build reads up to {supported}: run the newer version again")]
    Newer {
        /// Its version.
        found: u16,
        /// The newest this build knows.
        supported: u16,
    },
}

fn decode_all(bytes: &[u8]) -> Result<(Summary, Vec<Entry>), Unusable> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES).ok_or(Unusable::Damaged)?;
    let mut fields = Fields::new(head);
    let magic = fields.array::<8>()?;
    let sum = u32::from_le_bytes(*head.last_chunk::<4>().ok_or(Unusable::Damaged)?);
    if magic != MAGIC || crc_of(&[&head[..HEAD_BYTES - 4]]) != sum {
        return Err(Unusable::Damaged);
    }
    let version = fields.u16()?;
    if version > VERSION {
        return Err(Unusable::Newer { found: version, supported: VERSION });
    }
    let clean = fields.u8()? == 1;
    fields.u8()?;
    let summary =
        Summary { structure: Lsn::new(fields.u64()?), synced: Lsn::new(fields.u64()?), boot: fields.array()?, clean };
    let count = fields.u32()? as usize;
    let length = usize::try_from(fields.u64()?).map_err(|_| Unusable::Damaged)?;
    let body = rest.get(..length).ok_or(Unusable::Damaged)?;
    if crc_of(&[body]) != fields.u32()? || count > length / ENTRY_BYTES_MIN {
        return Err(Unusable::Damaged);
    }
    let mut fields = Fields::new(body);
    let entries = (0..count).map(|_| decode(&mut fields)).collect::<Result<_, _>>()?;
    Ok((summary, entries))
}

fn encode(entry: &Entry, body: &mut Body) {
    body.partition(entry.id).text(&entry.name).u64(entry.floor.get()).i32(entry.epoch.get());
    body.offset(entry.log_start).u8(u8::from(entry.opted_out));
    body.count(entry.epochs.entries().len());
    for epoch in entry.epochs.entries() {
        body.i32(epoch.epoch.get()).offset(epoch.start);
    }
    body.count(entry.segments.len());
    for segment in &entry.segments {
        body.offset(segment.base).timestamp(segment.first_timestamp).timestamp(segment.last_append);
        let extent = &segment.flushed;
        body.offset(extent.end).u32(extent.bytes).u32(extent.index_entries).u32(extent.time_entries);
        body.timestamp(extent.max_timestamp).offset(extent.max_timestamp_offset);
    }
    encode_damage(&entry.damage, body);
    body.offset(entry.producers_end);
    producers::encode(&entry.producers, body);
}

fn decode(fields: &mut Fields<'_>) -> Result<Entry, Unusable> {
    let id = fields.partition()?;
    let name = fields.text()?.to_owned();
    let floor = Lsn::new(fields.u64()?);
    let epoch = fields.epoch()?;
    let log_start = fields.offset()?;
    let opted_out = fields.u8()? == 1;
    let count = fields.count(12)?;
    let starts: Vec<EpochStart> = (0..count)
        .map(|_| Ok(EpochStart { epoch: fields.epoch()?, start: fields.offset()? }))
        .collect::<Result<_, Unusable>>()?;
    let count = fields.count(SEGMENT_BYTES)?;
    let segments = (0..count).map(|_| decode_segment(fields)).collect::<Result<_, _>>()?;
    let damage = decode_damage(fields)?;
    let producers_end = fields.offset()?;
    let producers = producers::decode(fields)?;
    let epochs = Epochs::restore(starts);
    Ok(Entry { id, name, floor, epoch, log_start, opted_out, epochs, segments, damage, producers, producers_end })
}

fn decode_segment(fields: &mut Fields<'_>) -> Result<Segment, Unusable> {
    let (base, first_timestamp, last_append) = (fields.offset()?, fields.timestamp()?, fields.timestamp()?);
    let extent = Extent {
        end: fields.offset()?,
        bytes: fields.u32()?,
        index_entries: fields.u32()?,
        time_entries: fields.u32()?,
        max_timestamp: fields.timestamp()?,
        max_timestamp_offset: fields.offset()?,
    };
    Ok(Segment { base, first_timestamp, last_append, written: extent, flushed: extent })
}
