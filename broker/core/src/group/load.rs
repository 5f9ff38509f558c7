//! How a shard comes to life from its records, and how it ends.

use std::collections::BTreeSet;

use super::error::Error;
use super::member::Member;
use super::message::{Joined, Reply};
use super::record::{GroupValue, MemberValue};
use super::state::Group;
use super::subscription::subscribed_topics;
use super::timers::{Alarm, Key};
use super::words::{Generation, GroupId, InstanceId, MemberId, Now, State};
use super::{Effects, Phase, Shard};
use crate::types::Timestamp;

/// A group that the records speak of.
#[derive(Clone, Debug)]
pub struct LoadedGroup {
    /// Its name.
    pub group: GroupId,
    /// Its last record; `None` if there are only offsets.
    pub value: Option<GroupValue>,
}

impl Shard {
    pub(super) fn on_loaded(&mut self, now: Now, groups: Vec<LoadedGroup>, out: &mut Effects) {
        if self.phase != Phase::Loading {
            return;
        }
        self.phase = Phase::Active;
        self.view_ready = true;
        self.timers.set(Key::Expiry, now.monotonic + self.config.expiry_interval, Alarm::Expire);
        for loaded in groups {
            let id = loaded.group;
            let group = restore(id.clone(), loaded.value, now);
            for member in group.members.values() {
                let at = now.monotonic + member.session_timeout();
                self.timers.set(Key::Session(id.clone(), member.id.clone()), at, Alarm::SessionExpired);
            }
            let over_capacity = group.members.len() > self.config.members_max;
            self.groups.insert(id.clone(), group);
            if over_capacity {
                // The limit was lowered. A rebalance lets members commit before some are turned away.
                self.prepare_rebalance(now, &id, out);
            }
        }
    }

    pub(super) fn on_unloaded(&mut self, out: &mut Effects) {
        self.phase = Phase::Unloaded;
        self.view_ready = false;
        self.timers.clear();
        for (_, mut group) in std::mem::take(&mut self.groups) {
            for (id, member) in &mut group.members {
                if let Some(token) = member.join.take() {
                    out.reply(token, Reply::Join(Joined::refused(Error::NotCoordinator, id.clone())));
                }
                if let Some(token) = member.sync.take() {
                    out.reply(token, Reply::Sync(Err(Error::NotCoordinator)));
                }
            }
        }
        for (_, token, _) in std::mem::take(&mut self.stable_fetches) {
            out.reply(token, Reply::Fetch(Err(Error::NotCoordinator)));
        }
        // Whether these got into the log nobody knows: the next coordinator will.
        self.appends.abandon(Error::NotCoordinator, out);
    }
}

fn restore(id: GroupId, value: Option<GroupValue>, now: Now) -> Group {
    let mut group = Group::new(id, now.wall);
    group.committed = true;
    let Some(value) = value else { return group };
    group.generation = Generation::new(value.generation);
    group.since = (value.since != Timestamp::NONE).then_some(value.since);
    group.protocol.clone_from(&value.protocol);
    let mut instances = BTreeSet::new();
    for member in value.members {
        // What two members claim belongs to the first.
        let instance = member.instance.clone().map(InstanceId::new);
        let known = group.members.contains_key(&MemberId::from(member.member.as_str()));
        if !known && instance.is_none_or(|instance| instances.insert(instance)) {
            group.add(restore_member(member, value.protocol.as_deref()), &value.protocol_type);
        }
    }
    group.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
    group.leader = value.leader.map(MemberId::new).filter(|leader| group.members.contains_key(leader));
    if group.leader.is_none() {
        group.leader = group.members.keys().next().cloned();
    }
    group.state = if group.members.is_empty() { State::Empty } else { State::Stable };
    group.subscribed = subscribed_topics(&group);
    group
}

fn restore_member(value: MemberValue, protocol: Option<&str>) -> Member {
    let stated = value.rebalance_timeout_ms;
    Member {
        id: MemberId::new(value.member),
        instance: value.instance.map(InstanceId::new),
        client_id: value.client_id,
        client_host: value.client_host,
        rebalance_timeout_ms: if stated == -1 { value.session_timeout_ms } else { stated },
        session_timeout_ms: value.session_timeout_ms,
        protocols: vec![(protocol.unwrap_or_default().to_owned(), value.subscription)],
        assignment: value.assignment,
        join: None,
        sync: None,
        is_new: false,
    }
}
