//! One data directory: journal, segments, catalogue, recovery. IO only through trait `Disk`.

mod batch;
pub mod catalogue;
mod codec;
pub mod config;
pub mod damage;
pub mod disk;
pub mod epochs;
mod files;
pub mod identity;
pub mod index;
pub mod journal;
mod names;
pub mod partition;
mod phase;
pub mod producers;
pub mod segment;
mod shared;
pub mod store;
pub mod sum;
mod tail;
pub mod verify;
