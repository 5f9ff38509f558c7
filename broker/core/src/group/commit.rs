//! OffsetCommit: positions of members, and of consumers and tools without a group membership.
//!
//! Versions: 2 to 4 state a retention of their own; 7 brings static members; from 9 on an unknown group is named as
//! such (before: ILLEGAL_GENERATION). Whether a topic exists is the handler's question.

use super::append::Then;
use super::error::Error;
use super::message::{Commit, CommitPartition, Reply};
use super::record::Record;
use super::state::{GROUP_BYTES, Group};
use super::words::{CommittedOffset, Generation, Now, State, Token};
use super::{Effects, Shard};
use crate::types::Timestamp;

impl Shard {
    pub(super) fn on_commit(&mut self, now: Now, token: Token, commit: Commit, out: &mut Effects) {
        if let Err(error) = self.admit_commit(now, &commit) {
            return out.reply(token, Reply::Commit(Err(error)));
        }
        let max = self.config.offset_metadata_max;
        let too_large = |partition: &CommitPartition| {
            partition.metadata.as_ref().is_some_and(|text| text.len() > max && text.encode_utf16().count() > max)
        };
        let refused = |partition: &CommitPartition| too_large(partition).then_some(Error::OffsetMetadataTooLarge);
        let outcomes: Vec<_> = commit.partitions.iter().map(refused).collect();
        let expires_at = match commit.retention_ms {
            -1 => Timestamp::NONE,
            retention => Timestamp::new(now.wall.get().saturating_add(retention)),
        };
        let record = |partition: CommitPartition| Record::Offset {
            group: commit.group.clone(),
            partition: partition.partition,
            value: Some(CommittedOffset {
                offset: partition.offset,
                leader_epoch: partition.leader_epoch,
                metadata: partition.metadata.unwrap_or_default(),
                committed_at: now.wall,
                expires_at,
                topic_id: partition.topic_id,
            }),
        };
        let accepted = commit.partitions.into_iter().zip(&outcomes).filter(|(_, refused)| refused.is_none());
        let records: Vec<_> = accepted.map(|(partition, _)| record(partition)).collect();
        let reply = Reply::Commit(Ok(outcomes));
        if records.is_empty() {
            return out.reply(token, reply);
        }
        // A group of offsets alone comes to be with its first commit.
        if !self.groups.contains_key(&commit.group) {
            if GROUP_BYTES > self.room {
                out.no_room += 1;
                return out.reply(token, Reply::Commit(Err(Error::CoordinatorNotAvailable)));
            }
            self.recount = true;
        }
        self.groups.entry(commit.group.clone()).or_insert_with(|| Group::new(commit.group.clone(), now.wall));
        self.append(records, vec![Then::Reply { token, reply }], out);
    }

    /// Whether the commit is of the group's present (G1). A member's commit is a sign of life.
    fn admit_commit(&mut self, now: Now, commit: &Commit) -> Result<(), Error> {
        let Some(group) = self.groups.get(&commit.group) else {
            return match commit.generation {
                generation if generation < Generation::new(0) => Ok(()),
                _ if commit.unknown_group_named => Err(Error::GroupIdNotFound),
                _ => Err(Error::IllegalGeneration),
            };
        };
        validate(group, commit)?;
        if matches!(group.state, State::Stable | State::PreparingRebalance) {
            self.renew_session(now, &commit.group, &commit.member);
        }
        Ok(())
    }
}

fn validate(group: &Group, commit: &Commit) -> Result<(), Error> {
    let without_generation = commit.generation < Generation::new(0);
    if without_generation && group.state == State::Empty {
        return Ok(());
    }
    if !without_generation || !commit.member.is_unknown() || commit.instance.is_some() {
        group.validate(&commit.member, commit.instance.as_ref())?;
        if commit.generation != group.generation {
            return Err(Error::IllegalGeneration);
        }
    } else if group.state != State::Empty {
        return Err(Error::UnknownMemberId);
    }
    if group.state == State::CompletingRebalance {
        // The member knows the new generation, but nothing is assigned in it yet.
        return Err(Error::RebalanceInProgress);
    }
    Ok(())
}
