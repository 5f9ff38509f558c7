//! Moving partitions from brokers to others (L3), and letting brokers go (L2).
//!
//! A partition that moves is held by both, until every target is in sync; then, in one change, by the targets alone. A
//! move can be aimed anew or cancelled at any time, unless nobody in sync would be left.

use std::sync::Arc;

use super::error::{InvalidAssignment, ReassignError, UnregisterError};
use super::partition_changes::Place;
use super::{Machine, Move, Moving, NamedPartition, Work, placement};
use crate::metadata::{Partition, Reassignment};
use crate::types::{BrokerId, PartitionEpoch, TopicPartition};

impl Machine {
    pub(super) fn reassign(
        &mut self,
        work: &mut Work,
        moves: &[Move],
        may_change_factor: bool,
    ) -> Vec<Result<(), ReassignError>> {
        let one = |wanted: &Move| {
            let named = &wanted.partition;
            let place = self.find_named(work, &named.topic, named.partition).ok_or(ReassignError::Unknown)?;
            match &wanted.target {
                Some(target) => self.aim(work, &place, target, may_change_factor),
                None => self.cancel(work, &place),
            }
        };
        moves.iter().map(one).collect()
    }

    fn aim(
        &mut self,
        work: &mut Work,
        place: &Place,
        target: &[BrokerId],
        may_change_factor: bool,
    ) -> Result<(), ReassignError> {
        let brokers = self.registered(work);
        match placement::check_assignment(&brokers, target, None) {
            // Whoever is down may come back; until then the partition stays where it is.
            Ok(()) | Err(InvalidAssignment::Fenced) => {}
            Err(wrong) => return Err(wrong.into()),
        }
        let partition = place.partition();
        let moving = partition.reassignment.as_ref();
        let origin = moving.map_or_else(|| partition.replicas.clone(), |moving| moving.origin.clone());
        if !may_change_factor && origin.len() != target.len() {
            return Err(ReassignError::ReplicationFactor { current: origin.len(), wanted: target.len() });
        }
        if origin == target {
            return if moving.is_some() { self.cancel(work, place) } else { Ok(()) };
        }
        let moving = Reassignment { origin, target: target.to_vec() };
        let replicas: Vec<_> = moving.origin.iter().copied().chain(moving.adding()).collect();
        keeps_somebody(partition, &replicas)?;
        self.name_runs(work, place.shard, target.iter().copied());
        let waits = self.config.tuning.rules.reassignment_waits_for_targets;
        let change = self.change_of(&place.topic, partition).replicas(replicas).reassignment(Some(moving));
        self.change_one(work, place, change.complete_reassignment(waits));
        Ok(())
    }

    fn cancel(&mut self, work: &mut Work, place: &Place) -> Result<(), ReassignError> {
        let partition = place.partition();
        let moving = partition.reassignment.as_ref().ok_or(ReassignError::NoneInProgress)?;
        keeps_somebody(partition, &moving.origin)?;
        let change = self.change_of(&place.topic, partition);
        self.change_one(work, place, change.replicas(moving.origin.clone()).reassignment(None));
        Ok(())
    }

    /// A broker has deleted what it held of partitions that moved away from it.
    pub(super) fn moved_replicas_deleted(
        &mut self,
        work: &mut Work,
        broker: BrokerId,
        partitions: &[(TopicPartition, PartitionEpoch)],
    ) {
        for (id, epoch) in partitions {
            let Some(place) = self.find_partition(work, *id) else { continue };
            // Another version may have given the replica back, and taken it again.
            if place.partition().partition_epoch == *epoch {
                let change = self.change_of(&place.topic, place.partition()).left(broker);
                self.change_one(work, &place, change);
            }
        }
    }

    /// What is moving, as it is committed; of `partitions`, or of all.
    pub(super) fn list_reassignments(&self, partitions: Option<&[NamedPartition]>) -> Vec<Moving> {
        let mut all = Vec::new();
        for topic in self.image.topics().values() {
            for (index, partition) in topic.indexed() {
                let Some(moving) = &partition.reassignment else { continue };
                let named = NamedPartition { topic: topic.name.clone(), partition: index };
                if partitions.is_none_or(|wanted| wanted.contains(&named)) {
                    all.push(Moving {
                        partition: named,
                        topic_id: topic.id,
                        replicas: partition.replicas.clone(),
                        adding: moving.adding().collect(),
                        removing: moving.removing().collect(),
                    });
                }
            }
        }
        all
    }

    /// The broker is gone for good: nothing of the cluster's is on it, and no run of its id is ever allotted again.
    pub(super) fn unregister(&mut self, work: &mut Work, id: BrokerId) -> Result<(), UnregisterError> {
        let member = self.latest_root(work).members.get(&id).cloned().ok_or(UnregisterError::Unknown(id))?;
        if !member.broker.fenced {
            return Err(UnregisterError::Alive(id));
        }
        let mut replicas = 0;
        for shard in self.shard_ids() {
            let topics = &self.latest_shard(work, shard).topics;
            let partitions = topics.values().flat_map(|topic| &topic.partitions);
            replicas += partitions.filter(|partition| partition.replicas.contains(&id)).count();
        }
        if replicas > 0 {
            return Err(UnregisterError::HoldsReplicas { broker: id, replicas });
        }
        let root = self.root_for(work);
        root.members.remove(&id);
        root.broker_configs.remove(&id);
        root.retired.insert(id, member.broker.incarnation);
        for shard in self.shard_ids() {
            let latest = Arc::clone(self.latest_shard(work, shard));
            let waits_for = latest.tombstones.values().any(|tombstone| tombstone.holders.contains(&id));
            if waits_for || latest.runs.contains_key(&id) {
                let shard = self.shard_for(work, shard);
                shard.runs.remove(&id);
                for tombstone in shard.tombstones.values_mut() {
                    tombstone.holders.remove(&id);
                }
                shard.tombstones.retain(|_, tombstone| !tombstone.holders.is_empty());
            }
        }
        // Nobody is left to say that its data is gone.
        self.change_partitions(work, |_, _, partition| partition.leaving.contains(&id), |change| change.left(id));
        self.liveness.forget(id);
        Ok(())
    }
}

/// What is committed is on every in-sync replica: one of them has to stay.
fn keeps_somebody(partition: &Partition, replicas: &[BrokerId]) -> Result<(), ReassignError> {
    let members = || partition.isr.iter().chain(&partition.elr);
    let stays = members().any(|id| replicas.contains(id));
    if stays || members().next().is_none() { Ok(()) } else { Err(ReassignError::NobodyInSync) }
}
