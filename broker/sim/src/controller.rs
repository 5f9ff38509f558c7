//! The controller that the simulation compares with: a few plain functions without documents, Leases or faults.
//!
//! Owns the trait by which a simulated cluster talks to its controller, so that the real machine can take this one's
//! place, and [`Oracle`], the smallest correct one: it elects from the ISR, then from the ELR (KIP-966), gives every
//! leadership its own epoch and every change its own version (A5), and lets one run per broker in (A6).

use std::collections::BTreeMap;

use ottla_core::replica::{Alter, Altered, Ask, Assignment, Complaint, Peer, View};
use ottla_core::types::{BrokerId, Incarnation, LeaderEpoch, PartitionEpoch};

/// A broker stands silent for so long before it is fenced. Microseconds.
const SESSION_US: u64 = 1_500_000;

/// Everything that is committed, at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// How many changes were committed.
    pub view: View,
    /// Every registered broker.
    pub peers: BTreeMap<BrokerId, Peer>,
    /// Every partition.
    pub partitions: Vec<Assignment>,
}

/// What a process says of itself when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The last run on its directory, as written down before that run's first heartbeat.
    pub previous: Incarnation,
    /// Drawn by the process, so that a question that is repeated gets the same answer.
    pub process: u64,
}

/// What a cluster asks its controller.
pub trait Controller {
    /// What is committed.
    fn snapshot(&self) -> Snapshot;
    /// A broker starts; which run it is. No other process has ever been or will be that one: a number that the directory
    /// itself had counted could be another's, whose leadership it would take for its own.
    fn register(&mut self, now: u64, broker: BrokerId, start: Start) -> Incarnation;
    /// A run says that it lives and what it has applied. Whether it is the registered one.
    fn heartbeat(&mut self, now: u64, broker: BrokerId, run: Incarnation, view: View) -> bool;
    /// A connection was reset, and connecting again was refused.
    fn refused(&mut self, broker: BrokerId);
    /// It wants to stop: it leads nothing and is in no ISR from now on.
    fn drain(&mut self, broker: BrokerId, run: Incarnation);
    /// A replica asks; an answer is for an [`Ask::Alter`] only.
    fn ask(&mut self, broker: BrokerId, run: Incarnation, partition: usize, ask: &Ask) -> Option<Altered>;
    /// Another min.insync.replicas. The same change clears the ELR if the ISR is large enough now; clearing it always would
    /// leave a partition with an empty ISR without anybody who may lead.
    fn set_min_insync(&mut self, partition: usize, min: u16);
    /// Time passes. `late` is how long the loop stood still: nobody is judged for that.
    fn tick(&mut self, now: u64, late: u64);
    /// How often an eligible leader outside the ISR was elected.
    fn elr_elections(&self) -> u64;
}

#[derive(Clone, Copy, Debug)]
struct Broker {
    peer: Peer,
    heard: u64,
    process: u64,
    /// The last run that was heard after it was registered: its directory says so.
    heard_run: Incarnation,
}

/// A minimal, correct controller.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    brokers: BTreeMap<BrokerId, Broker>,
    partitions: Vec<Assignment>,
    view: View,
    elr_elections: u64,
}

impl Oracle {
    /// Partitions that nobody leads yet; every replica counts as in sync, for all are empty.
    pub fn new(partitions: usize, replicas: &[BrokerId], min_insync: u16) -> Self {
        let assignment = |index: usize| {
            let mut replicas = replicas.to_vec();
            let shift = index % replicas.len().max(1);
            replicas.rotate_left(shift);
            Assignment {
                leader: None,
                leader_epoch: LeaderEpoch::new(0),
                partition_epoch: PartitionEpoch::new(0),
                isr: replicas.clone(),
                replicas,
                elr: Vec::new(),
                min_insync,
                unclean: false,
            }
        };
        Self { partitions: (0..partitions).map(assignment).collect(), ..Self::default() }
    }

    fn may_lead(&self, broker: BrokerId) -> bool {
        self.brokers.get(&broker).is_some_and(|b| !b.peer.fenced && !b.peer.draining)
    }

