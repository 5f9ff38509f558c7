//! What the server knows of the peer at the other end of a connection.
//!
//! Owns the peer's identity: listener, address, principal, software. It is made once when the connection is accepted
//! and only grows more certain. Beside it stands what later requests have to know of earlier ones; must never hold
//! anything that belongs to a single request.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::handlers::produce::Refusals;

/// A listener as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Upper-case name from `listeners`, such as `PLAINTEXT`.
    pub name: String,
    /// Host that Metadata tells clients of this listener.
    pub advertised_host: String,
    /// Port that Metadata tells clients of this listener.
    pub advertised_port: u16,
}

/// Who a peer is. Every listener is plaintext so far, hence everybody is anonymous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `User`, Kafka's only kind of principal in use.
    pub kind: &'static str,
    /// The name after the colon.
    pub name: String,
}

impl Principal {
    /// Kafka's `User:ANONYMOUS`.
    pub fn anonymous() -> Self {
        Self { kind: "User", name: "ANONYMOUS".to_owned() }
    }
}

/// Name and version of the client library, as ApiVersions 3+ states them (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Software {
    /// `apache-kafka-java`, `librdkafka`, …
    pub name: String,
    /// The library's version.
    pub version: String,
}

/// One connection's peer.
#[derive(Debug)]
pub struct Session {
    /// The listener that the peer came through.
    pub listener: Arc<Listener>,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Who the peer is.
    pub principal: Principal,
    /// What the peer runs, once it has said so.
    pub software: OnceLock<Software>,
    /// Which batches were refused and are to come again.
    pub refusals: Mutex<Refusals>,
}

impl Session {
    /// A peer that has said nothing yet.
    pub fn new(listener: Arc<Listener>, peer: SocketAddr) -> Self {
        Self {
            listener,
            peer,
            principal: Principal::anonymous(),
            software: OnceLock::new(),
            refusals: Mutex::default(),
        }
    }

    /// The peer's address as Kafka shows it in group descriptions: a slash and the IP.
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.ip().to_canonical())
    }
}
