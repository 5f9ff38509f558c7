//! From a frame to a handler.
//!
//! Owns the request header, the version check and what is answered to a version that is not served. Must never look
//! into a body: that is the handler's.

use std::sync::Arc;

use ottla_core::types::Timestamp;
use ottla_wire::frame::response_frame;
use ottla_wire::header::RequestHeader;
use ottla_wire::messages::ApiVersionsResponse;
use ottla_wire::{ApiKey, Message, Reader};

use super::admission::Charge;
use super::frames::Frame;
use super::reply::{Answer, Close, Reply};
use super::session::Session;
use super::table;
use crate::handlers;
use crate::node::Node;

/// What a handler knows of its request beside the request itself.
pub struct Cx {
    /// The broker.
    pub node: Arc<Node>,
    /// The peer.
    pub session: Arc<Session>,
    /// The version that the request was made in and is answered in.
    pub version: i16,
    /// What the client calls itself; empty where it says nothing.
    pub client_id: String,
    /// When the request was read.
    pub received: Timestamp,
    key: ApiKey,
    correlation_id: i32,
    /// The request's memory, held until it is answered.
    charge: Charge,
}

impl Cx {
    /// The frame that carries `response` to the client. Long byte strings are shared, not copied.
    ///
    /// # Errors
    /// [`Close`] when the response cannot be written in this version: an error of ours, named in the log.
    pub fn answer<M: Message>(&self, response: &M) -> Result<Answer, Close> {
        answer(self.key, self.version, self.correlation_id, response)
    }

    /// Memory that the request is charged with.
    pub fn charged(&self) -> usize {
        self.charge.held()
    }
}

/// Serves the requests of one connection.
pub struct Dispatcher {
    node: Arc<Node>,
    session: Arc<Session>,
}

impl Dispatcher {
    /// Serves `session` from `node`.
    pub fn new(node: Arc<Node>, session: Arc<Session>) -> Self {
        Self { node, session }
    }

    /// Runs the ordered stage of a request.
    ///
    /// # Errors
    /// [`Close`] for what Kafka does not answer either: an unknown API, a version that is not served (other than
    /// ApiVersions'), a header or body that cannot be read.
    pub fn dispatch(&self, frame: Frame) -> Result<Reply, Close> {
        let (Some(key), Some(version)) = (read_i16(&frame.bytes, 0), read_i16(&frame.bytes, 2)) else {
            return Err(Close::because(format!(
                "frame of {} bytes is too short for a request header",
                frame.bytes.len()
            )));
        };
        let Some((index, row)) = table::find(key) else {
            return Err(Close::because(format!("unknown API key {key}")));
        };
        if !(row.min..=row.max).contains(&version) {
            if row.key == ApiKey::ApiVersions {
                return unsupported_api_versions(&frame);
            }
            return Err(Close::because(format!(
                "{} version {version} is not served, {} to {} are",
                row.key, row.min, row.max
            )));
        }
        let mut reader = Reader::new(frame.bytes);
        let header = RequestHeader::decode(&mut reader)
            .map_err(|error| Close::because(format!("{} request header: {error}", row.key)))?;
        let clock = self.node.clock;
        let cx = Cx {
            node: Arc::clone(&self.node),
            session: Arc::clone(&self.session),
            version,
            client_id: header.client_id.unwrap_or_default(),
            received: clock.wall(),
            key: row.key,
            correlation_id: header.correlation_id,
            charge: frame.charge,
        };
        let started = clock.monotonic();
        let Reply { pending, pipelined } = (row.serve)(cx, reader)
            .map_err(|error| Close::because(format!("{} version {version}: {error}", row.key)))?;
        let node = Arc::clone(&self.node);
        let pending = Box::pin(async move {
            let outcome = pending.await;
            node.metrics.served(index, clock.monotonic().saturating_duration_since(started));
            outcome
        });
        Ok(Reply { pending, pipelined })
    }
}

/// An unknown version of ApiVersions is answered in version 0 with the one range that helps (KIP-511).
fn unsupported_api_versions(frame: &Frame) -> Result<Reply, Close> {
    let correlation_id = frame
        .bytes
        .get(4..8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_be_bytes)
        .ok_or_else(|| Close::because("ApiVersions request without a correlation id"))?;
    let response: ApiVersionsResponse = handlers::api_versions::unsupported();
    let answer = answer(ApiKey::ApiVersions, 0, correlation_id, &response)?;
    Ok(Reply { pending: Box::pin(async move { Ok(Some(answer)) }), pipelined: false })
}

fn answer<M: Message>(key: ApiKey, version: i16, correlation_id: i32, response: &M) -> Result<Answer, Close> {
    let chunks = response_frame(response, key, version, correlation_id)
        .map_err(|error| Close::because(format!("{key} response version {version}: {error}")))?;
    Ok(Answer::chunks(chunks))
}

fn read_i16(bytes: &[u8], at: usize) -> Option<i16> {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes)
}
