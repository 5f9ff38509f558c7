//! From a topic's name or id and a partition's index to the replica that serves it.
//!
//! Owns the errors of what is not here, so that every API gives the same ones. Must never wait.

use std::sync::Arc;

use ottla_core::metadata::{Image, Topic};
use ottla_core::types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use ottla_wire::ErrorCode;

use crate::node::Node;
use crate::partitions::Replica;

/// A partition that this broker leads, or may serve consumers of as a follower.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its topic.
    pub topic: Arc<Topic>,
    /// Its replica here.
    pub replica: Arc<Replica>,
    /// Its leader.
    pub leader: BrokerId,
    /// The epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// Whether this broker is the leader.
    pub leads: bool,
}

impl Found {
    /// Whether somebody confirmed lately that this broker still leads (R13).
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER.
    pub fn confirmed(&self) -> Result<(), ErrorCode> {
        // What a follower shows is committed, whoever leads.
        if self.replica.is_alone() || !self.leads {
            return Ok(());
        }
        self.replica.admit_fetch().map(drop).map_err(|_refusal| ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    /// The high watermark as a client of this replica may see it; `None` while a new leader does not know it yet (R10).
    pub fn shown_watermark(&self) -> Option<Offset> {
        if self.leads { self.replica.shown_watermark() } else { Some(self.replica.high_watermark()) }
    }

    /// Compares the leader epoch that a client knows (−1 for none) with the one in force (KIP-320).
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH for an older one, UNKNOWN_LEADER_EPOCH for a newer one.
    pub fn check_epoch(&self, known: i32) -> Result<(), ErrorCode> {
        check_epoch(self.leader_epoch, known)
    }
}

fn check_epoch(current: LeaderEpoch, known: i32) -> Result<(), ErrorCode> {
    if known < 0 || known == current.get() {
        Ok(())
    } else if known < current.get() {
        Err(ErrorCode::FENCED_LEADER_EPOCH)
    } else {
        Err(ErrorCode::UNKNOWN_LEADER_EPOCH)
    }
}

/// What a client says that knows of no leader epoch.
pub const NO_EPOCH: i32 = -1;

/// The partition `index` of the topic called `name`, for a client that knows the leader epoch `known`.
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION; NOT_LEADER_OR_FOLLOWER where another broker or nobody leads it, unless a replica here knows
/// that the client's epoch is another one (as [`Found::check_epoch`]).
pub fn by_name(node: &Node, image: &Image, name: &str, index: i32, known: i32) -> Result<Found, ErrorCode> {
    let topic = image.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    found(node, topic, index, known)
}

/// The partition `index` of the topic `id`.
///
/// # Errors
/// UNKNOWN_TOPIC_ID for an id that names no topic, otherwise as [`by_name`].
pub fn by_id(node: &Node, image: &Image, id: TopicId, index: i32, known: i32) -> Result<Found, ErrorCode> {
    let topic = image.topic_by_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
    found(node, topic, index, known)
}

fn found(node: &Node, topic: &Arc<Topic>, index: i32, known: i32) -> Result<Found, ErrorCode> {
    let index = PartitionIndex::new(index);
    let partition = topic.partition(index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let replica = node.partitions.get(TopicPartition::new(topic.id, index)).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    let Some(leader) = partition.leader.filter(|leader| *leader == node.id()) else {
        check_epoch(partition.leader_epoch, known)?;
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    };
    let (topic, leader_epoch) = (Arc::clone(topic), partition.leader_epoch);
    Ok(Found { topic, replica, leader, leader_epoch, leads: true })
}

/// The partition `index` of `topic`, if this broker follows: it is in sync, and stands in its leader's log (KIP-392).
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, or as [`Found::check_epoch`].
pub fn followed(node: &Node, topic: &Arc<Topic>, index: i32, known: i32) -> Result<Found, ErrorCode> {
    let index = PartitionIndex::new(index);
    let partition = topic.partition(index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let leader_epoch = partition.leader_epoch;
    let found = || {
        let leader = partition.leader.filter(|_| partition.isr.contains(&node.id()))?;
        let replica = node.partitions.get(TopicPartition::new(topic.id, index))?;
        let follows = replica.follows_in() == Some(leader_epoch);
        follows.then(|| Found { topic: Arc::clone(topic), replica, leader, leader_epoch, leads: false })
    };
    let found = found().ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    found.check_epoch(known).map(|()| found)
}
