//! Pushing: what goes to which follower, on which connection, and what is sent without records.
//!
//! Owns the cursors. Queues hold partitions, not bytes: a follower that has room is offered what its cursor stands at. A
//! cursor that fell out of memory moves to the catch-up connection and back, only when nothing is under way on the other:
//! two connections keep no order between them.

use std::time::Instant;

use super::host::Host;
use super::leader::{FollowerState, Session};
use super::message::{Message, Push, SessionNumber};
use super::{Context, Effect, Effects, Replica};
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// Which of the two connections to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What has just been appended.
    Live,
    /// What has to be read from disk; throttled, and never in front of the other.
    CatchUp,
}

impl Replica {
    /// Every follower that lacks records stands in its queue.
    pub(super) fn queue_pushes(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let log_end = cx.log.log_end();
        let Some(leader) = self.leader_mut().filter(|leader| !leader.stopped) else { return };
        leader.log_end = log_end;
        for follower in &mut leader.followers {
            let Some(session) = &mut follower.session else { continue };
            if session.may_push(log_end) && !session.queued {
                session.queued = true;
                out.push(Effect::Ready(follower.id));
            }
        }
    }

    pub(super) fn on_room(&mut self, cx: &Context<'_>, to: BrokerId, out: &mut Effects) {
        let (log_end, watermark) = (cx.log.log_end(), self.high_watermark);
        let Some(leader) = self.leader_mut().filter(|leader| !leader.stopped) else { return };
        let epoch = leader.epoch;
        let Some(follower) = leader.follower(to) else { return };
        let Some(session) = follower.session.as_mut() else { return };
        session.queued = false;
        if session.cursor < cx.log.log_start() {
            // Retention has passed it by: what it lacks is not there any more, so it has to start over.
            follower.end_session(cx, epoch, out);
            return;
        }
        if !session.may_push(log_end) {
            return;
        }
        session.lane = session.lane_next;
        let push = Push { end: log_end, ..session.beat(cx, epoch, watermark) };
        out.push(Effect::Push { to, push, lane: session.lane });
    }

    pub(super) fn on_sent(
        &mut self,
        cx: &Context<'_>,
        to: BrokerId,
        number: SessionNumber,
        upto: Offset,
        cached: bool,
        out: &mut Effects,
    ) {
        let log_end = cx.log.log_end();
        let Some(leader) = self.leader_mut() else { return };
        let Some(session) = leader.follower(to).and_then(|follower| follower.session.as_mut()) else { return };
        if session.number == number && upto <= log_end {
            session.cursor = session.cursor.max(upto);
            session.lane_next = if cached { Lane::Live } else { Lane::CatchUp };
        }
        self.queue_pushes(cx, out);
    }

    /// The high watermark goes out alone if no data took it along.
    pub(super) fn send_watermark(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let watermark = self.high_watermark;
        let Some(leader) = self.leader_mut() else { return };
        if leader.watermark_at.is_none_or(|at| at > cx.now) {
            return;
        }
        leader.watermark_at = None;
        self.send_beats(cx, |session, _| session.watermark_sent < watermark, out);
    }

    /// What was removed here is removed by every follower: said alone, for there may be no data for long.
    pub(super) fn on_leader_start_moved(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let start = cx.log.log_start();
        self.send_beats(cx, |session, _| session.start_sent < start, out);
    }

    /// Who owes an acknowledgement for long is told again how far was pushed: it notices what it never got.
    pub(super) fn probe(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.send_beats(cx, |session, host| session.probe_at(host).is_some_and(|at| at <= cx.now), out);
    }

    pub(super) fn on_solicit(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.send_beats(cx, |_, _| true, out);
    }

    fn send_beats(&mut self, cx: &Context<'_>, wanted: impl Fn(&Session, &Host) -> bool, out: &mut Effects) {
        let watermark = self.high_watermark;
        let Some(leader) = self.leader_mut().filter(|leader| !leader.stopped) else { return };
        let epoch = leader.epoch;
        for follower in &mut leader.followers {
            let Some(session) = &mut follower.session else { continue };
            if wanted(session, cx.host) {
                let message = Message::Push(session.beat(cx, epoch, watermark));
                out.push(Effect::Send { to: follower.id, message });
            }
        }
    }
}

impl Session {
    /// Something is to be pushed, and nothing is under way on the other connection.
    fn may_push(&self, log_end: Offset) -> bool {
        self.cursor < log_end && (self.lane == self.lane_next || self.acked == self.cursor)
    }

    /// A push without records; it counts as sent.
    fn beat(&mut self, cx: &Context<'_>, epoch: LeaderEpoch, high_watermark: Offset) -> Push {
        self.sent_at = cx.now;
        self.watermark_sent = high_watermark;
        self.start_sent = cx.log.log_start();
        Push {
            epoch,
            incarnation: self.incarnation,
            session: self.number,
            base: self.cursor,
            end: self.cursor,
            high_watermark,
            log_start: self.start_sent,
            stamp: cx.host.stamp(cx.now),
        }
    }

    fn probe_at(&self, host: &Host) -> Option<Instant> {
        (self.acked < self.cursor).then(|| self.sent_at + host.settings.retry)
    }
}

impl FollowerState {
    pub(super) fn probe_at(&self, host: &Host) -> Option<Instant> {
        self.session.as_ref()?.probe_at(host)
    }
}
