//! What is on its way into the log: appends in order, the offsets that they will make true, and what waits for them.
//!
//! Owns the overlay above the view: it holds exactly the offsets of appends that are neither committed nor failed. It
//! must never answer a fetch that does not wait for it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::error::{AppendError, Error};
use super::message::{Joined, Reply};
use super::record::Record;
use super::state::Group;
use super::timers::Key;
use super::view::{View, ViewError};
use super::words::{AppendId, CommittedOffset, CommittedPartition, Generation, GroupId, MemberId, Now, State, Token};
use super::{Append, Effects, Shard};

/// What follows from an append, once it is committed or has failed.
#[derive(Debug)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// The reply leaves, or one of its kind with the error.
    Reply { token: Token, reply: Reply },
    /// The group exists, or it never did.
    NewGroup { group: GroupId },
    /// The assignment holds, or the group has to join again.
    Assigned { group: GroupId, generation: Generation, assignment: BTreeMap<MemberId, Bytes> },
    /// The new member id holds, or the old one does again.
    StaticReplaced(Box<StaticReplaced>),
    /// The group is gone, or it is back.
    Removed(Box<Group>),
}

/// How to undo the replacement of a static member.
#[derive(Debug)]
pub(super) struct StaticReplaced {
    pub(super) group: GroupId,
    pub(super) old: MemberId,
    pub(super) new: MemberId,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) leader_before: Option<MemberId>,
    pub(super) assignment_skippable: bool,
}

type OffsetKey = (GroupId, CommittedPartition);

#[derive(Debug)]
struct Pending {
    id: AppendId,
    /// Groups that the records bring about.
    groups: Vec<GroupId>,
    offsets: Vec<OffsetKey>,
    then: Vec<Then>,
}

#[derive(Debug, Default)]
pub(super) struct Appends {
    next: u64,
    queue: VecDeque<Pending>,
    /// Per offset the values on their way, oldest first.
    overlay: BTreeMap<OffsetKey, Vec<(AppendId, Option<CommittedOffset>)>>,
}

impl Appends {
    pub(super) fn next_id(&self) -> AppendId {
        AppendId(self.next)
    }

    pub(super) fn first(&self) -> Option<AppendId> {
        self.queue.front().map(|pending| pending.id)
    }

    pub(super) fn last(&self) -> Option<AppendId> {
        self.queue.back().map(|pending| pending.id)
    }

    /// Lets one thing more follow from the latest append.
    pub(super) fn also(&mut self, then: Then) {
        if let Some(pending) = self.queue.back_mut() {
            pending.then.push(then);
        }
    }

    fn push(&mut self, records: &[Record], then: Vec<Then>) -> AppendId {
        let id = self.next_id();
        self.next += 1;
        let mut pending = Pending { id, groups: Vec::new(), offsets: Vec::new(), then };
        for record in records {
            match record {
                Record::Group { group, value } => pending.groups.extend(value.as_ref().map(|_| group.clone())),
                Record::Offset { group, partition, value } => {
                    let key = (group.clone(), partition.clone());
                    pending.offsets.push(key.clone());
                    self.overlay.entry(key).or_default().push((id, value.clone()));
                    if value.is_some() && pending.groups.last() != Some(group) {
                        pending.groups.push(group.clone());
                    }
                }
            }
        }
        self.queue.push_back(pending);
        id
    }

    fn settle(&mut self, pending: &Pending) {
        for key in &pending.offsets {
            if let Some(values) = self.overlay.get_mut(key) {
                values.retain(|(id, _)| *id != pending.id);
                if values.is_empty() {
                    self.overlay.remove(key);
                }
            }
        }
    }

    /// A group's offsets as they will be once everything on its way is committed.
    pub(super) fn offsets(
        &self,
        group: &GroupId,
        view: &View<'_>,
    ) -> Result<BTreeMap<CommittedPartition, CommittedOffset>, ViewError> {
        let mut offsets: BTreeMap<_, _> = view.offsets(group)?.into_iter().collect();
        view.verify()?;
        let first = CommittedPartition { topic: "".into(), partition: i32::MIN.into() };
        for ((owner, partition), values) in self.overlay.range((group.clone(), first)..) {
            if owner != group {
                break;
            }
            match values.last() {
                Some((_, Some(value))) => offsets.insert(partition.clone(), value.clone()),
                Some((_, None)) | None => offsets.remove(partition),
            };
        }
        Ok(offsets)
    }

    /// Answers everything that waits with `error` and forgets it.
    pub(super) fn abandon(&mut self, error: Error, out: &mut Effects) {
        self.overlay.clear();
        for pending in std::mem::take(&mut self.queue) {
            for then in pending.then {
                if let Then::Reply { token, reply } = then {
                    out.reply(token, failed(reply, error));
                }
            }
        }
    }

    pub(super) fn check(&self) {
        let ids = self.queue.iter().map(|pending| pending.id);
        assert!(ids.is_sorted(), "appends are pending in order");
        let (first, last) = (self.first(), self.last());
        let within = |id: &AppendId| Some(*id) >= first && Some(*id) <= last;
        assert!(self.overlay.values().flatten().all(|(id, _)| within(id)), "the overlay holds pending values only");
    }
}

