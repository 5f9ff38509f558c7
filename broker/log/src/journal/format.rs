//! The journal's bytes: file header, group header, frame header. All numbers are little-endian.
//!
//! Owns the format and its version. Decoding trusts nothing: every length is compared with what is there, and nothing is
//! believed before its checksum. It performs no IO.
//!
//! A file is a row of 4 KiB blocks. Block 0 holds the file header; every group begins on a fresh block with its header,
//! followed by its frames without gaps, followed by zeros up to the next block. All checksums are CRC-32C; a frame's is
//! seeded with the file's generation, so that a frame of an earlier life of the file never matches.

use ottla_core::types::{LeaderEpoch, Lsn, Offset, PartitionIndex, TopicId, TopicPartition};

use super::frame::{Frame, Kind, Payload};
use crate::disk::BLOCK_BYTES;

/// The version that this build writes, and the newest it reads.
pub(super) const VERSION: u32 = 1;
/// The oldest version that this build reads.
pub(super) const VERSION_MIN: u32 = 1;

pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;
pub(super) const GROUP_HEADER_BYTES: usize = 64;
pub(super) const FRAME_HEADER_BYTES: usize = 64;

const FILE_MAGIC: &[u8; 8] = b"OTTLAJNL";
const GROUP_MAGIC: &[u8; 4] = b"OJG1";

/// CRC-32C of several pieces, as one.
pub(super) fn crc(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    // The algorithm's result has 32 bits.
    digest.finalize() as u32
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn lsn_at(bytes: &[u8], at: usize) -> Lsn {
    Lsn::new(u64_at(bytes, at))
}

/// The beginning of one life of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// Random; part of every checksum of this life.
    pub(super) generation: u64,
    /// Files began in this order.
    pub(super) sequence: u64,
    /// Its first frame.
    pub(super) first: Lsn,
    /// Every frame up to this one was synced before.
    pub(super) synced: Lsn,
    /// Frames below this one are no longer needed.
    pub(super) released: Lsn,
    /// Length of the file; 0 where it is not stated.
    pub(super) bytes: u64,
}

/// What the first block of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileStart {
    Header(FileHeader),
    /// Intact, but of this other version.
    OtherVersion(u32),
    /// Never written.
    Zeros,
    Bad,
}

impl FileHeader {
    pub(super) fn encode(&self, block: &mut [u8]) {
        block[..BLOCK_BYTES].fill(0);
        block[..8].copy_from_slice(FILE_MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.generation.to_le_bytes());
        block[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        block[32..40].copy_from_slice(&self.first.get().to_le_bytes());
        block[40..48].copy_from_slice(&self.synced.get().to_le_bytes());
        block[48..56].copy_from_slice(&self.released.get().to_le_bytes());
        block[56..64].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = crc(&[&block[..12], &block[16..BLOCK_BYTES]]);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
    }

    pub(super) fn decode(block: &[u8]) -> FileStart {
        let Some(block) = block.get(..BLOCK_BYTES) else { return FileStart::Bad };
        if block.iter().all(|&byte| byte == 0) {
            return FileStart::Zeros;
        }
        if &block[..8] != FILE_MAGIC || u32_at(block, 12) != crc(&[&block[..12], &block[16..]]) {
            return FileStart::Bad;
        }
        let version = u32_at(block, 8);
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return FileStart::OtherVersion(version);
        }
        FileStart::Header(Self {
            generation: u64_at(block, 16),
            sequence: u64_at(block, 24),
            first: lsn_at(block, 32),
            synced: lsn_at(block, 40),
            released: lsn_at(block, 48),
            bytes: u64_at(block, 56),
        })
    }
}

/// The beginning of a group: what one flush made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) generation: u64,
    pub(super) sequence: u64,
    /// Its first frame.
    pub(super) first: Lsn,
    /// Every frame up to this one was synced before this group was written.
    pub(super) synced: Lsn,
    /// Frames below this one are no longer needed.
    pub(super) released: Lsn,
    /// The block of the file on which it stands.
    pub(super) block: u32,
    /// How many frames it holds.
    pub(super) frames: u32,
    /// Its length with this header, without padding.
    pub(super) bytes: u32,
    /// How many frames the file holds before it: where the file began can be told from any group.
    pub(super) before: u32,
}

