//! Who leads, on request: elections by hand, hand-overs, new terms, and the way back to preferred leaders.

use std::time::{Duration, Instant};

use super::budget::Urgency;
use super::election::Change;
use super::error::{BrokerRequestError, ElectLeaderError, LeadershipError};
use super::partition_changes::Place;
use super::{Elected, ElectionKind, Leadership, Machine, NamedPartition, Phase, StopState, Work};
use crate::config::broker;
use crate::metadata::Partition;
use crate::types::{BrokerId, Incarnation, TopicPartition};

/// How many leaderships go back to preferred leaders at once.
const REBALANCE_MAX: usize = 1000;

impl Machine {
    /// A leader that is slower than its followers, or wants to stop, gives leaderships away.
    pub(super) fn hand_over(
        &mut self,
        work: &mut Work,
        broker: BrokerId,
        run: Incarnation,
        leaderships: &[Leadership],
    ) -> Result<Vec<Result<Partition, LeadershipError>>, BrokerRequestError> {
        self.change_leaderships(work, (broker, run), leaderships, Change::other_leader)
    }

    /// A leader whose write failed takes no more appends in its term: it goes on in another.
    pub(super) fn renew_terms(
        &mut self,
        work: &mut Work,
        broker: BrokerId,
        run: Incarnation,
        leaderships: &[Leadership],
    ) -> Result<Vec<Result<Partition, LeadershipError>>, BrokerRequestError> {
        self.change_leaderships(work, (broker, run), leaderships, Change::new_term)
    }

    /// Changes each partition that this very run leads in the term that it names.
    fn change_leaderships(
        &mut self,
        work: &mut Work,
        (broker, run): (BrokerId, Incarnation),
        leaderships: &[Leadership],
        change: impl Fn(Change) -> Change,
    ) -> Result<Vec<Result<Partition, LeadershipError>>, BrokerRequestError> {
        self.check_asker(work, broker, run)?;
        let one = |leadership: &Leadership| {
            let place = self.led_by(work, leadership.partition, broker, leadership.leader_epoch)?;
            let change = change(self.change_of(&place.topic, place.partition()));
            self.change_one(work, &place, change).ok_or(LeadershipError::NobodyElse)
        };
        Ok(leaderships.iter().map(one).collect())
    }

    /// A broker found that logs of its are missing, damaged or shorter than they were (R12).
    pub(super) fn replicas_lost(
        &mut self,
        work: &mut Work,
        broker: BrokerId,
        run: Incarnation,
        partitions: &[TopicPartition],
    ) -> Result<(), BrokerRequestError> {
        self.check_run(work, broker, run)?;
        self.forget_running_logs(work, broker, partitions);
        Ok(())
    }

    pub(super) fn elect_leaders(
        &mut self,
        work: &mut Work,
        kind: ElectionKind,
        partitions: Option<&[NamedPartition]>,
    ) -> Vec<Elected> {
        let Some(named) = partitions else {
            let all = self.every_place(work);
            let elect = |place: Place| {
                let named = NamedPartition { topic: place.topic.name.clone(), partition: place.index };
                (named, self.elect_leader(work, kind, &place))
            };
            let all = all.into_iter().map(elect);
            return all.filter(|(_, result)| *result != Err(ElectLeaderError::NotNeeded)).collect();
        };
        let elect = |named: &NamedPartition| {
            let place = self.find_named(work, &named.topic, named.partition);
            let result = place.ok_or(ElectLeaderError::Unknown);
            (named.clone(), result.and_then(|place| self.elect_leader(work, kind, &place)))
        };
        named.iter().map(elect).collect()
    }

    fn elect_leader(&mut self, work: &mut Work, kind: ElectionKind, place: &Place) -> Result<(), ElectLeaderError> {
        let partition = place.partition();
        let change = self.change_of(&place.topic, partition);
        match kind {
            ElectionKind::Preferred => {
                let preferred = *partition.replicas.first().ok_or(ElectLeaderError::NobodyAvailable)?;
                if partition.leader == Some(preferred) {
                    return Err(ElectLeaderError::NotNeeded);
                }
                let roll = self.roll(work);
                let voters = roll.voters(&self.latest_shard(work, place.shard).runs);
                let can = partition.isr.contains(&preferred) && voters.may_lead(preferred);
                if !can || roll.is_draining(preferred) {
                    return Err(ElectLeaderError::PreferredNotAvailable(preferred));
                }
                self.change_one(work, place, change.leader(preferred));
                Ok(())
            }
            ElectionKind::Unclean if partition.leader.is_some() => Err(ElectLeaderError::NotNeeded),
            ElectionKind::Unclean => {
                let elected = self.change_one(work, place, change.unclean(true));
                let led = elected.is_some_and(|partition| partition.leader.is_some());
                if led { Ok(()) } else { Err(ElectLeaderError::NobodyAvailable) }
            }
        }
    }

    fn every_place(&self, work: &mut Work) -> Vec<Place> {
        let mut all = Vec::new();
        for shard in self.shard_ids() {
            for topic in self.latest_shard(work, shard).topics.values() {
                let place = |(index, _)| Place { shard, topic: topic.clone(), index };
                all.extend(topic.indexed().map(place));
            }
        }
        all
    }

    /// Now and then leaderships go back to their preferred leaders, a bounded number at once, after everything else.
    pub(super) fn rebalance_when_due(&mut self, now: Instant) {
        let decides = self.phase == Phase::Acting && !self.growth.is_copying();
        if !decides || !self.broker.boolean(&broker::AUTO_LEADER_REBALANCE_ENABLE) {
            return;
        }
        let seconds = self.broker.long(&broker::LEADER_IMBALANCE_CHECK_INTERVAL_SECONDS);
        let interval = Duration::from_secs(u64::try_from(seconds.unwrap_or(300)).unwrap_or(1).clamp(1, 1 << 30));
        let due = *self.rebalance_at.get_or_insert(now + interval);
        if due > now {
            return;
        }
        self.rebalance_at = Some(now + interval);
        let mut work = Work::internal(Urgency::Growth);
        let places = self.every_place(&mut work);
        let mut moved = 0;
        for place in places {
            if moved == REBALANCE_MAX {
                break;
            }
            if self.elect_leader(&mut work, ElectionKind::Preferred, &place).is_ok() {
                moved += 1;
            }
        }
    }

    /// A broker that wants to stop leads nothing any more and leaves the in-sync sets, as far as others can do without
    /// it; how far it is (L1). One write: nobody waits for its acks when it is gone.
    pub(super) fn prepare_stop(
        &mut self,
        work: &mut Work,
        id: BrokerId,
        run: Incarnation,
    ) -> Result<StopState, BrokerRequestError> {
        self.check_asker(work, id, run)?;
        self.liveness.drain(id, true);
        let draining = self.liveness.draining();
        let stops = |change: Change| change.stops(id, |member| draining.contains(&member));
        self.change_partitions(work, |_, _, partition| partition.isr.contains(&id), stops);
        let mut state = StopState::default();
        for place in self.every_place(work) {
            let partition = place.partition();
            state.leads += usize::from(partition.leader == Some(id));
            if partition.isr.contains(&id) {
                state.would_fall_short += 1;
                let topic = place.topic.name.clone();
                state.example.get_or_insert(NamedPartition { topic, partition: place.index });
            }
        }
        Ok(state)
    }
}
