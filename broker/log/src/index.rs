//! Kafka's `.index` and `.timeindex`: where in a segment to begin looking.
//!
//! Owns their entry formats and the binary search over a file. Both are hints (S5): an entry is only a place to begin,
//! and whoever uses it checks that the batch there is the one that the entry names; if not, the index is rebuilt from
//! the segment.

use ottla_core::types::{Offset, Timestamp};

use crate::disk::{DiskError, DiskFile};

/// One entry of either index.
pub trait Entry: Copy {
    /// Its length in the file.
    const BYTES: u64;
    /// Its bytes.
    fn encode(&self, base: Offset, out: &mut Vec<u8>);
    /// What `bytes`, exactly [`Entry::BYTES`] of them, say.
    fn decode(base: Offset, bytes: &[u8]) -> Self;
    /// The offset that it is about.
    fn offset(&self) -> Offset;
}

/// The batch whose last record has `offset` begins at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Offset of the last record of a batch.
    pub offset: Offset,
    /// Where that batch begins.
    pub position: u32,
}

/// Up to `offset`, the last record of a batch, no timestamp is larger than `timestamp`, which that batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// The largest timestamp so far.
    pub timestamp: Timestamp,
    /// Offset of the last record of the batch that has it.
    pub offset: Offset,
}

fn relative(base: Offset, offset: Offset) -> [u8; 4] {
    // A segment is rolled before its offsets leave 31 bits.
    i32::try_from(offset.get() - base.get()).unwrap_or(i32::MAX).to_be_bytes()
}

fn absolute(base: Offset, bytes: &[u8]) -> Offset {
    base.plus(i64::from(be32(bytes).cast_signed()))
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl Entry for OffsetEntry {
    const BYTES: u64 = 8;

    fn encode(&self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&relative(base, self.offset));
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(base: Offset, bytes: &[u8]) -> Self {
        Self { offset: absolute(base, bytes), position: be32(&bytes[4..]) }
    }

    fn offset(&self) -> Offset {
        self.offset
    }
}

impl Entry for TimeEntry {
    const BYTES: u64 = 12;

    fn encode(&self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.get().to_be_bytes());
        out.extend_from_slice(&relative(base, self.offset));
    }

    fn decode(base: Offset, bytes: &[u8]) -> Self {
        let timestamp = bytes.first_chunk::<8>().map_or(-1, |bytes| i64::from_be_bytes(*bytes));
        Self { timestamp: Timestamp::new(timestamp), offset: absolute(base, &bytes[8..]) }
    }

    fn offset(&self) -> Offset {
        self.offset
    }
}

/// The last of the first `count` entries for which `before` holds, by binary search; entries of a damaged index may
/// give any answer, but never more reads than a sound one.
///
/// # Errors
/// What the disk said; `Short` if the file has fewer entries.
pub fn search<E: Entry>(
    file: &dyn DiskFile,
    base: Offset,
    count: u32,
    before: impl Fn(&E) -> bool,
) -> Result<Option<E>, DiskError> {
    self::count(file, base, count, before).map(|(_, last)| last)
}

/// The same, and how many entries there are up to it.
///
/// # Errors
/// As [`search`].
pub fn count<E: Entry>(
    file: &dyn DiskFile,
    base: Offset,
    count: u32,
    before: impl Fn(&E) -> bool,
) -> Result<(u32, Option<E>), DiskError> {
    /// What is read at once when the range has become small.
    const WINDOW_ENTRIES: u32 = 256;
    let (mut low, mut high) = (0, count);
    let mut found = None;
    let mut buffer = vec![0; (E::BYTES * u64::from(WINDOW_ENTRIES)) as usize];
    while high - low > WINDOW_ENTRIES {
        let middle = low + (high - low) / 2;
        let bytes = &mut buffer[..E::BYTES as usize];
        file.read_exact_at(u64::from(middle) * E::BYTES, bytes)?;
        let entry = E::decode(base, bytes);
        if before(&entry) {
            found = Some(entry);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let bytes = &mut buffer[..(E::BYTES * u64::from(high - low)) as usize];
    file.read_exact_at(u64::from(low) * E::BYTES, bytes)?;
    let entries: Vec<E> = bytes.chunks_exact(E::BYTES as usize).map(|bytes| E::decode(base, bytes)).collect();
    let inside = entries.partition_point(&before);
    let last = inside.checked_sub(1).map(|last| entries[last]).or(found);
    Ok((low + u32::try_from(inside).unwrap_or(u32::MAX), last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kafkas() {
        let base = Offset::new(1000);
        let mut bytes = Vec::new();
        OffsetEntry { offset: Offset::new(1005), position: 4242 }.encode(base, &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 5, 0, 0, 0x10, 0x92]);
        assert_eq!(OffsetEntry::decode(base, &bytes), OffsetEntry { offset: Offset::new(1005), position: 4242 });
        bytes.clear();
        let entry = TimeEntry { timestamp: Timestamp::new(0x0102_0304_0506_0708), offset: Offset::new(1001) };
        entry.encode(base, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1]);
        assert_eq!(TimeEntry::decode(base, &bytes), entry);
    }
}
