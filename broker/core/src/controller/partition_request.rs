//! What brokers and operators can ask about single partitions, and what they are answered.

use super::error::{ElectLeaderError, ReassignError};
use crate::types::{BrokerId, Incarnation, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition};

/// A partition by the name of its topic, as clients name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPartition {
    /// The topic.
    pub topic: String,
    /// The partition within it.
    pub partition: PartitionIndex,
}

/// A leader wants another in-sync set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    /// The partition.
    pub partition: TopicPartition,
    /// The term in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The version that it changes.
    pub partition_epoch: PartitionEpoch,
    /// The set, each member with the run that caught up.
    pub isr: Vec<(BrokerId, Incarnation)>,
}

/// A leadership that its leader wants to give away or renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The partition.
    pub partition: TopicPartition,
    /// The term in which it leads.
    pub leader_epoch: LeaderEpoch,
}

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionKind {
    /// The first replica, if it is in sync.
    Preferred,
    /// Any replica, if nobody in sync or eligible is alive: records are lost.
    Unclean,
}

/// What came of electing the leader of one partition.
pub type Elected = (NamedPartition, Result<(), ElectLeaderError>);

/// What came of reassigning one partition.
pub type Reassigned = Result<(), ReassignError>;

/// A partition that shall move: to these brokers, or, with `None`, back to where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: NamedPartition,
    /// To whom, preferred leader first.
    pub target: Option<Vec<BrokerId>>,
}

/// A partition that is moving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// The partition.
    pub partition: NamedPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// Who holds it now.
    pub replicas: Vec<BrokerId>,
    /// Who of them is being added.
    pub adding: Vec<BrokerId>,
    /// Who of them will go.
    pub removing: Vec<BrokerId>,
}

/// How far a broker that wants to stop is from stopping without harm (L1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopState {
    /// Partitions that it still leads because nobody else can.
    pub leads: usize,
    /// Partitions that would have fewer in-sync replicas than `min.insync.replicas` without it and the others that are
    /// about to stop.
    pub would_fall_short: usize,
    /// One of them, for a message.
    pub example: Option<NamedPartition>,
}

impl StopState {
    /// Whether nobody would notice.
    pub fn may_stop(&self) -> bool {
        self.leads == 0 && self.would_fall_short == 0
    }
}
