//! A follower reports its durable end.
//!
//! Owns what an acknowledgement changes: the follower's end, since when it is caught up, that it knows this epoch. One
//! of an older session, of another run, or past what was pushed changes nothing (R11): those are a peer's bytes, so never
//! a reason to panic.

use super::leader::{FollowerState, Session};
use super::message::{Ack, Answer, Message, Verdict};
use super::rules::Rule;
use super::{Context, Effect, Effects, Note, Replica};
use crate::types::{BrokerId, Offset};

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
                send_over(cx, from, ack, out);
            }
            return;
        };
        if ack.end > session.cursor && !any_session {
            follower.session = None;
            send_over(cx, from, ack, out);
            return;
        }
        session.acked = session.acked.max(ack.end);
        session.cursor = session.cursor.max(session.acked);
        follower.refused = false;
        follower.echoed = follower.echoed.max(cx.host.moment(ack.stamp, cx.now));
        follower.note_end(cx);
        self.queue_pushes(cx, out);
        self.judge_own_disk(cx, out);
        self.advance(cx, out);
    }
}

fn send_over(cx: &Context<'_>, to: BrokerId, ack: Ack, out: &mut Effects) {
    let answer = Answer {
        epoch: ack.epoch,
        session: ack.session,
        verdict: Verdict::Refused,
        high_watermark: Offset::default(),
        stamp: cx.host.stamp(cx.now),
    };
    out.push(Effect::Send { to, message: Message::Answer(answer) });
}

impl FollowerState {
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
