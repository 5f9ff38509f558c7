//! Between the requests that brokers have, of their own and for people, and the generated types.

use ottla_core::controller::{FeatureRange, IsrChange, Leadership, NewTopic, Registration, Request};
use ottla_core::types::{
    BrokerId, ClusterId, Incarnation, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition,
};

use super::DecodeError;
use super::admin::{self, each};
use super::convert::{sixteen, standing_from, standing_to};
use super::pb::{self, ask::Request as Kind};
use crate::convert::{brokers, endpoints_from, endpoints_to, numbers};

impl From<&Request> for Kind {
    fn from(request: &Request) -> Self {
        match request {
            Request::Register(registration) => Self::Register(registration.into()),
            Request::Admit { broker, incarnation, endpoints } => Self::Admit(pb::Admit {
                broker: broker.get(),
                incarnation: incarnation.get(),
                endpoints: endpoints.as_ref().map(endpoints_to).unwrap_or_default(),
            }),
            Request::ReplicasDeleted { broker, topics, partitions } => Self::ReplicasDeleted(pb::ReplicasDeleted {
                broker: broker.get(),
                topic_ids: topics.iter().map(|id| id.to_bytes().to_vec()).collect(),
                partitions: partitions.iter().map(moved_to).collect(),
            }),
            Request::AlterPartitions { broker, incarnation, changes } => Self::AlterPartitions(pb::AlterPartitions {
                run: Some(run(*broker, *incarnation)),
                changes: changes.iter().map(Into::into).collect(),
            }),
            Request::HandOver { broker, incarnation, leaderships: which } => {
                Self::HandOver(leaderships(*broker, *incarnation, which))
            }
            Request::RenewTerms { broker, incarnation, leaderships: which } => {
                Self::RenewTerms(leaderships(*broker, *incarnation, which))
            }
            Request::ReplicasLost { broker, incarnation, partitions } => Self::ReplicasLost(pb::ReplicasLost {
                run: Some(run(*broker, *incarnation)),
                partitions: partitions.iter().map(Into::into).collect(),
            }),
            Request::PrepareStop { broker, incarnation } => Self::PrepareStop(run(*broker, *incarnation)),
            Request::AllocateProducerIds => Self::AllocateProducerIds(pb::AllocateProducerIds {}),
            Request::CreateTopics { topics, validate_only } => Self::CreateTopics(pb::CreateTopics {
                topics: topics.iter().map(Into::into).collect(),
                validate_only: *validate_only,
            }),
            Request::DeleteTopics { topics } => Self::DeleteTopics(admin::delete_topics_to(topics)),
            Request::CreatePartitions { topics, validate_only } => {
                Self::CreatePartitions(admin::create_partitions_to(topics, *validate_only))
            }
            Request::AlterConfigs { resources, validate_only } => {
                Self::AlterConfigs(admin::alter_configs_to(resources, *validate_only))
            }
            Request::ElectLeaders { kind, partitions } => {
                Self::ElectLeaders(admin::elect_leaders_to(*kind, partitions.as_deref()))
            }
            Request::Reassign { moves, may_change_factor } => {
                Self::Reassign(admin::reassign_to(moves, *may_change_factor))
            }
            Request::ListReassignments { partitions } => {
                Self::ListReassignments(admin::list_reassignments_to(partitions.as_deref()))
            }
            Request::Unregister { broker } => Self::Unregister(pb::Unregister { broker: broker.get() }),
        }
    }
}

impl TryFrom<Kind> for Request {
    type Error = DecodeError;

