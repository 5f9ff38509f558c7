//! Building of batches: what a producing client, a coordinator and a test do.
//!
//! Owns the layout on the writing side. A batch is built once, in memory, and compressed as a whole.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::{
    ATTRIBUTES_AT, BatchView, CONTROL_BIT, CRC_AT, HEADER_BYTES, LENGTH_END, LOG_APPEND_TIME_BIT, NO_PRODUCER,
    TRANSACTIONAL_BIT, checksum,
};
use super::compress::{Compression, CompressionError, compress};
use super::read::Header;
use crate::Writer;

/// A batch under construction. Offsets count from the base offset, one per record.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    level: Option<i32>,
    base_offset: i64,
    leader_epoch: i32,
    attributes: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
    records: Writer,
    record: Writer,
}

impl BatchBuilder {
    /// An empty batch at base offset 0 without a producer.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            level: None,
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            producer_id: NO_PRODUCER,
            producer_epoch: -1,
            base_sequence: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            count: 0,
            records: Writer::new(),
            record: Writer::new(),
        }
    }

    /// Compresses with this level of the codec's own scale.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = Some(level);
        self
    }

    /// Starts at this offset instead of 0, appended in this leader epoch.
    #[must_use]
    pub fn at(mut self, base_offset: i64, leader_epoch: i32) -> Self {
        self.base_offset = base_offset;
        self.leader_epoch = leader_epoch;
        self
    }

    /// Written by an idempotent producer.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Holds control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= CONTROL_BIT;
        self
    }

    /// The log sets the time; all records have that of the last append.
    #[must_use]
    pub fn log_append_time(mut self) -> Self {
        self.attributes |= LOG_APPEND_TIME_BIT;
        self
    }

    /// Adds a record. A value of null is a tombstone.
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let w = &mut self.record;
        w.clear();
        w.i8(0);
        w.varlong(timestamp.wrapping_sub(self.base_timestamp));
        w.varint(self.count);
        bytes_or_null(w, key);
        bytes_or_null(w, value);
        w.varint(headers.len() as i32);
        for header in headers {
            bytes_or_null(w, Some(header.key.as_bytes()));
            bytes_or_null(w, header.value.as_deref());
        }
        self.records.varint(w.len() as i32);
        self.records.raw(w.as_slice());
        self.count += 1;
    }

    /// How many records were added.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of the batch before compression.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The finished batch.
    pub fn build(self) -> Result<Bytes, CompressionError> {
        let records = compress(self.compression, self.level, &self.records.into_bytes())?;
        let size = HEADER_BYTES + records.len();
        let mut out = BytesMut::with_capacity(size);
        out.put_i64(self.base_offset);
        out.put_i32((size - LENGTH_END) as i32);
        out.put_i32(self.leader_epoch);
        out.put_i8(2);
        out.put_u32(0);
        out.put_i16(self.attributes | i16::from(self.compression.code()));
        out.put_i32(self.count - 1);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.count);
        out.extend_from_slice(&records);
        let crc = checksum(&out[ATTRIBUTES_AT..]);
        out[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        Ok(out.freeze())
    }

    /// The finished batch as a view.
    pub fn build_view(self) -> Result<BatchView, CompressionError> {
        let mut bytes = self.build()?;
        Ok(BatchView::split_from(&mut bytes).expect("a batch that was just built is whole"))
    }
}

fn bytes_or_null(w: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            w.varint(bytes.len() as i32);
            w.raw(bytes);
        }
        None => w.varint(-1),
    }
}

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The producer's transaction is aborted.
    Abort,
    /// The producer's transaction is committed.
    Commit,
}

impl ControlType {
    /// Reads the key of a control record; `None` for kinds that end no transaction.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        match key {
            [_, _, 0, 0, ..] => Some(Self::Abort),
            [_, _, 0, 1, ..] => Some(Self::Commit),
            _ => None,
        }
    }

    fn key(self) -> [u8; 4] {
        match self {
            Self::Abort => [0, 0, 0, 0],
            Self::Commit => [0, 0, 0, 1],
        }
    }
}

/// The marker that ends a producer's transaction.
pub fn control_batch(
    kind: ControlType,
    timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).producer(producer_id, producer_epoch, -1);
    builder = builder.transactional().control();
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    builder.append(timestamp, Some(&kind.key()), Some(&value), &[]);
    builder.build().expect("nothing is compressed")
}
