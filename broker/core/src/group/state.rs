//! The state of one group: members, phase, generation. Counting and choosing, no timers and no replies.
//!
//! Invariants (checked after every step): the leader is a member; every static id names a member that carries it;
//! the number waiting to join is what the members say; no protocol is counted more often than there are members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::error::Error;
use super::member::{Member, milliseconds};
use super::message::{Joined, JoinedMember};
use super::subscription::subscribed_topics;
use super::words::{Generation, GroupId, InstanceId, MemberId, State, Token, TopicName};
use crate::types::Timestamp;

/// The protocol type of ordinary consumers, the only one whose subscriptions the coordinator can read.
pub(super) const CONSUMER: &str = "consumer";

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) state: State,
    pub(super) previous: State,
    /// When it came into its state; `None` for groups from records too old to say.
    pub(super) since: Option<Timestamp>,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) generation: Generation,
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) statics: BTreeMap<InstanceId, MemberId>,
    /// Told their id, not joined yet.
    pub(super) pending_join: BTreeSet<MemberId>,
    /// Joined this generation, assignment not fetched yet.
    pub(super) pending_sync: BTreeSet<MemberId>,
    pub(super) awaiting_join: usize,
    pub(super) supported: BTreeMap<String, usize>,
    /// Topics that the members read; `None` if that cannot be known.
    pub(super) subscribed: Option<BTreeSet<TopicName>>,
    pub(super) new_member_added: bool,
    /// The generation whose assignment is on its way into the log: it takes no other one.
    pub(super) assigning: Option<Generation>,
    /// A record of this group is in the log below the high watermark.
    pub(super) committed: bool,
    /// What the members take in memory.
    member_bytes: usize,
}

/// What a group takes in memory beside its members.
pub(super) const GROUP_BYTES: usize = 768;
/// What a member takes that was told its id and has not joined yet.
pub(super) const PENDING_BYTES: usize = 256;

