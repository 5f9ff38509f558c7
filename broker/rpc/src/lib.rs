//! Protobuf schemas of what brokers store and exchange, their generated types, and the way to and from `ottla-core`.
//!
//! Owns the encoding of metadata documents (protobuf in an envelope with a version, zstd-compressed) the two services
//! between brokers, [`controller`] and [`replication`], the one for whoever runs a cluster, [`operations`], the
//! [`transport`] that all run on, and [`trust`]: who may be at its other end. Bytes from a store or a
//! peer are never trusted: whatever they hold, decoding gives a value or a sentence. Nothing here decides anything, and
//! nothing here retries.

pub mod controller;
mod convert;
mod envelope;
pub mod operations;
pub mod replication;
pub mod transport;
pub mod trust;

/// The generated types of `proto/`.
#[expect(unreachable_pub, reason = "generated code does not know who may see it")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

/// The generated types and services of what tonic's own codec carries.
#[expect(unreachable_pub, missing_docs, reason = "generated code does not know who may see it")]
mod served {
    include!(concat!(env!("OUT_DIR"), "/served.rs"));
}

use proto::ottla::metadata::v1 as metadata;

pub use envelope::{DecodeError, decode, encode};
