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

/// What a member takes beside its own text and bytes: the struct, its places in maps, its timer.
const OVERHEAD_BYTES: usize = 640;
/// What one protocol of a member takes beside its name and metadata.
const PROTOCOL_BYTES: usize = 96;

/// What a member with these protocols takes in memory, its assignment not counted.
pub(super) fn member_bytes(id: usize, client: usize, protocols: &[(String, Bytes)]) -> usize {
    let protocols = protocols.iter().map(|(name, metadata)| PROTOCOL_BYTES + name.len() + metadata.len());
    // The id stands in the member, in the group's maps and in the timer.
    OVERHEAD_BYTES + 4 * id + client + protocols.sum::<usize>()
}

impl Member {
    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let client = self.client_id.len() + self.client_host.len();
        member_bytes(self.id.as_str().len(), client, &self.protocols) + self.assignment.len()
    }

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