impl Group {
    pub(super) fn new(id: GroupId, now: Timestamp) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: State::Dead,
            since: Some(now),
            protocol_type: None,
            protocol: None,
            generation: Generation::new(0),
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            awaiting_join: 0,
            supported: BTreeMap::new(),
            subscribed: None,
            new_member_added: false,
            assigning: None,
            committed: false,
            member_bytes: 0,
        }
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        GROUP_BYTES + self.member_bytes + self.pending_join.len() * PENDING_BYTES
    }

    /// Gives every member what `assignment` has for it; nothing to those that it does not name.
    pub(super) fn assign(&mut self, assignment: &BTreeMap<MemberId, Bytes>) {
        for member in self.members.values_mut() {
            member.assignment = assignment.get(&member.id).cloned().unwrap_or_default();
        }
        self.member_bytes = self.members.values().map(Member::bytes).sum();
    }

    pub(super) fn transition(&mut self, state: State, now: Timestamp) {
        self.previous = self.state;
        self.state = state;
        self.since = Some(now);
    }

    pub(super) fn is_leader(&self, member: &MemberId) -> bool {
        self.leader.as_ref() == Some(member)
    }

    pub(super) fn can_rebalance(&self) -> bool {
        matches!(self.state, State::Stable | State::CompletingRebalance | State::Empty)
    }

    pub(super) fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// The longest that any member needs to come back.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        milliseconds(self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0))
    }

    pub(super) fn add(&mut self, member: Member, protocol_type: &str) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count(&member.protocols, true);
        self.awaiting_join += usize::from(member.join.is_some());
        self.pending_join.remove(&member.id);
        self.member_bytes += member.bytes();
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, in whatever set it stands. Its waiting requests must have been answered before.
    pub(super) fn remove(&mut self, id: &MemberId) -> Option<Member> {
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.member_bytes -= member.bytes();
            self.count(&member.protocols, false);
            self.awaiting_join -= usize::from(member.join.is_some());
            if let Some(instance) = &member.instance {
                self.statics.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        removed
    }

    /// Takes over what a member states when it joins again; `join` waits for the new generation from now on.
    pub(super) fn update(
        &mut self,
        id: &MemberId,
        protocols: Vec<(String, Bytes)>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
        join: Option<Token>,
    ) {
        let Some(mut member) = self.members.remove(id) else { return };
        self.count(&member.protocols, false);
        self.count(&protocols, true);
        self.awaiting_join = self.awaiting_join + usize::from(join.is_some()) - usize::from(member.join.is_some());
        self.member_bytes -= member.bytes();
        member.protocols = protocols;
        self.member_bytes += member.bytes();
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        member.join = join;
        self.members.insert(id.clone(), member);
    }

    /// Takes the waiting join of a member, if there is one.
    pub(super) fn take_join(&mut self, id: &MemberId) -> Option<Token> {
        let token = self.members.get_mut(id)?.join.take();
        self.awaiting_join -= usize::from(token.is_some());
        token
    }

    /// Puts the member under another id; everything else stays. Its waiting requests must have been answered before.
    pub(super) fn rename(&mut self, old: &MemberId, new: &MemberId) {
        let Some(mut member) = self.members.remove(old) else { return };
        self.member_bytes -= member.bytes();
        member.id = new.clone();
        self.member_bytes += member.bytes();
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), new.clone());
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.members.insert(new.clone(), member);
    }

    /// Keeps a leader that has joined, or elects one that has. False if nobody has joined.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|member| member.join.is_some()) {
            return true;
        }
        let elected = self.members.values().find(|member| member.join.is_some()).map(|member| member.id.clone());
        let found = elected.is_some();
        if found {
            self.leader = elected;
        }
        found
    }

    /// Whether someone with these protocols fits in: one of them is known to every present member.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let known = |name: &String| self.supported.get(name).copied().unwrap_or(0) == self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|(name, _)| known(name))
    }

    /// The protocol that the next generation will use: of those that everyone knows, the one with the most votes;
    /// equal votes go to the first by name. `None` only without members.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let known_to_all = |(name, count): (&String, &usize)| (*count == self.members.len()).then(|| name.clone());
        let candidates: BTreeSet<String> = self.supported.iter().filter_map(known_to_all).collect();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(|member| member.vote(&candidates)) {
            *votes.entry(vote).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// Goes on to the next generation with the members there are.
    pub(super) fn next_generation(&mut self, now: Timestamp) {
        self.generation = self.generation.next();
        self.protocol = self.select_protocol();
        self.subscribed = subscribed_topics(self);
        let state = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.transition(state, now);
        self.pending_sync.clear();
    }

    /// Whether an offset of this topic is in use. A consumer group whose subscriptions cannot be read might read all.
    pub(super) fn is_subscribed(&self, topic: &TopicName) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer(),
        }
    }

    pub(super) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The member is of the group, and if static, it is the one that holds the instance id now.
    pub(super) fn validate(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<(), Error> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(Error::UnknownMemberId),
                Some(holder) if holder != member => return Err(Error::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(Error::UnknownMemberId) }
    }

    /// What a member is told about the present generation; only the leader is told of the others.
    pub(super) fn joined(&self, member: &MemberId) -> Joined {
        let members = if self.is_leader(member) { self.joined_members() } else { Vec::new() };
        Joined {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.as_ref().map(|leader| leader.as_str().to_owned()).unwrap_or_default(),
            assignment_skipped: false,
            member: member.clone(),
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let describe = |member: &Member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol.as_deref()),
        };
        self.members.values().map(describe).collect()
    }

    fn count(&mut self, protocols: &[(String, Bytes)], up: bool) {
        for (name, _) in protocols {
            let count = self.supported.entry(name.clone()).or_default();
            *count = if up { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    pub(super) fn check(&self) {
        if let Some(leader) = &self.leader {
            assert!(self.members.contains_key(leader), "the leader is a member");
        }
        let waiting = self.members.values().filter(|member| member.join.is_some()).count();
        assert_eq!(self.awaiting_join, waiting, "the count of waiting joins is exact");
        for (instance, id) in &self.statics {
            let holder = self.members.get(id).and_then(|member| member.instance.as_ref());
            assert_eq!(holder, Some(instance), "a static id names the member that carries it");
        }
        assert!(
            self.supported.values().all(|count| *count <= self.members.len()),
            "a protocol is counted once a member"
        );
        let bytes: usize = self.members.values().map(Member::bytes).sum();
        assert_eq!(self.member_bytes, bytes, "the members' memory is counted exactly");
        if self.state == State::Empty {
            assert!(self.members.is_empty(), "an empty group has no members");
        }
        assert!(
            self.pending_join.iter().all(|id| !self.members.contains_key(id)),
            "pending members are no members yet"
        );
    }
}
