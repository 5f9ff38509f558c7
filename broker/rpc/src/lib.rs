//! Protobuf schemas of what brokers store and exchange, their generated types, and the way to and from `ottla-core`.
//!
//! Owns the encoding of metadata documents (protobuf in an envelope with a version, zstd-compressed) and the two services
//! between brokers: [`controller`] and [`replication`], with the [`transport`] that both run on. Bytes from a store or a
//! peer are never trusted: whatever they hold, decoding gives a value or a sentence. Nothing here decides anything, and
//! nothing here retries.

pub mod controller;
mod convert;
mod envelope;
pub mod replication;
pub mod transport;

/// The generated types of `proto/`.
#[expect(unreachable_pub, reason = "generated code does not know who may see it")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

use proto::ottla::metadata::v1 as metadata;

pub use envelope::{DecodeError, decode, encode};
