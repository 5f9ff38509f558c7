//! Which broker holds which partition, and what is on its way: the part of the metadata that moves are decided on.
//!
//! Owns its typed form. Pure: it is read from the documents that a look has found, so that a move that somebody began is
//! seen whoever it was. Of a partition that moves it says who will hold it.

use std::collections::BTreeMap;

use ottla_core::config::{broker, topic as keys};
use ottla_core::controller::document::Root;
use ottla_core::metadata::{ExplicitConfig, Topic};
use ottla_core::types::BrokerId;

/// What bounds how fast a broker sends to and fills replicas that are behind.
pub const RATES: [&str; 2] =
    [broker::LEADER_REPLICATION_THROTTLED_RATE.name, broker::FOLLOWER_REPLICATION_THROTTLED_RATE.name];
/// What says which replicas of a topic these bounds are for.
pub const THROTTLES: [&str; 2] =
    [keys::LEADER_REPLICATION_THROTTLED_REPLICAS.key.name, keys::FOLLOWER_REPLICATION_THROTTLED_REPLICAS.key.name];
/// The value by which this operator throttles: every replica of the topic. Other tools name replicas.
pub const THROTTLED: &str = "*";

/// A cluster's replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Every registered broker.
    pub brokers: BTreeMap<i32, Node>,
    /// Every topic.
    pub topics: BTreeMap<String, Held>,
}

/// A registered broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Where it stands.
    pub rack: Option<String>,
    /// Whether it serves.
    pub live: bool,
    /// The rate that both directions are set to, if it is one.
    pub rate: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its partitions, in order.
    pub partitions: Vec<Spot>,
    /// Every replica of it is throttled, in at least one direction.
    pub throttled: bool,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// Who holds it, or will once what moves has arrived; the preferred leader first.
    pub replicas: Vec<i32>,
    /// Who has everything that was acknowledged, or may be elected as if.
    pub current: Vec<i32>,
    /// Whether it moves now.
    pub moving: bool,
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.get()).collect()
}

/// The rate of both directions.
fn rate(config: Option<&ExplicitConfig>) -> Option<String> {
    let [leader, follower] = RATES.map(|key| config.and_then(|config| config.get(key)));
    leader.filter(|leader| follower == Some(*leader)).cloned()
}

impl Layout {
    /// The brokers, and no topic yet.
    pub(super) fn of(root: &Root) -> Self {
        let node = |(id, member): (&BrokerId, &ottla_core::controller::document::Member)| {
            let (rack, live) = (member.broker.rack.clone(), !member.broker.fenced);
            (id.get(), Node { rack, live, rate: rate(root.broker_configs.get(id)) })
        };
        Self { brokers: root.members.iter().map(node).collect(), topics: BTreeMap::new() }
    }

    /// One topic more.
    pub(super) fn add(&mut self, topic: &Topic) {
        let spot = |partition: &ottla_core::metadata::Partition| Spot {
            replicas: ids(partition.reassignment.as_ref().map_or(&partition.replicas, |moving| &moving.target)),
            current: ids(&[&partition.isr[..], &partition.elr[..]].concat()),
            moving: partition.reassignment.is_some(),
        };
        let throttled = THROTTLES.iter().any(|key| topic.config.get(*key).is_some_and(|value| value == THROTTLED));
        let held = Held { partitions: topic.partitions.iter().map(spot).collect(), throttled };
        self.topics.insert(topic.name.clone(), held);
    }

    /// Every partition with its topic and index.
    pub fn spots(&self) -> impl Iterator<Item = (&str, i32, &Spot)> {
        self.topics
            .iter()
            .flat_map(|(name, held)| (0..).zip(&held.partitions).map(move |(index, spot)| (name.as_str(), index, spot)))
    }

    /// How many partitions move.
    pub fn moving(&self) -> usize {
        self.spots().filter(|(.., spot)| spot.moving).count()
    }

    /// How many replicas a broker holds, or will.
    pub fn load(&self, id: i32) -> usize {
        self.spots().filter(|(.., spot)| spot.replicas.contains(&id)).count()
    }
}
