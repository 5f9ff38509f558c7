//! The header of a batch, a view of a whole batch, and the walk over batches that follow each other.
//!
//! The base offset and the leader epoch lie before the checksummed bytes, so a broker sets them without touching the
//! checksum. Everything from the attributes on is covered by it.

use bytes::{Bytes, BytesMut};

use super::check::BatchError;
use super::compress::Compression;

/// The length of the header.
pub const HEADER_BYTES: usize = 61;
/// What a batch's length field does not count: the base offset and the field itself.
pub const LENGTH_END: usize = 12;
/// The bytes that a broker sets on append: base offset, length, leader epoch. None is covered by the checksum.
pub const PREFIX_BYTES: usize = 16;
/// The producer id of a batch without a producer.
pub const NO_PRODUCER: i64 = -1;

pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
/// Where the checksummed bytes begin.
pub(super) const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

pub(super) const COMPRESSION_BITS: i16 = 0x07;
pub(super) const LOG_APPEND_TIME_BIT: i16 = 0x08;
pub(super) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(super) const CONTROL_BIT: i16 = 0x20;
pub(super) const DELETE_HORIZON_BIT: i16 = 0x40;

/// The header of a batch of format 2, every field as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record; 0 from a producer.
    pub base_offset: i64,
    /// The bytes that follow this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type and flags.
    pub attributes: i16,
    /// The offset of the last record minus the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamps are counted from; the delete horizon where that flag is set.
    pub base_timestamp: i64,
    /// The largest timestamp; the append time where the log sets the time.
    pub max_timestamp: i64,
    /// −1 without a producer.
    pub producer_id: i64,
    /// −1 without a producer.
    pub producer_epoch: i16,
    /// The sequence number of the first record; −1 without a producer.
    pub base_sequence: i32,
    /// How many records the batch says it has.
    pub record_count: i32,
}

/// Reads `N` bytes at a fixed place of a header whose length was checked.
fn at<const N: usize>(bytes: &[u8; HEADER_BYTES], place: usize) -> [u8; N] {
    *bytes[place..].first_chunk().expect("every field lies inside the header")
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. Judges the format and whether the length can hold the header, nothing
    /// else.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if let Some(&magic @ (0 | 1)) = bytes.get(MAGIC_AT) {
            return Err(BatchError::LegacyFormat { magic });
        }
        let Some(b) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { wanted: HEADER_BYTES, left: bytes.len() });
        };
        if b[MAGIC_AT] != 2 {
            return Err(BatchError::UnknownFormat { magic: b[MAGIC_AT].cast_signed() });
        }
        let header = Self {
            base_offset: i64::from_be_bytes(at(b, 0)),
            batch_length: i32::from_be_bytes(at(b, 8)),
            partition_leader_epoch: i32::from_be_bytes(at(b, 12)),
            crc: u32::from_be_bytes(at(b, CRC_AT)),
            attributes: i16::from_be_bytes(at(b, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(at(b, 23)),
            base_timestamp: i64::from_be_bytes(at(b, 27)),
            max_timestamp: i64::from_be_bytes(at(b, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(at(b, 43)),
            producer_epoch: i16::from_be_bytes(at(b, 51)),
            base_sequence: i32::from_be_bytes(at(b, 53)),
            record_count: i32::from_be_bytes(at(b, 57)),
        };
        if header.batch_length < (HEADER_BYTES - LENGTH_END) as i32 {
            return Err(BatchError::BadLength { length: header.batch_length });
        }
        Ok(header)
    }

    /// The whole batch in bytes, header included.
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.batch_length).map_or(LENGTH_END, |length| length + LENGTH_END)
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence number of the last record; wraps from `i32::MAX` to 0. −1 without a producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta.max(0));
        (last % (i64::from(i32::MAX) + 1)) as i32
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let codec = (self.attributes & COMPRESSION_BITS) as u8;
        Compression::from_code(codec).ok_or(BatchError::UnknownCompression { codec })
    }

    /// Whether the log set the time of the records.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds a control record instead of a producer's.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// When the batch's tombstones may go, if compaction has noted it.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }
}

/// One whole batch of format 2: its header and all its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    header: BatchHeader,
    bytes: Bytes,
}

impl BatchView {
    /// Takes the batch at the start of `bytes` and leaves the rest there.
    pub fn split_from(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size_bytes();
        if size > bytes.len() {
            return Err(BatchError::Truncated { wanted: size, left: bytes.len() });
        }
        Ok(Self { header, bytes: bytes.split_to(size) })
    }

    /// The parsed header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as it is.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch as it is.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records, compressed as the header says.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// The checksum that the batch should have.
    pub fn computed_crc(&self) -> u32 {
        checksum(&self.bytes[ATTRIBUTES_AT..])
    }

    /// Whether the checksum is right.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = self.computed_crc();
        if computed == self.header.crc { Ok(()) } else { Err(BatchError::BadCrc { stored: self.header.crc, computed }) }
    }

    /// The first `PREFIX_BYTES` as they are once the batch has its place. Followed by the batch from there on they are
    /// the batch to store, without a copy of its records.
    pub fn prefix(&self, base_offset: i64, leader_epoch: i32) -> [u8; PREFIX_BYTES] {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..8].copy_from_slice(&base_offset.to_be_bytes());
        prefix[8..LENGTH_END].copy_from_slice(&self.header.batch_length.to_be_bytes());
        prefix[LENGTH_END..].copy_from_slice(&leader_epoch.to_be_bytes());
        prefix
    }

    /// The batch at its place in the log. Copies the bytes unless nobody else holds them.
    #[must_use]
    pub fn placed(self, base_offset: i64, leader_epoch: i32) -> Self {
        let prefix = self.prefix(base_offset, leader_epoch);
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        bytes[..PREFIX_BYTES].copy_from_slice(&prefix);
        let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..self.header };
        Self { header, bytes: bytes.freeze() }
    }

    /// The batch with the append time as the time of all its records. Computes the checksum anew and copies the bytes
    /// unless nobody else holds them.
    #[must_use]
    pub fn with_append_time(self, timestamp: i64) -> Self {
        let mut header = self.header;
        header.attributes |= LOG_APPEND_TIME_BIT;
        header.max_timestamp = timestamp;
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&header.attributes.to_be_bytes());
        bytes[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&timestamp.to_be_bytes());
        header.crc = checksum(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&header.crc.to_be_bytes());
        Self { header, bytes: bytes.freeze() }
    }
}

/// CRC-32C (Castagnoli).
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The batches that follow each other in `bytes`. Checks of each one only that it is all there; ends after the first
/// error. A batch cut off at the end is an error; a reader of Fetch responses ignores it there.
#[derive(Clone, Debug)]
pub struct Batches {
    bytes: Bytes,
}

impl Batches {
    /// Starts at the first byte.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// What was not walked over yet.
    pub fn rest(&self) -> &Bytes {
        &self.bytes
    }
}

impl Iterator for Batches {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let batch = BatchView::split_from(&mut self.bytes);
        if batch.is_err() {
            self.bytes.clear();
        }
        Some(batch)
    }
}
