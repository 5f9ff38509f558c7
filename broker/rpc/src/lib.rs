//! Protobuf schemas of what brokers store and exchange, their generated types, and the way to and from `ottla-core`.
//!
//! Owns the encoding of metadata documents: protobuf in an envelope with a version, zstd-compressed. Bytes from a store
//! are never trusted: whatever they hold, decoding gives a document or a sentence.

mod convert;
mod envelope;

/// The generated types of `proto/ottla/metadata.proto`.
mod metadata {
    include!(concat!(env!("OUT_DIR"), "/ottla.metadata.v1.rs"));
}

pub use envelope::{DecodeError, decode, encode};
