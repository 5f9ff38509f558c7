//! The Kafka wire protocol, both directions, and views of record batches.
//!
//! Owns every byte that a Kafka client can see: messages (generated from `schema/`), Produce and Fetch (by hand, so that
//! records stay slices of the frame), headers, frames, error codes, record batches. No IO, no await, no clock. Bytes from
//! outside never panic, never allocate more than a stated bound, and every refusal is a typed error.

pub mod api;
pub mod error;
pub mod error_code;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod message;
pub mod produce;
pub mod reader;
pub mod record;
pub mod writer;

pub use api::ApiKey;
pub use error::{DecodeError, EncodeError};
pub use error_code::ErrorCode;
pub use message::{Kind, Message, Request};
pub use reader::Reader;
pub use writer::Writer;

/// What the generated modules name.
mod generated {
    pub(crate) use std::ops::RangeInclusive;

    pub(crate) use bytes::Bytes;

    pub(crate) use crate::{ApiKey, DecodeError, EncodeError, Kind, Message, Reader, Request, Writer};
}

/// Requests and responses, one module each, generated from `schema/api`.
pub mod messages {
    pub use crate::fetch::{FetchRequest, FetchResponse};
    pub use crate::produce::{ProduceRequest, ProduceResponse};

    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

/// Records that coordinators keep in internal topics, and payloads inside other messages, generated from
/// `schema/records`.
pub mod records {
    include!(concat!(env!("OUT_DIR"), "/records.rs"));
}

#[cfg(test)]
mod tests;