impl GroupHeader {
    pub(super) fn encode(&self) -> [u8; GROUP_HEADER_BYTES] {
        let mut bytes = [0; GROUP_HEADER_BYTES];
        bytes[..4].copy_from_slice(GROUP_MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.released.get().to_le_bytes());
        bytes[40..44].copy_from_slice(&self.block.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.frames.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[52..60].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.before.to_le_bytes());
        let crc = crc(&[&bytes[8..]]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the beginning of `bytes`; `None` if there is none or it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..GROUP_HEADER_BYTES)?;
        if &bytes[..4] != GROUP_MAGIC || u32_at(bytes, 4) != crc(&[&bytes[8..]]) {
            return None;
        }
        Some(Self {
            generation: u64_at(bytes, 8),
            first: lsn_at(bytes, 16),
            synced: lsn_at(bytes, 24),
            released: lsn_at(bytes, 32),
            block: u32_at(bytes, 40),
            frames: u32_at(bytes, 44),
            bytes: u32_at(bytes, 48),
            sequence: u64_at(bytes, 52),
            before: u32_at(bytes, 60),
        })
    }

    /// Whether these bytes look like the header of such a group, intact or not.
    pub(super) fn resembles(bytes: &[u8], generation: u64) -> bool {
        bytes.len() >= 16 && (&bytes[..4] == GROUP_MAGIC || u64_at(bytes, 8) == generation)
    }

    /// How many blocks it takes.
    pub(super) const fn blocks(&self) -> u64 {
        (self.bytes as u64).div_ceil(BLOCK)
    }
}

/// Length of a frame on disk.
pub(super) fn frame_bytes(frame: &Frame) -> usize {
    FRAME_HEADER_BYTES + frame.payload.len()
}

