//! Between what people ask the controller for, whichever broker they ask, and the generated types.

use ottla_core::config::Alteration;
use ottla_core::controller::{ConfigChange, ConfigTarget, ElectionKind, Growth, Move, NamedPartition, TopicRef};
use ottla_core::types::{BrokerId, PartitionIndex, TopicId};

use super::DecodeError;
use super::convert::sixteen;
use super::pb;
use crate::convert::{brokers, numbers};

mod answer;

pub(super) use answer::{
    all_done_from, all_done_to, deleted_from, deleted_to, elections_from, elections_to, reassignments_from,
    reassignments_to,
};

pub(super) fn each<T, U>(
    items: Vec<T>,
    convert: impl FnMut(T) -> Result<U, DecodeError>,
) -> Result<Vec<U>, DecodeError> {
    items.into_iter().map(convert).collect()
}

impl From<&NamedPartition> for pb::NamedPartition {
    fn from(named: &NamedPartition) -> Self {
        Self { topic: named.topic.clone(), partition: named.partition.get() }
    }
}

impl From<pb::NamedPartition> for NamedPartition {
    fn from(named: pb::NamedPartition) -> Self {
        Self { topic: named.topic, partition: PartitionIndex::new(named.partition) }
    }
}

fn named(partition: Option<pb::NamedPartition>) -> Result<NamedPartition, DecodeError> {
    Ok(partition.ok_or(DecodeError::Missing("partition"))?.into())
}

fn partitions_to(partitions: Option<&[NamedPartition]>) -> Option<pb::NamedPartitions> {
    partitions.map(|named| pb::NamedPartitions { partitions: named.iter().map(Into::into).collect() })
}

fn partitions_from(partitions: Option<pb::NamedPartitions>) -> Option<Vec<NamedPartition>> {
    partitions.map(|named| named.partitions.into_iter().map(Into::into).collect())
}

fn list_to(ids: &[BrokerId]) -> pb::BrokerList {
    pb::BrokerList { brokers: numbers(ids) }
}

fn list_from(list: pb::BrokerList) -> Vec<BrokerId> {
    brokers(list.brokers)
}

pub(super) fn delete_topics_to(topics: &[TopicRef]) -> pb::DeleteTopics {
    let topic = |topic: &TopicRef| match topic {
        TopicRef::Name(name) => pb::topic_ref::Topic::Name(name.clone()),
        TopicRef::Id(id) => pb::topic_ref::Topic::Id(id.to_bytes().to_vec()),
    };
    pb::DeleteTopics { topics: topics.iter().map(|named| pb::TopicRef { topic: Some(topic(named)) }).collect() }
}

pub(super) fn delete_topics_from(delete: pb::DeleteTopics) -> Result<Vec<TopicRef>, DecodeError> {
    each(delete.topics, |topic| {
        Ok(match topic.topic.ok_or(DecodeError::UnknownKind("a topic"))? {
            pb::topic_ref::Topic::Name(name) => TopicRef::Name(name),
            pb::topic_ref::Topic::Id(id) => TopicRef::Id(TopicId::from_bytes(sixteen(&id, "a topic id")?)),
        })
    })
}

pub(super) fn create_partitions_to(topics: &[Growth], validate_only: bool) -> pb::CreatePartitions {
    let lists = |lists: &Vec<Vec<BrokerId>>| pb::BrokerLists { lists: lists.iter().map(|ids| list_to(ids)).collect() };
    let growth = |growth: &Growth| pb::Growth {
        topic: growth.topic.clone(),
        count: growth.count,
        assignments: growth.assignments.as_ref().map(lists),
    };
    pb::CreatePartitions { topics: topics.iter().map(growth).collect(), validate_only }
}

impl From<pb::Growth> for Growth {
    fn from(growth: pb::Growth) -> Self {
        let lists = |lists: pb::BrokerLists| lists.lists.into_iter().map(list_from).collect();
        Self { topic: growth.topic, count: growth.count, assignments: growth.assignments.map(lists) }
    }
}

