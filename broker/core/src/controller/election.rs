//! One change of one partition: who is in sync, who is eligible, who leads, and in which terms.
//!
//! Owns the arithmetic of a change: leaders come from the in-sync set, then from the eligible replicas (KIP-966), and
//! from others only if the topic allows it; whoever leaves an in-sync set that falls below `min.insync.replicas` stays
//! eligible, because no record can be committed without it; a leader epoch grows with every new leader or term, and
//! the partition epoch by exactly one, whatever changed (A5).

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::Partition;
use crate::types::{BrokerId, Incarnation, LeaderEpoch};

/// Who may be elected, by the root, the heartbeats, and the runs that one shard's entries hold for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voters<'a> {
    /// The registered, unfenced brokers and their runs.
    pub(super) live: &'a BTreeMap<BrokerId, Incarnation>,
    /// Those that are about to stop.
    pub(super) draining: &'a BTreeSet<BrokerId>,
    /// The runs that the shard's entries hold for.
    pub(super) runs: &'a BTreeMap<BrokerId, Incarnation>,
}

impl Voters<'_> {
    /// Whether the broker lives and its entries in this shard are its own: an older run's are no membership.
    pub(super) fn may_lead(&self, id: BrokerId) -> bool {
        let live = self.live.get(&id);
        live.is_some() && live == self.runs.get(&id)
    }

    fn rank(&self, id: BrokerId) -> Option<bool> {
        self.may_lead(id).then(|| self.draining.contains(&id))
    }

    /// The first of `candidates` that may lead; one that is about to stop only for want of others.
    fn first(&self, candidates: impl Iterator<Item = BrokerId>) -> Option<BrokerId> {
        let mut reluctant = None;
        for id in candidates {
            match self.rank(id) {
                Some(false) => return Some(id),
                Some(true) => reluctant = reluctant.or(Some(id)),
                None => {}
            }
        }
        reluctant
    }
}

/// What is wanted of the leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Whoever leads goes on, if it may.
    Keep,
    /// Whoever leads goes on, in a new term.
    NewTerm,
    /// Somebody else leads, if anybody in sync can.
    Other,
    /// That one leads, if it is in sync.
    This(BrokerId),
}

/// A change in the making.
#[derive(Debug)]
pub(super) struct Change {
    before: Partition,
    next: Partition,
    min_insync: i32,
    lost: Vec<BrokerId>,
    wish: Wish,
    unclean: bool,
    renewed: bool,
}

impl Change {
    /// A change of `partition`, whose topic has that `min.insync.replicas`.
    pub(super) fn of(partition: &Partition, min_insync: i32) -> Self {
        Self {
            before: partition.clone(),
            next: partition.clone(),
            min_insync,
            lost: Vec::new(),
            wish: Wish::Keep,
            unclean: false,
            renewed: false,
        }
    }

    /// If nobody in sync or eligible can lead, somebody else may: records are lost.
    #[must_use]
    pub(super) fn unclean(mut self, allowed: bool) -> Self {
        self.unclean = allowed;
        self
    }

    /// The in-sync set shall be this.
    #[must_use]
    pub(super) fn in_sync(mut self, isr: Vec<BrokerId>) -> Self {
        self.next.isr = isr;
        self
    }

    /// The broker leaves the in-sync set. Its disk holds what it held.
    #[must_use]
    pub(super) fn remove(mut self, id: BrokerId) -> Self {
        self.next.isr.retain(|&member| member != id);
        self
    }

    /// The broker's disk does not hold what it held: it is neither in sync nor eligible.
    #[must_use]
    pub(super) fn forget(mut self, id: BrokerId) -> Self {
        self.lost.push(id);
        self.remove(id)
    }

    /// The leader goes on in a new term.
    #[must_use]
    pub(super) fn new_term(mut self) -> Self {
        self.wish = Wish::NewTerm;
        self
    }

    /// Somebody else leads, if anybody can.
    #[must_use]
    pub(super) fn other_leader(mut self) -> Self {
        self.wish = Wish::Other;
        self
    }

    /// The broker is about to stop: it leads nothing, and where enough others stay in sync nobody waits for it either.
    #[must_use]
    pub(super) fn stops(self, id: BrokerId, is_draining: impl Fn(BrokerId) -> bool) -> Self {
        let stays = self.next.isr.iter().filter(|&&member| member != id && !is_draining(member)).count();
        let change = if self.next.leader == Some(id) { self.other_leader() } else { self };
        if stays < change.needed() { change } else { change.remove(id) }
    }

    /// That one leads, if it is in sync.
    #[must_use]
    pub(super) fn leader(mut self, id: BrokerId) -> Self {
        self.wish = Wish::This(id);
        self
    }

    /// The partition gets a new version even if nothing about it changes.
    #[must_use]
    pub(super) fn renewed(mut self) -> Self {
        self.renewed = true;
        self
    }

    /// A broker that held a replica says that its data is gone.
    #[must_use]
    pub(super) fn left(mut self, id: BrokerId) -> Self {
        self.next.leaving.retain(|&leaving| leaving != id);
        self
    }

    /// The replicas are others. Whoever is none any more is nothing else either, and still has to delete its data.
    #[must_use]
    pub(super) fn replicas(mut self, replicas: Vec<BrokerId>) -> Self {
        self.next.isr.retain(|member| replicas.contains(member));
        let before = self.next.replicas.iter().chain(&self.before.leaving).copied();
        let leaving: BTreeSet<_> = before.filter(|id| !replicas.contains(id)).collect();
        self.next.leaving = leaving.into_iter().collect();
        self.next.replicas = replicas;
        self
    }

