//! Becoming leader or follower, when committed metadata says so.
//!
//! Owns the change of epochs. A version that is not newer than the known one changes nothing (R6); a leader leads only in
//! the run that the epoch was given to (A5); a role is taken only after a cut that is on its way to the disk is there.

use super::assignment::Assignment;
use super::follower::Follower;
use super::leader::Leader;
use super::produce::Outcome;
use super::rules::Rule;
use super::{Context, Effect, Effects, Note, Replica, Role};
use crate::types::LeaderEpoch;

impl Replica {
    pub(super) fn on_assigned(&mut self, cx: &Context<'_>, assignment: Assignment, out: &mut Effects) {
        let newer = assignment.partition_epoch > self.assignment.partition_epoch
            && assignment.leader_epoch >= self.assignment.leader_epoch;
        if !newer && cx.host.hold(Rule::NewestAssignment) {
            out.push(Effect::Noted(Note::StaleAssignment));
            return;
        }
        let old = std::mem::replace(&mut self.assignment, assignment);
        let same_term = old.leader_epoch == self.assignment.leader_epoch;
        if !same_term {
            self.enter_term(cx, out);
            return;
        }
        let new = self.assignment.clone();
        if let Some(leader) = self.leader_mut() {
            leader.adopt_version(cx, &old, &new);
            self.let_go(cx, out);
            self.advance(cx, out);
        } else if matches!(self.role, Role::Idle) || !new.replicas.contains(&cx.host.me) {
            // It has become a replica only now, or is none any more.
            self.enter_term(cx, out);
        }
    }

    /// Takes the role that the newest assignment gives.
    pub(super) fn enter_term(&mut self, cx: &Context<'_>, out: &mut Effects) {
        let heard = self.is_heard(cx, out) && !self.cutting;
        let leads = heard && self.leads(cx);
        let left = self.leave_role(leads, out);
        if leads {
            self.become_leader(cx, left, out);
        } else if let Some(leader) = self.assignment.leader_id().filter(|&leader| heard && leader != cx.host.me)
            && self.assignment.replicas.contains(&cx.host.me)
        {
            self.role = Role::Follower(Follower::new(leader));
            self.start_session(cx, out);
        }
    }

    /// Ends the role of the epoch before. Who waits for an answer goes on waiting if this replica leads on: what it has
    /// appended stays where it is.
    pub(super) fn leave_role(&mut self, leads: bool, out: &mut Effects) -> Option<Box<Leader>> {
        match std::mem::replace(&mut self.role, Role::Idle) {
            Role::Leader(leader) if leads => Some(leader),
            Role::Leader(mut leader) => {
                leader.give_up(|_| true, Outcome::LeadershipEnded, out);
                leader.release(out);
                None
            }
            Role::Follower(_) | Role::Idle => None,
        }
    }

    /// Whether the newest epoch belongs to this run of this broker.
    fn leads(&self, cx: &Context<'_>) -> bool {
        self.assignment.leader.is_some_and(|(leader, run)| {
            leader == cx.host.me && (run == cx.host.incarnation || !cx.host.hold(Rule::IncarnationOfLeader))
        })
    }

    fn become_leader(&mut self, cx: &Context<'_>, before: Option<Box<Leader>>, out: &mut Effects) {
        let epoch: LeaderEpoch = self.assignment.leader_epoch;
        let mut leader = Leader::new(epoch, cx.log.log_end());
        let mut held = Vec::new();
        if let Some(before) = before {
            held = before.held;
            leader.waiting_all = before.waiting_all;
            leader.waiting_leader = before.waiting_leader;
            leader.times_out_at = before.times_out_at;
        }
        leader.adopt_replicas(cx.host.me, &self.assignment, cx.now, cx.log.log_end());
        self.role = Role::Leader(Box::new(leader));
        out.push(Effect::BeginEpoch(epoch));
        out.extend(held.into_iter().map(|hold| Effect::Answer(hold.id, Outcome::LookAgain)));
        self.advance(cx, out);
    }
}