pub(super) fn alter_configs_to(resources: &[(ConfigTarget, ConfigChange)], validate_only: bool) -> pb::AlterConfigs {
    let resource = |(target, change): &(ConfigTarget, ConfigChange)| pb::ConfigChange {
        target: Some(match target {
            ConfigTarget::Topic(name) => pb::config_change::Target::Topic(name.clone()),
            ConfigTarget::Broker(id) => pb::config_change::Target::Broker(id.get()),
            ConfigTarget::AllBrokers => pb::config_change::Target::AllBrokers(pb::AllBrokers {}),
        }),
        change: Some(match change {
            ConfigChange::Replace(values) => pb::config_change::Change::Replace(pb::Config { values: values.clone() }),
            ConfigChange::Alter(changes) => pb::config_change::Change::Alter(pb::Alterations {
                alterations: changes.iter().map(|(key, how)| alteration_to(key, how)).collect(),
            }),
        }),
    };
    pb::AlterConfigs { resources: resources.iter().map(resource).collect(), validate_only }
}

fn alteration_to(key: &str, how: &Alteration) -> pb::Alteration {
    let how = match how {
        Alteration::Set(value) => pb::alteration::How::Set(value.clone()),
        Alteration::Delete => pb::alteration::How::Delete(pb::Deleted {}),
        Alteration::Append(words) => pb::alteration::How::Append(words.clone()),
        Alteration::Subtract(words) => pb::alteration::How::Subtract(words.clone()),
    };
    pb::Alteration { key: key.to_owned(), how: Some(how) }
}

fn alteration_from(alteration: pb::Alteration) -> Result<(String, Alteration), DecodeError> {
    let how = match alteration.how.ok_or(DecodeError::UnknownKind("an alteration"))? {
        pb::alteration::How::Set(value) => Alteration::Set(value),
        pb::alteration::How::Delete(pb::Deleted {}) => Alteration::Delete,
        pb::alteration::How::Append(words) => Alteration::Append(words),
        pb::alteration::How::Subtract(words) => Alteration::Subtract(words),
    };
    Ok((alteration.key, how))
}

pub(super) fn config_change_from(resource: pb::ConfigChange) -> Result<(ConfigTarget, ConfigChange), DecodeError> {
    let target = match resource.target.ok_or(DecodeError::UnknownKind("a target of configs"))? {
        pb::config_change::Target::Topic(name) => ConfigTarget::Topic(name),
        pb::config_change::Target::Broker(id) => ConfigTarget::Broker(BrokerId::new(id)),
        pb::config_change::Target::AllBrokers(pb::AllBrokers {}) => ConfigTarget::AllBrokers,
    };
    let change = match resource.change.ok_or(DecodeError::UnknownKind("a change of configs"))? {
        pb::config_change::Change::Replace(config) => ConfigChange::Replace(config.values),
        pb::config_change::Change::Alter(changes) => ConfigChange::Alter(each(changes.alterations, alteration_from)?),
    };
    Ok((target, change))
}

pub(super) fn elect_leaders_to(kind: ElectionKind, partitions: Option<&[NamedPartition]>) -> pb::ElectLeaders {
    let kind = match kind {
        ElectionKind::Preferred => pb::ElectionKind::Preferred,
        ElectionKind::Unclean => pb::ElectionKind::Unclean,
    };
    pb::ElectLeaders { kind: kind.into(), partitions: partitions_to(partitions) }
}

pub(super) fn elect_leaders_from(
    elect: pb::ElectLeaders,
) -> Result<(ElectionKind, Option<Vec<NamedPartition>>), DecodeError> {
    let kind = match pb::ElectionKind::try_from(elect.kind) {
        Ok(pb::ElectionKind::Preferred) => ElectionKind::Preferred,
        Ok(pb::ElectionKind::Unclean) => ElectionKind::Unclean,
        Ok(pb::ElectionKind::Unspecified) | Err(_) => return Err(DecodeError::UnknownKind("an election")),
    };
    Ok((kind, partitions_from(elect.partitions)))
}

pub(super) fn reassign_to(moves: &[Move], may_change_factor: bool) -> pb::Reassign {
    let one = |wanted: &Move| pb::Move {
        partition: Some((&wanted.partition).into()),
        target: wanted.target.as_deref().map(list_to),
    };
    pb::Reassign { moves: moves.iter().map(one).collect(), may_change_factor }
}

pub(super) fn move_from(wanted: pb::Move) -> Result<Move, DecodeError> {
    Ok(Move { partition: named(wanted.partition)?, target: wanted.target.map(list_from) })
}

pub(super) fn list_reassignments_to(partitions: Option<&[NamedPartition]>) -> pb::ListReassignments {
    pb::ListReassignments { partitions: partitions_to(partitions) }
}

pub(super) fn list_reassignments_from(list: pb::ListReassignments) -> Option<Vec<NamedPartition>> {
    partitions_from(list.partitions)
}