    /// Where the partition is moving.
    #[must_use]
    pub(super) fn reassignment(mut self, reassignment: Option<crate::metadata::Reassignment>) -> Self {
        self.next.reassignment = reassignment;
        self
    }

    /// If every target of a reassignment is in sync, the partition is the targets' alone (L3); at once if nobody comes
    /// or goes. `waits` is true but in tests.
    #[must_use]
    pub(super) fn complete_reassignment(self, waits: bool) -> Self {
        let Some(moving) = self.next.reassignment.clone() else { return self };
        let only_order = moving.adding().next().is_none() && moving.removing().next().is_none();
        if only_order || !waits || moving.target.iter().all(|id| self.next.isr.contains(id)) {
            return self.replicas(moving.target).reassignment(None);
        }
        self
    }

    /// The partition after the change; `None` if nothing changed.
    pub(super) fn finish(mut self, voters: &Voters<'_>) -> Option<Partition> {
        self.elect(voters);
        self.judge_eligible();
        let (before, mut next) = (self.before, self.next);
        if next.leader != before.leader || (self.wish == Wish::NewTerm && next.leader.is_some()) {
            next.leader_epoch = next_epoch(before.leader_epoch);
        }
        if next == before && !self.renewed {
            return None;
        }
        next.partition_epoch = before.partition_epoch.get().saturating_add(1).into();
        check(&before, &next);
        Some(next)
    }

    fn elect(&mut self, voters: &Voters<'_>) {
        let in_sync = |id: BrokerId| self.next.isr.contains(&id);
        let current = self.next.leader.filter(|&id| in_sync(id) && voters.may_lead(id));
        let replicas = || self.next.replicas.iter().copied();
        let leader = match self.wish {
            Wish::Keep | Wish::NewTerm => current,
            Wish::This(id) => Some(id).filter(|&id| in_sync(id) && voters.may_lead(id)).or(current),
            Wish::Other => {
                let others = replicas().filter(|&id| in_sync(id) && Some(id) != current);
                voters.first(others).filter(|id| !voters.draining.contains(id)).or(current)
            }
        };
        let leader = leader.or_else(|| voters.first(replicas().filter(|&id| in_sync(id))));
        if leader.is_some() {
            self.next.leader = leader;
            return;
        }
        let lost = |id: BrokerId| self.lost.contains(&id);
        let was_member = |id: BrokerId| self.before.elr.contains(&id) || self.before.isr.contains(&id);
        // Whoever just left the in-sync set is eligible only if too few stay to commit anything without it.
        let short = self.is_short();
        let eligible = replicas().filter(|&id| short && was_member(id) && !lost(id));
        let unclean = || {
            let last_known = self.before.last_known_elr.iter().copied().filter(|id| self.next.replicas.contains(id));
            voters.first(last_known).or_else(|| voters.first(replicas())).filter(|_| self.unclean)
        };
        self.next.leader = voters.first(eligible).or_else(unclean);
        if let Some(leader) = self.next.leader {
            if !was_member(leader) || lost(leader) {
                // Nobody's records count but the new leader's.
                self.lost = self.next.replicas.iter().copied().filter(|&id| id != leader).collect();
            }
            self.next.isr = vec![leader];
        }
    }

    /// How many have to be in sync before anything is committed.
    fn needed(&self) -> usize {
        self.next.needed_in_sync(self.min_insync)
    }

    /// Whether fewer are.
    pub(super) fn is_short(&self) -> bool {
        self.next.isr.len() < self.needed()
    }

    fn judge_eligible(&mut self) {
        let (before, next) = (&self.before, &self.next);
        let others = |id: &BrokerId| next.replicas.contains(id) && !next.isr.contains(id);
        if !self.is_short() {
            self.next.elr = Vec::new();
            self.next.last_known_elr = Vec::new();
            return;
        }
        let member = |id: &BrokerId| before.isr.contains(id) || before.elr.contains(id);
        let holds = |id: &BrokerId| others(id) && member(id) && !self.lost.contains(id);
        let elr: Vec<BrokerId> = next.replicas.iter().filter(|id| holds(id)).copied().collect();
        let known = |id: &BrokerId| others(id) && (member(id) || before.last_known_elr.contains(id));
        let last_known = next.replicas.iter().filter(|id| known(id) && !elr.contains(id)).copied().collect();
        (self.next.elr, self.next.last_known_elr) = (elr, last_known);
    }
}

/// What must hold of every change.
fn check(before: &Partition, next: &Partition) {
    assert!(next.leader_epoch >= before.leader_epoch, "A5: a leader epoch never falls");
    assert!(next.leader == before.leader || next.leader_epoch > before.leader_epoch, "A5: one leader in one epoch");
    assert!(next.leader.is_none_or(|leader| next.isr.contains(&leader)), "a leader is in its own in-sync set");
    assert!(next.isr.iter().chain(&next.elr).all(|id| next.replicas.contains(id)), "members are replicas");
    assert!(next.elr.iter().all(|id| !next.isr.contains(id)), "eligible ones are those out of sync");
}

fn next_epoch(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch::new(epoch.get().checked_add(1).expect("two billion elections of one partition do not happen"))
}
