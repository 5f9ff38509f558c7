//! Taking over from a controller that fell silent, before its Lease has run out.
//!
//! A majority of the registered brokers may: whichever of them finds the controller silent says so to all. Two
//! majorities have a broker in common, but nothing depends on it: whoever takes the Lease claims the root in a new
//! epoch, and epochs fence. What the silent controller had last told of everybody's signs of life is handed on, so
//! that no clock starts anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Effect, Effects, Machine, Phase};
use crate::types::{BrokerId, ControllerEpoch};

/// For how long it counts that a broker found the controller silent.
const SAYING_HOLDS: Duration = Duration::from_secs(2);
/// Brokers try one after the other, by their ids.
const TURN: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Preemption {
    /// The controller's epoch and the registered brokers, as this broker knows them.
    followed: Option<(ControllerEpoch, BTreeSet<BrokerId>)>,
    silent_for: BTreeMap<BrokerId, Instant>,
    try_at: Option<Instant>,
}

impl Preemption {
    /// This broker has seen the root of that controller.
    pub(super) fn follow(&mut self, epoch: ControllerEpoch, registered: BTreeSet<BrokerId>) {
        let before = self.followed.as_ref().map(|(epoch, _)| *epoch);
        if before > Some(epoch) {
            return;
        }
        if before < Some(epoch) {
            self.silent_for.clear();
            self.try_at = None;
        }
        self.followed = Some((epoch, registered));
    }

    fn on_silent(&mut self, now: Instant, id: BrokerId, epoch: ControllerEpoch) -> bool {
        let concerns = matches!(&self.followed, Some((known, ids)) if *known == epoch && ids.contains(&id));
        if concerns {
            self.silent_for.insert(id, now);
        }
        concerns
    }

    fn on_heard(&mut self, id: BrokerId) {
        self.silent_for.remove(&id);
    }

    /// When it is this broker's turn, if a majority finds the controller silent, and it does so itself.
    fn turn(&mut self, now: Instant, me: BrokerId) -> Option<Instant> {
        self.silent_for.retain(|_, at| now.saturating_duration_since(*at) < SAYING_HOLDS);
        let (_, registered) = self.followed.as_ref()?;
        if self.silent_for.len() * 2 <= registered.len() || !self.silent_for.contains_key(&me) {
            self.try_at = None;
            return None;
        }
        let rank = self.silent_for.keys().take_while(|id| **id != me).count();
        let delay = TURN * u32::try_from(rank).unwrap_or(u32::MAX);
        Some(*self.try_at.get_or_insert(now + delay))
    }
}

impl Machine {
    pub(super) fn on_controller_silent(
        &mut self,
        now: Instant,
        id: BrokerId,
        epoch: ControllerEpoch,
        ages: &BTreeMap<BrokerId, Duration>,
        out: &mut Effects,
    ) {
        if self.preemption.on_silent(now, id, epoch) {
            self.on_handed_over(now, ages);
            self.preempt_when_due(now, out);
        }
    }

    pub(super) fn on_controller_heard(&mut self, id: BrokerId) {
        self.preemption.on_heard(id);
    }

    pub(super) fn preempt_when_due(&mut self, now: Instant, out: &mut Effects) {
        if self.phase != Phase::Waiting {
            return;
        }
        let Some(at) = self.preemption.turn(now, self.config.me) else { return };
        if at > now {
            out.push(Effect::WakeAt(at));
            return;
        }
        // If the Lease is not as it was seen last, it is looked at, and reached for once more.
        self.preemption.try_at = Some(now + TURN);
        self.lease.preempt(now, out);
        out.push(Effect::WakeAt(now + TURN));
    }
}
