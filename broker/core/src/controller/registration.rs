//! Registering and admitting brokers (A6, A9).
//!
//! A broker presents the run that its data directory records. If that is the run the root knows, the directory is the
//! one it last ran on; if not, the disk is copied, restored or empty, and the broker leaves every ISR, ELR and
//! leadership before it is admitted. Either way it is allotted the next run, records it durably, and only then asks to
//! be admitted: every partition that it leads gets a new epoch. While a process of an id is heard of, no other is let
//! in under it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::error::{RegisterError, Standing};
use super::{Machine, Member, Registered, Registration, Work};
use crate::config::TopicConfig;
use crate::metadata::{Broker, Partition, Topic};
use crate::types::{BrokerId, Incarnation, PartitionIndex, TopicId, TopicPartition};

impl Machine {
    pub(super) fn register(
        &mut self,
        now: Instant,
        work: &mut Work,
        registration: Registration,
    ) -> Result<Registered, RegisterError> {
        self.check_registration(now, work, &registration)?;
        let id = registration.broker;
        let root = self.latest_root(work);
        let known = root.members.get(&id).cloned();
        let last = known.as_ref().map(|known| known.broker.incarnation).or_else(|| root.retired.get(&id).copied());
        let trusted = known.as_ref().is_none_or(|known| known.stands_on(registration.standing))
            || !self.config.tuning.rules.foreign_disks_are_excluded;
        let incarnation = Incarnation::new(last.unwrap_or_default().get() + 1);
        let broker = Broker {
            id,
            incarnation,
            directory: registration.standing.directory,
            rack: registration.rack,
            endpoints: registration.endpoints,
            fenced: true,
        };
        let admitted_from = trusted.then_some(registration.standing.incarnation);
        let member = Member { broker, admitted_from, features: registration.features };
        let root = self.root_for(work);
        root.members.insert(id, member);
        root.retired.remove(&id);
        self.liveness.registered(now, id, incarnation);
        if !trusted {
            self.change_partitions(work, |_, _, partition| is_member(partition, id), |change| change.forget(id));
        } else {
            self.forget_what_was_lost(work, id, &registration.suspect, registration.unclean_stop);
        }
        Ok(Registered { incarnation, trusted })
    }

    fn check_registration(
        &self,
        now: Instant,
        work: &mut Work,
        registration: &Registration,
    ) -> Result<(), RegisterError> {
        let broker = registration.broker;
        if registration.cluster != self.config.cluster {
            let (got, expected) = (registration.cluster, self.config.cluster);
            return Err(RegisterError::OtherCluster { got, expected });
        }
        let root = self.latest_root(work);
        let (can, level) = (registration.features, root.feature_level);
        if !can.contains(level) {
            return Err(RegisterError::Features { broker, can, level });
        }
        let directory = registration.standing.directory;
        let same = |member: &&Member| member.broker.directory == directory && member.broker.id != broker;
        if let Some(holder) = root.members.values().find(same) {
            return Err(RegisterError::DirectoryOfAnother { broker, directory, holder: holder.broker.id });
        }
        if let Some(known) = root.members.get(&broker)
            && self.config.tuning.rules.live_ids_are_refused
            && self.liveness.is_alive(now, broker, known.broker.incarnation)
        {
            return Err(RegisterError::Alive { broker, incarnation: known.broker.incarnation });
        }
        Ok(())
    }

    /// Partitions whose logs the broker does not hold any more: it is neither in sync nor eligible there (R12).
    pub(super) fn forget_what_was_lost(
        &mut self,
        work: &mut Work,
        id: BrokerId,
        suspect: &[TopicPartition],
        unclean_stop: bool,
    ) {
        if suspect.is_empty() && !unclean_stop {
            return;
        }
        let suspect: BTreeSet<_> = suspect.iter().collect();
        let opted_out = if unclean_stop { self.opted_out_topics(id) } else { BTreeSet::new() };
        let lost = |topic: &Topic, index: PartitionIndex, partition: &Partition| {
            let is_suspect = suspect.contains(&TopicPartition::new(topic.id, index)) || opted_out.contains(&topic.id);
            is_suspect && is_member(partition, id)
        };
        self.change_partitions(work, lost, |change| change.forget(id));
    }

