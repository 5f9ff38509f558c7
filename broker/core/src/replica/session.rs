//! A follower opens a session: the leader compares the two logs and says where to go on.
//!
//! Owns what makes an end count. Until the follower stands at an end that is proven identical to the leader's log it
//! counts as nothing (R4); a session of an older run or an older number never replaces a newer one (R11).

use super::leader::{FollowerState, Session};
use super::log_view::{Comparison, compare};
use super::message::{Answer, Message, Open, Verdict};
use super::push::Lane;
use super::rules::Rule;
use super::{Context, Effect, Effects, Note, Replica};
use crate::types::{BrokerId, LeaderEpoch, Offset};

impl Replica {
    pub(super) fn on_open(&mut self, cx: &Context<'_>, from: BrokerId, open: Open, out: &mut Effects) {
        let watermark = self.high_watermark;
        let stale = cx.host.is_stale(from, open.incarnation) && cx.host.hold(Rule::IncarnationOfJoin);
        let Some(leader) = self.leader_mut().filter(|leader| !leader.stopped && !stale) else {
            self.send_refusal(cx, from, open, out);
            return;
        };
        let Some(follower) = leader.follower(from) else {
            self.send_refusal(cx, from, open, out);
            return;
        };
        let newest = (open.incarnation, open.session);
        if follower.newest.is_some_and(|known| newest < known) {
            out.push(Effect::Noted(Note::StaleIgnored));
            return;
        }
        follower.newest = Some(newest);
        follower.refused = false;
        let verdict = verdict_on(cx, open);
        follower.begin_session(cx, open, verdict, watermark);
        let answer = Answer {
            epoch: open.epoch,
            session: open.session,
            verdict,
            high_watermark: watermark,
            stamp: cx.host.stamp(cx.now),
        };
        out.push(Effect::Send { to: from, message: Message::Answer(answer) });
        self.queue_pushes(cx, out);
        self.advance(cx, out);
    }

    /// Not in this epoch, or not to this run: the follower asks again later.
    pub(super) fn send_refusal(&self, cx: &Context<'_>, to: BrokerId, open: Open, out: &mut Effects) {
        let answer = Answer {
            epoch: open.epoch,
            session: open.session,
            verdict: Verdict::Refused,
            high_watermark: Offset::default(),
            stamp: cx.host.stamp(cx.now),
        };
        out.push(Effect::Send { to, message: Message::Answer(answer) });
    }

    /// Runs that are not registered any more say nothing more.
    pub(super) fn on_peers_changed(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let Some(leader) = self.leader_mut() else { return };
        for follower in &mut leader.followers {
            let stale = |session: &Session| cx.host.is_stale(follower.id, session.incarnation);
            if follower.session.as_ref().is_some_and(stale) && cx.host.hold(Rule::IncarnationOfJoin) {
                follower.session = None;
            }
        }
        self.advance(cx, out);
    }
}

fn verdict_on(cx: &Context<'_>, open: Open) -> Verdict {
    if !cx.host.hold(Rule::DivergenceByEpoch) {
        let end = cx.log.log_end();
        let newest = LeaderEpoch::new(i32::MAX);
        return if open.end <= end { Verdict::PushFrom(open.end) } else { Verdict::TruncateTo { epoch: newest, end } };
    }
    match compare(cx.log, open.last_epoch, open.end) {
        Comparison::Prefix => Verdict::PushFrom(open.end),
        Comparison::Diverged { epoch, end } => Verdict::TruncateTo { epoch, end },
        Comparison::TooOld { start } => Verdict::StartOver(start),
    }
}

impl FollowerState {
    /// The session counts if the follower stands where pushes begin; otherwise it has to open another one first.
    fn begin_session(&mut self, cx: &Context<'_>, open: Open, verdict: Verdict, watermark: Offset) {
        let same = |session: &Session| session.incarnation == open.incarnation && session.number == open.session;
        if let Some(session) = self.session.as_mut().filter(|session| same(session)) {
            // The answer was lost, or this question was late. What was pushed since may be lost as well.
            session.cursor = session.acked;
            return;
        }
        let proven = matches!(verdict, Verdict::PushFrom(_)) || !cx.host.hold(Rule::ProvenEnds);
        self.session = proven.then_some(Session {
            incarnation: open.incarnation,
            number: open.session,
            acked: open.end,
            cursor: open.end,
            watermark_sent: watermark,
            sent_at: cx.now,
            lane: Lane::Live,
            lane_next: Lane::Live,
            queued: false,
        });
        self.note_end(cx);
    }
}
