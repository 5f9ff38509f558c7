//! Creating and deleting topics.
//!
//! A deleted topic leaves a tombstone with its id, for which brokers delete their replicas; it goes when all of them
//! said that they did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{
    CreateTopicError, DeleteTopicError, InvalidAssignment, InvalidPartitions, InvalidReplicationFactor, InvalidRequest,
    TooManyPartitions,
};
use super::{Machine, NewTopic, PARTITIONS_PER_REQUEST_MAX, TopicRef, Work, placement};
use crate::config::{self, broker};
use crate::metadata::{Broker, Partition, Tombstone, Topic};
use crate::topic_name::{self, InvalidName};
use crate::types::{BrokerId, TopicId};

impl Machine {
    pub(super) fn create_topics(
        &mut self,
        work: &mut Work,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Vec<Result<Arc<Topic>, CreateTopicError>> {
        let twice = twice(topics.iter().map(|topic| &topic.name));
        let brokers = self.registered(work);
        let mut made = 0;
        let create = |topic: NewTopic| {
            if twice.contains(&topic.name) {
                return Err(InvalidRequest::Duplicate(format!("topic '{}'", topic.name)).into());
            }
            let topic = Arc::new(self.check_new_topic(work, &brokers, topic, &mut made)?);
            if !validate_only {
                let shard = self.shard_of(&topic.name);
                self.shard_for(work, shard).topics.insert(topic.name.clone(), topic.clone());
                self.name_runs(work, shard, topic.partitions.iter().flat_map(|partition| partition.replicas.clone()));
            }
            Ok(topic)
        };
        topics.into_iter().map(create).collect()
    }

    fn check_new_topic(
        &self,
        work: &mut Work,
        brokers: &BTreeMap<BrokerId, Broker>,
        new: NewTopic,
        made: &mut usize,
    ) -> Result<Topic, CreateTopicError> {
        topic_name::check(&new.name)?;
        if topic_name::is_reserved(&new.name) {
            return Err(InvalidRequest::Internal { operation: "creation", topic: new.name }.into());
        }
        if self.latest_topic(work, &new.name).is_some() {
            return Err(CreateTopicError::Exists(new.name));
        }
        if let Some(other) = self.colliding(work, &new.name) {
            return Err(InvalidName::Collision { name: new.name, other }.into());
        }
        let internal = topic_name::is_internal(&new.name);
        config::check_topic(&new.config, &self.broker, internal)?;
        let assigned = self.place_new_topic(brokers, &new, made)?;
        let partitions = assigned.into_iter().map(|replicas| placement::new_partition(brokers, replicas)).collect();
        Ok(Topic { name: new.name, id: new.id, partitions, config: new.config, internal })
    }

    /// A topic that metrics could not tell from `name`.
    fn colliding(&self, work: &mut Work, name: &str) -> Option<String> {
        if !topic_name::can_collide(name) {
            return None;
        }
        // It may be in any shard: its name is another one.
        let committed = self.image.topics().keys().find(|other| topic_name::collide(other, name)).cloned();
        let fresh = || {
            let latest = self.shards.iter().filter_map(|slot| Some((slot.latest()?, slot.committed()?)));
            let changed = latest.filter(|(latest, committed)| !Arc::ptr_eq(latest, committed));
            let mut names = changed.flat_map(|(latest, _)| latest.topics.keys());
            names.find(|other| topic_name::collide(other, name)).cloned()
        };
        let other = committed.or_else(fresh)?;
        // It may have been deleted since it was committed.
        self.latest_topic(work, &other).map(|topic| topic.name.clone())
    }

    fn place_new_topic(
        &self,
        brokers: &BTreeMap<BrokerId, Broker>,
        new: &NewTopic,
        made: &mut usize,
    ) -> Result<Vec<Vec<BrokerId>>, CreateTopicError> {
        if !new.assignments.is_empty() {
            if new.partitions.is_some() {
                return Err(InvalidRequest::CountAndAssignment("the number of partitions").into());
            }
            if new.replication_factor.is_some() {
                return Err(InvalidRequest::CountAndAssignment("the replication factor").into());
            }
            let assigned = placement::in_order(&new.assignments)?;
            admit(made, assigned.len())?;
            check_assignments(brokers, &assigned, None)?;
            return Ok(assigned);
        }
        let count = new.partitions.unwrap_or_else(|| self.broker.int(&broker::NUM_PARTITIONS));
        let count = positive(count).ok_or(InvalidPartitions::NotPositive(count))?;
        let factor = new.replication_factor.unwrap_or_else(|| self.default_replicas(&new.name, brokers.len()));
        let replicas = positive(i32::from(factor)).ok_or(InvalidReplicationFactor::NotPositive(factor))?;
        admit(made, count)?;
        Ok(placement::spread(brokers, 0, count, replicas, seed(new.id))?)
    }

    /// How many replicas a topic gets when nobody says; internal ones begin with as many as there can be.
    fn default_replicas(&self, name: &str, registered: usize) -> i16 {
        let configured = |key| i16::try_from(self.broker.int(key)).unwrap_or(i16::MAX);
        if !topic_name::is_internal(name) {
            return configured(&broker::DEFAULT_REPLICATION_FACTOR);
        }
        let possible = i16::try_from(registered).unwrap_or(i16::MAX);
        configured(&broker::OFFSETS_TOPIC_REPLICATION_FACTOR).min(possible).max(1)
    }

    pub(super) fn delete_topics(
        &mut self,
        work: &mut Work,
        topics: &[TopicRef],
    ) -> Vec<Result<(String, TopicId), DeleteTopicError>> {
        let enabled = self.broker.boolean(&broker::DELETE_TOPIC_ENABLE);
        let mut seen = BTreeSet::new();
        let mut delete = |topic: &TopicRef| {
            if !enabled {
                return Err(DeleteTopicError::Disabled);
            }
            let topic = self.find_topic(work, topic)?;
            if !seen.insert(topic.id) {
                return Err(InvalidRequest::Duplicate(format!("topic '{}'", topic.name)).into());
            }
            if topic.internal {
                return Err(InvalidRequest::Internal { operation: "deletion", topic: topic.name.clone() }.into());
            }
            // Whoever still has to delete a replica that moved away would otherwise never hear of the deletion.
            let holding = |partition: &Partition| [&partition.replicas[..], &partition.leaving].concat();
            let holders = topic.partitions.iter().flat_map(holding).collect();
            let shard = self.shard_of(&topic.name);
            let shard = self.shard_for(work, shard);
            shard.topics.remove(&topic.name);
            shard.tombstones.insert(topic.id, Tombstone { name: topic.name.clone(), holders });
            Ok((topic.name.clone(), topic.id))
        };
        topics.iter().map(&mut delete).collect()
    }

    /// The topic as everything under way will leave it.
    fn find_topic(&self, work: &mut Work, topic: &TopicRef) -> Result<Arc<Topic>, DeleteTopicError> {
        match topic {
            TopicRef::Name(name) => {
                let found = self.latest_topic(work, name).cloned();
                found.ok_or_else(|| DeleteTopicError::UnknownName(name.clone()))
            }
            TopicRef::Id(id) => {
                let committed = self.image.topic_by_id(*id).map(|topic| topic.name.clone());
                let found = committed.and_then(|name| self.latest_topic(work, &name).cloned());
                found.filter(|topic| topic.id == *id).ok_or(DeleteTopicError::UnknownId(*id))
            }
        }
    }

    pub(super) fn replicas_deleted(&mut self, work: &mut Work, broker: BrokerId, topics: &[TopicId]) {
        for id in topics {
            let Some(tombstone) = self.image.tombstones().get(id) else { continue };
            let shard = self.shard_of(&tombstone.name);
            if !self.latest_shard(work, shard).tombstones.contains_key(id) {
                continue;
            }
            let tombstones = &mut self.shard_for(work, shard).tombstones;
            if let Some(tombstone) = tombstones.get_mut(id) {
                tombstone.holders.remove(&broker);
                if tombstone.holders.is_empty() {
                    tombstones.remove(id);
                }
            }
        }
    }

    pub(super) fn registered(&self, work: &mut Work) -> BTreeMap<BrokerId, Broker> {
        self.latest_root(work).members.iter().map(|(id, member)| (*id, member.broker.clone())).collect()
    }
}

/// Counts partitions that a request makes.
pub(super) fn admit(made: &mut usize, count: usize) -> Result<(), TooManyPartitions> {
    let got = made.saturating_add(count);
    if got > PARTITIONS_PER_REQUEST_MAX {
        return Err(TooManyPartitions { got, max: PARTITIONS_PER_REQUEST_MAX });
    }
    *made = got;
    Ok(())
}

/// Checks assignments made by hand: all of them with `expected` replicas, or as many as the first.
pub(super) fn check_assignments(
    brokers: &BTreeMap<BrokerId, Broker>,
    assigned: &[Vec<BrokerId>],
    expected: Option<usize>,
) -> Result<(), InvalidAssignment> {
    let expected = expected.or_else(|| assigned.first().map(Vec::len));
    assigned.iter().try_for_each(|replicas| placement::check_assignment(brokers, replicas, expected))
}

/// The names that occur more than once.
pub(super) fn twice<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).cloned().collect()
}

/// A count of at least one.
pub(super) fn positive(count: i32) -> Option<usize> {
    usize::try_from(count).ok().filter(|&count| count > 0)
}

/// Where the leaders of a topic begin to take turns.
pub(super) fn seed(id: TopicId) -> u64 {
    let bytes = id.to_bytes();
    u64::from_be_bytes(*bytes.first_chunk().expect("sixteen bytes hold eight"))
}