    /// Topics of which the broker holds something and that promise no more than what is written.
    fn opted_out_topics(&self, id: BrokerId) -> BTreeSet<TopicId> {
        let latest = self.shards.iter().filter_map(|slot| slot.latest());
        let holds = |topic: &Topic| topic.partitions.iter().any(|partition| partition.replicas.contains(&id));
        let durable = |topic: &Topic| TopicConfig::resolve(&topic.config, &self.broker, topic.internal).durable_acks;
        let topics = latest.flat_map(|shard| shard.topics.values());
        topics.filter(|topic| holds(topic) && !durable(topic)).map(|topic| topic.id).collect()
    }

    pub(super) fn admit(
        &mut self,
        now: Instant,
        work: &mut Work,
        id: BrokerId,
        incarnation: Incarnation,
    ) -> Result<(), RegisterError> {
        let known = self.check_run(work, id, incarnation)?;
        if !known.broker.fenced {
            return Ok(());
        }
        if let Some(member) = self.root_for(work).members.get_mut(&id) {
            member.broker.fenced = false;
            member.admitted_from = None;
        }
        self.liveness.registered(now, id, incarnation);
        self.enter_run(work, id, incarnation);
        let concerned =
            |_: &Topic, _: PartitionIndex, partition: &Partition| partition.leader.is_none_or(|leader| leader == id);
        self.change_partitions(work, concerned, |change| change.new_term());
        Ok(())
    }

    /// The member, if that run of it is the registered one.
    pub(super) fn check_run(
        &self,
        work: &mut Work,
        id: BrokerId,
        incarnation: Incarnation,
    ) -> Result<Member, RegisterError> {
        let known = self.latest_root(work).members.get(&id).ok_or(RegisterError::Unknown(id))?;
        let registered = known.broker.incarnation;
        if registered != incarnation {
            return Err(RegisterError::StaleRun { broker: id, got: incarnation, registered });
        }
        Ok(known.clone())
    }

    /// Completes what an earlier controller began. An admitted broker whose entries in some shard hold for an older run
    /// was being admitted: its directory is trusted, and its leaderships there begin anew. Leaderless partitions get a
    /// leader if they can.
    pub(super) fn complete_admissions(&mut self, work: &mut Work) {
        let members = self.latest_root(work).members.clone();
        for (id, member) in members.iter().filter(|(_, member)| !member.broker.fenced) {
            let entered = self.enter_run(work, *id, member.broker.incarnation);
            if entered.is_empty() {
                continue;
            }
            let count = u32::try_from(self.shards.len()).expect("a count of shards is a u32");
            let leads = |topic: &Topic, _: PartitionIndex, partition: &Partition| {
                partition.leader == Some(*id) && entered.contains(&super::document::shard_of(&topic.name, count))
            };
            self.change_partitions(work, leads, |change| change.new_term());
        }
        self.change_partitions(work, |_, _, partition| partition.leader.is_none(), |change| change);
    }
}

impl Member {
    /// Whether the data directory is the very one, in the state, that the broker's last run left (A9).
    pub(super) fn stands_on(&self, standing: Standing) -> bool {
        // A run that was allotted and never recorded has never run: the directory still says what it said then.
        let same_run =
            standing.incarnation == self.broker.incarnation || self.admitted_from == Some(standing.incarnation);
        self.broker.directory == standing.directory && same_run
    }
}

/// Whether the broker leads the partition, is in sync or eligible.
fn is_member(partition: &Partition, id: BrokerId) -> bool {
    partition.leader == Some(id) || partition.isr.contains(&id) || partition.elr.contains(&id)
}
