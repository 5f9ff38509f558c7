//! How whole a cluster is, and what would be missing without some of its brokers.
//!
//! Owns the counting, from one image. It decides nothing: whoever rolls brokers asks, and obeys (L1, L2).

use std::collections::{BTreeMap, BTreeSet};

use super::{Image, Partition, Topic};
use crate::types::{BrokerId, PartitionIndex};

/// How many partitions are named as examples.
const EXAMPLES: usize = 5;

/// How whole a cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Partitions of all topics.
    pub partitions: u64,
    /// Those of which a replica is not in sync.
    pub under_replicated: u64,
    /// Those that refuse acks=all.
    pub under_min_isr: u64,
    /// Those that nobody leads.
    pub offline: u64,
    /// What each broker has of them; who has nothing is not among them.
    pub brokers: BTreeMap<BrokerId, Share>,
}

/// What one broker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Replicas, those that are being moved to it or away from it included.
    pub replicas: u64,
    /// Partitions that it leads.
    pub leads: u64,
    /// Replicas that are not in sync.
    pub out_of_sync: u64,
}

/// What would be missing without some brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Partitions that would have fewer in-sync replicas than acks=all needs. None: they may stop.
    pub short: u64,
    /// A few of them.
    pub examples: Vec<(String, PartitionIndex)>,
    /// Partitions that cannot be spared the gap: they have no more replicas than acks=all needs, so every restart of
    /// every one of those is one. They keep nobody from stopping.
    pub unavoidable: u64,
}

impl Health {
    /// Counts; `min_insync` is what `min.insync.replicas` comes to for a topic.
    pub fn of(image: &Image, min_insync: impl Fn(&Topic) -> i32) -> Self {
        let mut health = Self::default();
        for topic in image.topics().values() {
            let minimum = min_insync(topic);
            topic.partitions.iter().for_each(|partition| health.count(partition, minimum));
        }
        health
    }

    fn count(&mut self, partition: &Partition, minimum: i32) {
        self.partitions += 1;
        self.offline += u64::from(partition.leader.is_none());
        self.under_replicated += u64::from(partition.isr.len() < partition.replicas.len());
        self.under_min_isr += u64::from(partition.isr.len() < partition.needed_in_sync(minimum));
        for id in partition.replicas.iter().chain(&partition.leaving) {
            let share = self.brokers.entry(*id).or_default();
            share.replicas += 1;
            share.leads += u64::from(partition.leader == Some(*id));
            share.out_of_sync += u64::from(!partition.isr.contains(id) && !partition.leaving.contains(id));
        }
    }
}

impl Without {
    /// What would be missing if all of these stopped together. A broker that is in sync nowhere is missed nowhere.
    pub fn of(image: &Image, stopping: &BTreeSet<BrokerId>, min_insync: impl Fn(&Topic) -> i32) -> Self {
        let mut without = Self::default();
        for topic in image.topics().values() {
            let minimum = min_insync(topic);
            for (index, partition) in topic.indexed() {
                without.count(topic, index, partition, (stopping, minimum));
            }
        }
        without
    }

    fn count(
        &mut self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &Partition,
        (stopping, minimum): (&BTreeSet<BrokerId>, i32),
    ) {
        let stays = partition.isr.iter().filter(|id| !stopping.contains(*id)).count();
        if stays == partition.isr.len() || stays >= partition.needed_in_sync(minimum) {
            return;
        }
        let replicas = i32::try_from(partition.replicas.len()).unwrap_or(i32::MAX);
        // One at a time is all that such a partition can ask for.
        if replicas <= minimum.max(1) && partition.isr.len() - stays == 1 {
            self.unavoidable += 1;
            return;
        }
        self.short += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push((topic.name.clone(), index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, TopicId};

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId::new).collect()
    }

    fn image(partitions: &[(&[i32], &[i32])]) -> Image {
        let one = |(replicas, isr): &(&[i32], &[i32])| Partition {
            leader: isr.first().copied().map(BrokerId::new),
            replicas: ids(replicas),
            isr: ids(isr),
            ..Partition::default()
        };
        Image::empty(ClusterId::from_bytes([1; 16])).with_topic(Topic {
            name: "orders".to_owned(),
            id: TopicId::from_bytes([2; 16]),
            partitions: partitions.iter().map(one).collect(),
            config: BTreeMap::new(),
            internal: false,
        })
    }

    fn without(image: &Image, stopping: &[i32], minimum: i32) -> (u64, u64) {
        let stopping = stopping.iter().copied().map(BrokerId::new).collect();
        let found = Without::of(image, &stopping, |_| minimum);
        assert_eq!(found.examples.len() as u64, found.short);
        (found.short, found.unavoidable)
    }

    #[test]
    fn whoever_is_needed_for_acks_of_all_may_not_stop() {
        let whole = image(&[(&[1, 2, 3], &[1, 2, 3]), (&[2, 3, 4], &[2, 3, 4])]);
        assert_eq!(without(&whole, &[1], 2), (0, 0));
        assert_eq!(without(&whole, &[1, 4], 2), (0, 0), "they share no partition");
        assert_eq!(without(&whole, &[2, 3], 2), (2, 0));
        let behind = image(&[(&[1, 2, 3], &[1, 2])]);
        assert_eq!(without(&behind, &[1], 2), (1, 0));
        assert_eq!(without(&behind, &[3], 2), (0, 0), "it is in sync nowhere");
        assert_eq!(without(&behind, &[1], 1), (0, 0));
    }

    #[test]
    fn partitions_without_a_spare_replica_keep_nobody_but_two_at_once() {
        let bare = image(&[(&[1], &[1]), (&[1, 2], &[1, 2])]);
        assert_eq!(without(&bare, &[1], 2), (0, 2));
        assert_eq!(without(&bare, &[1, 2], 2), (1, 1));
        assert_eq!(without(&bare, &[3], 2), (0, 0));
    }

    #[test]
    fn everything_is_counted_where_it_lies() {
        let found = Health::of(&image(&[(&[1, 2, 3], &[1, 2]), (&[2, 3], &[2]), (&[3], &[])]), |_| 2);
        let (partitions, offline) = (found.partitions, found.offline);
        assert_eq!((partitions, found.under_replicated, found.under_min_isr, offline), (3, 3, 2, 1));
        assert_eq!(found.brokers[&BrokerId::new(3)], Share { replicas: 3, leads: 0, out_of_sync: 3 });
        assert_eq!(found.brokers[&BrokerId::new(2)], Share { replicas: 2, leads: 1, out_of_sync: 0 });
    }
}
