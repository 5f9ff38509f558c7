//! What follows from who is heard: fencing and elections for the dead, in one write per shard.

use std::collections::BTreeSet;
use std::time::Instant;

use super::budget::Urgency;
use super::liveness::{Look, REFUSED_MAX, Sign};
use super::{Effect, Effects, Machine, Phase, Work};
use crate::types::{BrokerId, Incarnation, Lsn};

impl Machine {
    pub(super) fn on_heartbeat(&mut self, now: Instant, id: BrokerId, run: Incarnation, draining: bool, synced: Lsn) {
        let registered = self.root.latest().and_then(|root| root.members.get(&id));
        let registered = registered.map(|member| member.broker.incarnation);
        if registered.is_none() && self.phase == Phase::Acting {
            return;
        }
        if id == self.config.me && registered == Some(run) {
            self.liveness.own_run(id, run);
        }
        self.liveness.on_heartbeat(now, id, run, Sign { draining, synced }, registered);
    }

    /// The broker stops in good order: whatever it led has been handed over, as far as anybody could take it.
    pub(super) fn on_left(&mut self, now: Instant, id: BrokerId, run: Incarnation) {
        if self.growth.is_copying() {
            // Soon; the look after it finds it dead.
            let long_ago = now.checked_sub(REFUSED_MAX).unwrap_or(now);
            self.liveness.on_closed(long_ago, id, run, true);
        } else if self.liveness.on_left(now, id, run) && self.phase == Phase::Acting {
            self.bury(now, &[id].into());
        }
    }

    pub(super) fn look_at_clocks(&mut self, now: Instant, out: &mut Effects) {
        if self.phase != Phase::Acting || self.growth.is_copying() {
            return;
        }
        match self.liveness.look(now, self.config.me) {
            Look::NotYet | Look::Late => {}
            Look::Dead(dead) => {
                self.bury(now, &dead);
                self.step_back_if_alone(now, out);
            }
        }
        out.extend(self.liveness.next_look(now, self.config.me).map(Effect::WakeAt));
    }

    /// Whenever the root is written it says how far every journal is known to be on disk: a later controller must know an
    /// older state of a disk when it meets one (A9).
    pub(super) fn note_synced(&mut self, work: &mut Work) {
        let members = self.latest_root(work).members.iter();
        let further = members.filter_map(|(id, member)| {
            let synced = self.liveness.synced(*id, member.broker.incarnation)?;
            (synced > member.synced).then_some((*id, synced))
        });
        for (id, synced) in further.collect::<Vec<_>>() {
            if let Some(member) = self.root_for(work).members.get_mut(&id) {
                member.synced = synced;
            }
        }
    }

    /// The dead are fenced, leave every in-sync set, and what they led is led by others.
    fn bury(&mut self, now: Instant, dead: &BTreeSet<BrokerId>) {
        if dead.is_empty() {
            return;
        }
        let mut work = Work::internal(Urgency::Election);
        let members = &self.latest_root(&mut work).members;
        let unfenced = |id: &&BrokerId| members.get(*id).is_some_and(|member| !member.broker.fenced);
        for id in dead.iter().filter(unfenced).copied().collect::<Vec<_>>() {
            if let Some(member) = self.root_for(&mut work).members.get_mut(&id) {
                member.broker.fenced = true;
            }
            self.liveness.left_isr(now, id);
        }
        self.note_synced(&mut work);
        let concerned = |partition: &crate::metadata::Partition| {
            partition.leader.is_some_and(|leader| dead.contains(&leader))
                || partition.isr.iter().any(|member| dead.contains(member))
        };
        self.change_partitions(
            &mut work,
            |_, _, partition| concerned(partition),
            |change| dead.iter().fold(change, |change, id| change.remove(*id)),
        );
    }
}
