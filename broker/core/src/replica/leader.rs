//! What a leader keeps: its followers, a change of the ISR that is under way, who waits for an answer.
//!
//! Owns the leader's state of one epoch; another epoch begins with a fresh one. Invariant: what a follower has
//! acknowledged is at most what was pushed to it.

use std::collections::VecDeque;
use std::time::Instant;

use super::assignment::Assignment;
use super::handover::Gray;
use super::hold::Hold;
use super::host::Host;
use super::isr::{Damping, Pending};
use super::message::{SessionNumber, Verdict};
use super::produce::Produce;
use super::push::Lane;
use super::{Context, Effects, Replica, Role};
use crate::types::{BrokerId, Incarnation, LeaderEpoch, Offset};

/// A leader in one epoch.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) epoch: LeaderEpoch,
    /// Where its log ended when the epoch began: no committed record lies beyond (R2).
    pub(super) epoch_start: Offset,
    /// It takes no more appends: a write failed, or it hands over.
    pub(super) stopped: bool,
    pub(super) followers: Vec<FollowerState>,
    pub(super) pending: Option<Pending>,
    /// No change of the ISR is asked for before.
    pub(super) alter_at: Option<Instant>,
    /// Where its log ended at the last step that looked.
    pub(super) log_end: Offset,
    /// Who waits for the high watermark, in the order of ends.
    pub(super) waiting_all: VecDeque<Produce>,
    /// Who waits for the own disk, in the order of ends.
    pub(super) waiting_leader: VecDeque<Produce>,
    /// Answers wait for a confirmation; look again then.
    pub(super) held_until: Option<Instant>,
    /// The earliest time-out of those that wait; may be earlier than any that is left.
    pub(super) times_out_at: Option<Instant>,
    /// The high watermark moved, and goes out alone then.
    pub(super) watermark_at: Option<Instant>,
    pub(super) gray: Gray,
    /// Who waits for the next epoch.
    pub(super) held: Vec<Hold>,
    /// It has asked to be relieved, and takes no appends until then.
    pub(super) leaves_until: Option<Instant>,
}

/// What a leader knows of one follower.
#[derive(Debug)]
pub(super) struct FollowerState {
    pub(super) id: BrokerId,
    pub(super) session: Option<Session>,
    /// A session that ended here, of which the follower may not know; and when it is told again.
    pub(super) ended: Option<(Incarnation, SessionNumber, Instant)>,
    /// The newest session that it has opened; older ones are late messages.
    pub(super) newest: Option<(Incarnation, SessionNumber)>,
    /// What it was told to cut by the answer to that one. A copy of the question that comes late is answered as the first
    /// was, though more may be committed by now: the follower may be cutting already.
    pub(super) cut: Option<Verdict>,
    /// When it last stood at the leader's log end.
    pub(super) caught_up_at: Instant,
    /// A moment, and where the log ended then: it was caught up at that moment once it stands there.
    pub(super) mark: (Offset, Instant),
    /// When the newest question left that it has answered in this epoch.
    pub(super) echoed: Option<Instant>,
    pub(super) damping: Damping,
    /// It does not run: its connection was reset and refused.
    pub(super) refused: bool,
}

/// A session in which the follower stands at a proven end.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) incarnation: Incarnation,
    pub(super) number: SessionNumber,
    /// Its durable end, proven identical to this log: mLEO.
    pub(super) acked: Offset,
    /// How far was pushed.
    pub(super) cursor: Offset,
    /// First offset that its log keeps.
    pub(super) start: Offset,
    pub(super) watermark_sent: Offset,
    pub(super) start_sent: Offset,
    pub(super) sent_at: Instant,
    pub(super) lane: Lane,
    /// Where what follows belongs; it moves there once nothing is under way.
    pub(super) lane_next: Lane,
    /// It stands in its peer's queue.
    pub(super) queued: bool,
}

impl FollowerState {
    pub(super) fn new(id: BrokerId, now: Instant, end: Offset) -> Self {
        Self {
            id,
            session: None,
            ended: None,
            newest: None,
            cut: None,
            caught_up_at: now,
            mark: (end, now),
            echoed: None,
            damping: Damping::default(),
            refused: false,
        }
    }

