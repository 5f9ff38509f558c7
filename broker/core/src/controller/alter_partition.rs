//! Leaders change in-sync sets (R5, R6).
//!
//! A leader names the terms in which it speaks and the run of every member; whatever is stale is refused with its
//! numbers and changes nothing. A change that is accepted gives the partition a new version even if the set stays as it
//! is: whatever else the leader had asked for before is then too late (ADR 0006). Whoever joins is the registered run of
//! an admitted broker that stays, and did not leave a moment ago, unless acks=all waits for it. When the last target of a
//! reassignment joins, the reassignment is completed in the same change (L3).

use std::collections::BTreeSet;
use std::time::Instant;

use super::budget::Urgency;
use super::error::{AlterPartitionError, BrokerRequestError, Ineligible, InvalidIsr, StaleLeader};
use super::partition_changes::{Place, Roll};
use super::{IsrChange, Machine, Work};
use crate::metadata::Partition;
use crate::types::{BrokerId, Incarnation, LeaderEpoch, TopicPartition};

impl Machine {
    pub(super) fn alter_partitions(
        &mut self,
        now: Instant,
        work: &mut Work,
        broker: BrokerId,
        run: Incarnation,
        changes: &[IsrChange],
    ) -> Result<Vec<Result<Partition, AlterPartitionError>>, BrokerRequestError> {
        self.check_asker(work, broker, run)?;
        let mut left = BTreeSet::new();
        let results = changes.iter().map(|change| self.alter_partition(now, work, broker, change, &mut left)).collect();
        for id in left {
            self.liveness.left_isr(now, id);
        }
        Ok(results)
    }

    /// Only the registered, admitted run of a broker has a say.
    pub(super) fn check_asker(
        &self,
        work: &mut Work,
        broker: BrokerId,
        run: Incarnation,
    ) -> Result<(), BrokerRequestError> {
        if self.check_run(work, broker, run)?.broker.fenced {
            return Err(BrokerRequestError::Fenced(broker));
        }
        Ok(())
    }

    /// The partition, if `broker` leads it in that term.
    pub(super) fn led_by(
        &self,
        work: &mut Work,
        id: TopicPartition,
        broker: BrokerId,
        got: LeaderEpoch,
    ) -> Result<Place, StaleLeader> {
        let place = self.find_partition(work, id).ok_or(StaleLeader::Unknown)?;
        let Partition { leader, leader_epoch: epoch, .. } = *place.partition();
        if leader != Some(broker) {
            return Err(StaleLeader::NotLeader { broker, leader, epoch });
        }
        if got != epoch && self.config.tuning.rules.stale_epochs_are_refused {
            return Err(StaleLeader::LeaderEpoch { got, current: epoch });
        }
        Ok(place)
    }

    fn alter_partition(
        &mut self,
        now: Instant,
        work: &mut Work,
        leader: BrokerId,
        wanted: &IsrChange,
        left: &mut BTreeSet<BrokerId>,
    ) -> Result<Partition, AlterPartitionError> {
        let place = self.led_by(work, wanted.partition, leader, wanted.leader_epoch)?;
        let current = place.partition();
        let (got, epoch) = (wanted.partition_epoch, current.partition_epoch);
        if got != epoch && self.config.tuning.rules.stale_epochs_are_refused {
            return Err(StaleLeader::PartitionEpoch { got, current: epoch }.into());
        }
        check_isr(current, leader, &wanted.isr)?;
        let roll = self.roll(work);
        let change = self.change_of(&place.topic, current);
        let is_short = change.is_short();
        for (id, run) in wanted.isr.iter().filter(|(id, _)| !current.isr.contains(id)) {
            let may = self.may_join(now, &roll, *id, *run, is_short);
            may.map_err(|why| AlterPartitionError::Ineligible { broker: *id, why })?;
        }
        let is_wanted = |id: &BrokerId| wanted.isr.iter().any(|(member, _)| member == id);
        let isr: Vec<_> = current.replicas.iter().copied().filter(is_wanted).collect();
        left.extend(current.isr.iter().filter(|id| !is_wanted(id)));
        if isr.iter().any(|id| !current.isr.contains(id)) {
            // Whoever joins has been admitted: its entries in this shard hold for the run that joins.
            self.name_runs(work, place.shard, isr.iter().copied());
        }
        work.urgency = if current.isr.iter().all(is_wanted) { Urgency::Growth } else { Urgency::Election };
        let waits = self.config.tuning.rules.reassignment_waits_for_targets;
        let change = change.in_sync(isr).complete_reassignment(waits).renewed();
        Ok(self.change_one(work, &place, change).unwrap_or_else(|| current.clone()))
    }

    /// R5, as far as the controller can know. Damping spares the coordination store; it never keeps acks=all from a
    /// partition that `is_short` of members.
    fn may_join(
        &self,
        now: Instant,
        roll: &Roll,
        id: BrokerId,
        got: Incarnation,
        is_short: bool,
    ) -> Result<(), Ineligible> {
        if !self.config.tuning.rules.joiners_are_current {
            return Ok(());
        }
        let registered = roll.run(id).ok_or(Ineligible::Fenced)?;
        if registered != got {
            return Err(Ineligible::StaleRun { got, registered });
        }
        if roll.is_draining(id) {
            return Err(Ineligible::Draining);
        }
        match self.liveness.rejoins_at(now, id).filter(|_| !is_short) {
            Some(at) => Err(Ineligible::TooSoon(at.saturating_duration_since(now))),
            None => Ok(()),
        }
    }
}

fn check_isr(current: &Partition, leader: BrokerId, isr: &[(BrokerId, Incarnation)]) -> Result<(), InvalidIsr> {
    let mut seen = BTreeSet::new();
    for (id, _) in isr {
        if !seen.insert(*id) {
            return Err(InvalidIsr::Twice(*id));
        }
        if !current.replicas.contains(id) {
            return Err(InvalidIsr::NoReplica(*id));
        }
    }
    if seen.contains(&leader) { Ok(()) } else { Err(InvalidIsr::NoLeader) }
}
