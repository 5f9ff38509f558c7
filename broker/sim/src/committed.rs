//! What is committed, as oracles see it: the documents in the store, read as one picture of the cluster.
//!
//! Owns the translation of documents into assignments, for oracles from the store and for replicas from the image that
//! their broker took in; and finding out, from outside, which elections were unclean. It decides nothing.

use std::collections::BTreeMap;

use ottla_core::controller::{DocumentId, Member, ShardId};
use ottla_core::metadata::{Broker, Image, Partition, Topic};
use ottla_core::replica::{Assignment, Peer};
use ottla_core::types::{BrokerId, Incarnation, LeaderEpoch};

use crate::store::{Store, topic_id};

/// Everything that is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Every registered broker.
    pub(crate) peers: BTreeMap<BrokerId, Peer>,
    /// Every partition. Its last unclean election is the one that there really was.
    pub(crate) partitions: Vec<Assignment>,
    /// As the shards have them.
    entries: Vec<Partition>,
}

impl Snapshot {
    /// The documents as they are now, after `before`. One that is not there, or went back, leaves the picture as it was.
    pub(crate) fn of(store: &Store, before: &Self, partitions: usize) -> Self {
        let peer = |member: &Member| {
            let Broker { incarnation, fenced, .. } = member.broker;
            Peer { incarnation, fenced, draining: false }
        };
        let root = store.root().filter(|_| !store.is_spoiled(DocumentId::Root));
        let peers = root.map(|root| root.members.iter().map(|(id, member)| (*id, peer(member))).collect());
        let peers: BTreeMap<BrokerId, Peer> = peers.unwrap_or_else(|| before.peers.clone());
        let (mut all, mut entries) = (Vec::new(), Vec::new());
        for p in 0..partitions {
            let index = u32::try_from(p).unwrap_or(0);
            let shard = store.shard(index).filter(|_| !store.is_spoiled(DocumentId::Shard(ShardId(index))));
            let topic = shard.and_then(|shard| shard.topics.values().find(|topic| topic.id == topic_id(p)));
            let known = before.partitions.get(p);
            let (Some(shard), Some(topic)) = (shard, topic) else {
                all.extend(known.cloned());
                entries.extend(before.entries.get(p).cloned());
                continue;
            };
            let Some(entry) = topic.partitions.first() else { continue };
            let run = |id: BrokerId| {
                let run = peers.get(&id)?.incarnation;
                (shard.runs.get(&id) == Some(&run)).then_some((id, run))
            };
            let since = unclean(topic, before.entries.get(p), entry);
            let unclean = since.or(known.and_then(|known| known.unclean));
            all.push(Assignment { unclean, ..assignment(topic, entry, entry.leader.and_then(run)) });
            entries.push(entry.clone());
        }
        Self { peers, partitions: all, entries }
    }
}

/// The epoch that an unclean election has begun, if there may have been one between two versions. Where several changes
/// came in one write nobody can say who was a member in between.
fn unclean(topic: &Topic, before: Option<&Partition>, after: &Partition) -> Option<LeaderEpoch> {
    let (before, leader) = (before?, after.leader?);
    let member = before.isr.contains(&leader) || before.elr.contains(&leader);
    let several = after.partition_epoch.get() > before.partition_epoch.get() + 1;
    let elected = after.leader_epoch > before.leader_epoch;
    (allows_unclean(topic) && elected && (!member || several)).then_some(after.leader_epoch)
}

fn allows_unclean(topic: &Topic) -> bool {
    topic.config.get("unclean.leader.election.enable").is_some_and(|set| set == "true")
}

fn assignment(topic: &Topic, entry: &Partition, leader: Option<(BrokerId, Incarnation)>) -> Assignment {
    let min = topic.config.get("min.insync.replicas").and_then(|min| min.parse().ok()).unwrap_or(1_u16);
    let most = u16::try_from(entry.replicas.len().max(1)).unwrap_or(u16::MAX);
    Assignment {
        leader,
        leader_epoch: entry.leader_epoch,
        partition_epoch: entry.partition_epoch,
        replicas: entry.replicas.clone(),
        isr: entry.isr.clone(),
        elr: entry.elr.clone(),
        min_insync: min.clamp(1, most),
        unclean: None,
    }
}

/// What a replica is told of its partition, as the production broker does it: which terms were unclean the metadata does
/// not say; where they are allowed, each may have been.
pub(crate) fn told(image: &Image, p: usize) -> Option<Assignment> {
    let topic = image.topic_by_id(topic_id(p))?;
    let entry = topic.partitions.first()?;
    let run = |id: BrokerId| image.broker(id).map(|broker| (id, broker.incarnation));
    let told = assignment(topic, entry, entry.leader.and_then(run));
    Some(Assignment { unclean: allows_unclean(topic).then_some(entry.leader_epoch), ..told })
}
