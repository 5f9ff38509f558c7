//! The join phase and the sync phase: how a rebalance begins, ends, and goes on without those that do not come.

use std::collections::BTreeMap;
use std::time::Duration;

use super::append::Then;
use super::error::Error;
use super::message::{Joined, Reply, Synced};
use super::timers::{Alarm, Key};
use super::words::{Generation, GroupId, MemberId, Now, State};
use super::{Effects, Shard};

/// The shortest time between two attempts to end a join phase in which nobody joined.
const RETRY_MIN: Duration = Duration::from_millis(100);

impl Shard {
    /// Begins a rebalance if the group is not in one, else ends the join phase if that was the last one missing.
    pub(super) fn rebalance_or_complete_join(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let Some(group) = self.groups.get(id) else { return };
        if group.can_rebalance() {
            self.prepare_rebalance(now, id, out);
        } else {
            self.complete_join_if_all_joined(now, id, out);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let state = group.state;
        if state == State::CompletingRebalance {
            group.assign(&BTreeMap::new());
            self.answer_syncs(now, id, Some(Error::RebalanceInProgress), out);
        }
        let Some(group) = self.groups.get_mut(id) else { return };
        group.pending_sync.clear();
        group.transition(State::PreparingRebalance, now.wall);
        self.timers.cancel(&Key::Sync(id.clone()));
        let timeout = group.rebalance_timeout();
        if state == State::Empty {
            // The group is new: its members start one after the other, so the first waits for more to come.
            let delay = self.config.initial_rebalance_delay;
            let alarm = Alarm::InitialJoin { delay, remaining: timeout.saturating_sub(delay) };
            self.timers.set(Key::Join(id.clone()), now.monotonic + delay, alarm);
        } else if group.all_joined() {
            self.complete_join(now, id, out);
        } else {
            self.timers.set(Key::Join(id.clone()), now.monotonic + timeout, Alarm::JoinDeadline);
        }
    }

    pub(super) fn complete_join_if_all_joined(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let Some(group) = self.groups.get(id) else { return };
        let initial = group.previous == State::Empty;
        if group.state == State::PreparingRebalance && !initial && group.all_joined() {
            self.complete_join(now, id, out);
        }
    }

    pub(super) fn on_initial_join_over(
        &mut self,
        now: Now,
        id: &GroupId,
        delay: Duration,
        remaining: Duration,
        out: &mut Effects,
    ) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if group.new_member_added && !remaining.is_zero() {
            group.new_member_added = false;
            let next = self.config.initial_rebalance_delay.min(remaining);
            let alarm = Alarm::InitialJoin { delay: next, remaining: remaining.saturating_sub(delay) };
            self.timers.set(Key::Join(id.clone()), now.monotonic + next, alarm);
        } else {
            self.complete_join(now, id, out);
        }
    }

    /// Ends the join phase: dynamic members that have not joined are out, everyone else is in the next generation.
    pub(super) fn complete_join(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        self.timers.cancel(&Key::Join(id.clone()));
        let absent = group.members.values().filter(|member| member.join.is_none() && member.instance.is_none());
        for member in absent.map(|member| member.id.clone()).collect::<Vec<_>>() {
            group.remove(&member);
            self.timers.cancel(&Key::Session(id.clone(), member));
        }
        if !group.elect_joined_leader() && !group.members.is_empty() {
            // Only absent static members are left. Their sessions end, or one of them joins.
            let wait = group.rebalance_timeout().max(RETRY_MIN);
            self.timers.set(Key::Join(id.clone()), now.monotonic + wait, Alarm::JoinDeadline);
            return;
        }
        group.next_generation(now.wall);
        if group.state == State::Empty {
            // If this is lost, the last generation comes back after a restart and times out.
            self.append_group(id, None, Then::Nothing, out);
        } else {
            self.answer_joins(now, id, out);
        }
    }

    fn answer_joins(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        for member in group.members.keys().cloned().collect::<Vec<_>>() {
            let joined = group.joined(&member);
            if let Some(token) = group.take_join(&member) {
                out.reply(token, Reply::Join(joined));
            }
            if let Some(state) = group.members.get_mut(&member) {
                state.is_new = false;
                let at = now.monotonic + state.session_timeout();
                self.timers.set(Key::Session(id.clone(), member.clone()), at, Alarm::SessionExpired);
            }
            group.pending_sync.insert(member);
        }
        let alarm = Alarm::SyncDeadline { generation: group.generation };
        self.timers.set(Key::Sync(id.clone()), now.monotonic + group.rebalance_timeout(), alarm);
    }

    /// Answers every waiting sync, with the member's assignment or with `error`.
    pub(super) fn answer_syncs(&mut self, now: Now, id: &GroupId, error: Option<Error>, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        for member in group.members.values_mut() {
            let Some(token) = member.sync.take() else { continue };
            let reply = match error {
                Some(error) => Err(error),
                None => Ok(Synced {
                    protocol_type: group.protocol_type.clone(),
                    protocol: group.protocol.clone(),
                    assignment: member.assignment.clone(),
                }),
            };
            out.reply(token, Reply::Sync(reply));
            // A session that ended while the member waited for the leader was overlooked; it begins anew here.
            let at = now.monotonic + member.session_timeout();
            self.timers.set(Key::Session(id.clone(), member.id.clone()), at, Alarm::SessionExpired);
        }
    }

    pub(super) fn on_sync_over(&mut self, now: Now, id: &GroupId, generation: Generation, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let syncing = matches!(group.state, State::CompletingRebalance | State::Stable);
        if generation != group.generation || !syncing || group.pending_sync.is_empty() {
            return;
        }
        for member in std::mem::take(&mut group.pending_sync) {
            group.remove(&member);
            self.timers.cancel(&Key::Session(id.clone(), member));
        }
        self.prepare_rebalance(now, id, out);
    }

    pub(super) fn on_session_expired(&mut self, now: Now, id: &GroupId, member: &MemberId, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if group.pending_join.contains(member) {
            group.remove(member);
            if group.state == State::PreparingRebalance && group.all_joined() {
                self.complete_join(now, id, out);
            }
        } else if group.members.get(member).is_some_and(|known| !known.is_waiting()) {
            self.remove_member(id, member, out);
            let Some(group) = self.groups.get(id) else { return };
            if matches!(group.state, State::Stable | State::CompletingRebalance) {
                self.rebalance_or_complete_join(now, id, out);
            } else if group.state == State::PreparingRebalance && group.all_joined() {
                self.complete_join(now, id, out);
            }
        }
    }

    /// Takes a member out and tells its waiting requests that it is unknown now. Decides nothing further.
    pub(super) fn remove_member(&mut self, id: &GroupId, member: &MemberId, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if let Some(token) = group.take_join(member) {
            out.reply(token, Reply::Join(Joined::refused(Error::UnknownMemberId, MemberId::from(""))));
        }
        if let Some(token) = group.members.get_mut(member).and_then(|member| member.sync.take()) {
            out.reply(token, Reply::Sync(Err(Error::UnknownMemberId)));
        }
        group.remove(member);
        self.timers.cancel(&Key::Session(id.clone(), member.clone()));
    }

    /// The member has shown life; it has its whole session timeout again.
    pub(super) fn renew_session(&mut self, now: Now, id: &GroupId, member: &MemberId) {
        let Some(known) = self.groups.get(id).and_then(|group| group.members.get(member)) else { return };
        let at = now.monotonic + known.session_timeout();
        self.timers.set(Key::Session(id.clone(), member.clone()), at, Alarm::SessionExpired);
    }
}
