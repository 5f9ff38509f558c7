//! JoinGroup: a member without an id, or with one.
//!
//! Versions: below 4 a dynamic member joins at once; from 4 on it first gets an id (KIP-394) and comes back with it;
//! 5 brings static members (KIP-345), 9 lets the leader skip the assignment (KIP-814). Reasons (8, KIP-800) are only
//! logged by the shell.

use super::append::Then;
use super::error::Error;
use super::member::{Member, distinct, member_bytes};
use super::message::{Join, Joined, Reply};
use super::state::{GROUP_BYTES, Group};
use super::timers::{Alarm, Key};
use super::words::{MemberId, Now, State, Token};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn on_join(&mut self, now: Now, token: Token, mut join: Join, out: &mut Effects) {
        let unknown = join.member.is_unknown();
        let bounds = self.config.session_timeout_ms_min..=self.config.session_timeout_ms_max;
        if !bounds.contains(&join.session_timeout_ms) {
            return out.reply(token, Reply::Join(Joined::refused(Error::InvalidSessionTimeout, join.member)));
        }
        let id = join.group.clone();
        let is_new = !self.groups.contains_key(&id);
        if is_new && !unknown {
            return out.reply(token, Reply::Join(Joined::refused(Error::UnknownMemberId, join.member)));
        }
        join.protocols = distinct(join.protocols);
        if self.growth(&join) > self.room {
            out.no_room += 1;
            return out.reply(token, Reply::Join(Joined::refused(Error::GroupMaxSizeReached, join.member)));
        }
        let appended = self.appends.next_id();
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone(), now.wall));
        if !accepts(group, &join.member, self.config.members_max) {
            group.remove(&join.member);
            let unknown = MemberId::from("");
            out.reply(token, Reply::Join(Joined::refused(Error::GroupMaxSizeReached, unknown)));
        } else if !group.supports(&join.protocol_type, &join.protocols) {
            let refused = Joined::refused(Error::InconsistentGroupProtocol, join.member);
            out.reply(token, Reply::Join(refused));
        } else if unknown {
            self.join_new(now, token, join, out);
        } else {
            self.join_existing(now, token, join, out);
        }
        if is_new && self.appends.next_id() == appended {
            // Nothing was written yet: the empty group goes into the log, so that it is there for everyone.
            self.append_group(&id, None, Then::NewGroup { group: id.clone() }, out);
        }
    }

    /// What taking in the member adds to the memory of all groups.
    fn growth(&self, join: &Join) -> usize {
        let client = join.client_id.len() + join.client_host.len();
        let name = join.instance.as_ref().map_or(join.client_id.len(), |instance| instance.as_str().len());
        // A fresh id is the name, a dash and a UUID.
        let id = if join.member.is_unknown() { name + 37 } else { join.member.as_str().len() };
        let comes = member_bytes(id, client, &join.protocols);
        let Some(group) = self.groups.get(&join.group) else { return GROUP_BYTES + comes };
        let holder = join.instance.as_ref().and_then(|instance| group.statics.get(instance));
        let known = group.members.get(holder.unwrap_or(&join.member));
        comes.saturating_sub(known.map_or(0, Member::bytes))
    }

    fn join_new(&mut self, now: Now, token: Token, join: Join, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(&join.group) else { return };
        let prefix = join.instance.as_ref().map_or(join.client_id.as_str(), |instance| instance.as_str());
        let member = MemberId::new(format!("{prefix}-{}", join.fresh));
        if let Some(instance) = &join.instance {
            match group.statics.get(instance).cloned() {
                Some(holder) => self.replace_static(now, token, join, &holder, member, out),
                None => self.add_member(now, token, join, member, out),
            }
        } else if join.member_id_required {
            if group.pending_join.len() >= self.config.pending_members_max {
                let refused = Joined::refused(Error::GroupMaxSizeReached, join.member);
                return out.reply(token, Reply::Join(refused));
            }
            group.pending_join.insert(member.clone());
            let at = now.monotonic + super::member::milliseconds(join.session_timeout_ms);
            self.timers.set(Key::Session(join.group, member.clone()), at, Alarm::SessionExpired);
            out.reply(token, Reply::Join(Joined::refused(Error::MemberIdRequired, member)));
        } else {
            self.add_member(now, token, join, member, out);
        }
    }

    /// Adds a member and begins a rebalance for it. Until it has an answer it cannot send heartbeats; should it be
    /// gone, the long timeout for new members finds out.
    pub(super) fn add_member(&mut self, now: Now, token: Token, join: Join, id: MemberId, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(&join.group) else { return };
        if group.state == State::PreparingRebalance && group.previous == State::Empty {
            group.new_member_added = true;
        }
        let member = Member {
            id: id.clone(),
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: bytes::Bytes::new(),
            join: Some(token),
            sync: None,
            is_new: true,
        };
        group.add(member, &join.protocol_type);
        let at = now.monotonic + self.config.new_member_join_timeout;
        self.timers.set(Key::Session(join.group.clone(), id), at, Alarm::SessionExpired);
        self.rebalance_or_complete_join(now, &join.group, out);
    }
}

/// Whether there is room. During the join phase those that wait count, afterwards the members: so that members who are
/// too many after the limit was lowered are pushed out at the next rebalance.
fn accepts(group: &Group, member: &MemberId, members_max: usize) -> bool {
    match group.state {
        State::Empty | State::Dead => true,
        State::PreparingRebalance => {
            let waiting = group.members.get(member).is_some_and(|member| member.join.is_some());
            waiting || group.awaiting_join < members_max
        }
        State::CompletingRebalance | State::Stable => {
            group.members.contains_key(member) || group.members.len() < members_max
        }
    }
}
