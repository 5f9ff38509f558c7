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
        let member = self.may_be_member(from);
        let given_up = !member && self.begins_with_what_was_given_up(cx, open);
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
        let again = follower.newest.replace(newest) == Some(newest);
        follower.refused = false;
        // Asked once more, it gets the same answer: the first one may be on its way, and the session counts.
        let cut = follower.cut.filter(|_| again);
        let verdict = cut.or_else(|| follower.repeated(cx, open));
        let verdict = verdict.unwrap_or_else(|| verdict_on(cx, open, member, given_up));
        follower.cut = Some(verdict).filter(|verdict| !matches!(verdict, Verdict::PushFrom(_)));
        follower.begin_session(cx, open, verdict, watermark);
        let answer = Answer {
            epoch: open.epoch,
            incarnation: open.incarnation,
            session: open.session,
            verdict,
            high_watermark: watermark,
            log_start: cx.log.log_start(),
            stamp: cx.host.stamp(cx.now),
        };
        out.push(Effect::Send { to: from, message: Message::Answer(answer) });
        self.queue_pushes(cx, out);
        self.advance(cx, out);
    }

    /// Whether it counts, or would if a change that is under way is committed. Nobody joins without this leader's asking,
    /// so that who is none here is none.
    fn may_be_member(&self, id: BrokerId) -> bool {
        let pending = self.leader().and_then(|leader| leader.pending.as_ref());
        self.assignment.is_member(id) || pending.is_some_and(|pending| pending.counts.contains(&id))
    }

    /// Whether its log is from before the last unclean election and begins above the high watermark: what it has removed
    /// was committed then, and is not now. As a leader it would say that everything below its start is committed. What is
    /// not in this leader's log either is nobody's to be committed.
    fn begins_with_what_was_given_up(&self, cx: &Context<'_>, open: Open) -> bool {
        let before = |unclean: LeaderEpoch| open.last_epoch.is_none_or(|last| last < unclean);
        self.assignment.unclean.is_some_and(before)
            && open.start > self.high_watermark.max(cx.log.log_start())
            && cx.host.hold(Rule::RemovedWasCommitted)
    }

    /// Not in this epoch, or not to this run: the follower asks again later.
    pub(super) fn send_refusal(&self, cx: &Context<'_>, to: BrokerId, open: Open, out: &mut Effects) {
        let answer = Answer {
            epoch: open.epoch,
            incarnation: open.incarnation,
            session: open.session,
            verdict: Verdict::Refused,
            high_watermark: Offset::default(),
            log_start: Offset::default(),
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

fn verdict_on(cx: &Context<'_>, open: Open, member: bool, given_up: bool) -> Verdict {
    if !cx.host.hold(Rule::DivergenceByEpoch) {
        let end = cx.log.log_end();
        let newest = LeaderEpoch::new(i32::MAX);
        return if open.end <= end { Verdict::PushFrom(open.end) } else { Verdict::TruncateTo { epoch: newest, end } };
    }
    let begins = cx.log.log_start();
    if !cx.host.hold(Rule::ProvenAboveLogStart) && open.last_epoch < cx.log.first_epoch() && open.end >= begins {
        let epoch = open.last_epoch.unwrap_or(LeaderEpoch::NONE);
        let stands = open.end == begins;
        return if stands { Verdict::PushFrom(begins) } else { Verdict::TruncateTo { epoch, end: begins } };
    }
    match compare(cx.log, open.last_epoch, open.end) {
        // An empty log that begins later than this one stands for records that may have been others, before an unclean
        // election; a member has proven otherwise, and must not lose its place.
        Comparison::Prefix if given_up || open.last_epoch.is_none() && open.end > begins && !member => {
            Verdict::StartOver(begins)
        }
        Comparison::Prefix => Verdict::PushFrom(open.end),
        Comparison::Diverged { epoch, end } => Verdict::TruncateTo { epoch, end },
        Comparison::TooOld { start } => Verdict::StartOver(start),
    }
}

impl FollowerState {
    /// The verdict on a question whose session has begun already, if what it lacks is still there.
    fn repeated(&self, cx: &Context<'_>, open: Open) -> Option<Verdict> {
        let session = self.session.as_ref().filter(|session| session.is_of(open))?;
        (session.acked >= cx.log.log_start()).then_some(Verdict::PushFrom(open.end))
    }

    /// The session counts if the follower stands where pushes begin; otherwise it has to open another one first.
    fn begin_session(&mut self, cx: &Context<'_>, open: Open, verdict: Verdict, watermark: Offset) {
        let proven = matches!(verdict, Verdict::PushFrom(_)) || !cx.host.hold(Rule::ProvenEnds);
        if let Some(session) = self.session.as_mut().filter(|session| proven && session.is_of(open)) {
            // The answer was lost, or this question was late. What was pushed since may be lost as well.
            session.cursor = session.acked;
            return;
        }
        // A late copy of a question may end the session that the first one began: whoever believes in it has to hear that.
        let dropped = self.session.as_ref().map(|session| (session.incarnation, session.number));
        let over = dropped.map(|(run, number)| (run, number, cx.now + cx.host.settings.retry)).or(self.ended);
        self.ended = over.filter(|&(run, number, _)| !proven && (run, number) == (open.incarnation, open.session));
        self.session = proven.then_some(Session {
            incarnation: open.incarnation,
            number: open.session,
            acked: open.end,
            cursor: open.end,
            start: open.start,
            watermark_sent: watermark,
            start_sent: cx.log.log_start(),
            sent_at: cx.now,
            lane: Lane::Live,
            lane_next: Lane::Live,
            queued: false,
        });
        self.note_end(cx);
    }
}

impl Session {
    fn is_of(&self, open: Open) -> bool {
        (self.incarnation, self.number) == (open.incarnation, open.session)
    }
}
