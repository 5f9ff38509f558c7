//! Which partition of `__consumer_offsets` holds a group, and who leads it.
//!
//! Owns Kafka's hash. It reads the image in force and waits for nothing.

use std::sync::Arc;

use ottla_core::group::{Error, GroupId};
use ottla_core::metadata::{Image, Topic};
use ottla_core::types::{BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicPartition};

use crate::metadata::MetadataCell;
use crate::partitions::{Partitions, Replica};

/// The topic whose records are the groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A broker that coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// Which.
    pub broker: BrokerId,
}

/// A partition of `__consumer_offsets` that this broker leads, in one term of its leadership.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) topic: TopicId,
    pub(super) index: PartitionIndex,
    pub(super) epoch: LeaderEpoch,
    pub(super) replica: Arc<Replica>,
}

impl Home {
    /// Which of `owners` owners it belongs to.
    pub(super) fn owner(&self, owners: usize) -> usize {
        usize::try_from(self.index.get()).unwrap_or(0) % owners.max(1)
    }

    /// Whether both are the same term of the same partition.
    pub(super) fn is_same_term(&self, other: &Self) -> bool {
        self.topic == other.topic && self.epoch == other.epoch
    }
}

pub(super) struct Places {
    me: BrokerId,
    metadata: Arc<MetadataCell>,
    partitions: Arc<Partitions>,
}

impl Places {
    pub(super) fn new(me: BrokerId, metadata: Arc<MetadataCell>, partitions: Arc<Partitions>) -> Self {
        Self { me, metadata, partitions }
    }

    pub(super) fn me(&self) -> BrokerId {
        self.me
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    pub(super) fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// The leader of the group's partition; `None` if there is no `__consumer_offsets` yet.
    pub(super) fn coordinator(&self, group: &GroupId) -> Option<Result<Coordinator, Error>> {
        let image = self.image();
        let topic = image.topic(OFFSETS_TOPIC)?;
        let leader = partition_of(group, topic.partitions.len()).and_then(|index| topic.partition(index)?.leader);
        Some(leader.map(|broker| Coordinator { broker }).ok_or(Error::CoordinatorNotAvailable))
    }

    /// The group's partition, if this broker leads it.
    pub(super) fn home(&self, group: &GroupId) -> Result<Home, Error> {
        let image = self.image();
        let topic = image.topic(OFFSETS_TOPIC).ok_or(Error::NotCoordinator)?;
        let index = partition_of(group, topic.partitions.len()).ok_or(Error::NotCoordinator)?;
        let home = self.home_at(topic, index).ok_or(Error::NotCoordinator)?;
        // A coordinator that nobody confirms may have been deposed (R13).
        let confirmed = home.replica.is_alone() || home.replica.admit_fetch().is_ok();
        if confirmed { Ok(home) } else { Err(Error::NotCoordinator) }
    }

    /// Every partition of `__consumer_offsets` that this broker leads.
    pub(super) fn homes(&self) -> Vec<Home> {
        let image = self.image();
        let Some(topic) = image.topic(OFFSETS_TOPIC) else { return Vec::new() };
        topic.indexed().filter_map(|(index, _)| self.home_at(topic, index)).collect()
    }

    fn home_at(&self, topic: &Topic, index: PartitionIndex) -> Option<Home> {
        let partition = topic.partition(index)?;
        if partition.leader != Some(self.me) {
            return None;
        }
        let replica = self.partitions.get(TopicPartition::new(topic.id, index))?;
        Some(Home { topic: topic.id, index, epoch: partition.leader_epoch, replica })
    }
}

/// Kafka's rule: the absolute value of Java's `String.hashCode`, modulo the number of partitions.
fn partition_of(group: &GroupId, partitions: usize) -> Option<PartitionIndex> {
    let partitions = i32::try_from(partitions).ok().filter(|count| *count > 0)?;
    let hash =
        group.as_str().encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    Some(PartitionIndex::new(hash.checked_abs().unwrap_or(0) % partitions))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `"…".hashCode()` is in Java.
    #[test]
    fn groups_live_where_kafka_puts_them() {
        let cases = [
            ("", 0, 0),
            ("a", 97, 47),
            ("test", 3_556_498, 48),
            ("console-consumer-12345", 158_455_506, 6),
            // Java's smallest integer has no absolute value; Kafka takes 0.
            ("polygenelubricants", i32::MIN, 0),
            // Two UTF-16 units.
            ("𝄞", 1_772_394, 44),
        ];
        for (group, hash, expected) in cases {
            let index = partition_of(&GroupId::from(group), 50).unwrap();
            assert_eq!(index.get(), expected, "{group:?} hashes to {hash}");
        }
        assert_eq!(partition_of(&"g".into(), 0), None);
    }
}
