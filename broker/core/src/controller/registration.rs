//! Registering and admitting brokers (A6, A9).
//!
//! A broker presents the run that its data directory records. If that is the run the root knows, the directory is the
//! one it last ran on; if not, the disk is copied, restored or empty, and the broker leaves every ISR, ELR and
//! leadership before it is admitted. A directory of the right run whose journal ends before what is known to have been
//! on disk is an older state of itself: each of its logs is suspect. Either way it is allotted the next run, records it
//! durably, and only then asks to be admitted: every partition that it leads gets a new epoch. While a process of an id
//! is heard of, no other is let in under it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::error::{RegisterError, Standing};
use super::recover::RUNS_SKIPPED;
use super::{Machine, Member, Registered, Registration, Work};
use crate::config::TopicConfig;
use crate::metadata::{Broker, Endpoint, Partition, Topic};
use crate::types::{BrokerId, Incarnation, Lsn, PartitionIndex, TopicId, TopicPartition};

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
        let rules = self.config.tuning.rules;
        let stands = known.as_ref().is_none_or(|known| known.stands_on(registration.standing))
            || !rules.foreign_disks_are_excluded;
        let reached = known.as_ref().filter(|_| stands).map_or(Lsn::default(), |known| self.reached(known));
        let older = registration.standing.synced < reached && rules.older_disks_are_suspect;
        let incarnation = Incarnation::new(last.unwrap_or_default().get() + 1);
        let broker = Broker {
            id,
            incarnation,
            directory: registration.standing.directory,
            rack: registration.rack.clone(),
            endpoints: registration.endpoints.clone(),
            fenced: true,
        };
        let admitted_from = stands.then_some(registration.standing.incarnation);
        // Whoever tries again after half of this was written has to be found older once more.
        let synced = registration.standing.synced.max(reached);
        let member = Member { broker, admitted_from, features: registration.features, synced };
        let root = self.root_for(work);
        root.members.insert(id, member);
        root.retired.remove(&id);
        self.liveness.registered(now, id, incarnation, registration.standing.synced);
        self.note_synced(work);
        if stands {
            self.forget_what_was_lost(work, id, older, &registration);
        } else {
            self.change_partitions(work, |_, _, partition| is_member(partition, id), |change| change.forget(id));
        }
        Ok(Registered { incarnation, trusted: stands && !older })
    }

    /// How far the journal of the broker's last run is known to have been on disk.
    fn reached(&self, known: &Member) -> Lsn {
        let heard = self.liveness.synced(known.broker.id, known.broker.incarnation);
        known.synced.max(heard.unwrap_or_default())
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

    /// Partitions whose logs may have lost records: the broker is neither in sync nor eligible there (R12). Where nobody
    /// else could ever have more, it stays: of a suspect log it must hold the only replica; of a topic that opted out of
    /// durable acks it must be the last member, for that topic chose to lose its newest records with the machines.
    fn forget_what_was_lost(&mut self, work: &mut Work, id: BrokerId, all: bool, registration: &Registration) {
        let Registration { suspect, unflushed, unclean_stop, .. } = registration;
        if suspect.is_empty() && unflushed.is_empty() && !unclean_stop && !all {
            return;
        }
        let (suspect, unflushed) = (suspect.iter().collect::<BTreeSet<_>>(), unflushed.iter().collect::<BTreeSet<_>>());
        let opted_out = if *unclean_stop { self.opted_out_topics(id) } else { BTreeSet::new() };
        let lost = |topic: &Topic, index: PartitionIndex, partition: &Partition| {
            let at = TopicPartition::new(topic.id, index);
            let suspect = all || suspect.contains(&at);
            let unflushed = opted_out.contains(&topic.id) || unflushed.contains(&at);
            let others = || partition.isr.iter().chain(&partition.elr).any(|member| *member != id);
            let lost = suspect && partition.replicas != [id] || unflushed && others();
            lost && is_member(partition, id)
        };
        self.change_partitions(work, lost, |change| change.forget(id));
    }

    /// A running broker found that its logs are missing, damaged or shorter than they were. What it acknowledged in this
    /// term does not hold any more, so that the term ends, whoever leads (R5, R11).
    pub(super) fn forget_running_logs(&mut self, work: &mut Work, id: BrokerId, suspect: &[TopicPartition]) {
        let suspect: BTreeSet<_> = suspect.iter().collect();
        let lost = |topic: &Topic, index: PartitionIndex, partition: &Partition| {
            suspect.contains(&TopicPartition::new(topic.id, index)) && partition.replicas.contains(&id)
        };
        let shared = |topic: &Topic, index: PartitionIndex, partition: &Partition| {
            lost(topic, index, partition) && partition.replicas != [id]
        };
        let sole = |topic: &Topic, index: PartitionIndex, partition: &Partition| {
            lost(topic, index, partition) && partition.replicas == [id]
        };
        self.change_partitions(work, shared, |change| change.forget(id).new_term());
        self.change_partitions(work, sole, |change| change.new_term());
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
        (id, incarnation): (BrokerId, Incarnation),
        endpoints: Option<BTreeMap<String, Endpoint>>,
    ) -> Result<(), RegisterError> {
        let known = self.check_run(work, id, incarnation)?;
        // Where it is reached says nothing about its run: nobody's term ends for it.
        let moved = endpoints.filter(|endpoints| *endpoints != known.broker.endpoints);
        if let Some(endpoints) = moved
            && let Some(member) = self.root_for(work).members.get_mut(&id)
        {
            member.broker.endpoints = endpoints;
        }
        if !known.broker.fenced {
            return Ok(());
        }
        let synced = self.liveness.synced(id, incarnation);
        if let Some(member) = self.root_for(work).members.get_mut(&id) {
            member.broker.fenced = false;
            member.admitted_from = None;
            // What an older disk lost has been forgotten; from here on it counts as it is.
            member.synced = synced.unwrap_or(member.synced);
        }
        self.note_synced(work);
        self.liveness.admitted(now, id, incarnation);
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
        // Runs that were allotted since and never admitted have changed nothing: the directory says what it said then, or
        // records any of them. Runs that a recovery skipped may have been admitted by somebody nobody knows of.
        let (recorded, registered) = (standing.incarnation, self.broker.incarnation);
        let allotted = |from: Incarnation| {
            (from..=registered).contains(&recorded) && registered.get().saturating_sub(from.get()) < RUNS_SKIPPED
        };
        let is_of = |from: Incarnation| recorded == from || allotted(from);
        let same_run = recorded == registered || self.admitted_from.is_some_and(is_of);
        self.broker.directory == standing.directory && same_run
    }

    /// Whether it holds at least what is known to have been on it.
    pub(super) fn reaches(&self, standing: Standing) -> bool {
        self.stands_on(standing) && standing.synced >= self.synced
    }
}

/// Whether the broker leads the partition, is in sync or eligible.
fn is_member(partition: &Partition, id: BrokerId) -> bool {
    partition.leader == Some(id) || partition.isr.contains(&id) || partition.elr.contains(&id)
}
