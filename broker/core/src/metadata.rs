//! What the cluster looks like: brokers, topics, partitions and their explicit configs, at one moment.
//!
//! Owns `Image`, the immutable view that every request handler reads and that the controller publishes, and `Delta`,
//! the difference between two of them. An image is never edited in place: a change makes another image that shares
//! everything untouched. Nothing here decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::types::{
    BrokerId, ClusterId, ControllerEpoch, DirectoryId, Incarnation, LeaderEpoch, PartitionEpoch, PartitionIndex,
    TopicId, TopicPartition,
};

mod delta;
pub mod health;
#[cfg(test)]
mod tests;

pub use delta::{Changed, Delta};

/// Config values that somebody set, by key; what is absent has its default.
pub type ExplicitConfig = BTreeMap<String, String>;

/// Where clients of one listener reach a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, as advertised.
    pub host: String,
    /// Port, as advertised.
    pub port: u16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its `node.id`.
    pub id: BrokerId,
    /// The run that is registered.
    pub incarnation: Incarnation,
    /// The data directory that this run stands on.
    pub directory: DirectoryId,
    /// Its failure domain, if it has one.
    pub rack: Option<String>,
    /// Where to reach it, by listener name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Registered, but not admitted: it leads nothing and is in no ISR.
    pub fenced: bool,
}

/// A partition on its way from some brokers to others. Until every target is in sync it is held by both (L3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// Who held it before, preferred leader first; who holds it again if this is cancelled.
    pub origin: Vec<BrokerId>,
    /// Who shall hold it, preferred leader first.
    pub target: Vec<BrokerId>,
}

impl Reassignment {
    /// Who gets a replica.
    pub fn adding(&self) -> impl Iterator<Item = BrokerId> {
        self.target.iter().copied().filter(|id| !self.origin.contains(id))
    }

    /// Who loses its replica in the end.
    pub fn removing(&self) -> impl Iterator<Item = BrokerId> {
        self.origin.iter().copied().filter(|id| !self.target.contains(id))
    }
}

/// One partition: who holds it, who leads it, and in which terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Who leads; `None` while nobody may.
    pub leader: Option<BrokerId>,
    /// Term of this leadership.
    pub leader_epoch: LeaderEpoch,
    /// Version of this entry.
    pub partition_epoch: PartitionEpoch,
    /// Who holds a replica, preferred leader first; while it is reassigned, those that are added come last.
    pub replicas: Vec<BrokerId>,
    /// Which of them are in sync.
    pub isr: Vec<BrokerId>,
    /// Which of them, outside the ISR, may still be elected (KIP-966).
    pub elr: Vec<BrokerId>,
    /// Which of them were in the ISR or eligible when their disk stopped being theirs: the best choice when a topic
    /// allows unclean election, and never elected otherwise.
    pub last_known_elr: Vec<BrokerId>,
    /// Where it is moving, if it is.
    pub reassignment: Option<Reassignment>,
    /// Who held a replica, holds none any more, and has not yet said that its data is gone.
    pub leaving: Vec<BrokerId>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its identity; a topic created again under the same name has another.
    pub id: TopicId,
    /// Its partitions, by index.
    pub partitions: Vec<Partition>,
    /// What was set on it.
    pub config: ExplicitConfig,
    /// Whether it belongs to the broker itself (`__consumer_offsets`).
    pub internal: bool,
}

impl Partition {
    /// How many of its replicas have to be in sync before anything is committed, where `min.insync.replicas` comes to
    /// `minimum`: at least one, and never more than there are replicas.
    pub fn needed_in_sync(&self, minimum: i32) -> usize {
        usize::try_from(minimum).unwrap_or(1).clamp(1, self.replicas.len().max(1))
    }
}

impl Topic {
    /// The partition of that index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.get()).ok()?)
    }

    /// The partitions with their indexes.
    pub fn indexed(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        (0..).map(PartitionIndex::new).zip(&self.partitions)
    }
}

/// What of a deleted topic may still lie on a disk. A replica is deleted for a tombstone, never for absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The name that it had.
    pub name: String,
    /// Who has not yet said that its replicas are gone.
    pub holders: BTreeSet<BrokerId>,
}

/// The cluster at one moment. Cloning it is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    cluster_id: ClusterId,
    controller: Option<BrokerId>,
    epoch: ControllerEpoch,
    brokers: Arc<BTreeMap<BrokerId, Broker>>,
    broker_defaults: Arc<ExplicitConfig>,
    broker_configs: Arc<BTreeMap<BrokerId, ExplicitConfig>>,
    min_insync_replicas: Option<i32>,
    topics: Arc<BTreeMap<String, Arc<Topic>>>,
    topics_by_id: Arc<BTreeMap<TopicId, Arc<Topic>>>,
    tombstones: Arc<BTreeMap<TopicId, Tombstone>>,
    partitions: usize,
}

