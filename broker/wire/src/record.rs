//! Record batches: what the log stores, what Produce brings and what Fetch returns.
//!
//! Owns the layout of batch format 2 and of the records inside. A broker looks at the 61 bytes of the header and at the
//! checksum, and moves the rest as it is; clients, coordinators and tests also build and open batches. Formats 0 and 1
//! are recognised in order to be refused by name. Never trusts a length, a count or a compressed size.

mod batch;
mod build;
mod check;
mod compress;
mod read;

pub use batch::{BatchHeader, BatchView, Batches, HEADER_BYTES, LENGTH_END, NO_PRODUCER, PREFIX_BYTES};
pub use build::{BatchBuilder, ControlType, control_batch};
pub use check::{BatchError, check_batch, check_produced};
pub use compress::{Compression, CompressionError, compress, decompress};
pub use read::{Header, Record, RecordError, RecordIter};

#[cfg(test)]
mod tests;