    fn try_from(request: Kind) -> Result<Self, DecodeError> {
        Ok(match request {
            Kind::Register(register) => Self::Register(register.try_into()?),
            Kind::Admit(admit) => Self::Admit {
                broker: BrokerId::new(admit.broker),
                incarnation: Incarnation::new(admit.incarnation),
                // Nobody is reached nowhere.
                endpoints: Some(endpoints_from(admit.endpoints)?).filter(|endpoints| !endpoints.is_empty()),
            },
            Kind::ReplicasDeleted(deleted) => Self::ReplicasDeleted {
                broker: BrokerId::new(deleted.broker),
                topics: each(deleted.topic_ids, |id| Ok(TopicId::from_bytes(sixteen(&id, "a topic id")?)))?,
                partitions: each(deleted.partitions, moved_from)?,
            },
            Kind::AlterPartitions(alter) => {
                let (broker, incarnation) = asker(alter.run)?;
                Self::AlterPartitions { broker, incarnation, changes: each(alter.changes, IsrChange::try_from)? }
            }
            Kind::HandOver(which) => {
                let (broker, incarnation) = asker(which.run)?;
                Self::HandOver { broker, incarnation, leaderships: each(which.leaderships, Leadership::try_from)? }
            }
            Kind::RenewTerms(which) => {
                let (broker, incarnation) = asker(which.run)?;
                Self::RenewTerms { broker, incarnation, leaderships: each(which.leaderships, Leadership::try_from)? }
            }
            Kind::ReplicasLost(lost) => {
                let (broker, incarnation) = asker(lost.run)?;
                Self::ReplicasLost { broker, incarnation, partitions: each(lost.partitions, TopicPartition::try_from)? }
            }
            Kind::PrepareStop(run) => {
                Self::PrepareStop { broker: BrokerId::new(run.broker), incarnation: Incarnation::new(run.incarnation) }
            }
            Kind::AllocateProducerIds(pb::AllocateProducerIds {}) => Self::AllocateProducerIds,
            Kind::CreateTopics(create) => Self::CreateTopics {
                topics: each(create.topics, NewTopic::try_from)?,
                validate_only: create.validate_only,
            },
            Kind::DeleteTopics(delete) => Self::DeleteTopics { topics: admin::delete_topics_from(delete)? },
            Kind::CreatePartitions(create) => Self::CreatePartitions {
                topics: create.topics.into_iter().map(Into::into).collect(),
                validate_only: create.validate_only,
            },
            Kind::AlterConfigs(alter) => Self::AlterConfigs {
                resources: each(alter.resources, admin::config_change_from)?,
                validate_only: alter.validate_only,
            },
            Kind::ElectLeaders(elect) => {
                let (kind, partitions) = admin::elect_leaders_from(elect)?;
                Self::ElectLeaders { kind, partitions }
            }
            Kind::Reassign(reassign) => Self::Reassign {
                moves: each(reassign.moves, admin::move_from)?,
                may_change_factor: reassign.may_change_factor,
            },
            Kind::ListReassignments(list) => {
                Self::ListReassignments { partitions: admin::list_reassignments_from(list) }
            }
            Kind::Unregister(pb::Unregister { broker }) => Self::Unregister { broker: BrokerId::new(broker) },
        })
    }
}

fn run(broker: BrokerId, incarnation: Incarnation) -> pb::Run {
    pb::Run { broker: broker.get(), incarnation: incarnation.get() }
}

fn asker(run: Option<pb::Run>) -> Result<(BrokerId, Incarnation), DecodeError> {
    let run = run.ok_or(DecodeError::Missing("asker"))?;
    Ok((BrokerId::new(run.broker), Incarnation::new(run.incarnation)))
}

fn leaderships(broker: BrokerId, incarnation: Incarnation, which: &[Leadership]) -> pb::Leaderships {
    let leadership = |leadership: &Leadership| pb::Leadership {
        partition: Some((&leadership.partition).into()),
        leader_epoch: leadership.leader_epoch.get(),
    };
    pb::Leaderships { run: Some(run(broker, incarnation)), leaderships: which.iter().map(leadership).collect() }
}

impl From<&TopicPartition> for pb::TopicPartition {
    fn from(partition: &TopicPartition) -> Self {
        Self { topic_id: partition.topic.to_bytes().to_vec(), partition: partition.partition.get() }
    }
}

impl TryFrom<pb::TopicPartition> for TopicPartition {
    type Error = DecodeError;

    fn try_from(partition: pb::TopicPartition) -> Result<Self, DecodeError> {
        let topic = TopicId::from_bytes(sixteen(&partition.topic_id, "a topic id")?);
        Ok(Self::new(topic, PartitionIndex::new(partition.partition)))
    }
}

fn partition(partition: Option<pb::TopicPartition>) -> Result<TopicPartition, DecodeError> {
    partition.ok_or(DecodeError::Missing("partition"))?.try_into()
}

