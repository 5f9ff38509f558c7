//! OffsetDelete (KIP-496): forgets positions that the group does not use.

use super::append::Then;
use super::error::Error;
use super::message::{DeleteOffsets, Reply};
use super::record::Record;
use super::view::View;
use super::words::{State, Token, TopicName};
use super::{Effects, Shard};

impl Shard {
    pub(super) fn on_delete_offsets(
        &mut self,
        token: Token,
        delete: DeleteOffsets,
        view: &View<'_>,
        out: &mut Effects,
    ) {
        let outcome = match self.groups.get(&delete.group) {
            None => Err(Error::GroupIdNotFound),
            Some(group) => match group.state {
                State::Dead => Err(Error::GroupIdNotFound),
                State::Empty => Ok(group),
                // Only the subscriptions of consumers can be read; of others every topic may be in use.
                State::Stable | State::PreparingRebalance | State::CompletingRebalance if group.is_consumer() => {
                    Ok(group)
                }
                State::Stable | State::PreparingRebalance | State::CompletingRebalance => Err(Error::NonEmptyGroup),
            },
        };
        let outcomes = outcome.map(|group| {
            let refused = |topic: &TopicName| group.is_subscribed(topic).then_some(Error::GroupSubscribedToTopic);
            delete.partitions.iter().map(|partition| refused(&partition.topic)).collect::<Vec<_>>()
        });
        let known = outcomes.and_then(|outcomes| {
            let known = self.read_view(out, || self.appends.offsets(&delete.group, view))?;
            Ok((outcomes, known))
        });
        let (outcomes, known) = match known {
            Err(error) => return out.reply(token, Reply::DeleteOffsets(Err(error))),
            Ok(found) => found,
        };
        let wanted = delete.partitions.into_iter().zip(&outcomes).filter(|(_, refused)| refused.is_none());
        let present = wanted.map(|(partition, _)| partition).filter(|partition| known.contains_key(partition));
        let tombstone = |partition| Record::Offset { group: delete.group.clone(), partition, value: None };
        let records: Vec<_> = present.map(tombstone).collect();
        let reply = Reply::DeleteOffsets(Ok(outcomes));
        if records.is_empty() {
            out.reply(token, reply);
        } else {
            self.append(records, vec![Then::Reply { token, reply }], out);
        }
    }
}
