//! Why a change of a partition was refused.

use std::time::Duration;

use super::{InvalidAssignment, NotController, RegisterError};
use crate::types::{BrokerId, Incarnation, LeaderEpoch, PartitionEpoch};

/// The asker's terms are not the current ones, or it does not lead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaleLeader {
    /// No such partition.
    #[error("no such partition")]
    Unknown,
    /// It does not lead it.
    #[error("broker {broker} does not lead the partition; its leader is {leader:?}, in epoch {epoch}")]
    NotLeader {
        /// Who asked.
        broker: BrokerId,
        /// Who leads.
        leader: Option<BrokerId>,
        /// In which term.
        epoch: LeaderEpoch,
    },
    /// Its term is another one.
    #[error("leader epoch {got} is not the current one, {current}")]
    LeaderEpoch {
        /// What it said.
        got: LeaderEpoch,
        /// What is true.
        current: LeaderEpoch,
    },
    /// It knows another version of the partition.
    #[error("partition epoch {got} is not the current one, {current}")]
    PartitionEpoch {
        /// What it said.
        got: PartitionEpoch,
        /// What is true.
        current: PartitionEpoch,
    },
}

/// Why a broker may not join an in-sync set (R5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ineligible {
    /// It is not admitted.
    #[error("it is fenced")]
    Fenced,
    /// Another run of it is registered.
    #[error("run {got} is not the registered one, {registered}")]
    StaleRun {
        /// The run that caught up.
        got: Incarnation,
        /// The run that is registered.
        registered: Incarnation,
    },
    /// It is about to stop.
    #[error("it is about to stop")]
    Draining,
    /// It left in-sync sets a moment ago.
    #[error("it left in-sync sets too recently; it may join again in {0:?}")]
    TooSoon(Duration),
}

/// An in-sync set that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIsr {
    /// The leader is always in sync.
    #[error("it does not contain the leader")]
    NoLeader,
    /// Somebody is in it twice.
    #[error("it contains broker {0} twice")]
    Twice(BrokerId),
    /// Somebody holds no replica.
    #[error("broker {0} holds no replica")]
    NoReplica(BrokerId),
}

/// Why an in-sync set was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterPartitionError {
    /// Whoever asked is not the leader that it believes to be.
    #[error(transparent)]
    Stale(#[from] StaleLeader),
    /// Somebody may not join.
    #[error("broker {broker} cannot join the in-sync set: {why}")]
    Ineligible {
        /// Who.
        broker: BrokerId,
        /// Why not.
        why: Ineligible,
    },
    /// The set itself is wrong.
    #[error("the in-sync set is invalid: {0}")]
    Isr(#[from] InvalidIsr),
}

/// Why a leadership was not handed over or renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeadershipError {
    /// Whoever asked is not the leader that it believes to be.
    #[error(transparent)]
    Stale(#[from] StaleLeader),
    /// Nobody else in sync can lead.
    #[error("no other in-sync replica can lead")]
    NobodyElse,
}

/// Why a whole request of a broker was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerRequestError {
    /// It is not the run that is registered, or not registered at all.
    #[error(transparent)]
    Run(#[from] RegisterError),
    /// It is registered and not admitted: nobody believes it to lead anything.
    #[error("broker {0} is fenced")]
    Fenced(BrokerId),
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why no leader was elected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElectLeaderError {
    /// No such partition.
    #[error("no such partition")]
    Unknown,
    /// The leader is as it should be.
    #[error("leader election not needed")]
    NotNeeded,
    /// The preferred leader is not in sync or not alive.
    #[error("the preferred leader {0} cannot lead now")]
    PreferredNotAvailable(BrokerId),
    /// Nobody who holds a replica is alive.
    #[error("no replica can lead now")]
    NobodyAvailable,
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why a reassignment was not begun or cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReassignError {
    /// No such partition.
    #[error("no such partition")]
    Unknown,
    /// Nothing to cancel.
    #[error("no reassignment of the partition is in progress")]
    NoneInProgress,
    /// The targets are wrong.
    #[error(transparent)]
    Assignment(#[from] InvalidAssignment),
    /// The number of replicas would change although that was ruled out.
    #[error("the partition has {current} replicas; the target has {wanted}, and the replication factor may not change")]
    ReplicationFactor {
        /// How many it has.
        current: usize,
        /// How many it would have.
        wanted: usize,
    },
    /// What is committed would be on no replica any more.
    #[error("every in-sync replica would be dropped")]
    NobodyInSync,
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why a broker was not unregistered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnregisterError {
    /// Nobody of that id is registered.
    #[error("broker {0} is not registered")]
    Unknown(BrokerId),
    /// It lives.
    #[error("broker {0} is alive: stop it first")]
    Alive(BrokerId),
    /// It holds replicas.
    #[error("broker {broker} still holds {replicas} replica(s): reassign them first")]
    HoldsReplicas {
        /// The broker.
        broker: BrokerId,
        /// How many.
        replicas: usize,
    },
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}
