//! JoinGroup of a static member that has restarted: it comes without a member id, and its instance id is taken.
//!
//! The newcomer gets a new member id and the old one is fenced. If nothing that matters has changed, the group keeps
//! its generation and its assignment; only the new member id has to get into the log.

use super::append::{StaticReplaced, Then};
use super::error::Error;
use super::message::{Join, Joined, Reply};
use super::words::{MemberId, Now, State, Token};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn replace_static(
        &mut self,
        now: Now,
        token: Token,
        join: Join,
        old: &MemberId,
        new: MemberId,
        out: &mut Effects,
    ) {
        let id = join.group.clone();
        let Some(group) = self.groups.get_mut(&id) else { return };
        let leader_before = group.leader.clone();
        self.fence(&id, old, out);
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(member) = group.members.get(old) else { return };
        let replaced = StaticReplaced {
            group: id.clone(),
            old: old.clone(),
            new: new.clone(),
            protocols: member.protocols.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            leader_before,
            assignment_skippable: join.assignment_skippable,
        };
        // The old id's timer may ring; it will find nobody.
        group.rename(old, &new);
        let (rebalance, session) = (join.rebalance_timeout_ms, join.session_timeout_ms);
        group.update(&new, join.protocols, rebalance, session, Some(token));
        self.renew_session(now, &id, &new);
        let Some(group) = self.groups.get(&id) else { return };
        match group.state {
            State::Stable if group.protocol == group.select_protocol() => {
                self.append_group(&id, None, Then::StaticReplaced(Box::new(replaced)), out);
            }
            State::Stable => self.rebalance_or_complete_join(now, &id, out),
            // The leader may have been told of the old id: only a new round gives the new one an assignment.
            State::CompletingRebalance => self.prepare_rebalance(now, &id, out),
            State::PreparingRebalance | State::Empty | State::Dead => self.complete_join_if_all_joined(now, &id, out),
        }
    }

    /// Tells whoever waits under the old member id that the instance id is another's now.
    fn fence(&mut self, id: &super::GroupId, old: &MemberId, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if let Some(earlier) = group.take_join(old) {
            out.reply(earlier, Reply::Join(Joined::refused(Error::FencedInstanceId, old.clone())));
        }
        if let Some(earlier) = group.members.get_mut(old).and_then(|member| member.sync.take()) {
            out.reply(earlier, Reply::Sync(Err(Error::FencedInstanceId)));
        }
        // Pending sync is by member id.
        group.pending_sync.remove(old);
    }

    /// The record with the new member id is in the log.
    pub(super) fn on_static_replaced(&mut self, replaced: &StaticReplaced, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(&replaced.group) else { return };
        // By now the group may be preparing another rebalance; then the join is answered at its end.
        if group.state != State::Stable {
            return;
        }
        let Some(token) = group.take_join(&replaced.new) else { return };
        let mut joined = group.joined(&replaced.new);
        if replaced.assignment_skippable {
            joined.assignment_skipped = group.is_leader(&replaced.new);
        } else {
            // An old client that is told it leads would assign anew without a rebalance; so it is told the leader of
            // before, which is its own old id, and only fetches its assignment.
            joined.leader =
                replaced.leader_before.as_ref().map(|leader| leader.as_str().to_owned()).unwrap_or_default();
            joined.members = Vec::new();
        }
        out.reply(token, Reply::Join(joined));
    }

    /// The record did not get into the log: the old member id is the right one again.
    pub(super) fn on_static_not_replaced(
        &mut self,
        now: Now,
        replaced: &StaticReplaced,
        error: Error,
        out: &mut Effects,
    ) {
        let Some(group) = self.groups.get_mut(&replaced.group) else { return };
        if !group.members.contains_key(&replaced.new) {
            return;
        }
        let token = group.take_join(&replaced.new);
        let (rebalance, session) = (replaced.rebalance_timeout_ms, replaced.session_timeout_ms);
        group.update(&replaced.new, replaced.protocols.clone(), rebalance, session, None);
        group.rename(&replaced.new, &replaced.old);
        if let Some(token) = token {
            let mut refused = group.joined(&replaced.old);
            refused.error = Some(error);
            refused.member = MemberId::from("");
            refused.members = Vec::new();
            out.reply(token, Reply::Join(refused));
        }
        self.renew_session(now, &replaced.group, &replaced.old);
    }
}
