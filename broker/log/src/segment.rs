//! One segment of a partition: a run of batches in a file of its own.
//!
//! Owns what is known of a segment without opening it ([`Segment`]), the names of its files, and through its modules
//! reading ([`read`]), scanning ([`scan`]) and writing ([`write`]) them. Never decides which offset a batch gets.
//!
//! Invariants: `flushed` ≤ `written` in every field; bytes below `flushed` are durable and summed (S1); only bytes below
//! `written` are read from the file.

use ottla_core::types::{Offset, PartitionIndex, Timestamp};

pub(crate) mod read;
pub(crate) mod scan;
pub(crate) mod write;

/// How far a segment's files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset behind the last batch.
    pub end: Offset,
    /// Length of the `.log`.
    pub bytes: u32,
    /// Entries of the `.index`.
    pub index_entries: u32,
    /// Entries of the `.timeindex`.
    pub time_entries: u32,
    /// The largest timestamp; −1 without any.
    pub max_timestamp: Timestamp,
    /// Last offset of the batch that has it.
    pub max_timestamp_offset: Offset,
}

/// What is known of a segment without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset of its first batch, and its files' name.
    pub base: Offset,
    /// Largest timestamp of its first batch: `segment.ms` counts from it. −1 while it is empty.
    pub first_timestamp: Timestamp,
    /// When it was last appended to, by the broker's clock.
    pub last_append: Timestamp,
    /// What is in its files.
    pub written: Extent,
    /// What of it is durable and summed.
    pub flushed: Extent,
}

impl Segment {
    /// A segment without files that begins at `base`.
    pub const fn empty(base: Offset) -> Self {
        let nothing = Extent {
            end: base,
            bytes: 0,
            index_entries: 0,
            time_entries: 0,
            max_timestamp: Timestamp::NONE,
            max_timestamp_offset: base,
        };
        Self {
            base,
            first_timestamp: Timestamp::NONE,
            last_append: Timestamp::NONE,
            written: nothing,
            flushed: nothing,
        }
    }

    /// What retention by time goes by: the records' timestamps, or when they came.
    pub fn newest(&self) -> Timestamp {
        if self.written.max_timestamp.get() >= 0 { self.written.max_timestamp } else { self.last_append }
    }
}

/// The files of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The batches.
    Log,
    /// Offsets to positions.
    Index,
    /// Timestamps to offsets.
    TimeIndex,
    /// The sums.
    Sum,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Log, Self::Index, Self::TimeIndex, Self::Sum];

    /// What ends the file's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::Sum => ".sum",
        }
    }
}

/// Kafka's folder of a partition.
pub fn folder(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// Kafka's name of a segment's file, inside its folder.
pub fn file_name(base: Offset, kind: Kind) -> String {
    format!("{:020}{}", base.get(), kind.suffix())
}

/// The base offset in the name of a segment's `.log`.
pub fn parse_log_name(name: &str) -> Option<Offset> {
    parse_name(name).filter(|(_, kind)| *kind == Kind::Log).map(|(base, _)| base)
}

/// What the name of a segment's file says.
pub fn parse_name(name: &str) -> Option<(Offset, Kind)> {
    let kind = Kind::ALL.into_iter().find(|kind| name.ends_with(kind.suffix()))?;
    let digits = name.strip_suffix(kind.suffix())?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(|base| (Offset::new(base), kind)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(folder("orders", PartitionIndex::new(3)), "orders-3");
        assert_eq!(file_name(Offset::new(42), Kind::TimeIndex), "00000000000000000042.timeindex");
        assert_eq!(parse_log_name("00000000000000000042.log"), Some(Offset::new(42)));
        for wrong in ["42.log", "00000000000000000042.index", "-0000000000000000042.log", "99999999999999999999.log"] {
            assert_eq!(parse_log_name(wrong), None, "{wrong}");
        }
    }
}