impl Shard {
    pub(super) fn append(&mut self, records: Vec<Record>, then: Vec<Then>, out: &mut Effects) {
        let id = self.appends.push(&records, then);
        out.appends.push(Append { id, records });
    }

    /// Writes the group as it is; `assignment` stands for what the members have, if given.
    pub(super) fn append_group(
        &mut self,
        id: &GroupId,
        assignment: Option<&BTreeMap<MemberId, Bytes>>,
        then: Then,
        out: &mut Effects,
    ) {
        let Some(group) = self.groups.get(id) else { return };
        let value = group.record_value(assignment);
        self.append(vec![Record::Group { group: id.clone(), value: Some(value) }], vec![then], out);
    }

    pub(super) fn on_committed(&mut self, now: Now, upto: AppendId, view: &View<'_>, out: &mut Effects) {
        while self.appends.first().is_some_and(|first| first <= upto) {
            let Some(pending) = self.appends.queue.pop_front() else { break };
            self.appends.settle(&pending);
            for group in &pending.groups {
                if let Some(group) = self.groups.get_mut(group) {
                    group.committed = true;
                }
            }
            for then in pending.then {
                match then {
                    Then::Nothing | Then::NewGroup { .. } | Then::Removed(_) => {}
                    Then::Reply { token, reply } => out.reply(token, reply),
                    Then::Assigned { group, generation, assignment } => {
                        self.on_assigned(now, &group, generation, &assignment, out);
                    }
                    Then::StaticReplaced(replaced) => self.on_static_replaced(&replaced, out),
                }
            }
        }
        self.answer_stable_fetches(view, out);
    }

    pub(super) fn on_append_failed(
        &mut self,
        now: Now,
        id: AppendId,
        error: AppendError,
        view: &View<'_>,
        out: &mut Effects,
    ) {
        let Ok(index) = self.appends.queue.binary_search_by_key(&id, |pending| pending.id) else { return };
        let Some(pending) = self.appends.queue.remove(index) else { return };
        self.appends.settle(&pending);
        for then in pending.then {
            match then {
                Then::Nothing => {}
                Then::Reply { token, reply } => out.reply(token, failed(reply, error.answer())),
                Then::NewGroup { group } => self.on_no_new_group(&group, error.answer(), out),
                Then::Assigned { group, generation, .. } => {
                    self.on_not_assigned(now, &group, generation, error, out);
                }
                Then::StaticReplaced(replaced) => {
                    self.on_static_not_replaced(now, &replaced, error.answer(), out);
                }
                Then::Removed(mut group) => {
                    group.pending_join.clear();
                    self.groups.entry(group.id.clone()).or_insert(*group);
                }
            }
        }
        for group in &pending.groups {
            self.forget_unwritten(group);
        }
        self.answer_stable_fetches(view, out);
    }

    /// A group of which nothing is in the log, nor on its way, nor waiting to join, never existed.
    fn forget_unwritten(&mut self, id: &GroupId) {
        let unwritten =
            |group: &Group| !group.committed && group.state == State::Empty && group.pending_join.is_empty();
        let on_its_way = self.appends.queue.iter().any(|pending| pending.groups.contains(id));
        if self.groups.get(id).is_some_and(unwritten) && !on_its_way {
            self.groups.remove(id);
        }
    }

    fn on_no_new_group(&mut self, id: &GroupId, error: Error, out: &mut Effects) {
        if self.groups.get(id).is_none_or(|group| group.committed) {
            return;
        }
        let Some(mut group) = self.groups.remove(id) else { return };
        for member in group.members.keys().chain(&group.pending_join) {
            self.timers.cancel(&Key::Session(id.clone(), member.clone()));
        }
        self.timers.cancel(&Key::Join(id.clone()));
        self.timers.cancel(&Key::Sync(id.clone()));
        for token in group.members.values_mut().filter_map(|member| member.join.take()) {
            out.reply(token, Reply::Join(Joined::refused(error, MemberId::from(""))));
        }
    }
}

/// The reply of the same kind that says `error`.
fn failed(reply: Reply, error: Error) -> Reply {
    match reply {
        Reply::Join(joined) => Reply::Join(Joined::refused(error, joined.member)),
        Reply::Sync(_) => Reply::Sync(Err(error)),
        Reply::Heartbeat(_) => Reply::Heartbeat(Err(error)),
        Reply::Leave(_) => Reply::Leave(Err(error)),
        Reply::Commit(_) => Reply::Commit(Err(error)),
        Reply::Fetch(_) => Reply::Fetch(Err(error)),
        Reply::Describe(_) => Reply::Describe(Err(error)),
        Reply::List(_) => Reply::List(Err(error)),
        Reply::Delete(_) => Reply::Delete(Err(error)),
        Reply::DeleteOffsets(_) => Reply::DeleteOffsets(Err(error)),
    }
}