/// The header of a frame; its checksum covers the payload too.
pub(super) fn encode_frame(generation: u64, lsn: Lsn, frame: &Frame) -> [u8; FRAME_HEADER_BYTES] {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    // `submit` refuses payloads that are longer than a file may be.
    bytes[4..8].copy_from_slice(&(frame.payload.len() as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&lsn.get().to_le_bytes());
    bytes[16] = frame.kind as u8;
    bytes[20..24].copy_from_slice(&frame.partition.partition.get().to_le_bytes());
    bytes[24..40].copy_from_slice(&frame.partition.topic.to_bytes());
    bytes[40..48].copy_from_slice(&frame.base.get().to_le_bytes());
    bytes[48..56].copy_from_slice(&frame.end.get().to_le_bytes());
    bytes[56..60].copy_from_slice(&frame.epoch.get().to_le_bytes());
    let crc = crc(&[&generation.to_le_bytes(), &bytes[4..], frame.payload.head(), frame.payload.tail()]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Number and whole length of the frame at the beginning of `bytes`, as it claims.
pub(super) fn peek_frame(bytes: &[u8]) -> Option<(Lsn, usize)> {
    let header = bytes.get(..FRAME_HEADER_BYTES)?;
    let whole = FRAME_HEADER_BYTES.checked_add(usize::try_from(u32_at(header, 4)).ok()?)?;
    (whole <= bytes.len()).then(|| (lsn_at(header, 8), whole))
}

/// The frame at the beginning of `bytes`, if it is intact and of this generation, with its number and length. The
/// payload shares the memory of `bytes`.
pub(super) fn decode_frame(generation: u64, bytes: &bytes::Bytes) -> Option<(Lsn, Frame, usize)> {
    let (lsn, whole) = peek_frame(bytes)?;
    if u32_at(bytes, 0) != crc(&[&generation.to_le_bytes(), &bytes[4..whole]]) {
        return None;
    }
    let mut topic = [0; 16];
    topic.copy_from_slice(&bytes[24..40]);
    let partition = PartitionIndex::new(u32_at(bytes, 20).cast_signed());
    let frame = Frame {
        kind: Kind::from_disk(bytes[16])?,
        partition: TopicPartition::new(TopicId::from_bytes(topic), partition),
        base: Offset::new(u64_at(bytes, 40).cast_signed()),
        end: Offset::new(u64_at(bytes, 48).cast_signed()),
        epoch: LeaderEpoch::new(u32_at(bytes, 56).cast_signed()),
        payload: Payload::whole(bytes.slice(FRAME_HEADER_BYTES..whole)),
    };
    Some((lsn, frame, whole))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Frame {
        let partition = TopicPartition::new(TopicId::from_bytes(*b"0123456789abcdef"), PartitionIndex::new(-3));
        Frame {
            kind: Kind::from_disk(kind).unwrap(),
            partition,
            base: Offset::new(-1),
            end: Offset::new(i64::MAX),
            epoch: LeaderEpoch::new(7),
            payload: Payload::whole(Bytes::copy_from_slice(payload)),
        }
    }

    fn encoded(generation: u64, lsn: Lsn, frame: &Frame) -> Vec<u8> {
        let mut bytes = encode_frame(generation, lsn, frame).to_vec();
        bytes.extend_from_slice(frame.payload.head());
        bytes.extend_from_slice(frame.payload.tail());
        bytes
    }

    proptest! {
        #[test]
        fn frames_read_back(generation: u64, lsn: u64, kind in 1_u8..=7, payload: Vec<u8>, behind: Vec<u8>) {
            let (lsn, frame) = (Lsn::new(lsn), frame(kind, &payload));
            let mut bytes = encoded(generation, lsn, &frame);
            let whole = bytes.len();
            bytes.extend_from_slice(&behind);
            let bytes = Bytes::from(bytes);
            prop_assert_eq!(decode_frame(generation, &bytes), Some((lsn, frame, whole)));
            prop_assert_eq!(decode_frame(generation ^ 1, &bytes), None);
            prop_assert_eq!(decode_frame(generation, &bytes.slice(..whole - 1)), None);
        }

        #[test]
        fn one_flipped_bit_is_noticed(payload: Vec<u8>, at: prop::sample::Index, bit in 0_u32..8) {
            let mut bytes = encoded(5, Lsn::new(9), &frame(1, &payload));
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(decode_frame(5, &Bytes::from(bytes)), None);
        }

        #[test]
        fn any_bytes_decode_to_something_or_nothing(bytes: Vec<u8>) {
            GroupHeader::decode(&bytes);
            FileHeader::decode(&bytes);
            GroupHeader::resembles(&bytes, 0);
            decode_frame(0, &Bytes::from(bytes));
        }
    }

    #[test]
    fn a_split_payload_has_the_checksum_of_the_whole() {
        let tail = Bytes::from_static(b"records");
        let split = Frame { payload: Payload::batch([3; 61], tail), ..frame(1, &[]) };
        let whole = Frame { payload: Payload::whole(split.payload.to_bytes()), ..frame(1, &[]) };
        assert_eq!(encoded(1, Lsn::new(2), &split), encoded(1, Lsn::new(2), &whole));
    }

    #[test]
    fn headers_read_back_and_notice_every_flipped_bit() {
        let header = FileHeader {
            generation: u64::MAX - 1,
            sequence: 2,
            first: Lsn::new(3),
            synced: Lsn::new(4),
            released: Lsn::new(5),
            bytes: 6,
        };
        let mut block = vec![0xaa; BLOCK_BYTES];
        header.encode(&mut block);
        assert_eq!(FileHeader::decode(&block), FileStart::Header(header));
        assert_eq!(FileHeader::decode(&[0; BLOCK_BYTES]), FileStart::Zeros);
        assert_eq!(FileHeader::decode(&block[1..]), FileStart::Bad);
        let group = GroupHeader {
            generation: 1 << 63,
            sequence: 9,
            first: Lsn::new(3),
            synced: Lsn::new(2),
            released: Lsn::new(1),
            block: 17,
            frames: 3,
            bytes: 4097,
            before: 5,
        };
        let bytes = group.encode();
        assert_eq!(GroupHeader::decode(&bytes), Some(group));
        assert_eq!(group.blocks(), 2);
        for bit in 0..GROUP_HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::decode(&flipped), None, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&block), FileStart::Bad, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut block = vec![0; BLOCK_BYTES];
        let zero = Lsn::new(0);
        FileHeader { generation: 1, sequence: 1, first: zero, synced: zero, released: zero, bytes: 0 }
            .encode(&mut block);
        block[8] = 2;
        assert_eq!(FileHeader::decode(&block), FileStart::Bad);
        let crc = crc(&[&block[..12], &block[16..]]);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&block), FileStart::OtherVersion(2));
    }
}
