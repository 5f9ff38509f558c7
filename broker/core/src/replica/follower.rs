//! Following: open a session, cut what the leader does not have, append what it pushes, report what is durable.
//!
//! Owns the follower's side of R8 and R11. A session opens only once everything queued for the disk is there; an end is
//! reported only when it is durable; nothing below the known high watermark is ever cut, unless the leader was elected
//! uncleanly. Whatever does not fit is answered by a new session.

use std::time::Instant;

use super::host::{Host, Stamp};
use super::log_view::cut;
use super::message::{Ack, Answer, Message, Open, Push, SessionNumber, Verdict};
use super::rules::Rule;
use super::{Context, Effect, Effects, Note, Replica, Role};
use crate::types::{BrokerId, Incarnation, LeaderEpoch, Offset};

/// A follower in one epoch.
#[derive(Debug)]
pub(super) struct Follower {
    leader: BrokerId,
    state: State,
    /// What the leader says is committed; as much of it as is durable here is known to be.
    watermark: Offset,
    /// Where the leader's log begins; what is committed and durable here below that is removed.
    log_start: Offset,
    /// The newest stamp of this session.
    stamp: Option<Stamp>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Records are on their way to the disk; a session opens when they are there.
    Draining,
    /// This question was asked; it leaves again then.
    Opening { open: Open, again_at: Instant },
    /// It stands in the leader's log.
    Following,
    /// A cut is on its way to the disk.
    Cutting,
}

impl Follower {
    pub(super) fn new(leader: BrokerId) -> Self {
        Self { leader, state: State::Draining, watermark: Offset::default(), log_start: Offset::default(), stamp: None }
    }

    /// Whether it stands in the leader's log.
    pub(super) fn is_following(&self) -> bool {
        self.state == State::Following
    }

    pub(super) fn deadline(&self, _host: &Host) -> Option<Instant> {
        match self.state {
            State::Opening { again_at, .. } => Some(again_at),
            State::Draining | State::Following | State::Cutting => None,
        }
    }
}

impl Replica {
    fn follower_mut(&mut self) -> Option<&mut Follower> {
        match &mut self.role {
            Role::Follower(follower) => Some(follower),
            Role::Leader(_) | Role::Idle => None,
        }
    }

    /// Opens a new session, now or as soon as the journal has drained.
    pub(super) fn start_session(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let drained = self.flushed == cx.log.log_end() || !cx.host.hold(Rule::DrainBeforeOpen);
        let next = SessionNumber(self.sessions.0 + 1);
        let Some(follower) = self.follower_mut() else { return };
        follower.stamp = None;
        follower.state = State::Draining;
        if drained {
            self.sessions = next;
            self.send_open(cx, out);
        }
    }

    fn send_open(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let open = self.question(cx);
        let Some(follower) = self.follower_mut() else { return };
        follower.state = State::Opening { open, again_at: cx.now + cx.host.settings.retry };
        out.push(Effect::Send { to: follower.leader, message: Message::Open(open) });
    }

    /// What the newest session asks, of the log as it is now.
    fn question(&self, cx: &Context<'_>) -> Open {
        Open {
            epoch: self.assignment.leader_epoch,
            incarnation: cx.host.incarnation,
            session: self.sessions,
            start: cx.log.log_start(),
            last_epoch: cx.log.last_epoch(),
            end: cx.log.log_end(),
        }
    }

    pub(super) fn on_follower_tick(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let now = self.question(cx);
        match self.follower_mut().map(|follower| &follower.state) {
            Some(State::Opening { open, again_at }) if *again_at <= cx.now => {
                // Retention may have moved the log's start meanwhile, or emptied it. That is another question, which may have
                // another answer: with the same number the leader could believe in the first one while the second one cuts.
                if *open == now {
                    self.send_open(cx, out);
                } else {
                    self.start_session(cx, out);
                }
            }
            Some(State::Opening { .. } | State::Draining | State::Following | State::Cutting) | None => {}
        }
    }

    pub(super) fn on_answer(&mut self, cx: &Context<'_>, from: BrokerId, answer: Answer, out: &mut Effects) {
        let current = self.sessions;
        let mine = is_mine(cx, answer.incarnation);
        let Some(follower) = self.follower_mut().filter(|f| mine && f.leader == from && answer.session == current)
        else {
            out.push(Effect::Noted(Note::StaleIgnored));
            return;
        };
        let opening = matches!(follower.state, State::Opening { .. });
        if opening && self.is_overruled(cx) {
            // It is from before the unclean election: this leader may not even have durable what counted as committed then.
            self.forget_watermark(cx.log.log_start(), out);
        }
        let Some(follower) = self.follower_mut() else { return };
        match answer.verdict {
            Verdict::PushFrom(at) if opening && at == cx.log.log_end() => {
                follower.state = State::Following;
                follower.hear(answer.high_watermark, answer.log_start, answer.stamp);
                self.learn_watermark(cx, out);
                self.send_ack(cx, out);
            }
            Verdict::TruncateTo { epoch, end } if opening => self.truncate_to(cx, epoch, end, out),
            Verdict::StartOver(at) if opening => self.cut_log(cx, at, Effect::StartOver(at), out),
            // The leader does not know the session that we believe in.
            Verdict::Refused if follower.state == State::Following => self.start_session(cx, out),
            // Refused while opening: asked again in time. Anything else is a late repetition.
            Verdict::Refused | Verdict::PushFrom(_) | Verdict::TruncateTo { .. } | Verdict::StartOver(_) => {}
        }
    }