    /// Its durable end, if that is proven.
    pub(super) fn proven_end(&self) -> Option<Offset> {
        self.session.as_ref().map(|session| session.acked)
    }

    /// When it was last caught up: now, if it stands at the log's end.
    pub(super) fn was_caught_up(&self, now: Instant, log_end: Offset) -> Instant {
        if self.proven_end() == Some(log_end) { now } else { self.caught_up_at }
    }
}

impl Leader {
    pub(super) fn new(epoch: LeaderEpoch, epoch_start: Offset) -> Self {
        Self {
            epoch,
            epoch_start,
            stopped: false,
            followers: Vec::new(),
            pending: None,
            alter_at: None,
            log_end: epoch_start,
            waiting_all: VecDeque::new(),
            waiting_leader: VecDeque::new(),
            held_until: None,
            times_out_at: None,
            watermark_at: None,
            gray: Gray::default(),
            held: Vec::new(),
            leaves_until: None,
        }
    }

    pub(super) fn follower(&mut self, id: BrokerId) -> Option<&mut FollowerState> {
        self.followers.iter_mut().find(|follower| follower.id == id)
    }

    pub(super) fn get(&self, id: BrokerId) -> Option<&FollowerState> {
        self.followers.iter().find(|follower| follower.id == id)
    }

    /// No more appends and no more pushes in this epoch.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.watermark_at = None;
        for follower in &mut self.followers {
            // The next epoch tells whoever believes in a session.
            (follower.session, follower.ended) = (None, None);
        }
    }

    /// One follower per other replica; those that stay keep their sessions.
    pub(super) fn adopt_replicas(&mut self, me: BrokerId, assignment: &Assignment, now: Instant, log_end: Offset) {
        self.followers.retain(|follower| assignment.replicas.contains(&follower.id));
        for &id in assignment.replicas.iter().filter(|&&id| id != me) {
            if self.get(id).is_none() {
                self.followers.push(FollowerState::new(id, now, log_end));
            }
        }
    }

    pub(super) fn deadline(&self, host: &Host, assignment: &Assignment) -> Option<Instant> {
        let pushes = self.followers.iter().filter_map(|follower| follower.probe_at(host));
        let over = self.followers.iter().filter_map(|follower| follower.tell_over_at(host));
        let isr = self.isr_deadline(host, assignment);
        let own = [self.times_out_at, self.watermark_at, self.held_until, self.hold_deadline(host)];
        let timers = own.into_iter().chain([isr, self.gray.deadline(host)]);
        timers.flatten().chain(pushes).chain(over).min()
    }

    pub(super) fn check(&self, assignment: &Assignment) {
        assert!(self.epoch == assignment.leader_epoch, "a leader of an epoch that is over (R6)");
        for session in self.followers.iter().filter_map(|follower| follower.session.as_ref()) {
            assert!(session.acked <= session.cursor, "a follower stands past what was pushed to it (R11)");
        }
        if let Some(pending) = &self.pending {
            assert!(pending.partition_epoch == assignment.partition_epoch, "a change of a version that is over");
        }
    }
}

impl Replica {
    pub(super) fn leader_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::Idle => None,
        }
    }

    pub(super) fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::Idle => None,
        }
    }

    pub(super) fn on_leader_flushed(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.judge_own_disk(cx, out);
        self.advance(cx, out);
    }

    pub(super) fn on_leader_tick(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.judge_own_disk(cx, out);
        self.time_out(cx, out);
        self.let_go(cx, out);
        self.retry_alter(cx, out);
        self.send_watermark(cx, out);
        self.probe(cx, out);
        self.tell_over_again(cx, out);
        self.advance(cx, out);
    }

    /// Whatever may have become possible: a higher watermark, answers, another ISR.
    pub(super) fn advance(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.advance_watermark(cx, out);
        self.answer_ready(cx, out);
        self.adjust_isr(cx, out);
    }
}
