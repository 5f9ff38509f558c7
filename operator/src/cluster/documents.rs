//! What the documents of a cluster's metadata say, as far as the operator needs it.
//!
//! Owns the difference between metadata that never was, is begun, is whole, and has lost a part. Pure: it is given the
//! documents. Must never take a cluster that lacks a shard for whole: what a broker holds would look like nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_core::controller::document::{Root, Shard};
use ottla_core::controller::{Document, DocumentId, SHARD_BYTES_MAX};
use ottla_core::metadata::Partition;
use ottla_core::types::BrokerId;

use super::layout::Layout;

/// The metadata as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Documents {
    /// Not a single document.
    #[default]
    Absent,
    /// Created in part; no controller has written any of it.
    Begun,
    /// A part is missing or cannot be read: a sentence.
    Damaged(String),
    /// All there.
    Whole(Box<Summary>),
}

impl Documents {
    /// What they say, if they are whole.
    pub fn summary(&self) -> Option<&Summary> {
        if let Self::Whole(summary) = self { Some(summary) } else { None }
    }
}

/// What whole metadata says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Kafka's id of the cluster.
    pub cluster_id: String,
    /// The broker that wrote the root last, and its epoch; `None` before the first controller.
    pub controller: Option<(i32, i64)>,
    /// Every registered broker.
    pub registered: BTreeSet<i32>,
    /// Every id that was registered once and is not any more.
    pub retired: BTreeSet<i32>,
    /// How many topic shards there are.
    pub shard_count: u32,
    /// Whether a shard is about to be so large that there must be twice as many.
    pub grows: bool,
    /// Whether those that there will be then exist already: brokers may not create them.
    pub has_room: bool,
    /// How many partitions there are.
    pub partitions: i64,
    /// How many of them have fewer in-sync replicas than replicas.
    pub under_replicated: i64,
    /// How many of them have no leader.
    pub offline: i64,
    /// How many partitions each broker has to do with: as a replica, or as one that it moves from or to.
    pub held: BTreeMap<i32, u64>,
    /// Who holds what.
    pub layout: Layout,
}

/// Reads what the API server has, `None` a document that cannot be decoded.
pub fn read(found: Vec<(String, Option<Document>)>) -> Documents {
    if found.is_empty() {
        return Documents::Absent;
    }
    let mut root = None;
    let mut shards = BTreeMap::new();
    for (name, document) in found {
        match document {
            None => return Documents::Damaged(format!("document {name} cannot be read")),
            Some(Document::Root(content)) => root = Some(content),
            Some(Document::Shard(content)) => drop(shards.insert(content.index, content)),
        }
    }
    let Some(root) = root else {
        let written = shards.values().find(|shard| shard.header.version > 0);
        return written.map_or(Documents::Begun, |shard| {
            Documents::Damaged(format!("the root is missing, and topics-{:04} was written to", shard.index))
        });
    };
    if let Some(index) = (0..root.shard_count).find(|index| !shards.contains_key(index)) {
        return Documents::Damaged(format!("topics-{index:04} is missing"));
    }
    let has_room = (root.shard_count..root.shard_count.saturating_mul(2)).all(|index| shards.contains_key(&index));
    // What lies beyond the count is a copy that is being made, and means nothing yet.
    shards.retain(|index, _| *index < root.shard_count);
    Documents::Whole(Box::new(Summary { has_room, ..summary(&root, shards.into_values()) }))
}

fn summary(root: &Root, shards: impl Iterator<Item = Arc<Shard>>) -> Summary {
    let mut summary = Summary {
        cluster_id: root.header.cluster.to_string(),
        controller: (root.header.epoch.get() > 0).then(|| (root.header.writer.get(), root.header.epoch.get())),
        registered: root.members.keys().map(|id| id.get()).collect(),
        retired: root.retired.keys().map(|id| id.get()).collect(),
        shard_count: root.shard_count,
        layout: Layout::of(root),
        ..Summary::default()
    };
    for shard in shards {
        summary.grows |= Document::Shard(Arc::clone(&shard)).weight() >= SHARD_BYTES_MAX / 2;
        for topic in shard.topics.values() {
            topic.partitions.iter().for_each(|partition| summary.count(partition));
            summary.layout.add(topic);
        }
    }
    summary
}

