//! Registering and admitting brokers (A6, A9).
//!
//! A broker presents the run that its data directory records. If that is the run the root knows, the directory is the
//! one it last ran on; if not, the disk is copied, restored or empty, and the broker leaves every ISR, ELR and
//! leadership before it is admitted. Either way it is allotted the next run, records it durably, and only then asks to
//! be admitted: every partition that it leads gets a new epoch.

use std::sync::Arc;

use super::commit::change_partition;
use super::error::RegisterError;
use super::{Machine, Member, Registered, Registration, ShardId, Work, placement};
use crate::config::TopicConfig;
use crate::metadata::{Broker, Partition, Topic};
use crate::types::{BrokerId, Incarnation, LeaderEpoch};

impl Machine {
    pub(super) fn register(
        &mut self,
        work: &mut Work,
        registration: Registration,
    ) -> Result<Registered, RegisterError> {
        if registration.cluster != self.config.cluster {
            let (got, expected) = (registration.cluster, self.config.cluster);
            return Err(RegisterError::OtherCluster { got, expected });
        }
        let id = registration.broker;
        let known = self.latest_root(work).members.get(&id).cloned();
        let trusted = known.as_ref().is_none_or(|known| stands_on_its_disk(known, &registration));
        let incarnation = Incarnation::new(known.as_ref().map_or(0, |known| known.broker.incarnation.get()) + 1);
        if !trusted {
            self.change_topics(work, |partition, _| leave(partition, id));
        }
        let broker = Broker {
            id,
            incarnation,
            directory: registration.standing.directory,
            rack: registration.rack,
            endpoints: registration.endpoints,
            fenced: true,
        };
        let admitted_from = trusted.then_some(registration.standing.incarnation);
        self.root_for(work).members.insert(id, Member { broker, admitted_from });
        Ok(Registered { incarnation, trusted })
    }

    pub(super) fn admit(
        &mut self,
        work: &mut Work,
        id: BrokerId,
        incarnation: Incarnation,
    ) -> Result<(), RegisterError> {
        let known = self.latest_root(work).members.get(&id).ok_or(RegisterError::Unknown(id))?;
        let registered = known.broker.incarnation;
        if registered != incarnation {
            return Err(RegisterError::StaleRun { broker: id, got: incarnation, registered });
        }
        if !known.broker.fenced {
            return Ok(());
        }
        if let Some(member) = self.root_for(work).members.get_mut(&id) {
            member.broker.fenced = false;
            member.admitted_from = None;
        }
        let live = self.registered(work);
        let is_live = |broker: BrokerId| live.get(&broker).is_some_and(|broker| !broker.fenced);
        let broker_config = self.broker.clone();
        self.change_topics(work, |partition, topic| {
            let leads = partition.leader == Some(id);
            if !leads && partition.leader.is_some() {
                return false;
            }
            let unclean = || {
                let resolved = TopicConfig::resolve(&topic.config, &broker_config, topic.internal);
                resolved.unclean_leader_election_enable
            };
            let leader = if leads { Some(id) } else { placement::elect(partition, is_live, unclean()) };
            leader.is_some_and(|leader| lead(partition, leader))
        });
        self.enter_run(work, id, incarnation);
        Ok(())
    }

    /// Entries of the broker hold for its new run from here on.
    fn enter_run(&mut self, work: &mut Work, id: BrokerId, incarnation: Incarnation) {
        for at in 0..self.shards.len() {
            let shard = ShardId(u32::try_from(at).expect("a count of shards is a u32"));
            let holds = |partition: &Partition| partition.replicas.contains(&id);
            let latest = self.latest_shard(work, shard);
            let involved = latest.topics.values().any(|topic| topic.partitions.iter().any(holds));
            if involved && latest.runs.get(&id) != Some(&incarnation) {
                self.shard_for(work, shard).runs.insert(id, incarnation);
            }
        }
    }

    /// Applies `change`, which says whether it changed anything, to every partition of every topic.
    fn change_topics(&mut self, work: &mut Work, change: impl Fn(&mut Partition, &Topic) -> bool) {
        for at in 0..self.shards.len() {
            let shard = ShardId(u32::try_from(at).expect("a count of shards is a u32"));
            let latest = self.latest_shard(work, shard).clone();
            for (name, topic) in &latest.topics {
                let mut next = (**topic).clone();
                let mut changed = false;
                for partition in &mut next.partitions {
                    changed |= change(partition, topic);
                }
                if changed {
                    self.shard_for(work, shard).topics.insert(name.clone(), Arc::new(next));
                }
            }
        }
    }
}

/// Whether the data directory is the very one, in the state, that the broker's last run left (A9).
fn stands_on_its_disk(known: &Member, registration: &Registration) -> bool {
    let recorded = registration.standing.incarnation;
    // A run that was allotted and never recorded has never run: the directory still says what it said then.
    let same_run = recorded == known.broker.incarnation || known.admitted_from == Some(recorded);
    known.broker.directory == registration.standing.directory && same_run
}

/// The broker is out: not leader, not in sync, not eligible. It keeps its place among the replicas, to be refilled.
fn leave(partition: &mut Partition, id: BrokerId) -> bool {
    let is_member = partition.leader == Some(id) || partition.isr.contains(&id) || partition.elr.contains(&id);
    if is_member {
        change_partition(partition, |partition| {
            if partition.leader == Some(id) {
                partition.leader = None;
                partition.leader_epoch = next_epoch(partition.leader_epoch);
            }
            partition.isr.retain(|&member| member != id);
            partition.elr.retain(|&member| member != id);
        });
    }
    is_member
}

/// A new term of `leader`. One that was not in sync, elected for want of others, is so from now on, alone.
fn lead(partition: &mut Partition, leader: BrokerId) -> bool {
    change_partition(partition, |partition| {
        partition.leader = Some(leader);
        partition.leader_epoch = next_epoch(partition.leader_epoch);
        if !partition.isr.contains(&leader) {
            partition.isr = vec![leader];
            partition.elr.clear();
        }
    });
    true
}

fn next_epoch(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch::new(epoch.get().checked_add(1).expect("two billion elections of one partition do not happen"))
}
