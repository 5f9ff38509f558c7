//! Changing partitions in the documents: finding them, electing by what the latest documents say, writing each shard
//! once.
//!
//! Owns who may vote (`Roll`) and the rule that a shard names the runs that its entries hold for: whoever writes a live
//! broker into a shard writes its run beside it, and an admitted broker's entries are renewed in every shard at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::election::{Change, Voters};
use super::{Machine, ShardId, Work};
use crate::config::ReplicaConfig;
use crate::metadata::{Partition, Topic};
use crate::types::{BrokerId, Incarnation, PartitionIndex, TopicPartition};

/// The brokers that live and the ones that are about to stop, by the latest root and the heartbeats.
#[derive(Debug)]
pub(super) struct Roll {
    live: BTreeMap<BrokerId, Incarnation>,
    draining: BTreeSet<BrokerId>,
}

impl Roll {
    pub(super) fn voters<'a>(&'a self, runs: &'a BTreeMap<BrokerId, Incarnation>) -> Voters<'a> {
        Voters { live: &self.live, draining: &self.draining, runs }
    }

    pub(super) fn is_draining(&self, id: BrokerId) -> bool {
        self.draining.contains(&id)
    }

    /// The run of a live broker.
    pub(super) fn run(&self, id: BrokerId) -> Option<Incarnation> {
        self.live.get(&id).copied()
    }
}

/// Where a partition stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) shard: ShardId,
    pub(super) topic: Arc<Topic>,
    pub(super) index: PartitionIndex,
}

impl Place {
    pub(super) fn partition(&self) -> &Partition {
        self.topic.partition(self.index).expect("a place is made for a partition that exists")
    }
}

impl Machine {
    pub(super) fn roll(&self, work: &mut Work) -> Roll {
        let members = &self.latest_root(work).members;
        let live = members.iter().filter(|(_, member)| !member.broker.fenced);
        Roll {
            live: live.map(|(id, member)| (*id, member.broker.incarnation)).collect(),
            draining: self.liveness.draining(),
        }
    }

    pub(super) fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..u32::try_from(self.shards.len()).expect("a count of shards is a u32")).map(ShardId)
    }

    pub(super) fn replica_config(&self, topic: &Topic) -> ReplicaConfig {
        ReplicaConfig::resolve(&topic.config, &self.broker)
    }

    /// A change of one partition of `topic`, with what its configs say.
    pub(super) fn change_of(&self, topic: &Topic, partition: &Partition) -> Change {
        let config = self.replica_config(topic);
        Change::of(partition, config.min_insync_replicas).unclean(config.unclean_leader_election_enable)
    }

    /// Applies `change` to every selected partition of every topic; says how many changed.
    pub(super) fn change_partitions(
        &mut self,
        work: &mut Work,
        select: impl Fn(&Topic, PartitionIndex, &Partition) -> bool,
        change: impl Fn(Change) -> Change,
    ) -> usize {
        let roll = self.roll(work);
        let mut count = 0;
        for shard in self.shard_ids() {
            let latest = self.latest_shard(work, shard).clone();
            let voters = roll.voters(&latest.runs);
            let mut changed: BTreeMap<&String, Vec<(usize, Partition)>> = BTreeMap::new();
            for (name, topic) in &latest.topics {
                for (at, (index, partition)) in topic.indexed().enumerate() {
                    if !select(topic, index, partition) {
                        continue;
                    }
                    if let Some(next) = change(self.change_of(topic, partition)).finish(&voters) {
                        changed.entry(name).or_default().push((at, next));
                    }
                }
            }
            for (name, partitions) in changed {
                count += partitions.len();
                if let Some(topic) = self.shard_for(work, shard).topics.get_mut(name) {
                    let topic = Arc::make_mut(topic);
                    for (at, partition) in partitions {
                        topic.partitions[at] = partition;
                    }
                }
            }
        }
        count
    }

    /// The partition of that id, as everything under way will leave it.
    pub(super) fn find_partition(&self, work: &mut Work, id: TopicPartition) -> Option<Place> {
        let name = self.image.topic_by_id(id.topic)?.name.clone();
        self.find_named(work, &name, id.partition).filter(|place| place.topic.id == id.topic)
    }

    /// The partition of that topic name and index.
    pub(super) fn find_named(&self, work: &mut Work, name: &str, index: PartitionIndex) -> Option<Place> {
        let topic = self.latest_topic(work, name)?.clone();
        topic.partition(index)?;
        Some(Place { shard: self.shard_of(name), topic, index })
    }

    /// Finishes a change of one partition; what it is now, if it changed.
    pub(super) fn change_one(&mut self, work: &mut Work, place: &Place, change: Change) -> Option<Partition> {
        let roll = self.roll(work);
        let next = change.finish(&roll.voters(&self.latest_shard(work, place.shard).runs))?;
        let shard = self.shard_for(work, place.shard);
        let topic = Arc::make_mut(shard.topics.get_mut(&place.topic.name)?);
        let at = usize::try_from(place.index.get()).ok()?;
        *topic.partitions.get_mut(at)? = next.clone();
        Some(next)
    }

    /// Brokers that were just written into a shard are so as the runs that they are. Whoever is not admitted is not
    /// named: its admission does that.
    pub(super) fn name_runs(&mut self, work: &mut Work, shard: ShardId, replicas: impl IntoIterator<Item = BrokerId>) {
        let roll = self.roll(work);
        for id in replicas {
            let Some(run) = roll.run(id) else { continue };
            if self.latest_shard(work, shard).runs.get(&id) != Some(&run) {
                self.shard_for(work, shard).runs.insert(id, run);
            }
        }
    }

    /// From here on the broker's entries hold for `run`, in every shard that has some; says in which that is new.
    pub(super) fn enter_run(&mut self, work: &mut Work, id: BrokerId, run: Incarnation) -> BTreeSet<ShardId> {
        let holds = |partition: &Partition| partition.replicas.contains(&id);
        let mut entered = BTreeSet::new();
        for shard in self.shard_ids() {
            let latest = self.latest_shard(work, shard);
            let involved = latest.topics.values().any(|topic| topic.partitions.iter().any(holds));
            if involved && latest.runs.get(&id) != Some(&run) {
                self.shard_for(work, shard).runs.insert(id, run);
                entered.insert(shard);
            }
        }
        entered
    }
}