impl Summary {
    fn count(&mut self, partition: &Partition) {
        self.partitions += 1;
        // Who is only coming is missed by nobody.
        let settled = partition.reassignment.as_ref().map_or(&partition.replicas, |moving| &moving.origin);
        self.under_replicated += i64::from(partition.isr.len() < settled.len());
        self.offline += i64::from(partition.leader.is_none());
        let moving = partition.reassignment.iter().flat_map(|moving| moving.origin.iter().chain(&moving.target));
        let holders: BTreeSet<BrokerId> = partition.replicas.iter().chain(moving).copied().collect();
        for holder in holders {
            *self.held.entry(holder.get()).or_default() += 1;
        }
    }

    /// The names of documents that exist, or will once there are twice as many shards.
    pub fn document_names(shard_count: u32) -> Vec<String> {
        let shards =
            (0..shard_count.saturating_mul(2)).map(|index| DocumentId::Shard(ottla_core::controller::ShardId(index)));
        [DocumentId::Root].into_iter().chain(shards).map(|id| id.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use ottla_core::controller::document;
    use ottla_core::metadata::{Reassignment, Topic};
    use ottla_core::types::{ClusterId, LeaderEpoch, PartitionEpoch, TopicId};

    use super::*;

    fn initial() -> Vec<(String, Option<Document>)> {
        document::initial(ClusterId::from_bytes([7; 16]))
            .into_iter()
            .map(|document| (document.id().to_string(), Some(document)))
            .collect()
    }

    fn partition(replicas: &[i32], isr: &[i32], leader: Option<i32>) -> Partition {
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId::new(*id)).collect::<Vec<_>>();
        Partition {
            leader: leader.map(BrokerId::new),
            leader_epoch: LeaderEpoch::default(),
            partition_epoch: PartitionEpoch::default(),
            replicas: ids(replicas),
            isr: ids(isr),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            reassignment: None,
            leaving: Vec::new(),
        }
    }

    #[test]
    fn what_is_there_decides_what_may_be_made() {
        assert_eq!(read(Vec::new()), Documents::Absent);
        let mut half = initial();
        half.truncate(4);
        assert_eq!(read(half), Documents::Begun);
        let mut lacking = initial();
        lacking.remove(3);
        assert_eq!(read(lacking), Documents::Damaged("topics-0003 is missing".to_owned()));
        let garbage = vec![("root".to_owned(), None)];
        assert_eq!(read(garbage), Documents::Damaged("document root cannot be read".to_owned()));
        let mut written = Shard { index: 2, ..Shard::default() };
        written.header.version = 1;
        let rootless = vec![("topics-0002".to_owned(), Some(Document::Shard(Arc::new(written))))];
        assert!(matches!(read(rootless), Documents::Damaged(why) if why.contains("root is missing")));
    }

    #[test]
    fn partitions_are_counted_with_everybody_who_has_to_do_with_them() {
        let mut found = initial();
        let mut moving = partition(&[0, 1], &[0, 1], Some(0));
        moving.reassignment =
            Some(Reassignment { origin: vec![BrokerId::new(0), BrokerId::new(1)], target: vec![BrokerId::new(4)] });
        let topic = Topic {
            name: "t".to_owned(),
            id: TopicId::default(),
            partitions: vec![moving, partition(&[1, 2], &[1], Some(1)), partition(&[2], &[], None)],
            config: BTreeMap::new(),
            internal: false,
        };
        let shard = Shard { index: 5, topics: [("t".to_owned(), Arc::new(topic))].into(), ..Shard::default() };
        found[5] = ("topics-0005".to_owned(), Some(Document::Shard(Arc::new(shard))));
        let Documents::Whole(summary) = read(found) else { panic!("whole") };
        assert_eq!((summary.partitions, summary.under_replicated, summary.offline), (3, 2, 1));
        assert_eq!(summary.held, [(0, 1), (1, 2), (2, 2), (4, 1)].into());
        assert_eq!((summary.controller, summary.shard_count, summary.grows), (None, 16, false));
    }
}
