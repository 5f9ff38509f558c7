//! Between the generated types and those of `ottla-core`. Whatever protobuf allows and the core does not is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_core::controller::{Claim, FeatureRange, Header, Member, Root, SessionId, Shard, WriteId};
use ottla_core::metadata::{Broker, Endpoint, Partition, Reassignment, Tombstone, Topic};
use ottla_core::topic_name::is_internal;
use ottla_core::types::{
    BrokerId, ClusterId, ControllerEpoch, DirectoryId, Incarnation, LeaderEpoch, Lsn, PartitionEpoch, ProducerId,
    TopicId,
};

use crate::envelope::DecodeError;
use crate::metadata as pb;

pub(crate) fn sixteen(bytes: &[u8], what: &str) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Content(format!("{what} has {} bytes instead of 16", bytes.len())))
}

fn missing(what: &str) -> DecodeError {
    DecodeError::Content(format!("it has no {what}"))
}

pub(crate) fn endpoints_to(endpoints: &BTreeMap<String, Endpoint>) -> Vec<pb::Endpoint> {
    let endpoint = |(listener, endpoint): (&String, &Endpoint)| pb::Endpoint {
        listener: listener.clone(),
        host: endpoint.host.clone(),
        port: u32::from(endpoint.port),
    };
    endpoints.iter().map(endpoint).collect()
}

pub(crate) fn endpoints_from(endpoints: Vec<pb::Endpoint>) -> Result<BTreeMap<String, Endpoint>, DecodeError> {
    let endpoint = |endpoint: pb::Endpoint| {
        let port = u16::try_from(endpoint.port);
        let port = port.map_err(|_| DecodeError::Content(format!("{} is no port", endpoint.port)))?;
        Ok((endpoint.listener, Endpoint { host: endpoint.host, port }))
    };
    endpoints.into_iter().map(endpoint).collect()
}

pub(crate) fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.get()).collect()
}

fn runs(runs: BTreeMap<i32, i64>) -> BTreeMap<BrokerId, Incarnation> {
    runs.into_iter().map(|(broker, run)| (BrokerId::new(broker), Incarnation::new(run))).collect()
}

pub(crate) fn brokers(ids: Vec<i32>) -> Vec<BrokerId> {
    ids.into_iter().map(BrokerId::new).collect()
}