    fn truncate_to(&mut self, cx: &Context<'_>, epoch: LeaderEpoch, end: Offset, out: &mut Effects) {
        let to = cut(cx.log, epoch, end);
        if to < cx.log.log_end() {
            self.cut_log(cx, to, Effect::Truncate(to), out);
        }
    }

    /// R8: never below what is known to be committed. A leader that asks for that is not one that we may follow; its
    /// next answer may be another, in another epoch.
    fn cut_log(&mut self, cx: &Context<'_>, to: Offset, effect: Effect, out: &mut Effects) {
        let loses = cx.log.last_epoch().is_some();
        if loses && to < self.high_watermark && !self.is_overruled(cx) {
            out.push(Effect::Noted(Note::CutRefused));
            return;
        }
        let Some(follower) = self.follower_mut() else { return };
        follower.state = State::Cutting;
        self.cutting = true;
        out.push(effect);
    }

    /// Said to the shell too, which has written the higher one down: the next run would believe in it.
    fn forget_watermark(&mut self, known: Offset, out: &mut Effects) {
        if known < self.high_watermark {
            self.high_watermark = known;
            out.push(Effect::HighWatermark(known));
        }
    }

    /// Whether the log is from before the last unclean election, so that the high watermark known here may count no more.
    /// A replica that was away meanwhile hears of it epochs later.
    fn is_overruled(&self, cx: &Context<'_>) -> bool {
        let since = if cx.host.hold(Rule::UncleanRemembered) {
            self.assignment.unclean
        } else {
            self.assignment.unclean.filter(|&epoch| epoch == self.assignment.leader_epoch)
        };
        since.is_some_and(|epoch| cx.log.last_epoch().is_none_or(|last| last < epoch))
    }

    pub(super) fn on_truncated(&mut self, cx: &Context<'_>, end: Offset, out: &mut Effects) {
        self.cutting = false;
        self.flushed = end;
        self.high_watermark = self.high_watermark.min(end);
        match self.role {
            Role::Follower(_) => self.start_session(cx, out),
            Role::Idle => self.enter_term(cx, out),
            Role::Leader(_) => {}
        }
    }

    pub(super) fn on_push(&mut self, cx: &Context<'_>, from: BrokerId, push: Push, out: &mut Effects) {
        let current = self.sessions;
        let mine = is_mine(cx, push.incarnation);
        let Some(follower) = self.follower_mut().filter(|f| mine && f.leader == from && push.session == current) else {
            out.push(Effect::Noted(Note::StaleIgnored));
            return;
        };
        if follower.state != State::Following {
            return;
        }
        follower.hear(push.high_watermark, push.log_start, push.stamp);
        let log_end = cx.log.log_end();
        if push.base > log_end {
            out.push(Effect::Noted(Note::Gap));
            self.start_session(cx, out);
        } else if push.base == log_end && push.end > push.base {
            out.push(Effect::Append { base: push.base, end: push.end });
            self.learn_watermark(cx, out);
        } else {
            self.learn_watermark(cx, out);
            self.send_ack(cx, out);
        }
    }

    pub(super) fn on_follower_flushed(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let drained = self.flushed == cx.log.log_end();
        match self.follower_mut().map(|follower| &follower.state) {
            Some(State::Draining) if drained => self.start_session(cx, out),
            Some(State::Following) => {
                self.learn_watermark(cx, out);
                self.send_ack(cx, out);
            }
            Some(State::Draining | State::Opening { .. } | State::Cutting) | None => {}
        }
    }

    /// What the leader has removed is removed here: it may wait for that. What goes here alone it hears of with the next
    /// acknowledgement.
    pub(super) fn on_follower_start_moved(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let start = cx.log.log_start();
        if self.follower_mut().is_some_and(|one| one.state == State::Following && one.log_start == start) {
            self.send_ack(cx, out);
        }
    }

    fn send_ack(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let end = if cx.host.hold(Rule::EndsAreDurable) { self.flushed } else { cx.log.log_end() };
        let (epoch, session) = (self.assignment.leader_epoch, self.sessions);
        let Some(follower) = self.follower_mut() else { return };
        let Some(stamp) = follower.stamp else { return };
        let ack = Ack { epoch, incarnation: cx.host.incarnation, session, end, log_start: cx.log.log_start(), stamp };
        out.push(Effect::Send { to: follower.leader, message: Message::Ack(ack) });
    }

    /// What is committed is durable here; what the leader has removed of it goes.
    fn learn_watermark(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let flushed = self.flushed;
        let Some(follower) = self.follower_mut() else { return };
        let (known, start) = (follower.watermark.min(flushed), follower.log_start);
        if known > self.high_watermark {
            self.high_watermark = known;
            out.push(Effect::HighWatermark(known));
        }
        let start = start.min(self.high_watermark);
        if start > cx.log.log_start() && cx.host.hold(Rule::RemovalsFollow) {
            out.push(Effect::RemoveBelow(start));
        }
    }
}

/// Session numbers begin anew with each run: what was for an earlier one would fit by number.
fn is_mine(cx: &Context<'_>, run: Incarnation) -> bool {
    run == cx.host.incarnation || !cx.host.hold(Rule::RunOfReceiver)
}

impl Follower {
    fn hear(&mut self, watermark: Offset, log_start: Offset, stamp: Stamp) {
        self.watermark = self.watermark.max(watermark);
        self.log_start = self.log_start.max(log_start);
        self.stamp = self.stamp.max(Some(stamp));
    }
}