impl Image {
    /// A cluster without brokers and topics.
    pub fn empty(cluster_id: ClusterId) -> Self {
        Self { cluster_id, ..Self::default() }
    }

    /// The cluster that this is a view of.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// Who decides, as far as is known.
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// The term of the controller that published this.
    pub fn epoch(&self) -> ControllerEpoch {
        self.epoch
    }

    /// Every registered broker.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, Broker> {
        &self.brokers
    }

    /// One registered broker.
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// What was set for all brokers at run time.
    pub fn broker_defaults(&self) -> &ExplicitConfig {
        &self.broker_defaults
    }

    /// What was set for one broker at run time.
    pub fn broker_config(&self, id: BrokerId) -> Option<&ExplicitConfig> {
        self.broker_configs.get(&id)
    }

    /// Every broker with configs of its own.
    pub fn broker_configs(&self) -> &BTreeMap<BrokerId, ExplicitConfig> {
        &self.broker_configs
    }

    /// `min.insync.replicas` of every topic that does not set it: one value for the whole cluster, whatever the brokers'
    /// files say, so that leaders and the controller count alike (R3). `None` before a controller fixed it.
    pub fn min_insync_replicas(&self) -> Option<i32> {
        self.min_insync_replicas
    }

    /// Every topic, by name.
    pub fn topics(&self) -> &BTreeMap<String, Arc<Topic>> {
        &self.topics
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics_by_id.get(&id)
    }

    /// One partition of a topic, by the topic's name.
    pub fn partition(&self, topic: &str, index: PartitionIndex) -> Option<&Partition> {
        self.topic(topic)?.partition(index)
    }

    /// One partition, by the topic's id.
    pub fn partition_by_id(&self, id: TopicPartition) -> Option<&Partition> {
        self.topic_by_id(id.topic)?.partition(id.partition)
    }

    /// Deleted topics of which replicas may still exist.
    pub fn tombstones(&self) -> &BTreeMap<TopicId, Tombstone> {
        &self.tombstones
    }

    /// How many partitions all topics have together.
    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    /// What changed from `older` to this.
    pub fn delta_since(&self, older: &Self) -> Delta {
        Delta::between(older, self)
    }

    /// This image under that controller.
    #[must_use]
    pub fn with_controller(mut self, controller: Option<BrokerId>, epoch: ControllerEpoch) -> Self {
        self.controller = controller;
        self.epoch = epoch;
        self
    }

    /// This image with that broker added or replaced.
    #[must_use]
    pub fn with_broker(mut self, broker: Broker) -> Self {
        Arc::make_mut(&mut self.brokers).insert(broker.id, broker);
        self
    }

    /// This image with exactly these brokers.
    #[must_use]
    pub fn with_brokers(mut self, brokers: BTreeMap<BrokerId, Broker>) -> Self {
        self.brokers = Arc::new(brokers);
        self
    }

    /// This image with exactly these run-time broker configs.
    #[must_use]
    pub fn with_broker_configs(
        mut self,
        defaults: ExplicitConfig,
        by_broker: BTreeMap<BrokerId, ExplicitConfig>,
    ) -> Self {
        self.broker_defaults = Arc::new(defaults);
        self.broker_configs = Arc::new(by_broker);
        self
    }

    /// This image with that `min.insync.replicas` for topics that do not set it.
    #[must_use]
    pub fn with_min_insync_replicas(mut self, minimum: Option<i32>) -> Self {
        self.min_insync_replicas = minimum;
        self
    }

    /// This image with these topics added or replaced, by name.
    #[must_use]
    pub fn with_topics(mut self, changed: impl IntoIterator<Item = Arc<Topic>>) -> Self {
        let topics = Arc::make_mut(&mut self.topics);
        let by_id = Arc::make_mut(&mut self.topics_by_id);
        for topic in changed {
            self.partitions += topic.partitions.len();
            if let Some(old) = topics.insert(topic.name.clone(), topic.clone()) {
                self.partitions -= old.partitions.len();
                by_id.remove(&old.id);
            }
            by_id.insert(topic.id, topic);
        }
        self
    }

    /// This image with one topic added or replaced.
    #[must_use]
    pub fn with_topic(self, topic: Topic) -> Self {
        self.with_topics([Arc::new(topic)])
    }

    /// This image without the topics of those names.
    #[must_use]
    pub fn without_topics<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let topics = Arc::make_mut(&mut self.topics);
        let by_id = Arc::make_mut(&mut self.topics_by_id);
        for name in names {
            if let Some(old) = topics.remove(name) {
                self.partitions -= old.partitions.len();
                by_id.remove(&old.id);
            }
        }
        self
    }

    /// This image with exactly these tombstones.
    #[must_use]
    pub fn with_tombstones(mut self, tombstones: BTreeMap<TopicId, Tombstone>) -> Self {
        self.tombstones = Arc::new(tombstones);
        self
    }
}