impl From<&Header> for pb::Header {
    fn from(header: &Header) -> Self {
        Self {
            cluster_id: header.cluster.to_bytes().to_vec(),
            version: header.version,
            controller_epoch: header.epoch.get(),
            writer: header.writer.get(),
            write_session: header.write.session.0.to_vec(),
            write_number: header.write.number,
            claims: header.claims.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Header> for Header {
    type Error = DecodeError;

    fn try_from(header: pb::Header) -> Result<Self, DecodeError> {
        let session = SessionId(sixteen(&header.write_session, "the write session")?);
        Ok(Self {
            cluster: ClusterId::from_bytes(sixteen(&header.cluster_id, "the cluster id")?),
            version: header.version,
            epoch: ControllerEpoch::new(header.controller_epoch),
            writer: BrokerId::new(header.writer),
            write: WriteId { session, number: header.write_number },
            claims: header.claims.into_iter().map(Claim::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Claim> for pb::Claim {
    fn from(claim: &Claim) -> Self {
        Self { controller_epoch: claim.epoch.get(), version: claim.version, session: claim.session.0.to_vec() }
    }
}

impl TryFrom<pb::Claim> for Claim {
    type Error = DecodeError;

    fn try_from(claim: pb::Claim) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: ControllerEpoch::new(claim.controller_epoch),
            version: claim.version,
            session: SessionId(sixteen(&claim.session, "a claim's session")?),
        })
    }
}

impl From<&Root> for pb::Root {
    fn from(root: &Root) -> Self {
        let config = |(id, config): (&BrokerId, &BTreeMap<String, String>)| pb::BrokerConfig {
            id: id.get(),
            config: config.clone(),
        };
        Self {
            header: Some((&root.header).into()),
            shard_count: root.shard_count,
            members: root.members.values().map(Into::into).collect(),
            next_producer_id: root.next_producer_id.get(),
            feature_level: root.feature_level,
            broker_defaults: root.broker_defaults.clone(),
            broker_configs: root.broker_configs.iter().map(config).collect(),
            retired: root.retired.iter().map(|(broker, run)| (broker.get(), run.get())).collect(),
            min_insync_replicas: root.min_insync_replicas,
        }
    }
}

impl TryFrom<pb::Root> for Root {
    type Error = DecodeError;

    fn try_from(root: pb::Root) -> Result<Self, DecodeError> {
        let members = root.members.into_iter().map(Member::try_from);
        let configs = root.broker_configs.into_iter().map(|broker| (BrokerId::new(broker.id), broker.config));
        if root.shard_count == 0 || root.shard_count > 1 << 16 {
            return Err(DecodeError::Content(format!("it cannot have {} shards", root.shard_count)));
        }
        Ok(Self {
            header: root.header.ok_or_else(|| missing("header"))?.try_into()?,
            shard_count: root.shard_count,
            members: members.map(|member| member.map(|member| (member.broker.id, member))).collect::<Result<_, _>>()?,
            next_producer_id: ProducerId::new(root.next_producer_id),
            feature_level: root.feature_level,
            broker_defaults: root.broker_defaults,
            broker_configs: configs.collect(),
            retired: runs(root.retired),
            min_insync_replicas: root.min_insync_replicas,
        })
    }
}

impl From<&Member> for pb::Member {
    fn from(member: &Member) -> Self {
        let broker = &member.broker;
        Self {
            id: broker.id.get(),
            incarnation: broker.incarnation.get(),
            directory_id: broker.directory.to_bytes().to_vec(),
            rack: broker.rack.clone(),
            endpoints: endpoints_to(&broker.endpoints),
            fenced: broker.fenced,
            admitted_from: member.admitted_from.map(Incarnation::get),
            feature_min: member.features.min,
            feature_max: member.features.max,
            synced: member.synced.get(),
        }
    }
}

impl TryFrom<pb::Member> for Member {
    type Error = DecodeError;

    fn try_from(member: pb::Member) -> Result<Self, DecodeError> {
        let broker = Broker {
            id: BrokerId::new(member.id),
            incarnation: Incarnation::new(member.incarnation),
            directory: DirectoryId::from_bytes(sixteen(&member.directory_id, "a directory id")?),
            rack: member.rack,
            endpoints: endpoints_from(member.endpoints)?,
            fenced: member.fenced,
        };
        // The first Ottla did not say; it could run at level 1.
        let features = FeatureRange { min: member.feature_min.max(1), max: member.feature_max.max(1) };
        let admitted_from = member.admitted_from.map(Incarnation::new);
        Ok(Self { broker, admitted_from, features, synced: Lsn::new(member.synced) })
    }
}

impl From<&Shard> for pb::TopicShard {
    fn from(shard: &Shard) -> Self {
        let tombstone = |(id, tombstone): (&TopicId, &Tombstone)| pb::Tombstone {
            topic_id: id.to_bytes().to_vec(),
            name: tombstone.name.clone(),
            holders: tombstone.holders.iter().map(|id| id.get()).collect(),
        };
        Self {
            header: Some((&shard.header).into()),
            index: shard.index,
            topics: shard.topics.values().map(|topic| (&**topic).into()).collect(),
            tombstones: shard.tombstones.iter().map(tombstone).collect(),
            runs: shard.runs.iter().map(|(broker, run)| (broker.get(), run.get())).collect(),
        }
    }
}

impl TryFrom<pb::TopicShard> for Shard {
    type Error = DecodeError;

    fn try_from(shard: pb::TopicShard) -> Result<Self, DecodeError> {
        let topic = |topic: pb::Topic| Topic::try_from(topic).map(|topic| (topic.name.clone(), Arc::new(topic)));
        let tombstone = |tombstone: pb::Tombstone| {
            let id = TopicId::from_bytes(sixteen(&tombstone.topic_id, "a deleted topic's id")?);
            let holders = brokers(tombstone.holders).into_iter().collect();
            Ok((id, Tombstone { name: tombstone.name, holders }))
        };
        Ok(Self {
            header: shard.header.ok_or_else(|| missing("header"))?.try_into()?,
            index: shard.index,
            topics: shard.topics.into_iter().map(topic).collect::<Result<_, DecodeError>>()?,
            tombstones: shard.tombstones.into_iter().map(tombstone).collect::<Result<_, DecodeError>>()?,
            runs: runs(shard.runs),
        })
    }
}

impl From<&Partition> for pb::Partition {
    fn from(partition: &Partition) -> Self {
        let moving = partition.reassignment.as_ref();
        Self {
            leader: partition.leader.map(BrokerId::get),
            leader_epoch: partition.leader_epoch.get(),
            partition_epoch: partition.partition_epoch.get(),
            replicas: numbers(&partition.replicas),
            isr: numbers(&partition.isr),
            elr: numbers(&partition.elr),
            last_known_elr: numbers(&partition.last_known_elr),
            leaving: numbers(&partition.leaving),
            reassignment: moving
                .map(|moving| pb::Reassignment { origin: numbers(&moving.origin), target: numbers(&moving.target) }),
        }
    }
}

impl From<pb::Partition> for Partition {
    fn from(partition: pb::Partition) -> Self {
        Self {
            leader: partition.leader.map(BrokerId::new),
            leader_epoch: LeaderEpoch::new(partition.leader_epoch),
            partition_epoch: PartitionEpoch::new(partition.partition_epoch),
            replicas: brokers(partition.replicas),
            isr: brokers(partition.isr),
            elr: brokers(partition.elr),
            last_known_elr: brokers(partition.last_known_elr),
            leaving: brokers(partition.leaving),
            reassignment: partition
                .reassignment
                .map(|moving| Reassignment { origin: brokers(moving.origin), target: brokers(moving.target) }),
        }
    }
}

impl From<&Topic> for pb::Topic {
    fn from(topic: &Topic) -> Self {
        Self {
            name: topic.name.clone(),
            id: topic.id.to_bytes().to_vec(),
            partitions: topic.partitions.iter().map(Into::into).collect(),
            config: topic.config.clone(),
        }
    }
}

impl TryFrom<pb::Topic> for Topic {
    type Error = DecodeError;

    fn try_from(topic: pb::Topic) -> Result<Self, DecodeError> {
        if topic.name.is_empty() {
            return Err(missing("name of a topic"));
        }
        Ok(Self {
            internal: is_internal(&topic.name),
            id: TopicId::from_bytes(sixteen(&topic.id, "a topic id")?),
            partitions: topic.partitions.into_iter().map(Into::into).collect(),
            config: topic.config,
            name: topic.name,
        })
    }
}
