//! Produce requests that come while an epoch ends.
//!
//! Owns who waits for the next epoch. Once a hand-over is asked for, whatever was appended still would wait for an answer
//! that nobody can give, and a refusal would send the client back here: until the new leader is known nobody can name it
//! (KIP-951). So nothing is appended, and the request waits: until the epoch is over, or the hand-over did not come, or its
//! own time is up. It must never wait longer than that, and nothing of it may be in the log.

use std::time::Instant;

use super::host::Host;
use super::leader::Leader;
use super::produce::{Outcome, ProduceId};
use super::{Context, Effect, Effects, Note, Replica};

/// A request that was refused with [`super::Refusal::EpochEnds`]; nothing of it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Whom to answer, with [`Outcome::LookAgain`] or [`Outcome::TimedOut`].
    pub id: ProduceId,
    /// Until when: the request's own timeout.
    pub deadline: Instant,
}

impl Replica {
    /// Whether the epoch is about to end: nothing more is appended in it, at least for now.
    pub(super) fn is_leaving(&self, cx: &Context<'_>) -> bool {
        let alone = self.assignment.isr.iter().all(|&member| member == cx.host.me);
        self.leader().is_some_and(|leader| leader.stopped || leader.leaves_until(cx.host, alone) > Some(cx.now))
    }

    pub(super) fn on_hold(&mut self, cx: &Context<'_>, hold: Hold, out: &mut Effects) {
        let leaving = self.is_leaving(cx);
        let Some(leader) = self.leader_mut().filter(|_| leaving) else {
            out.push(Effect::Answer(hold.id, Outcome::LookAgain));
            return;
        };
        out.push(Effect::Noted(Note::Held));
        leader.held.push(hold);
    }

    /// Lets go of who waits in vain: the time is up, or the hand-over did not come.
    pub(super) fn let_go(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let leaving = self.is_leaving(cx);
        let Some(leader) = self.leader_mut() else { return };
        leader.held.retain(|hold| {
            let outcome = if !leaving {
                Outcome::LookAgain
            } else if hold.deadline <= cx.now {
                Outcome::TimedOut
            } else {
                return true;
            };
            out.push(Effect::Answer(hold.id, outcome));
            false
        });
    }
}

impl Leader {
    /// Up to when the next epoch is waited for, because this leader asked for it or its broker is about to stop. A leader
    /// that is `alone` in the ISR waits for nobody.
    fn leaves_until(&self, host: &Host, alone: bool) -> Option<Instant> {
        self.leaves_until.max(host.stops_until()).filter(|_| !alone)
    }

    /// When to look at who waits.
    pub(super) fn hold_deadline(&self, host: &Host) -> Option<Instant> {
        let first = self.held.iter().map(|hold| hold.deadline).min()?;
        let over = self.leaves_until(host, false).filter(|_| !self.stopped);
        Some(over.map_or(first, |over| over.min(first)))
    }

    /// The epoch is over.
    pub(super) fn release(&mut self, out: &mut Effects) {
        out.extend(self.held.drain(..).map(|hold| Effect::Answer(hold.id, Outcome::LookAgain)));
    }
}
