//! SyncGroup: members ask for their assignment; the leader brings it.
//!
//! Versions: 3 brings static members, 5 lets a member state protocol type and name, which are checked if stated.

use std::collections::BTreeMap;

use super::append::Then;
use super::error::Error;
use super::message::{Reply, Sync, Synced};
use super::state::Group;
use super::timers::Key;
use super::words::{GroupId, MemberId, Now, State, Token};
use super::{AppendError, Effects, Generation, Shard};

impl Shard {
    pub(super) fn on_sync(&mut self, token: Token, sync: Sync, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(&sync.group) else {
            return out.reply(token, Reply::Sync(Err(Error::UnknownMemberId)));
        };
        if let Err(error) = validate(group, &sync) {
            return out.reply(token, Reply::Sync(Err(error)));
        }
        match group.state {
            State::PreparingRebalance => out.reply(token, Reply::Sync(Err(Error::RebalanceInProgress))),
            State::CompletingRebalance => {
                if let Some(member) = group.members.get_mut(&sync.member)
                    && let Some(earlier) = member.sync.replace(token)
                {
                    // The member asks again over another connection; nobody reads this any more.
                    out.reply(earlier, Reply::Sync(Err(Error::RebalanceInProgress)));
                }
                self.synced(&sync.group, &sync.member);
                self.take_assignment(token, sync, out);
            }
            State::Stable => {
                let assignment = group.members.get(&sync.member).map(|member| member.assignment.clone());
                let synced = Synced {
                    protocol_type: group.protocol_type.clone(),
                    protocol: group.protocol.clone(),
                    assignment: assignment.unwrap_or_default(),
                };
                self.synced(&sync.group, &sync.member);
                out.reply(token, Reply::Sync(Ok(synced)));
            }
            State::Empty | State::Dead => out.reply(token, Reply::Sync(Err(Error::UnknownMemberId))),
        }
    }

    fn synced(&mut self, id: &GroupId, member: &MemberId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.pending_sync.remove(member);
        if group.pending_sync.is_empty() {
            self.timers.cancel(&Key::Sync(id.clone()));
        }
    }

    /// What the leader brings goes into the log before anyone hears of it; members that it forgot get nothing. A leader
    /// that asks again meanwhile waits for what it brought first: a generation has one assignment (G1).
    fn take_assignment(&mut self, token: Token, sync: Sync, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(&sync.group) else { return };
        if !group.is_leader(&sync.member) || group.assigning == Some(sync.generation) {
            return;
        }
        let brought: usize = sync.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if brought > self.room {
            out.no_room += 1;
            if let Some(member) = group.members.get_mut(&sync.member) {
                member.sync = None;
            }
            return out.reply(token, Reply::Sync(Err(Error::CoordinatorNotAvailable)));
        }
        group.assigning = Some(sync.generation);
        let mut assignment: BTreeMap<_, _> = sync.assignments.into_iter().collect();
        assignment.retain(|member, _| group.members.contains_key(member));
        for member in group.members.keys() {
            assignment.entry(member.clone()).or_default();
        }
        let then =
            Then::Assigned { group: sync.group.clone(), generation: sync.generation, assignment: assignment.clone() };
        self.append_group(&sync.group, Some(&assignment), then, out);
    }

    pub(super) fn on_assigned(
        &mut self,
        now: Now,
        id: &GroupId,
        generation: Generation,
        assignment: &BTreeMap<MemberId, bytes::Bytes>,
        out: &mut Effects,
    ) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.assigning.take_if(|assigning| *assigning == generation);
        // While the append was on its way another member may have joined: then this assignment is history.
        if group.state != State::CompletingRebalance || group.generation != generation {
            return;
        }
        group.assign(assignment);
        self.recount = true;
        group.transition(State::Stable, now.wall);
        self.answer_syncs(now, id, None, out);
    }

    pub(super) fn on_not_assigned(
        &mut self,
        now: Now,
        id: &GroupId,
        generation: Generation,
        error: AppendError,
        out: &mut Effects,
    ) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.assigning.take_if(|assigning| *assigning == generation);
        if group.state != State::CompletingRebalance || group.generation != generation {
            return;
        }
        group.assign(&BTreeMap::new());
        self.answer_syncs(now, id, Some(error.answer()), out);
        self.rebalance_or_complete_join(now, id, out);
    }
}

fn validate(group: &Group, sync: &Sync) -> Result<(), Error> {
    if group.state == State::Empty {
        return Err(Error::UnknownMemberId);
    }
    group.validate(&sync.member, sync.instance.as_ref())?;
    if sync.generation != group.generation {
        return Err(Error::IllegalGeneration);
    }
    let differs = |stated: &Option<String>, known: &Option<String>| matches!((stated, known), (Some(stated), Some(known)) if stated != known);
    if differs(&sync.protocol_type, &group.protocol_type) || differs(&sync.protocol, &group.protocol) {
        return Err(Error::InconsistentGroupProtocol);
    }
    Ok(())
}
