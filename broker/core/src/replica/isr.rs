//! Who is in sync: leaving, joining, and the change that is under way.
//!
//! Owns R5 and the pending ISR. A change is a compare-and-swap at the controller on leader epoch and partition epoch; from
//! the moment that it is asked for until a newer version is known, whoever may have joined counts. An answer that was
//! lost, or a refusal of one of several copies, proves nothing: then the leader changes the version itself, without
//! changing the ISR, after which no copy can be committed any more.

use std::time::Instant;

use super::assignment::Assignment;
use super::host::Host;
use super::leader::{FollowerState, Leader};
use super::message::{Alter, Altered, Ask};
use super::rules::Rule;
use super::{Context, Effect, Effects, Note, Replica, Role};
use crate::types::{BrokerId, Incarnation, LeaderEpoch, Offset, PartitionEpoch};

/// A change of the ISR that may be committed or not.
#[derive(Debug)]
pub(super) struct Pending {
    /// The version that it changes.
    pub(super) partition_epoch: PartitionEpoch,
    /// Everybody who is in the ISR if some copy of it is committed.
    pub(super) counts: Vec<BrokerId>,
    asked: Alter,
    /// How many copies have left.
    copies: u32,
    again_at: Instant,
}

/// Keeps a replica that comes and goes from changing the ISR all the time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Damping {
    left: u8,
    rejoin_at: Option<Instant>,
    joined_at: Option<Instant>,
}

impl Damping {
    /// Rested: what was to be waited for is over.
    fn on_time(&mut self, now: Instant) {
        self.rejoin_at = self.rejoin_at.filter(|&at| at > now);
    }

    fn on_left(&mut self, host: &Host, now: Instant) {
        let settings = &host.settings;
        if self.joined_at.is_none_or(|at| now.saturating_duration_since(at) > 2 * settings.rejoin_max) {
            self.left = 0;
        }
        let delay = settings.rejoin_min.saturating_mul(1 << self.left.min(16)).min(settings.rejoin_max);
        self.rejoin_at = Some(now + delay);
        self.left = self.left.saturating_add(1);
    }
}

impl Leader {
    /// A committed version replaces the one before: no older change can be committed any more.
    pub(super) fn adopt_version(&mut self, cx: &Context<'_>, old: &Assignment, new: &Assignment) {
        self.pending = None;
        self.adopt_replicas(cx.host.me, new, cx.now, cx.log.log_end());
        for follower in &mut self.followers {
            let (was, is) = (old.isr.contains(&follower.id), new.isr.contains(&follower.id));
            if was && !is {
                follower.damping.on_left(cx.host, cx.now);
            }
            if is && !was {
                follower.damping.joined_at = Some(cx.now);
            }
        }
    }

    pub(super) fn isr_deadline(&self, host: &Host, assignment: &Assignment) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        if let Some(pending) = &self.pending {
            return Some(pending.again_at);
        }
        let lagging = |follower: &FollowerState| {
            let behind = follower.proven_end() != Some(self.log_end);
            behind.then(|| follower.caught_up_at + host.settings.lag_max)
        };
        let due = |follower: &FollowerState| {
            if assignment.isr.contains(&follower.id) {
                return lagging(follower);
            }
            follower.session.as_ref().and(follower.damping.rejoin_at)
        };
        let first = self.followers.iter().filter_map(due).min();
        first.max(self.alter_at.filter(|_| first.is_some())).or(self.alter_at)
    }
}

