//! The `.sum` sidecar of a segment: a CRC-32C of every 64 KiB, so that damage is found by where it lies.
//!
//! Owns the sidecar's format and the running sum of the segment that is being written. Each sum is seeded with topic id,
//! partition, base offset and chunk number, so that bytes of another place never pass. A sidecar is written only after
//! the bytes it covers were flushed: what it says is what the disk was asked to keep (not a hint, S5).

use crc_fast::{CrcAlgorithm, Digest};
use ottla_core::types::{Offset, TopicPartition};

use crate::codec::{Body, Fields, crc_of, low32};

/// How many bytes of the segment one sum covers; the last one covers what there is.
pub const CHUNK_BYTES: u32 = 64 * 1024;
/// What a sidecar begins with: magic, version, identity, checksum.
pub const HEAD_BYTES: u64 = 64;
/// One entry: covered length and sum.
pub const ENTRY_BYTES: u64 = 8;

const MAGIC: [u8; 8] = *b"OTTLASUM";
const VERSION: u32 = 1;
const CRC: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;

/// Whose bytes are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumId {
    /// The partition.
    pub partition: TopicPartition,
    /// The base offset of its segment.
    pub base: Offset,
}

/// The sum of the first `length` bytes of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSum {
    /// How many bytes it covers.
    pub length: u32,
    /// CRC-32C of the seed and those bytes.
    pub sum: u32,
}

impl SumId {
    /// The beginning of the sidecar.
    pub fn head(&self) -> [u8; HEAD_BYTES as usize] {
        let mut body = Body::default();
        body.raw(&MAGIC).u32(VERSION).partition(self.partition).offset(self.base);
        let mut head = [0; HEAD_BYTES as usize];
        head[..body.0.len()].copy_from_slice(&body.0);
        let sum = crc_of(&[&head[..HEAD_BYTES as usize - 4]]);
        head[HEAD_BYTES as usize - 4..].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// Whether `head` is the beginning of this sidecar.
    pub fn check_head(&self, head: &[u8]) -> bool {
        head == self.head()
    }

    /// Whether `bytes`, the beginning of chunk `chunk`, are what `expected` was made of. `bytes` must be at least as
    /// long as it covers.
    pub fn check(&self, chunk: u32, bytes: &[u8], expected: ChunkSum) -> bool {
        bytes.get(..expected.length as usize).is_some_and(|covered| {
            let mut digest = self.start(chunk);
            digest.update(covered);
            low32(digest.finalize()) == expected.sum
        })
    }

    fn start(&self, chunk: u32) -> Digest {
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(&self.partition.topic.to_bytes());
        seed[16..20].copy_from_slice(&self.partition.partition.get().to_le_bytes());
        seed[20..28].copy_from_slice(&self.base.get().to_le_bytes());
        seed[28..].copy_from_slice(&chunk.to_le_bytes());
        let mut digest = Digest::new(CRC);
        digest.update(&seed);
        digest
    }
}

/// Where the entry of a chunk lies in the sidecar.
pub fn entry_position(chunk: u32) -> u64 {
    HEAD_BYTES + u64::from(chunk) * ENTRY_BYTES
}

/// The entries in `bytes`, a piece of a sidecar that begins on an entry. A torn last one is left out.
pub fn decode_entries(bytes: &[u8]) -> Vec<ChunkSum> {
    let mut fields = Fields::new(bytes);
    let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES as usize);
    while let (Ok(length), Ok(sum)) = (fields.u32(), fields.u32()) {
        entries.push(ChunkSum { length, sum });
    }
    entries
}

/// The sum of a segment that grows. Remembers only what the sidecar has not got yet.
#[derive(Clone, Copy, Debug)]
struct Partial {
    /// State of the digest over seed and bytes.
    state: u64,
    length: u32,
}

/// The running sums of one segment, from the last entry that its sidecar has got.
#[derive(Clone, Debug)]
pub struct RunningSum {
    id: SumId,
    /// Number of the first chunk in `complete`.
    first: u32,
    complete: Vec<u32>,
    partial: Partial,
}

