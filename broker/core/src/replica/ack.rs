//! A follower reports its durable end.
//!
//! Owns what an acknowledgement changes: the follower's end, where its log begins, since when it is caught up, that it knows
//! this epoch. One of an older session, of another run, or past what was pushed changes nothing (R11): those are a peer's
//! bytes, so never a reason to panic.

use std::time::Instant;

use super::host::Host;
use super::leader::{FollowerState, Session};
use super::message::{Ack, Answer, Message, SessionNumber, Verdict};
use super::rules::Rule;
use super::{Context, Effect, Effects, Note, Replica};
use crate::types::{BrokerId, Incarnation, LeaderEpoch, Offset};

impl Replica {
    pub(super) fn on_ack(&mut self, cx: &Context<'_>, from: BrokerId, ack: Ack, out: &mut Effects) {
        let any_session = !cx.host.hold(Rule::SessionOfAck);
        let Some(leader) = self.leader_mut() else {
            out.push(Effect::Noted(Note::StaleAckIgnored));
            return;
        };
        let Some(follower) = leader.follower(from) else { return };
        let current = |session: &Session| session.incarnation == ack.incarnation && session.number == ack.session;
        let Some(session) = follower.session.as_mut().filter(|session| any_session || current(session)) else {
            out.push(Effect::Noted(Note::StaleAckIgnored));
            let latest = follower.newest.is_none_or(|newest| newest <= (ack.incarnation, ack.session));
            if latest {
                // It believes in a session that was dropped here.
                send_over(cx, from, (ack.epoch, ack.incarnation, ack.session), out);
            }
            return;
        };
        if ack.end > session.cursor && !any_session {
            follower.end_session(cx, ack.epoch, out);
            return;
        }
        session.acked = session.acked.max(ack.end);
        session.cursor = session.cursor.max(session.acked);
        session.start = session.start.max(ack.log_start);
        follower.refused = false;
        follower.echoed = follower.echoed.max(cx.host.moment(ack.stamp, cx.now));
        follower.note_end(cx);
        self.queue_pushes(cx, out);
        self.judge_own_disk(cx, out);
        self.advance(cx, out);
    }
}

/// That session is over: the follower opens another one.
fn send_over(
    cx: &Context<'_>,
    to: BrokerId,
    (epoch, incarnation, session): (LeaderEpoch, Incarnation, SessionNumber),
    out: &mut Effects,
) {
    let answer = Answer {
        epoch,
        incarnation,
        session,
        verdict: Verdict::Refused,
        high_watermark: Offset::default(),
        log_start: Offset::default(),
        stamp: cx.host.stamp(cx.now),
    };
    out.push(Effect::Send { to, message: Message::Answer(answer) });
}

impl Replica {
    /// Who does not know that its session is over would wait for ever for what is not pushed.
    pub(super) fn tell_over_again(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let Some(leader) = self.leader_mut().filter(|leader| !leader.stopped) else { return };
        let epoch = leader.epoch;
        for follower in &mut leader.followers {
            if follower.tell_over_at(cx.host).is_some_and(|at| at <= cx.now)
                && let Some((incarnation, session, again_at)) = &mut follower.ended
            {
                *again_at = cx.now + cx.host.settings.retry;
                send_over(cx, follower.id, (epoch, *incarnation, *session), out);
            }
        }
    }
}

impl FollowerState {
    /// Its session is over here; it is told so until it opens another one.
    pub(super) fn end_session(&mut self, cx: &Context<'_>, epoch: LeaderEpoch, out: &mut Effects) {
        let Some(session) = self.session.take() else { return };
        self.ended = Some((session.incarnation, session.number, cx.now + cx.host.settings.retry));
        send_over(cx, self.id, (epoch, session.incarnation, session.number), out);
    }

    /// Told again then: only the run that had the session, and only while that may be running.
    pub(super) fn tell_over_at(&self, host: &Host) -> Option<Instant> {
        let (run, _, again_at) = self.ended?;
        let peer = host.peer(self.id)?;
        (peer.incarnation == run && !peer.fenced).then_some(again_at)
    }

    /// Its end moved: it was caught up at the moment of the mark once it stands where the log ended then.
    pub(super) fn note_end(&mut self, cx: &Context<'_>) {
        let Some(end) = self.proven_end() else { return };
        let log_end = cx.log.log_end();
        if end >= log_end {
            self.caught_up_at = cx.now;
        } else if end >= self.mark.0 {
            self.caught_up_at = self.caught_up_at.max(self.mark.1);
        } else {
            return;
        }
        self.mark = (log_end, cx.now);
    }
}