    /// Commits a change: one version more; a new epoch if leadership changes or `epoch` says so.
    fn commit(&mut self, index: usize, change: impl FnOnce(&mut Assignment), epoch: bool) {
        let old = self.partitions[index].clone();
        let mut new = old.clone();
        change(&mut new);
        if new.isr.len() >= usize::from(new.min_insync) {
            new.elr.clear();
        } else {
            // Whoever was in the ISR has everything that is committed, for nothing is committed below the minimum.
            let left: Vec<BrokerId> = old.isr.iter().copied().filter(|id| !new.isr.contains(id)).collect();
            new.elr.extend(left);
        }
        new.elr.retain(|id| !new.isr.contains(id));
        new.elr.sort_unstable();
        new.elr.dedup();
        if epoch || new.leader != old.leader {
            new.leader_epoch = LeaderEpoch::new(old.leader_epoch.get() + 1);
        }
        // A change that changes nothing is a new version too: no older one can be committed after it.
        new.partition_epoch = PartitionEpoch::new(old.partition_epoch.get() + 1);
        self.partitions[index] = new;
        self.view.0 += 1;
    }

    /// Takes a broker out of leadership and the ISR of a partition; out of the ELR too if its log cannot be believed.
    fn remove(&mut self, index: usize, broker: BrokerId, log_lost: bool) {
        let partition = &self.partitions[index];
        let leads = partition.leader_id() == Some(broker);
        let eligible = log_lost && partition.elr.contains(&broker);
        if !(leads || eligible || partition.isr.contains(&broker)) {
            return;
        }
        self.commit(
            index,
            |new| {
                new.isr.retain(|&id| id != broker);
                if leads {
                    new.leader = None;
                }
            },
            log_lost,
        );
        if log_lost {
            // In the same change, but after the ELR was computed.
            self.partitions[index].elr.retain(|&id| id != broker);
        }
        self.elect(index);
    }

    /// A partition without a leader gets one, if anybody may: from the ISR, then from the ELR.
    fn elect(&mut self, index: usize) {
        let partition = &self.partitions[index];
        if partition.leader.is_some() {
            return;
        }
        let from_isr = partition.isr.iter().copied().find(|&id| self.may_lead(id));
        let from_elr = partition.elr.iter().copied().find(|&id| self.may_lead(id));
        let Some(leader) = from_isr.or(from_elr) else { return };
        if from_isr.is_none() {
            self.elr_elections += 1;
        }
        self.lead(index, leader, from_isr.is_none());
    }

    fn lead(&mut self, index: usize, leader: BrokerId, alone: bool) {
        let Some(run) = self.brokers.get(&leader).map(|broker| broker.peer.incarnation) else { return };
        self.commit(
            index,
            |new| {
                if alone {
                    new.isr = vec![leader];
                }
                new.leader = Some((leader, run));
            },
            true,
        );
    }

    fn fence(&mut self, broker: BrokerId, log_lost: bool) {
        if let Some(known) = self.brokers.get_mut(&broker)
            && !known.peer.fenced
        {
            known.peer.fenced = true;
            self.view.0 += 1;
        }
        for index in 0..self.partitions.len() {
            self.remove(index, broker, log_lost);
        }
    }

    fn alter(&mut self, broker: BrokerId, run: Incarnation, index: usize, alter: &Alter) -> Altered {
        let partition = &self.partitions[index];
        let current = partition.leader == Some((broker, run))
            && partition.leader_epoch == alter.leader_epoch
            && partition.partition_epoch == alter.partition_epoch;
        if !current {
            return Altered::Outdated;
        }
        let eligible = |id: &BrokerId| {
            let joining = alter.joining.iter().find(|(joiner, _)| joiner == id);
            let registered = self.brokers.get(id).map(|known| known.peer);
            match joining {
                Some((_, run)) => {
                    partition.replicas.contains(id)
                        && registered.is_some_and(|p| p.incarnation == *run && !p.fenced && !p.draining)
                }
                None => partition.isr.contains(id),
            }
        };
        if !alter.isr.iter().all(eligible) || !alter.isr.contains(&broker) {
            return Altered::Ineligible;
        }
        self.commit(index, |new| new.isr.clone_from(&alter.isr), false);
        Altered::Done(self.partitions[index].clone())
    }

