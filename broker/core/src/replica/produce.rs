//! Who waits for a record to be safe, and what they are told.
//!
//! Owns the order of answers: acks=1 once the own disk has the record and the leader is confirmed, acks=all once the high
//! watermark covers it. An answer is never given early (R1); a request that is left behind by a change of leader is told
//! that nothing is known of its outcome.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::leader::Leader;
use super::{Context, Effect, Effects, Note, Replica};
use crate::types::Offset;

/// A produce request, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProduceId(pub u64);

/// What a producer wants to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acks {
    /// acks=1: the leader's disk.
    Leader,
    /// acks=all: every in-sync replica's disk.
    All,
}

/// Records that were appended, and who waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produce {
    /// Whom to answer.
    pub id: ProduceId,
    /// Offset behind its last record.
    pub end: Offset,
    /// What it waits for.
    pub acks: Acks,
    /// Until when.
    pub deadline: Instant,
}

/// What a producer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The record is as safe as it wanted to know.
    Safe,
    /// Leadership ended; the record may be kept or not (NOT_LEADER_OR_FOLLOWER).
    LeadershipEnded,
    /// Not in time; the record may be kept or not, that of a [`super::Hold`] is not (REQUEST_TIMED_OUT).
    TimedOut,
    /// It could not be written (KAFKA_STORAGE_ERROR).
    WriteFailed,
    /// To a [`super::Hold`] only: nothing was appended, and the epoch is over or goes on after all. Ask for admission again,
    /// once the metadata that says who leads is in force.
    LookAgain,
}

/// How soon answers that wait for a confirmation are looked at again.
const HELD_FOR: Duration = Duration::from_millis(50);

impl Replica {
    pub(super) fn on_appended(&mut self, cx: &Context<'_>, produce: Option<Produce>, out: &mut Effects) {
        let Some(leader) = self.leader_mut().filter(|leader| !leader.stopped) else {
            out.extend(produce.map(|produce| Effect::Answer(produce.id, Outcome::LeadershipEnded)));
            return;
        };
        if let Some(produce) = produce {
            leader.times_out_at = leader.times_out_at.min(Some(produce.deadline)).or(Some(produce.deadline));
            let waiting = match produce.acks {
                Acks::All => &mut leader.waiting_all,
                Acks::Leader => &mut leader.waiting_leader,
            };
            // In the order of ends: a batch that was appended before is waited for at its first offset.
            let at = waiting.partition_point(|other| other.end <= produce.end);
            waiting.insert(at, produce);
        }
        self.queue_pushes(cx, out);
        // The disk may have been faster than this event.
        self.answer_ready(cx, out);
    }

    /// Answers everybody whose record is safe.
    pub(super) fn answer_ready(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let (watermark, flushed) = (self.high_watermark, self.flushed);
        let confirmed = self.is_confirmed(cx);
        let Some(leader) = self.leader_mut() else { return };
        pop_safe(&mut leader.waiting_all, watermark, out);
        leader.held_until = None;
        if leader.waiting_leader.front().is_none_or(|produce| produce.end > flushed) {
            return;
        }
        if confirmed {
            pop_safe(&mut leader.waiting_leader, flushed, out);
        } else {
            // R13: somebody else may lead by now.
            out.push(Effect::Noted(Note::Unconfirmed));
            leader.held_until = Some(cx.now + HELD_FOR);
        }
    }

    pub(super) fn time_out(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let Some(leader) = self.leader_mut() else { return };
        if leader.times_out_at.is_none_or(|at| at > cx.now) {
            return;
        }
        leader.give_up(|produce| produce.deadline <= cx.now, Outcome::TimedOut, out);
    }
}

fn pop_safe(waiting: &mut VecDeque<Produce>, safe: Offset, out: &mut Effects) {
    while let Some(produce) = waiting.pop_front_if(|produce| produce.end <= safe) {
        out.push(Effect::Answer(produce.id, Outcome::Safe));
    }
}

impl Leader {
    /// Tells everybody whom `which` names that they wait in vain.
    pub(super) fn give_up(&mut self, which: impl Fn(&Produce) -> bool, outcome: Outcome, out: &mut Effects) {
        for waiting in [&mut self.waiting_all, &mut self.waiting_leader] {
            waiting.retain(|produce| {
                let gone = which(produce);
                if gone {
                    out.push(Effect::Answer(produce.id, outcome));
                }
                !gone
            });
        }
        self.times_out_at = self.waiting_all.iter().chain(&self.waiting_leader).map(|produce| produce.deadline).min();
    }
}
