//! Heartbeat: a member shows life and learns whether it has to join again.

use super::error::Error;
use super::message::{Heartbeat, Reply};
use super::words::{Now, State, Token};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn on_heartbeat(&mut self, now: Now, token: Token, heartbeat: &Heartbeat, out: &mut Effects) {
        let outcome = self.beat(now, heartbeat);
        out.reply(token, Reply::Heartbeat(outcome));
    }

    fn beat(&mut self, now: Now, heartbeat: &Heartbeat) -> Result<(), Error> {
        let group = self.groups.get(&heartbeat.group).ok_or(Error::UnknownMemberId)?;
        group.validate(&heartbeat.member, heartbeat.instance.as_ref())?;
        if heartbeat.generation != group.generation {
            return Err(Error::IllegalGeneration);
        }
        let outcome = match group.state {
            State::Empty => return Err(Error::UnknownMemberId),
            State::Dead => return Err(Error::CoordinatorNotAvailable),
            State::PreparingRebalance => Err(Error::RebalanceInProgress),
            // Members may send heartbeats between their join and their sync.
            State::CompletingRebalance | State::Stable => Ok(()),
        };
        self.renew_session(now, &heartbeat.group, &heartbeat.member);
        outcome
    }
}
