//! Which replica a consumer had better ask (KIP-392): one of its own rack that is in sync and has what it wants.
//!
//! Owns the choice of a leader. The replica that is chosen shows less than the leader for a moment, never anything that is
//! not committed. Must never send a client to a replica that it cannot reach through its listener.

use ottla_core::metadata::{Broker, Image};
use ottla_core::types::{BrokerId, PartitionIndex};

use super::session::Wanted;
use crate::lookup::Found;
use crate::server::dispatch::Cx;

/// The first version whose answer can name a replica, and whose clients may therefore ask a follower.
const RACKS: i16 = 11;

/// Where a client is, and how it gets to brokers.
#[derive(Clone, Debug)]
pub(super) struct Nearest {
    rack: String,
    listener: String,
}

impl Nearest {
    /// For a client in `rack` (empty: it does not say), if this broker's configuration has clients sent to replicas at all.
    pub(super) fn of(cx: &Cx, rack: &str) -> Option<Self> {
        let used = cx.version >= RACKS && cx.node.config.reads_by_rack();
        used.then(|| Self { rack: rack.to_owned(), listener: cx.session.listener.name.clone() })
    }

    /// Who had better be asked; `None` if the leader is as good, or there is nobody else. Of several the one that has most.
    pub(super) fn to(&self, image: &Image, found: &Found, wanted: &Wanted) -> Option<BrokerId> {
        let here = |broker: &Broker| broker.rack.as_deref() == Some(self.rack.as_str());
        if self.rack.is_empty() || image.broker(found.leader).is_some_and(here) {
            return None;
        }
        let partition = found.topic.partition(PartitionIndex::new(wanted.partition))?;
        let reachable = |broker: &Broker| !broker.fenced && broker.endpoints.contains_key(&self.listener);
        let near = |id: &BrokerId| image.broker(*id).is_some_and(|broker| here(broker) && reachable(broker));
        let end = |id: BrokerId| Some((found.replica.follower_end(id)?, id));
        let replicas = partition.isr.iter().copied().filter(|id| *id != found.leader && near(id));
        replicas.filter_map(end).filter(|(end, _)| *end >= wanted.offset).max().map(|(_, id)| id)
    }
}
