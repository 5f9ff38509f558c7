//! Reading records: partitions by hand or as a member of a group.
//!
//! Owns positions. [`Consumer`] reads what it is told to; [`GroupConsumer`] is told by its group. Neither commits by
//! itself: only the caller knows what it has done with a record.

use ottla_core::types::Offset;

use crate::config::NamedPartition;

mod assignor;
mod fetch;
mod fetcher;
mod group;
mod heartbeat;
mod membership;
pub(crate) mod protocol;
mod records;

pub use fetcher::{Consumer, Start};
pub use group::{Event, GroupConsumer};
pub use records::{Header, Record};

/// Consecutive records of one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Where they are from.
    pub partition: NamedPartition,
    /// The records, in order. May be empty: offsets can belong to markers or to records that are gone.
    pub records: Vec<Record>,
    /// Where the next read begins.
    pub next: Offset,
    /// The end of what may be read, when it was read.
    pub high_watermark: Offset,
    /// Bytes on the wire.
    pub bytes: usize,
}
