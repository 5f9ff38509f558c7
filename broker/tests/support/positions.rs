//! Positions of a group without members, as a consumer that assigns its partitions itself commits them.
//!
//! Owns what is committed; where it is sent is the business of whoever tests.

use ottla_core::group::message::{Commit, CommitPartition};
use ottla_core::group::{CommittedPartition, Generation, GroupId, MemberId};
use ottla_core::types::{LeaderEpoch, Offset, PartitionIndex, TopicId};

/// One position, in partition 0 of topic `t`.
pub(super) fn commit(group: &GroupId, offset: i64) -> Commit {
    Commit {
        group: group.clone(),
        member: MemberId::from(""),
        instance: None,
        generation: Generation::NONE,
        retention_ms: -1,
        unknown_group_named: true,
        partitions: vec![CommitPartition {
            partition: CommittedPartition { topic: "t".into(), partition: PartitionIndex::new(0) },
            offset: Offset::new(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: Some("note".to_owned()),
            topic_id: TopicId::ZERO,
        }],
    }
}
