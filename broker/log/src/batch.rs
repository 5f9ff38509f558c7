//! The header of a record batch as it lies on disk: enough to find the next one and to know that this one is whole.
//!
//! Owns reading the 61 bytes, the checksum, and patching what the broker assigns. Never looks at the records behind
//! them.

use ottla_core::producer::Claim;
use ottla_core::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::journal::BATCH_HEADER_BYTES;

/// Length of the header.
pub(crate) const HEADER_BYTES: usize = BATCH_HEADER_BYTES;
/// Base offset and length: what stands before the bytes that `length` counts.
const PREFIX_BYTES: usize = 12;
/// Where the checksummed part begins.
const CRC_FROM: usize = 21;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 1 << 3;
const ATTRIBUTE_CONTROL: i16 = 1 << 5;

/// The fields of a header that the log uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Offset of the first record.
    pub(crate) base: Offset,
    /// Length of the whole batch, header included.
    pub(crate) bytes: u32,
    /// Epoch of the leader that appended it.
    pub(crate) epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub(crate) crc: u32,
    /// Compression, timestamp type, transactional, control.
    pub(crate) attributes: i16,
    /// Last offset minus base.
    pub(crate) last_delta: i32,
    /// Timestamp of the first record.
    pub(crate) base_timestamp: Timestamp,
    /// The largest timestamp.
    pub(crate) max_timestamp: Timestamp,
    /// Who produced it, if idempotent.
    pub(crate) producer: Option<Claim>,
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk::<N>().expect("fields lie inside the header")
}

impl Header {
    /// Reads a header; `None` if these bytes cannot be one. Says nothing about the checksum.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let length = u32::try_from(i32::from_be_bytes(array(bytes, 8))).ok()?;
        let total = length.checked_add(PREFIX_BYTES as u32)?;
        let base = i64::from_be_bytes(array(bytes, 0));
        let last_delta = i32::from_be_bytes(array(bytes, 23));
        let count = i32::from_be_bytes(array(bytes, 57));
        let sound = bytes[16] == 2 && (total as usize) >= HEADER_BYTES && base >= 0 && last_delta >= 0;
        if !sound || base.checked_add(i64::from(last_delta) + 1).is_none() {
            return None;
        }
        let producer = Claim::of_batch(
            ProducerId::new(i64::from_be_bytes(array(bytes, 43))),
            ProducerEpoch::new(i16::from_be_bytes(array(bytes, 51))),
            Sequence::new(i32::from_be_bytes(array(bytes, 53))),
            count,
        );
        Some(Self {
            base: Offset::new(base),
            bytes: total,
            epoch: LeaderEpoch::new(i32::from_be_bytes(array(bytes, 12))),
            crc: u32::from_be_bytes(array(bytes, 17)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_delta,
            base_timestamp: Timestamp::new(i64::from_be_bytes(array(bytes, 27))),
            max_timestamp: Timestamp::new(i64::from_be_bytes(array(bytes, 35))),
            producer: producer.filter(|claim| claim.first.get() >= 0),
        })
    }

    /// Offset of the last record.
    pub(crate) fn last(&self) -> Offset {
        self.base.plus(i64::from(self.last_delta))
    }

    /// Offset behind the last record.
    pub(crate) fn end(&self) -> Offset {
        self.base.plus(i64::from(self.last_delta) + 1)
    }

    /// Whether the broker's clock gave the timestamp.
    #[cfg(test)]
    pub(crate) fn log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// Whether it holds markers, not a client's records.
    pub(crate) fn control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Whether `batch`, which begins with this header, is whole and unchanged.
    pub(crate) fn check(&self, batch: &[u8]) -> bool {
        batch.len() == self.bytes as usize && crc_fast::crc32_iscsi(&batch[CRC_FROM..]) == self.crc
    }
}

/// Writes base offset and leader epoch into a header: neither is under the batch's checksum.
pub(crate) fn patch(header: &mut [u8; HEADER_BYTES], base: Offset, epoch: LeaderEpoch) {
    header[..8].copy_from_slice(&base.get().to_be_bytes());
    header[12..16].copy_from_slice(&epoch.get().to_be_bytes());
}

/// Sets LogAppendTime and its timestamp, and the checksum that this changes.
pub(crate) fn stamp(header: &mut [u8; HEADER_BYTES], body: &[u8], now: Timestamp) {
    let attributes = i16::from_be_bytes(array(header, 21)) | ATTRIBUTE_LOG_APPEND_TIME;
    header[21..23].copy_from_slice(&attributes.to_be_bytes());
    header[35..43].copy_from_slice(&now.get().to_be_bytes());
    let crc = crate::codec::crc_of(&[&header[CRC_FROM..], body]);
    header[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Batches for tests, made by hand.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A batch of `count` records that are `size` bytes of filling in all; its base offset and epoch are not set.
    pub(crate) fn batch(count: i32, size: usize, timestamp: i64) -> Vec<u8> {
        produced(count, size, timestamp, -1, -1, -1)
    }

    /// The same, by an idempotent producer.
    pub(crate) fn produced(count: i32, size: usize, timestamp: i64, id: i64, epoch: i16, sequence: i32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend((0..size).map(|n| (n as u64 * 7 + timestamp.cast_unsigned()) as u8));
        let length = i32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&id.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let crc = crc_fast::crc32_iscsi(&bytes[CRC_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The same, at an offset.
    pub(crate) fn placed(mut bytes: Vec<u8>, base: i64, epoch: i32) -> Vec<u8> {
        patch(bytes.first_chunk_mut().unwrap(), Offset::new(base), LeaderEpoch::new(epoch));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patching_keeps_the_checksum_and_stamping_renews_it() {
        let mut bytes = testing::batch(3, 50, 1000);
        patch(bytes.first_chunk_mut().unwrap(), Offset::new(77), LeaderEpoch::new(4));
        let header = Header::parse(&bytes).unwrap();
        assert!(header.check(&bytes));
        assert_eq!((header.base.get(), header.last().get(), header.epoch.get()), (77, 79, 4));
        let (head, body) = bytes.split_first_chunk_mut::<HEADER_BYTES>().unwrap();
        stamp(head, body, Timestamp::new(5000));
        let header = Header::parse(&bytes).unwrap();
        assert!(header.check(&bytes) && header.log_append_time());
        assert_eq!(header.max_timestamp.get(), 5000);
    }

    #[test]
    fn what_cannot_be_a_header_is_none() {
        assert_eq!(Header::parse(&[0; 60]), None);
        for (at, value) in [(16, 1), (8, 0xff), (0, 0xff), (23, 0xff)] {
            let mut bytes = testing::batch(1, 10, 0);
            bytes[at] = value;
            assert_eq!(Header::parse(&bytes), None, "byte {at}");
        }
    }
}
