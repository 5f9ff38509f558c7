//! `Table` of `ottla-core` on RocksDB, tuned to need very little memory.
//!
//! Owns how databases are opened, shared and named in errors; the only crate that knows RocksDB. It knows nothing of
//! what the tables hold.

mod engine;
mod error;
mod rocks;

pub use engine::Engine;
pub use error::OpenError;
pub use rocks::RocksTable;