impl RunningSum {
    /// The sums of a segment of which `written` bytes are there; `partial` are those behind the last whole chunk.
    pub fn resume(id: SumId, written: u32, partial: &[u8]) -> Self {
        let first = written / CHUNK_BYTES;
        let mut sum = Self { id, first, complete: Vec::new(), partial: Self::begin(id, first) };
        sum.update(partial);
        sum
    }

    /// Continues with the next bytes of the segment.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (CHUNK_BYTES - self.partial.length) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let mut digest = Digest::new_with_init_state(CRC, self.partial.state);
            digest.update(now);
            self.partial.state = digest.get_state();
            self.partial.length += u32::try_from(now.len()).expect("at most a chunk");
            if self.partial.length == CHUNK_BYTES {
                self.complete.push(low32(digest.finalize()));
                self.partial = Self::begin(self.id, self.next_chunk());
            }
            bytes = later;
        }
    }

    /// What the sidecar lacks: the position and the bytes of its next entries, the unfinished chunk included.
    pub fn pending(&self) -> (u64, Vec<u8>) {
        let mut body = Body::default();
        for &sum in &self.complete {
            body.u32(CHUNK_BYTES).u32(sum);
        }
        if self.partial.length > 0 {
            let digest = Digest::new_with_init_state(CRC, self.partial.state);
            body.u32(self.partial.length).u32(low32(digest.finalize()));
        }
        (entry_position(self.first), body.0)
    }

    /// Forgets whole chunks below `chunk`: the sidecar has them.
    pub fn forget_before(&mut self, chunk: u32) {
        let known = chunk.saturating_sub(self.first).min(u32::try_from(self.complete.len()).unwrap_or(u32::MAX));
        self.complete.drain(..known as usize);
        self.first += known;
    }

    /// The number of the chunk that is being filled.
    pub fn next_chunk(&self) -> u32 {
        self.first + u32::try_from(self.complete.len()).expect("a segment has fewer than 2^32 chunks")
    }

    fn begin(id: SumId, chunk: u32) -> Partial {
        Partial { state: id.start(chunk).get_state(), length: 0 }
    }
}

#[cfg(test)]
mod tests {
    use ottla_core::types::{PartitionIndex, TopicId};

    use super::*;

    fn id(base: i64) -> SumId {
        let partition = TopicPartition::new(TopicId::from_bytes([7; 16]), PartitionIndex::new(3));
        SumId { partition, base: Offset::new(base) }
    }

    #[test]
    fn sums_are_the_same_however_the_bytes_arrive() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        let mut whole = RunningSum::resume(id(5), 0, &[]);
        whole.update(&bytes);
        let mut pieces = RunningSum::resume(id(5), 0, &[]);
        for piece in bytes.chunks(977) {
            pieces.update(piece);
        }
        assert_eq!(whole.pending(), pieces.pending());
        let entries = decode_entries(&whole.pending().1);
        assert_eq!(entries.iter().map(|e| e.length).collect::<Vec<_>>(), [65536, 65536, 65536, 3392]);
        for (chunk, (content, entry)) in bytes.chunks(CHUNK_BYTES as usize).zip(&entries).enumerate() {
            let chunk = u32::try_from(chunk).unwrap();
            assert!(id(5).check(chunk, content, *entry));
            assert!(!id(6).check(chunk, content, *entry), "bytes of another segment pass");
            assert!(!id(5).check(chunk + 1, content, *entry), "bytes of another chunk pass");
        }
    }

    #[test]
    fn a_resumed_sum_goes_on_where_the_first_stopped() {
        let bytes: Vec<u8> = (0..150_000_u32).map(|n| (n % 255) as u8).collect();
        let mut first = RunningSum::resume(id(0), 0, &[]);
        first.update(&bytes[..100_000]);
        let mut resumed = RunningSum::resume(id(0), 100_000, &bytes[65_536..100_000]);
        first.forget_before(first.next_chunk());
        first.update(&bytes[100_000..]);
        resumed.update(&bytes[100_000..]);
        assert_eq!(first.pending(), resumed.pending());
        assert_eq!(first.pending().0, entry_position(1));
    }

    #[test]
    fn a_head_belongs_to_one_segment() {
        assert!(id(1).check_head(&id(1).head()));
        assert!(!id(1).check_head(&id(2).head()));
    }
}
