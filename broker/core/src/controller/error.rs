//! Why the controller refuses: one fact each, with its numbers, and one enum per operation.

mod partition;

pub use partition::{
    AlterPartitionError, BrokerRequestError, ElectLeaderError, Ineligible, InvalidIsr, LeadershipError, ReassignError,
    StaleLeader, UnregisterError,
};

use super::document::FeatureRange;
use crate::config::ConfigError;
use crate::topic_name::InvalidName;
use crate::types::{BrokerId, ClusterId, DirectoryId, Incarnation, Lsn, PartitionIndex, TopicId};

/// What is wrong with an assignment of replicas that a client wrote by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAssignment {
    /// A partition without replicas.
    #[error("the manual partition assignment includes an empty replica list")]
    Empty,
    /// A broker twice in one partition.
    #[error("the manual partition assignment includes the broker {0} more than once")]
    Twice(BrokerId),
    /// A broker that is not registered.
    #[error("the manual partition assignment includes broker {0}, but no such broker is registered")]
    UnknownBroker(BrokerId),
    /// Partitions with different numbers of replicas.
    #[error("the manual partition assignment includes partitions with {got} and with {expected} replicas")]
    Uneven {
        /// What this one has.
        got: usize,
        /// What the others have.
        expected: usize,
    },
    /// A partition is missing or there twice.
    #[error("partitions should be a consecutive 0-based integer sequence; {0} is missing")]
    Gap(PartitionIndex),
    /// Not one assignment for each new partition.
    #[error("attempted to add {added} additional partition(s), but {assigned} assignment(s) were specified")]
    Count {
        /// New partitions.
        added: usize,
        /// Assignments.
        assigned: usize,
    },
    /// Nobody of it is alive.
    #[error("all brokers in the manual partition assignment are fenced")]
    Fenced,
}

/// More replicas than there are brokers, or none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReplicationFactor {
    /// Zero or negative.
    #[error("replication factor must be larger than 0, or -1 to use the default value; it is {0}")]
    NotPositive(i16),
    /// More than brokers.
    #[error(
        "unable to replicate the partition {wanted} time(s): the target replication factor of {wanted} cannot be \
         reached because only {registered} broker(s) are registered"
    )]
    TooLarge {
        /// What was asked for.
        wanted: usize,
        /// How many brokers there are.
        registered: usize,
    },
}

/// Partitions that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPartitions {
    /// Zero or negative.
    #[error("number of partitions must be larger than 0, or -1 to use the default value; it is {0}")]
    NotPositive(i32),
    /// As many as there are.
    #[error("topic already has {0} partition(s)")]
    Same(i32),
    /// Fewer than there are.
    #[error("the topic {topic} currently has {current} partition(s); {wanted} would not be an increase")]
    Fewer {
        /// The topic.
        topic: String,
        /// What it has.
        current: i32,
        /// What was asked for.
        wanted: i32,
    },
}

/// A request that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// The same thing twice.
    #[error("{0} appears more than once in the request")]
    Duplicate(String),
    /// A count next to a manual assignment.
    #[error("a manual partition assignment was specified, but {0} was not set to -1")]
    CountAndAssignment(&'static str),
    /// A topic that only brokers make or remove.
    #[error("{operation} of internal topic {topic} is prohibited")]
    Internal {
        /// What was asked for.
        operation: &'static str,
        /// The topic.
        topic: String,
    },
    /// No such broker can be configured.
    #[error("broker {0} is not registered")]
    UnknownBroker(BrokerId),
}

/// This process does not decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no broker answers as the controller; ask again in a moment")]
pub struct NotController;

