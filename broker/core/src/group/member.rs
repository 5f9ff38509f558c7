//! One member of a group: what it can do, what it was given, which of its requests waits.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::words::{InstanceId, MemberId, Token};

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) instance: Option<InstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// Best first, each name once.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    pub(super) join: Option<Token>,
    pub(super) sync: Option<Token>,
    /// In its first join phase: it has no id yet, so it cannot send heartbeats.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn session_timeout(&self) -> Duration {
        milliseconds(self.session_timeout_ms)
    }

    /// The subscription under `protocol`; empty if the member does not know the protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let known = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        known.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// The member's favourite among `candidates`.
    pub(super) fn vote(&self, candidates: &BTreeSet<String>) -> Option<&str> {
        self.protocols.iter().map(|(name, _)| name.as_str()).find(|name| candidates.contains(*name))
    }

    /// Whether silence is no sign of death: a request of this member is waiting here for an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}

/// A timeout that a client stated; a negative one is over at once.
pub(super) fn milliseconds(stated: i32) -> Duration {
    Duration::from_millis(u64::try_from(stated).unwrap_or(0))
}

/// Keeps the first of each name.
pub(super) fn distinct(protocols: Vec<(String, Bytes)>) -> Vec<(String, Bytes)> {
    let mut seen = BTreeSet::new();
    protocols.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect()
}
