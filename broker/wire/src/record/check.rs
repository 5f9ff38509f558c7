//! What must hold of a batch before a broker takes it.
//!
//! Each failing check is a variant of its own, so that the broker chooses Kafka's code for it in one match. None of them
//! opens the batch.

use bytes::Bytes;

use super::batch::{BatchHeader, BatchView};

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("a batch of {wanted} bytes in {left} bytes")]
    Truncated {
        /// How long the batch is.
        wanted: usize,
        /// How many bytes there are.
        left: usize,
    },
    /// The length cannot hold a header.
    #[error("batch length {length}")]
    BadLength {
        /// What the length field says.
        length: i32,
    },
    /// Message format 0 or 1, which Kafka 4 does not take.
    #[error("message format {magic} is no longer supported")]
    LegacyFormat {
        /// The format.
        magic: u8,
    },
    /// A message format that does not exist.
    #[error("unknown message format {magic}")]
    UnknownFormat {
        /// The format.
        magic: i8,
    },
    /// The checksum is wrong.
    #[error("checksum {computed:08x}, the batch says {stored:08x}")]
    BadCrc {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A compression that does not exist.
    #[error("unknown compression {codec}")]
    UnknownCompression {
        /// Its number.
        codec: u8,
    },
    /// The count of records does not agree with the offset of the last one, or there are none.
    #[error("{count} records, but the last one has offset delta {last_offset_delta}")]
    BadCount {
        /// How many records the batch says it has.
        count: i32,
        /// What follows from that is one less.
        last_offset_delta: i32,
    },
    /// The offset after the batch is no offset.
    #[error("a batch at offset {base_offset} with last offset delta {last_offset_delta}")]
    BadOffsets {
        /// Where the batch starts.
        base_offset: i64,
        /// How far its last record is.
        last_offset_delta: i32,
    },
    /// A producer sets the base offset to 0.
    #[error("base offset {base_offset} from a producer")]
    BaseOffsetNotZero {
        /// What it says.
        base_offset: i64,
    },
    /// A producer writes no control batches.
    #[error("a control batch from a producer")]
    ControlFromProducer,
    /// A batch with a producer has a sequence number and an epoch.
    #[error("producer {producer_id} without epoch or sequence ({producer_epoch}, {base_sequence})")]
    ProducerIncomplete {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i16,
        /// The sequence number of the first record.
        base_sequence: i32,
    },
    /// A transactional batch names its producer.
    #[error("a transactional batch without a producer")]
    TransactionWithoutProducer,
    /// A producer sends exactly one batch to a partition; this is none.
    #[error("no batch")]
    Empty,
    /// A producer sends exactly one batch to a partition; these are more.
    #[error("{left} bytes follow the batch")]
    MoreThanOneBatch {
        /// How many bytes follow the first one.
        left: usize,
    },
}

/// Checks what holds of every batch in a log: format, length, checksum, compression, counts, offsets. `bytes` may go on
/// after the batch.
pub fn check_batch(bytes: &mut Bytes) -> Result<BatchView, BatchError> {
    let batch = BatchView::split_from(bytes)?;
    batch.check_crc()?;
    check_header(batch.header())?;
    Ok(batch)
}

/// Checks what a producer sends to one partition: exactly one batch, all that `check_batch` checks, at base offset 0, no
/// control batch, a whole producer or none.
pub fn check_produced(mut bytes: Bytes) -> Result<BatchView, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    let batch = check_batch(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(BatchError::MoreThanOneBatch { left: bytes.len() });
    }
    let &BatchHeader { base_offset, producer_id, producer_epoch, base_sequence, .. } = batch.header();
    if base_offset != 0 {
        return Err(BatchError::BaseOffsetNotZero { base_offset });
    }
    if batch.header().is_control() {
        return Err(BatchError::ControlFromProducer);
    }
    if producer_id >= 0 && (producer_epoch < 0 || base_sequence < 0) {
        return Err(BatchError::ProducerIncomplete { producer_id, producer_epoch, base_sequence });
    }
    if batch.header().is_transactional() && producer_id < 0 {
        return Err(BatchError::TransactionWithoutProducer);
    }
    Ok(batch)
}

fn check_header(header: &BatchHeader) -> Result<(), BatchError> {
    header.compression()?;
    let &BatchHeader { base_offset, last_offset_delta, record_count: count, .. } = header;
    if count < 1 || last_offset_delta != count - 1 {
        return Err(BatchError::BadCount { count, last_offset_delta });
    }
    if base_offset < 0 || base_offset.checked_add(i64::from(count)).is_none() {
        return Err(BatchError::BadOffsets { base_offset, last_offset_delta });
    }
    Ok(())
}
