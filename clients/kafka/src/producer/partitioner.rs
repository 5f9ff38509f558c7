//! Which partition a record goes to: by key as Java's clients do, without a key by chance, in batches.
//!
//! Owns murmur2 with Kafka's seed; records of one key meet in one partition whatever client wrote them. Pure: chance is
//! an argument.

use ottla_core::types::PartitionIndex;

/// Java's choice for `key` among `partitions`.
pub(super) fn by_key(key: &[u8], partitions: usize) -> PartitionIndex {
    index((murmur2(key) & 0x7fff_ffff) as usize % partitions.max(1))
}

/// Keeps records without a key together until a batch is full (KIP-794).
#[derive(Debug, Default)]
pub(super) struct Sticky {
    at: Option<usize>,
    bytes: usize,
}

impl Sticky {
    pub(super) fn choose(&mut self, partitions: usize, bytes: usize, batch: usize, chance: u32) -> PartitionIndex {
        let partitions = partitions.max(1);
        let stay = self.at.filter(|&at| at < partitions && self.bytes < batch);
        let at = stay.unwrap_or_else(|| {
            self.bytes = 0;
            // Any partition but the last one, if there is another.
            match self.at {
                Some(last) if partitions > 1 && last < partitions => {
                    (last + 1 + chance as usize % (partitions - 1)) % partitions
                }
                Some(_) | None => chance as usize % partitions,
            }
        });
        self.at = Some(at);
        self.bytes += bytes;
        index(at)
    }
}

fn index(at: usize) -> PartitionIndex {
    PartitionIndex::new(i32::try_from(at).unwrap_or(i32::MAX))
}

/// MurmurHash2 as Kafka has it.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // From Kafka's own UtilsTest.
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key) as i32, expected, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn records_without_a_key_stay_together_until_a_batch_is_full() {
        let mut sticky = Sticky::default();
        let mut choose = |chance| sticky.choose(4, 40, 100, chance).get();
        assert_eq!([choose(2), choose(0), choose(1)], [2, 2, 2]);
        assert_eq!([choose(0), choose(7), choose(7)], [3, 3, 3]);
        let mut one = Sticky::default();
        assert_eq!((0..9).map(|chance| one.choose(1, 90, 100, chance).get()).max(), Some(0));
    }
}
