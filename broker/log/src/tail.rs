//! The recent batches of one partition, in memory.
//!
//! Owns the ring of batches from the oldest cached one to the log end. Batches that are not in the segment yet are always
//! here; older ones stay while the budget of all partitions lasts, and leave oldest first. Never copies a batch: readers
//! share its memory.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ottla_core::types::{Offset, Timestamp};

use crate::journal::Payload;

/// One batch as it was appended.
#[derive(Clone, Debug)]
pub(crate) struct TailBatch {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) max_timestamp: Timestamp,
    /// When it was appended, by the broker's clock.
    pub(crate) appended: Timestamp,
    /// Where it begins in its segment.
    pub(crate) position: u32,
    /// The bytes, header patched.
    pub(crate) payload: Payload,
}

impl TailBatch {
    /// What it costs in memory.
    pub(crate) fn cost(&self) -> usize {
        self.payload.len() + size_of::<Self>()
    }
}

/// Batches shorter than this are copied into one piece for a reader: two pieces would cost more than the copy.
const COPIED_BYTES_MAX: usize = 8 * 1024;

/// The ring. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
}

/// What a read of the ring came by.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) bytes: usize,
    pub(crate) next: Option<Offset>,
}

impl Tail {
    /// The first offset that is here.
    pub(crate) fn start(&self) -> Option<Offset> {
        self.batches.front().map(|batch| batch.base)
    }

    pub(crate) fn push(&mut self, batch: TailBatch) {
        self.batches.push_back(batch);
    }

    /// Batches that begin at or past `from` and end at or below `upto`.
    pub(crate) fn range(&self, from: Offset, upto: Offset) -> impl Iterator<Item = &TailBatch> {
        let first = self.batches.partition_point(|batch| batch.base < from);
        self.batches.range(first..).take_while(move |batch| batch.end <= upto)
    }

    /// The batch that holds `offset`, and those behind it.
    pub(crate) fn from(&self, offset: Offset) -> impl Iterator<Item = &TailBatch> {
        let first = self.batches.partition_point(|batch| batch.end <= offset);
        self.batches.range(first..)
    }

    /// Removes the oldest batch if it lies below `written`; returns what that frees.
    pub(crate) fn evict(&mut self, written: Offset) -> usize {
        if self.batches.front().is_none_or(|batch| batch.end > written) {
            return 0;
        }
        let freed = self.batches.pop_front().map_or(0, |batch| batch.cost());
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        } else if self.batches.capacity() > 4 * self.batches.len() + 16 {
            self.batches.shrink_to(2 * self.batches.len());
        }
        freed
    }

    /// Removes the batches that end past `end`; they come back newest first.
    pub(crate) fn cut(&mut self, end: Offset) -> Vec<TailBatch> {
        let mut cut = Vec::new();
        while let Some(batch) = self.batches.pop_back_if(|batch| batch.end > end) {
            cut.push(batch);
        }
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        }
        cut
    }

    /// The newest batch.
    pub(crate) fn last(&self) -> Option<&TailBatch> {
        self.batches.back()
    }

    /// Removes everything; returns what that frees.
    pub(crate) fn clear(&mut self) -> usize {
        let freed = self.batches.iter().map(TailBatch::cost).sum();
        self.batches = VecDeque::new();
        freed
    }

    /// Whole batches from the one that holds `from`, all below `upto`, up to `bytes_max`; the first one comes whatever
    /// its length if `at_least_one`. Contiguous batches only.
    pub(crate) fn read(&self, from: Offset, upto: Offset, bytes_max: usize, at_least_one: bool) -> Taken {
        let mut taken = Taken::default();
        let mut small = BytesMut::new();
        let mut expected = None;
        for batch in self.from(from) {
            let fits = taken.bytes + batch.payload.len() <= bytes_max || (at_least_one && taken.next.is_none());
            let gap = expected.map_or(batch.base > from, |end| end != batch.base);
            if batch.end > upto || !fits || gap {
                break;
            }
            if batch.payload.len() < COPIED_BYTES_MAX {
                small.extend_from_slice(batch.payload.head());
                small.extend_from_slice(batch.payload.tail());
            } else {
                if !small.is_empty() {
                    taken.chunks.push(small.split().freeze());
                }
                if !batch.payload.head().is_empty() {
                    taken.chunks.push(Bytes::copy_from_slice(batch.payload.head()));
                }
                taken.chunks.push(batch.payload.tail().clone());
            }
            taken.bytes += batch.payload.len();
            taken.next = Some(batch.end);
            expected = Some(batch.end);
        }
        if !small.is_empty() {
            taken.chunks.push(small.freeze());
        }
        taken
    }
}
