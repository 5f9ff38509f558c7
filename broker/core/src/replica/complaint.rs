//! A replica that cannot go on says so: a write failed, or its log is not what it was.
//!
//! Owns R7 and R12 on this side. After a failed write the leader assigns no offset in its epoch any more, because one that
//! has left must never be given to other bytes. A suspect log takes no part at all until a new epoch says that it is out
//! of leadership, ISR and ELR; an epoch and not a version, so that whatever it has acknowledged before counts no more.

use super::message::{Ask, Complaint};
use super::produce::Outcome;
use super::rules::Rule;
use super::{Context, Effect, Effects, Health, Replica, Role};
use crate::types::Offset;

impl Replica {
    pub(super) fn on_write_failed(&mut self, cx: &Context<'_>, end: Offset, out: &mut Effects) {
        match &mut self.role {
            Role::Leader(leader) => {
                leader.give_up(|produce| produce.end > end, Outcome::WriteFailed, out);
                if cx.host.hold(Rule::StopAfterFailedWrite) {
                    leader.stop();
                    self.complain(cx, Complaint::WriteFailed, out);
                }
            }
            Role::Follower(_) if !self.cutting => self.start_session(cx, out),
            Role::Follower(_) | Role::Idle => {}
        }
    }

    pub(super) fn on_log_suspect(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.leave_role(false, out);
        self.role = Role::Idle;
        self.complain(cx, Complaint::LogSuspect, out);
    }

    fn complain(&mut self, cx: &Context<'_>, what: Complaint, out: &mut Effects) {
        let epoch = self.assignment.leader_epoch;
        self.health = Health::Complaining { what, epoch, again_at: Some(cx.now + cx.host.settings.retry) };
        out.push(Effect::Ask(Ask::NewEpoch { leader_epoch: epoch, complaint: what }));
    }

    pub(super) fn complain_again(&mut self, cx: &Context<'_>, out: &mut Effects) {
        if let Health::Complaining { what, again_at: Some(at), .. } = self.health
            && at <= cx.now
        {
            self.complain(cx, what, out);
        }
    }

    /// A new epoch has begun: whether the replica may take a role in it.
    pub(super) fn is_heard(&mut self, cx: &Context<'_>, out: &mut Effects) -> bool {
        let Health::Complaining { what, epoch, .. } = self.health else { return true };
        if self.assignment.leader_epoch <= epoch {
            return false;
        }
        if what != Complaint::LogSuspect {
            self.health = Health::Sound;
            return true;
        }
        let me = cx.host.me;
        match self.assignment.leader_id() {
            Some(leader) if leader != me && !self.assignment.is_member(me) => {
                // Nothing that it holds counts any more, and somebody has it all: it starts over as an empty replica.
                self.health = Health::Sound;
                self.cutting = true;
                out.push(Effect::StartOver(Offset::default()));
                true
            }
            None if !self.assignment.is_member(me) => {
                // What it holds may be all that there is: nothing is dropped while nobody leads.
                self.health = Health::Complaining { what, epoch, again_at: None };
                false
            }
            Some(_) | None => {
                self.complain(cx, what, out);
                false
            }
        }
    }
}
