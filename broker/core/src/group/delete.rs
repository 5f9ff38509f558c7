//! DeleteGroups of one group: only an empty one goes, with all of its offsets.

use super::append::Then;
use super::error::Error;
use super::message::Reply;
use super::record::Record;
use super::view::View;
use super::words::{GroupId, State, Token};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn on_delete(&mut self, token: Token, id: &GroupId, view: &View<'_>, out: &mut Effects) {
        let outcome = match self.groups.get(id).map(|group| group.state) {
            None | Some(State::Dead) => Err(Error::GroupIdNotFound),
            Some(State::Empty) => Ok(()),
            Some(State::PreparingRebalance | State::CompletingRebalance | State::Stable) => Err(Error::NonEmptyGroup),
        };
        let offsets = outcome.and_then(|()| self.read_view(out, || self.appends.offsets(id, view)));
        match offsets {
            Err(error) => out.reply(token, Reply::Delete(Err(error))),
            Ok(offsets) => {
                let gone = |(partition, _)| Record::Offset { group: id.clone(), partition, value: None };
                let tombstones = offsets.into_iter().map(gone).collect();
                self.remove_group(id, tombstones, vec![Then::Reply { token, reply: Reply::Delete(Ok(())) }], out);
            }
        }
    }

    /// Removes an empty group: its tombstones follow those of its offsets, so that a log which ends between them holds
    /// a group without offsets and never offsets of a group that was said to be gone.
    pub(super) fn remove_group(&mut self, id: &GroupId, mut records: Vec<Record>, then: Vec<Then>, out: &mut Effects) {
        let Some(group) = self.groups.remove(id) else { return };
        for pending in &group.pending_join {
            self.timers.cancel(&super::timers::Key::Session(id.clone(), pending.clone()));
        }
        records.push(Record::Group { group: id.clone(), value: None });
        let last = records.split_off(records.len() - records.len().min(self.config.tombstones_per_append));
        self.append_in_parts(records, out);
        let mut then = then;
        then.push(Then::Removed(Box::new(group)));
        self.append(last, then, out);
    }

    /// Appends records that need no answer and no common fate.
    pub(super) fn append_in_parts(&mut self, mut records: Vec<Record>, out: &mut Effects) {
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(self.config.tombstones_per_append));
            self.append(records, Vec::new(), out);
            records = rest;
        }
    }
}