impl Replica {
    /// Asks for another ISR if the committed one is not what it should be, and nothing is under way.
    pub(super) fn adjust_isr(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let watermark = self.high_watermark;
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.pending.is_some() || leader.stopped || leader.alter_at.is_some_and(|at| at > cx.now) {
            return;
        }
        leader.alter_at = None;
        let committed = &self.assignment.isr;
        let mut isr: Vec<BrokerId> =
            committed.iter().copied().filter(|&member| !leader.has_to_leave(cx, member)).collect();
        let mut joining = Vec::new();
        for follower in leader.followers.iter_mut().filter(|follower| !committed.contains(&follower.id)) {
            follower.damping.on_time(cx.now);
            if let Some(run) = follower.may_join(cx, watermark, leader.epoch_start) {
                isr.push(follower.id);
                joining.push((follower.id, run));
            }
        }
        if isr == *committed {
            return;
        }
        let asked = Alter {
            leader_epoch: leader.epoch,
            partition_epoch: self.assignment.partition_epoch,
            isr: isr.clone(),
            joining,
        };
        leader.pending = Some(Pending {
            partition_epoch: self.assignment.partition_epoch,
            counts: isr,
            asked: asked.clone(),
            copies: 1,
            again_at: cx.now + cx.host.settings.retry,
        });
        out.push(Effect::Ask(Ask::Alter(asked)));
    }

    pub(super) fn retry_alter(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let Some(pending) = self.leader_mut().and_then(|leader| leader.pending.as_mut()) else { return };
        if pending.again_at <= cx.now {
            pending.send_copy(cx, out);
        }
    }

    pub(super) fn on_altered(
        &mut self,
        cx: &Context<'_>,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        outcome: Altered,
        out: &mut Effects,
    ) {
        if let Altered::Done(assignment) = outcome {
            self.on_assigned(cx, assignment, out);
            return;
        }
        let committed = self.assignment.isr.clone();
        let Some(leader) = self.leader_mut().filter(|leader| leader.epoch == leader_epoch) else { return };
        let Some(pending) = &mut leader.pending else { return };
        if pending.partition_epoch != partition_epoch || outcome == Altered::Outdated {
            // A newer version is on the way; it may be this very change.
            return;
        }
        if pending.copies == 1 || !cx.host.hold(Rule::PendingUntilSettled) {
            leader.pending = None;
            leader.alter_at = Some(cx.now + cx.host.settings.retry);
        } else if pending.asked.isr != committed {
            out.push(Effect::Noted(Note::Settling));
            pending.asked.isr = committed;
            pending.asked.joining.clear();
            pending.send_copy(cx, out);
        }
        self.advance(cx, out);
    }

    /// Its process is gone: every acknowledgement would wait for it until it is out.
    pub(super) fn on_peer_refused(&mut self, cx: &Context<'_>, peer: BrokerId, out: &mut Effects) {
        let Some(follower) = self.leader_mut().and_then(|leader| leader.follower(peer)) else { return };
        follower.refused = true;
        follower.session = None;
        self.advance(cx, out);
    }
}

impl Pending {
    fn send_copy(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.copies = self.copies.saturating_add(1);
        self.again_at = cx.now + cx.host.settings.retry;
        out.push(Effect::Ask(Ask::Alter(self.asked.clone())));
    }
}

impl Leader {
    fn has_to_leave(&self, cx: &Context<'_>, member: BrokerId) -> bool {
        let Some(follower) = self.get(member) else { return false };
        let lag = cx.now.saturating_duration_since(follower.was_caught_up(cx.now, cx.log.log_end()));
        follower.refused || lag >= cx.host.settings.lag_max
    }
}

impl FollowerState {
    /// R5: which run of it may join. It has acknowledged in this epoch, at or past the high watermark and the start of
    /// the epoch, is the registered run, not fenced, not draining, keeps up, and did not leave a moment ago.
    fn may_join(&self, cx: &Context<'_>, watermark: Offset, epoch_start: Offset) -> Option<Incarnation> {
        let session = self.session.as_ref()?;
        let peer = cx.host.peer(self.id)?;
        let bound = if cx.host.hold(Rule::EpochStartBeforeJoin) { watermark.max(epoch_start) } else { watermark };
        let current = peer.incarnation == session.incarnation || !cx.host.hold(Rule::IncarnationOfJoin);
        let rested = self.damping.rejoin_at.is_none();
        // Behind for long, it would have to leave again at once.
        let lag = cx.now.saturating_duration_since(self.was_caught_up(cx.now, cx.log.log_end()));
        let keeps_up = lag < cx.host.settings.lag_max;
        let healthy = !peer.fenced && !peer.draining;
        (session.acked >= bound && current && rested && healthy && keeps_up).then_some(peer.incarnation)
    }
}
