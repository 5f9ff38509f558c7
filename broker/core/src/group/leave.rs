//! LeaveGroup: members go by themselves, or an administrator removes them.
//!
//! Versions: 3 brings several members at once, static ones also by instance id alone; 5 brings reasons, which are only
//! logged by the shell.

use super::append::Then;
use super::error::Error;
use super::message::{Leave, Leaving, Reply};
use super::timers::Key;
use super::words::{GroupId, Now, State, Token};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn on_leave(&mut self, now: Now, token: Token, leave: &Leave, out: &mut Effects) {
        if !self.groups.contains_key(&leave.group) {
            let unknown = vec![Some(Error::UnknownMemberId); leave.members.len()];
            return out.reply(token, Reply::Leave(Ok(unknown)));
        }
        let outcomes: Vec<_> =
            leave.members.iter().map(|leaving| self.remove_leaving(&leave.group, leaving, out).err()).collect();
        let appended = self.appends.next_id();
        if outcomes.iter().any(Option::is_none)
            && let Some(group) = self.groups.get(&leave.group)
        {
            match group.state {
                State::Stable | State::CompletingRebalance => self.rebalance_or_complete_join(now, &leave.group, out),
                State::PreparingRebalance => self.complete_join_if_all_joined(now, &leave.group, out),
                State::Empty | State::Dead => {}
            }
        }
        let reply = Reply::Leave(Ok(outcomes));
        if self.appends.next_id() == appended {
            out.reply(token, reply);
        } else {
            // The last one is gone: the answer waits for the record that says so.
            self.appends.also(Then::Reply { token, reply });
        }
    }

    fn remove_leaving(&mut self, id: &GroupId, leaving: &Leaving, out: &mut Effects) -> Result<(), Error> {
        let Some(group) = self.groups.get_mut(id) else { return Err(Error::UnknownMemberId) };
        let member = if leaving.member.is_unknown() {
            // An administrator removes static members by instance id.
            let holder = leaving.instance.as_ref().and_then(|instance| group.statics.get(instance));
            holder.cloned().ok_or(Error::UnknownMemberId)?
        } else if group.pending_join.contains(&leaving.member) {
            group.remove(&leaving.member);
            self.timers.cancel(&Key::Session(id.clone(), leaving.member.clone()));
            return Ok(());
        } else {
            group.validate(&leaving.member, leaving.instance.as_ref())?;
            leaving.member.clone()
        };
        self.remove_member(id, &member, out);
        Ok(())
    }
}