fn moved_to((partition, version): &(TopicPartition, PartitionEpoch)) -> pb::MovedPartition {
    pb::MovedPartition { partition: Some(partition.into()), partition_epoch: version.get() }
}

fn moved_from(moved: pb::MovedPartition) -> Result<(TopicPartition, PartitionEpoch), DecodeError> {
    Ok((partition(moved.partition)?, PartitionEpoch::new(moved.partition_epoch)))
}

impl TryFrom<pb::Leadership> for Leadership {
    type Error = DecodeError;

    fn try_from(leadership: pb::Leadership) -> Result<Self, DecodeError> {
        let leader_epoch = LeaderEpoch::new(leadership.leader_epoch);
        Ok(Self { partition: partition(leadership.partition)?, leader_epoch })
    }
}

impl From<&IsrChange> for pb::IsrChange {
    fn from(change: &IsrChange) -> Self {
        Self {
            partition: Some((&change.partition).into()),
            leader_epoch: change.leader_epoch.get(),
            partition_epoch: change.partition_epoch.get(),
            isr: change.isr.iter().map(|(broker, incarnation)| run(*broker, *incarnation)).collect(),
        }
    }
}

impl TryFrom<pb::IsrChange> for IsrChange {
    type Error = DecodeError;

    fn try_from(change: pb::IsrChange) -> Result<Self, DecodeError> {
        let member = |run: pb::Run| (BrokerId::new(run.broker), Incarnation::new(run.incarnation));
        Ok(Self {
            partition: partition(change.partition)?,
            leader_epoch: LeaderEpoch::new(change.leader_epoch),
            partition_epoch: PartitionEpoch::new(change.partition_epoch),
            isr: change.isr.into_iter().map(member).collect(),
        })
    }
}

impl From<&Registration> for pb::Register {
    fn from(registration: &Registration) -> Self {
        Self {
            broker: registration.broker.get(),
            cluster_id: registration.cluster.to_bytes().to_vec(),
            standing: Some(standing_to(&registration.standing)),
            rack: registration.rack.clone(),
            endpoints: endpoints_to(&registration.endpoints),
            feature_min: registration.features.min,
            feature_max: registration.features.max,
            unclean_stop: registration.unclean_stop,
            suspect: registration.suspect.iter().map(Into::into).collect(),
            unflushed: registration.unflushed.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Register> for Registration {
    type Error = DecodeError;

    fn try_from(register: pb::Register) -> Result<Self, DecodeError> {
        Ok(Self {
            broker: BrokerId::new(register.broker),
            cluster: ClusterId::from_bytes(sixteen(&register.cluster_id, "a cluster id")?),
            standing: standing_from(register.standing)?,
            rack: register.rack,
            endpoints: endpoints_from(register.endpoints)?,
            features: FeatureRange { min: register.feature_min, max: register.feature_max },
            unclean_stop: register.unclean_stop,
            unflushed: each(register.unflushed, TopicPartition::try_from)?,
            suspect: each(register.suspect, TopicPartition::try_from)?,
        })
    }
}

impl From<&NewTopic> for pb::NewTopic {
    fn from(topic: &NewTopic) -> Self {
        let assignment = |(partition, brokers): &(PartitionIndex, Vec<BrokerId>)| pb::Assignment {
            partition: partition.get(),
            brokers: numbers(brokers),
        };
        Self {
            name: topic.name.clone(),
            id: topic.id.to_bytes().to_vec(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor.map(i32::from),
            assignments: topic.assignments.iter().map(assignment).collect(),
            config: topic.config.clone(),
        }
    }
}

impl TryFrom<pb::NewTopic> for NewTopic {
    type Error = DecodeError;

    fn try_from(topic: pb::NewTopic) -> Result<Self, DecodeError> {
        let factor = |got: i32| {
            i16::try_from(got).map_err(|_| DecodeError::Range { what: "a replication factor", got: got.into() })
        };
        let assignments = topic.assignments.into_iter();
        let assignments =
            assignments.map(|assigned| (PartitionIndex::new(assigned.partition), brokers(assigned.brokers)));
        Ok(Self {
            name: topic.name,
            id: TopicId::from_bytes(sixteen(&topic.id, "a topic id")?),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor.map(factor).transpose()?,
            assignments: assignments.collect(),
            config: topic.config,
        })
    }
}
