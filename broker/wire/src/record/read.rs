//! The records inside a batch.
//!
//! Owns their layout. A broker does not come here, except for compaction, recompression and what else must look inside;
//! clients and coordinators do. Keys and values share the memory of the (decompressed) payload.

use bytes::Bytes;

use super::batch::BatchView;
use super::check::BatchError;
use super::compress::{CompressionError, decompress};
use crate::{DecodeError, Reader};

/// The smallest header: an empty key and a null value.
const HEADER_BYTES_MIN: usize = 2;

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// Its name.
    pub key: String,
    /// Its value; null and empty differ.
    pub value: Option<Bytes>,
}

/// A record of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// Its time: the producer's, or the log's where the batch says so.
    pub timestamp: i64,
    /// Null and empty differ.
    pub key: Option<Bytes>,
    /// Null is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// In the order in which they were written; names may repeat.
    pub headers: Vec<Header>,
}

/// Why the records of a batch could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The header of the batch is wrong.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The payload could not be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record is cut off or malformed.
    #[error("record {index}: {error}")]
    Record {
        /// Which one, from 0.
        index: i32,
        /// What is wrong.
        error: DecodeError,
    },
    /// A record's length does not end where its fields do.
    #[error("record {index} has {left} bytes too many")]
    RecordLength {
        /// Which one, from 0.
        index: i32,
        /// The bytes left over.
        left: usize,
    },
    /// Bytes follow the last record.
    #[error("{left} bytes follow the last record")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
}

/// The records of one batch. Ends after the first error.
#[derive(Debug)]
pub struct RecordIter {
    reader: Reader,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    index: i32,
    count: i32,
}

impl RecordIter {
    /// Decompresses the batch into at most `max_bytes` and starts at the first record. Trusts nothing but does not check
    /// the checksum.
    pub fn new(batch: &BatchView, max_bytes: usize) -> Result<Self, RecordError> {
        let header = batch.header();
        let payload = decompress(header.compression()?, &batch.payload(), max_bytes)?;
        Ok(Self {
            reader: Reader::new(payload),
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: header.is_log_append_time().then_some(header.max_timestamp),
            index: 0,
            count: header.record_count,
        })
    }

    fn read(&mut self) -> Result<Record, RecordError> {
        let index = self.index;
        let record = |error| RecordError::Record { index, error };
        let at = self.reader.position();
        let length = self.reader.varint().map_err(record)?;
        let length =
            usize::try_from(length).map_err(|_| record(DecodeError::BadLength { at, length: i64::from(length) }))?;
        let end = self.reader.remaining().checked_sub(length);
        let fields = self.fields().map_err(record)?;
        match end.map(|end| self.reader.remaining().checked_sub(end)) {
            Some(Some(0)) => Ok(fields),
            Some(Some(left)) => Err(RecordError::RecordLength { index, left }),
            Some(None) | None => {
                Err(record(DecodeError::Truncated { at, wanted: length, left: self.reader.remaining() }))
            }
        }
    }

    fn fields(&mut self) -> Result<Record, DecodeError> {
        let r = &mut self.reader;
        let _attributes = r.i8()?;
        let timestamp_delta = r.varlong()?;
        let offset_delta = r.varint()?;
        let key = bytes_or_null(r)?;
        let value = bytes_or_null(r)?;
        Ok(Record {
            offset: self.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp: self.append_time.unwrap_or(self.base_timestamp.saturating_add(timestamp_delta)),
            key,
            value,
            headers: headers(r)?,
        })
    }
}

fn bytes_or_null(r: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    let at = r.position();
    match r.varint()? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) => r.take(length).map(Some),
            Err(_) => Err(DecodeError::BadLength { at, length: i64::from(length) }),
        },
    }
}

fn headers(r: &mut Reader) -> Result<Vec<Header>, DecodeError> {
    let at = r.position();
    let count = r.varint()?;
    let count = usize::try_from(count).map_err(|_| DecodeError::BadLength { at, length: i64::from(count) })?;
    r.elements(count, HEADER_BYTES_MIN, |r| {
        let at = r.position();
        let key = bytes_or_null(r)?.ok_or(DecodeError::UnexpectedNull { at })?;
        let key = std::str::from_utf8(&key).map_err(|_| DecodeError::NotUtf8 { at })?.to_owned();
        Ok(Header { key, value: bytes_or_null(r)? })
    })
}

impl Iterator for RecordIter {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            let left = self.reader.remaining();
            self.reader.rest();
            return (left > 0).then_some(Err(RecordError::TrailingBytes { left }));
        }
        let record = self.read();
        self.index = if record.is_ok() { self.index + 1 } else { self.count };
        if record.is_err() {
            self.reader.rest();
        }
        Some(record)
    }
}