    fn complain(&mut self, broker: BrokerId, index: usize, complaint: Complaint) {
        let partition = &self.partitions[index];
        let leads = partition.leader_id() == Some(broker);
        let other = partition.isr.iter().copied().find(|&id| id != broker && self.may_lead(id));
        match (complaint, other) {
            (Complaint::LogSuspect, _) if leads || partition.is_member(broker) => self.remove(index, broker, true),
            (Complaint::LogSuspect, _) => self.commit(index, |_| {}, true),
            (Complaint::SlowDisk | Complaint::WriteFailed, Some(other)) if leads => self.lead(index, other, false),
            (Complaint::WriteFailed, None) if leads => self.lead(index, broker, false),
            (Complaint::SlowDisk | Complaint::WriteFailed, _) => {}
        }
    }
}

impl Controller for Oracle {
    fn snapshot(&self) -> Snapshot {
        let peers = self.brokers.iter().map(|(&id, broker)| (id, broker.peer)).collect();
        Snapshot { view: self.view, peers, partitions: self.partitions.clone() }
    }

    fn register(&mut self, now: u64, broker: BrokerId, start: Start) -> Incarnation {
        let known = self.brokers.get(&broker).copied();
        if let Some(known) = known.filter(|known| known.process == start.process) {
            return known.peer.incarnation;
        }
        // A9: a directory that has not seen the last run that was heard is a copy, an old snapshot, or empty.
        let heard_run = known.map_or(Incarnation::default(), |known| known.heard_run);
        self.fence(broker, start.previous < heard_run);
        let last = known.map_or(Incarnation::default(), |known| known.peer.incarnation);
        let run = Incarnation::new(last.get() + 1);
        let peer = Peer { incarnation: run, fenced: true, draining: false };
        self.brokers.insert(broker, Broker { peer, heard: now, process: start.process, heard_run });
        self.view.0 += 1;
        run
    }

    fn heartbeat(&mut self, now: u64, broker: BrokerId, run: Incarnation, view: View) -> bool {
        let newest = self.view;
        let Some(known) = self.brokers.get_mut(&broker).filter(|known| known.peer.incarnation == run) else {
            return false;
        };
        known.heard = now;
        known.heard_run = run;
        if known.peer.fenced && view == newest {
            known.peer.fenced = false;
            self.view.0 += 1;
            for index in 0..self.partitions.len() {
                self.elect(index);
            }
        }
        true
    }

    fn refused(&mut self, broker: BrokerId) {
        self.fence(broker, false);
    }

    fn drain(&mut self, broker: BrokerId, run: Incarnation) {
        let Some(known) = self.brokers.get_mut(&broker).filter(|known| known.peer.incarnation == run) else { return };
        known.peer.draining = true;
        self.view.0 += 1;
        for index in 0..self.partitions.len() {
            self.remove(index, broker, false);
        }
    }

    fn ask(&mut self, broker: BrokerId, run: Incarnation, partition: usize, ask: &Ask) -> Option<Altered> {
        if self.brokers.get(&broker).is_none_or(|known| known.peer.incarnation != run) {
            return None;
        }
        match ask {
            Ask::Alter(alter) => Some(self.alter(broker, run, partition, alter)),
            Ask::NewEpoch { leader_epoch, complaint } => {
                if *leader_epoch == self.partitions[partition].leader_epoch {
                    self.complain(broker, partition, *complaint);
                }
                None
            }
        }
    }

    fn set_min_insync(&mut self, partition: usize, min: u16) {
        self.commit(partition, |new| new.min_insync = min, false);
    }

    fn tick(&mut self, now: u64, late: u64) {
        let mut silent = Vec::new();
        for (&id, broker) in &mut self.brokers {
            broker.heard += late;
            if !broker.peer.fenced && now.saturating_sub(broker.heard) > SESSION_US {
                silent.push(id);
            }
        }
        for broker in silent {
            self.fence(broker, false);
        }
    }

    fn elr_elections(&self) -> u64 {
        self.elr_elections
    }
}
