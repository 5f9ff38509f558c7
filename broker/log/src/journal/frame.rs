//! Frames: what the journal keeps, as its callers see it.
//!
//! Owns the kinds and the shape of a frame in memory. It must never look into the bytes of a frame.

use std::fmt;

use bytes::Bytes;
use ottla_core::types::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

/// Length of a record batch's header in Kafka's format (magic 2), the part that an append patches.
pub const BATCH_HEADER_BYTES: usize = 61;

/// What a frame says. The numbers are the disk's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One record batch: `base..end` of the partition, in `epoch`; the payload is the batch.
    Append = 1,
    /// The partition exists from here on; the payload is the caller's (name, configuration).
    Create = 2,
    /// The partition is gone, with everything before this frame.
    Delete = 3,
    /// The partition's log was cut: offsets from `end` on are gone. With a `base` that is not `end`, nothing is left and
    /// the log begins again at `base`; the payload is what its producers did below.
    Truncate = 4,
    /// The partition's log start moved to `base`.
    LogStart = 5,
    /// The partition's segments are durable up to `end` (excluded).
    FlushedEnd = 6,
    /// The journal's own: nothing more was to be written, or `released` had to be stated. Never replayed.
    Close = 7,
}

impl Kind {
    /// The kind with this number on disk.
    pub(super) const fn from_disk(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Append),
            2 => Some(Self::Create),
            3 => Some(Self::Delete),
            4 => Some(Self::Truncate),
            5 => Some(Self::LogStart),
            6 => Some(Self::FlushedEnd),
            7 => Some(Self::Close),
            _ => None,
        }
    }
}

/// The bytes of a frame: a short head of its own (the patched batch header) and a shared tail.
///
/// Nothing is copied until the journal's aligned buffer; the segment writer takes the same memory.
#[derive(Clone)]
pub struct Payload {
    head: [u8; BATCH_HEADER_BYTES],
    head_bytes: u8,
    tail: Bytes,
}

impl Payload {
    /// No bytes.
    pub const EMPTY: Self = Self { head: [0; BATCH_HEADER_BYTES], head_bytes: 0, tail: Bytes::new() };

    /// A batch: its patched header and everything behind the header.
    pub const fn batch(head: [u8; BATCH_HEADER_BYTES], tail: Bytes) -> Self {
        Self { head, head_bytes: BATCH_HEADER_BYTES as u8, tail }
    }

    /// Bytes in one piece.
    pub const fn whole(tail: Bytes) -> Self {
        Self { head: [0; BATCH_HEADER_BYTES], head_bytes: 0, tail }
    }

    /// The first part, possibly empty.
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_bytes)]
    }

    /// The second part, possibly empty.
    pub const fn tail(&self) -> &Bytes {
        &self.tail
    }

    /// Length of both parts.
    pub fn len(&self) -> usize {
        usize::from(self.head_bytes) + self.tail.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both parts in one piece; copies unless the first is empty.
    pub fn to_bytes(&self) -> Bytes {
        if self.head_bytes == 0 {
            return self.tail.clone();
        }
        let mut whole = Vec::with_capacity(self.len());
        whole.extend_from_slice(self.head());
        whole.extend_from_slice(&self.tail);
        Bytes::from(whole)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.head().iter().chain(&self.tail[..]).eq(other.head().iter().chain(&other.tail[..]))
    }
}

/// One entry of the journal. What `base`, `end` and `epoch` mean depends on the kind; unused ones are kept as given.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// What it says.
    pub kind: Kind,
    /// About which partition.
    pub partition: TopicPartition,
    /// First offset it concerns.
    pub base: Offset,
    /// Offset behind the last it concerns.
    pub end: Offset,
    /// Leader epoch of the batch, or of the partition.
    pub epoch: LeaderEpoch,
    /// Its bytes.
    pub payload: Payload,
}

impl Frame {
    /// A record batch that holds the offsets `base..end`.
    pub const fn append(
        partition: TopicPartition,
        base: Offset,
        end: Offset,
        epoch: LeaderEpoch,
        head: [u8; BATCH_HEADER_BYTES],
        tail: Bytes,
    ) -> Self {
        Self { kind: Kind::Append, partition, base, end, epoch, payload: Payload::batch(head, tail) }
    }

    /// A partition that begins at `start`; `description` is the caller's.
    pub const fn create(partition: TopicPartition, start: Offset, epoch: LeaderEpoch, description: Bytes) -> Self {
        Self { kind: Kind::Create, partition, base: start, end: start, epoch, payload: Payload::whole(description) }
    }

    /// A partition that is gone.
    pub const fn delete(partition: TopicPartition) -> Self {
        Self::plain(Kind::Delete, partition, Offset::new(0), Offset::new(0))
    }

    /// A log that was cut to `end`.
    pub const fn truncate(partition: TopicPartition, end: Offset, epoch: LeaderEpoch) -> Self {
        Self { kind: Kind::Truncate, partition, base: end, end, epoch, payload: Payload::EMPTY }
    }

    /// A log of which nothing is left, and that begins again at `start`; `producers` is the caller's.
    pub const fn start_over(partition: TopicPartition, start: Offset, epoch: LeaderEpoch, producers: Bytes) -> Self {
        let end = Offset::new(0);
        Self { kind: Kind::Truncate, partition, base: start, end, epoch, payload: Payload::whole(producers) }
    }

    /// A log whose start moved to `start`.
    pub const fn log_start(partition: TopicPartition, start: Offset) -> Self {
        Self::plain(Kind::LogStart, partition, start, start)
    }

    /// Segments that are durable up to `end`.
    pub const fn flushed_end(partition: TopicPartition, end: Offset) -> Self {
        Self::plain(Kind::FlushedEnd, partition, end, end)
    }

    /// The journal's own closing frame.
    pub(super) const fn close() -> Self {
        let nobody = TopicPartition::new(TopicId::ZERO, PartitionIndex::new(0));
        Self::plain(Kind::Close, nobody, Offset::new(0), Offset::new(0))
    }

    const fn plain(kind: Kind, partition: TopicPartition, base: Offset, end: Offset) -> Self {
        Self { kind, partition, base, end, epoch: LeaderEpoch::NONE, payload: Payload::EMPTY }
    }
}