/// More partitions in one request than one step should make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("excessively large number of partitions per request: {got}; at most {max} are made at once")]
pub struct TooManyPartitions {
    /// What was asked for.
    pub got: usize,
    /// The most that is made.
    pub max: usize,
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// It cannot be called so.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// There is one of that name.
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    /// It cannot have that many partitions.
    #[error(transparent)]
    Partitions(#[from] InvalidPartitions),
    /// It cannot have that many replicas.
    #[error(transparent)]
    ReplicationFactor(#[from] InvalidReplicationFactor),
    /// Its manual assignment is wrong.
    #[error(transparent)]
    Assignment(#[from] InvalidAssignment),
    /// Its config is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The request contradicts itself.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The request is too large.
    #[error(transparent)]
    TooMany(#[from] TooManyPartitions),
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why a topic was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// No topic of that name.
    #[error("topic '{0}' does not exist")]
    UnknownName(String),
    /// No topic of that id.
    #[error("no topic has the id {0}")]
    UnknownId(TopicId),
    /// `delete.topic.enable` is false.
    #[error("topic deletion is disabled by delete.topic.enable")]
    Disabled,
    /// The request contradicts itself.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why a topic got no more partitions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreatePartitionsError {
    /// No topic of that name.
    #[error("topic '{0}' does not exist")]
    UnknownName(String),
    /// Not more than it has.
    #[error(transparent)]
    Partitions(#[from] InvalidPartitions),
    /// Its manual assignment is wrong.
    #[error(transparent)]
    Assignment(#[from] InvalidAssignment),
    /// Not enough brokers.
    #[error(transparent)]
    ReplicationFactor(#[from] InvalidReplicationFactor),
    /// The request contradicts itself.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// The request is too large.
    #[error(transparent)]
    TooMany(#[from] TooManyPartitions),
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why a config was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterConfigError {
    /// No topic of that name.
    #[error("topic '{0}' does not exist")]
    UnknownName(String),
    /// The new config is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The request contradicts itself.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why a broker was not registered or admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The data directory belongs to another cluster.
    #[error("the data directory belongs to cluster {got}; this is cluster {expected}")]
    OtherCluster {
        /// What the directory says.
        got: ClusterId,
        /// What the metadata says.
        expected: ClusterId,
    },
    /// The run was not the last one registered.
    #[error("run {got} of broker {broker} is not the registered one, {registered}")]
    StaleRun {
        /// The broker.
        broker: BrokerId,
        /// What it presented.
        got: Incarnation,
        /// What is registered.
        registered: Incarnation,
    },
    /// Nobody of that id is registered.
    #[error("broker {0} is not registered")]
    Unknown(BrokerId),
    /// A process of that id lives.
    #[error("broker {broker} is alive as run {incarnation}: two processes cannot have one id")]
    Alive {
        /// The broker.
        broker: BrokerId,
        /// The run that lives.
        incarnation: Incarnation,
    },
    /// The data directory is another broker's, or a copy of it.
    #[error(
        "data directory {directory} is registered by broker {holder}; broker {broker} cannot stand on a copy of it"
    )]
    DirectoryOfAnother {
        /// Who presents it.
        broker: BrokerId,
        /// The directory.
        directory: DirectoryId,
        /// Whose it is.
        holder: BrokerId,
    },
    /// The binary is too old or too new for the cluster.
    #[error("broker {broker} can run at feature levels {} to {}; the cluster is finalised at {level}", .can.min, .can.max)]
    Features {
        /// The broker.
        broker: BrokerId,
        /// What it can.
        can: FeatureRange,
        /// What the cluster needs.
        level: u32,
    },
    /// Ask another broker.
    #[error(transparent)]
    NotController(#[from] NotController),
}

/// Why a controller stops for good: a person has to look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// A document is not there.
    #[error(
        "MetadataRolledBack: the metadata document {0} is missing although the cluster exists; nothing is deleted or \
         changed until it is restored or recovered"
    )]
    Missing(String),
    /// A document is older than what a broker has already seen.
    #[error(
        "MetadataRolledBack: the metadata document {document} is at epoch {epoch}, version {version}, but a broker \
         has seen epoch {seen_epoch}, version {seen_version}; nothing is deleted or changed until it is recovered"
    )]
    RolledBack {
        /// Which document.
        document: String,
        /// Its epoch.
        epoch: i64,
        /// Its version.
        version: u64,
        /// The epoch that was seen.
        seen_epoch: i64,
        /// The version that was seen.
        seen_version: u64,
    },
    /// The root, which allots every epoch, is older than what a broker has already seen of another document.
    #[error(
        "MetadataRolledBack: the metadata root is at epoch {epoch}, but a broker has seen {document} at epoch \
         {seen_epoch}; nothing is deleted or changed until it is recovered"
    )]
    TermWentBack {
        /// The root's epoch.
        epoch: i64,
        /// What was seen.
        document: String,
        /// In which epoch.
        seen_epoch: i64,
    },
    /// A document of another cluster.
    #[error("the metadata document {document} belongs to cluster {got}; the data directory belongs to {expected}")]
    OtherCluster {
        /// Which document.
        document: String,
        /// What it says.
        got: ClusterId,
        /// What the data directory says.
        expected: ClusterId,
    },
    /// A document that this binary cannot read.
    #[error("the metadata document {document} cannot be read: {reason}")]
    Unreadable {
        /// Which document.
        document: String,
        /// Why.
        reason: String,
    },
}

/// The directory that a broker stands on, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its identity.
    pub directory: DirectoryId,
    /// The last run that it records; 0 when it has never run.
    pub incarnation: Incarnation,
    /// How far its journal is on disk.
    pub synced: Lsn,
}
