//! JoinGroup of a member that has an id: pending, or of the group already.

use super::error::Error;
use super::message::{Join, Joined, Reply};
use super::words::{Now, State, Token};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn join_existing(&mut self, now: Now, token: Token, join: Join, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(&join.group) else { return };
        if group.pending_join.contains(&join.member) {
            if join.instance.is_some() {
                // Ids are given to dynamic members only.
                let refused = Joined::refused(Error::UnknownMemberId, join.member);
                return out.reply(token, Reply::Join(refused));
            }
            let member = join.member.clone();
            return self.add_member(now, token, join, member, out);
        }
        if let Err(error) = group.validate(&join.member, join.instance.as_ref()) {
            return out.reply(token, Reply::Join(Joined::refused(error, join.member)));
        }
        let unchanged = group.members.get(&join.member).is_some_and(|member| member.protocols == join.protocols);
        match group.state {
            State::PreparingRebalance => self.rejoin(now, token, join, out),
            // It has not heard our first answer.
            State::CompletingRebalance if unchanged => {
                let joined = group.joined(&join.member);
                out.reply(token, Reply::Join(joined));
            }
            // A leader asks for a rebalance this way, for reasons that do not show in its metadata: new partitions.
            State::Stable if unchanged && !group.is_leader(&join.member) => {
                let joined = group.joined(&join.member);
                out.reply(token, Reply::Join(joined));
            }
            State::CompletingRebalance | State::Stable => self.rejoin(now, token, join, out),
            State::Empty | State::Dead => {
                let refused = Joined::refused(Error::UnknownMemberId, join.member);
                out.reply(token, Reply::Join(refused));
            }
        }
    }

    fn rejoin(&mut self, now: Now, token: Token, join: Join, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(&join.group) else { return };
        if let Some(earlier) = group.take_join(&join.member) {
            // The member asks again over another connection; nobody reads this any more.
            let refused = Joined::refused(Error::RebalanceInProgress, join.member.clone());
            out.reply(earlier, Reply::Join(refused));
        }
        let (rebalance, session) = (join.rebalance_timeout_ms, join.session_timeout_ms);
        group.update(&join.member, join.protocols, rebalance, session, Some(token));
        self.rebalance_or_complete_join(now, &join.group, out);
    }
}
