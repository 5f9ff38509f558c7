//! What a client knows of a cluster: brokers, topics, leaders.
//!
//! Owns the typed form of the Metadata answer. It is a memory, not the truth: whoever acts on it must expect to be sent
//! elsewhere.

use std::collections::BTreeMap;

use ottla_core::types::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};
use ottla_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_wire::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use ottla_wire::{ApiKey, ErrorCode};

use crate::error::{Result, check};

/// Which topics to ask for.
#[derive(Debug, Clone, Copy)]
pub enum Topics<'a> {
    /// Brokers only.
    None,
    /// Every topic.
    All,
    /// These.
    Named(&'a [&'a str]),
}

/// A cluster as one broker sees it.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The cluster's id, if it has one.
    pub cluster_id: Option<String>,
    /// Who is said to be the controller.
    pub controller: Option<BrokerId>,
    /// Every broker that is there.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// Topics by name, those that were asked for.
    pub topics: BTreeMap<String, Topic>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// `host:port` of the listener that we came through.
    pub address: String,
    /// Where it stands.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Why there is nothing else, if so.
    pub error: ErrorCode,
    /// Its identity.
    pub id: TopicId,
    /// Whether it belongs to the cluster itself.
    pub internal: bool,
    /// Its partitions.
    pub partitions: BTreeMap<PartitionIndex, Partition>,
}

/// One partition.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Who leads it now.
    pub leader: Option<BrokerId>,
    /// The term of that leadership.
    pub epoch: LeaderEpoch,
    /// Who keeps a copy.
    pub replicas: Vec<BrokerId>,
    /// Whose copy is in sync.
    pub in_sync: Vec<BrokerId>,
    /// Whose copy is on a disk that failed, or a broker that is down.
    pub offline: Vec<BrokerId>,
}

impl Topics<'_> {
    pub(crate) fn request(self, create: bool) -> MetadataRequest {
        let named = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
        MetadataRequest {
            topics: match self {
                Self::None => Some(Vec::new()),
                Self::All => None,
                Self::Named(names) => Some(names.iter().map(named).collect()),
            },
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        }
    }
}

impl Metadata {
    pub(crate) fn from_wire(response: MetadataResponse) -> Result<Self> {
        check(ApiKey::Metadata, || "metadata".to_owned(), response.error_code, None)?;
        let mut metadata = Self {
            cluster_id: response.cluster_id,
            controller: (response.controller_id >= 0).then(|| BrokerId::new(response.controller_id)),
            ..Self::default()
        };
        for broker in response.brokers {
            let address = address(&broker.host, broker.port);
            metadata.brokers.insert(BrokerId::new(broker.node_id), Broker { address, rack: broker.rack });
        }
        for topic in response.topics {
            let name = topic.name.clone().unwrap_or_default();
            metadata.topics.insert(name, Topic::from_wire(topic));
        }
        Ok(metadata)
    }

    /// Takes over what `fresh` knows; keeps topics that it was not asked about.
    pub(crate) fn absorb(&mut self, fresh: &Self) {
        self.cluster_id.clone_from(&fresh.cluster_id);
        self.controller = fresh.controller;
        self.brokers.clone_from(&fresh.brokers);
        for (name, topic) in &fresh.topics {
            self.topics.insert(name.clone(), topic.clone());
        }
    }

    /// Remembers where broker `id` listens.
    pub(crate) fn learn(&mut self, id: BrokerId, host: &str, port: i32) {
        let address = address(host, port);
        let rack = self.brokers.get(&id).and_then(|broker| broker.rack.clone());
        self.brokers.insert(id, Broker { address, rack });
    }
}

impl Topic {
    fn from_wire(topic: MetadataResponseTopic) -> Self {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let known = Partition {
                leader: (partition.leader_id >= 0).then(|| BrokerId::new(partition.leader_id)),
                epoch: LeaderEpoch::new(partition.leader_epoch),
                replicas: brokers(&partition.replica_nodes),
                in_sync: brokers(&partition.isr_nodes),
                offline: brokers(&partition.offline_replicas),
            };
            (PartitionIndex::new(partition.partition_index), known)
        });
        Self {
            error: ErrorCode::new(topic.error_code),
            id: TopicId::from_bytes(topic.topic_id),
            internal: topic.is_internal,
            partitions: partitions.collect(),
        }
    }
}

pub(crate) fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId::new).collect()
}

pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
