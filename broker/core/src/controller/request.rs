//! What the controller can be asked, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::budget::Urgency;
use super::document::FeatureRange;
use super::error::{
    AlterConfigError, AlterPartitionError, BrokerRequestError, CreatePartitionsError, CreateTopicError,
    DeleteTopicError, LeadershipError, NotController, RegisterError, Standing, UnregisterError,
};
use super::partition_request::{
    Elected, ElectionKind, IsrChange, Leadership, Move, Moving, NamedPartition, Reassigned, StopState,
};
use crate::config::Alteration;
use crate::metadata::{Endpoint, ExplicitConfig, Partition, Topic};
use crate::types::{
    BrokerId, ClusterId, Incarnation, PartitionEpoch, PartitionIndex, ProducerId, TopicId, TopicPartition,
};

/// Numbers a question, so that its answer finds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its identity, drawn by the asker.
    pub id: TopicId,
    /// How many partitions; `None` for the default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None` for the default.
    pub replication_factor: Option<i16>,
    /// Who holds which partition, if the client says so itself.
    pub assignments: Vec<(PartitionIndex, Vec<BrokerId>)>,
    /// What is set on it.
    pub config: ExplicitConfig,
}

impl NewTopic {
    /// A topic with all defaults.
    pub fn named(name: impl Into<String>, id: TopicId) -> Self {
        Self {
            name: name.into(),
            id,
            partitions: None,
            replication_factor: None,
            assignments: Vec::new(),
            config: ExplicitConfig::new(),
        }
    }
}

/// A topic by either identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// A topic to get more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The topic.
    pub topic: String,
    /// How many partitions it shall have in all.
    pub count: i32,
    /// Who holds the new ones, if the client says so itself.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// What has configs that the controller keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigTarget {
    /// A topic, by name.
    Topic(String),
    /// One broker.
    Broker(BrokerId),
    /// All brokers.
    AllBrokers,
}

/// How configs are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Everything explicit is replaced by this.
    Replace(ExplicitConfig),
    /// Single keys change, in this order.
    Alter(Vec<(String, Alteration)>),
}

/// A broker that presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its `node.id`.
    pub broker: BrokerId,
    /// The cluster that its data directory belongs to.
    pub cluster: ClusterId,
    /// The data directory and the last run that it records.
    pub standing: Standing,
    /// Its failure domain.
    pub rack: Option<String>,
    /// Where to reach it.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// The feature levels that its binary can run at.
    pub features: FeatureRange,
    /// The machine stopped under it: what topics that opted out of durable acks had not flushed is gone, so that it is
    /// out of their ISR and ELR wherever somebody else is left.
    pub unclean_stop: bool,
    /// Partitions that its log knows to have lost such an end, whatever their topics are set to now.
    pub unflushed: Vec<TopicPartition>,
    /// Partitions whose logs are missing, damaged or shorter than they were: it is out of their ISR and ELR (R12), but
    /// for those of which it holds the only replica.
    pub suspect: Vec<TopicPartition>,
}

/// The run that a broker was allotted. It records it in its data directory, durably, then asks to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The new run.
    pub incarnation: Incarnation,
    /// Whether the data directory is the one, in the state, that the broker last ran on. If not, the broker is in no
    /// ISR and leads nothing until it has caught up (A9).
    pub trusted: bool,
}

/// Consecutive producer ids that nobody else is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first one.
    pub first: ProducerId,
    /// How many.
    pub count: i64,
}

/// What the controller can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Creates topics, or only says whether it would.
    CreateTopics {
        /// Which.
        topics: Vec<NewTopic>,
        /// Change nothing.
        validate_only: bool,
    },
    /// Deletes topics.
    DeleteTopics {
        /// Which.
        topics: Vec<TopicRef>,
    },
    /// Adds partitions to topics, or only says whether it would.
    CreatePartitions {
        /// Which.
        topics: Vec<Growth>,
        /// Change nothing.
        validate_only: bool,
    },
    /// Changes configs, or only says whether it would.
    AlterConfigs {
        /// Which.
        resources: Vec<(ConfigTarget, ConfigChange)>,
        /// Change nothing.
        validate_only: bool,
    },
    /// Hands out producer ids.
    AllocateProducerIds,
    /// Registers a broker and allots its run.
    Register(Registration),
    /// Admits a registered broker whose data directory records its run. One that is admitted asks again when it was taken for
    /// dead, or is reached elsewhere than it was.
    Admit {
        /// The broker.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
        /// Where to reach it; `None` for where it registered or last said.
        endpoints: Option<BTreeMap<String, Endpoint>>,
    },
    /// A broker has deleted what it held of these deleted topics, and of these partitions that moved away.
    ReplicasDeleted {
        /// The broker.
        broker: BrokerId,
        /// The topics.
        topics: Vec<TopicId>,
        /// The partitions, as they were when it deleted: one that has changed since may have come back.
        partitions: Vec<(TopicPartition, PartitionEpoch)>,
    },
    /// A leader changes in-sync sets.
    AlterPartitions {
        /// The leader.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
        /// What it wants.
        changes: Vec<IsrChange>,
    },
    /// A leader gives leaderships to others.
    HandOver {
        /// The leader.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
        /// Which.
        leaderships: Vec<Leadership>,
    },
    /// A leader needs new terms, because a write failed in the old ones.
    RenewTerms {
        /// The leader.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
        /// Which.
        leaderships: Vec<Leadership>,
    },
    /// Logs of a broker are missing, damaged or shorter than they were.
    ReplicasLost {
        /// The broker.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// A broker wants to stop; it asks until it may.
    PrepareStop {
        /// The broker.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
    },
    /// Elects leaders, of these partitions or of all.
    ElectLeaders {
        /// Which leaders.
        kind: ElectionKind,
        /// Of which partitions.
        partitions: Option<Vec<NamedPartition>>,
    },
    /// Moves partitions, or stops moving them.
    Reassign {
        /// Which, and where to.
        moves: Vec<Move>,
        /// Whether a target may have more or fewer replicas than there are.
        may_change_factor: bool,
    },
    /// Says what is moving, of these partitions or of all.
    ListReassignments {
        /// Of which partitions.
        partitions: Option<Vec<NamedPartition>>,
    },
    /// A broker is gone for good.
    Unregister {
        /// The broker.
        broker: BrokerId,
    },
}

/// What the controller answers; in the order of the request's items. It answers after everything it says is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::CreateTopics`].
    CreateTopics(Vec<Result<Arc<Topic>, CreateTopicError>>),
    /// To [`Request::DeleteTopics`]: name and id of what was deleted.
    DeleteTopics(Vec<Result<(String, TopicId), DeleteTopicError>>),
    /// To [`Request::CreatePartitions`].
    CreatePartitions(Vec<Result<(), CreatePartitionsError>>),
    /// To [`Request::AlterConfigs`].
    AlterConfigs(Vec<Result<(), AlterConfigError>>),
    /// To [`Request::AllocateProducerIds`].
    AllocateProducerIds(Result<ProducerIdBlock, NotController>),
    /// To [`Request::Register`].
    Register(Result<Registered, RegisterError>),
    /// To [`Request::Admit`].
    Admit(Result<(), RegisterError>),
    /// To [`Request::ReplicasDeleted`].
    ReplicasDeleted(Result<(), NotController>),
    /// To [`Request::AlterPartitions`]: the partitions as they are now.
    AlterPartitions(Result<Vec<Result<Partition, AlterPartitionError>>, BrokerRequestError>),
    /// To [`Request::HandOver`]: the partitions as they are now.
    HandOver(Result<Vec<Result<Partition, LeadershipError>>, BrokerRequestError>),
    /// To [`Request::RenewTerms`]: the partitions as they are now.
    RenewTerms(Result<Vec<Result<Partition, LeadershipError>>, BrokerRequestError>),
    /// To [`Request::ReplicasLost`].
    ReplicasLost(Result<(), BrokerRequestError>),
    /// To [`Request::PrepareStop`].
    PrepareStop(Result<StopState, BrokerRequestError>),
    /// To [`Request::ElectLeaders`]; when all were asked for, only those that needed one.
    ElectLeaders(Result<Vec<Elected>, NotController>),
    /// To [`Request::Reassign`].
    Reassign(Vec<Reassigned>),
    /// To [`Request::ListReassignments`].
    ListReassignments(Result<Vec<Moving>, NotController>),
    /// To [`Request::Unregister`].
    Unregister(Result<(), UnregisterError>),
}

impl Request {
    /// The broker that asks for itself; `None` where anybody may ask.
    pub fn speaks_for(&self) -> Option<BrokerId> {
        match self {
            Self::Register(registration) => Some(registration.broker),
            Self::Admit { broker, .. }
            | Self::ReplicasDeleted { broker, .. }
            | Self::AlterPartitions { broker, .. }
            | Self::HandOver { broker, .. }
            | Self::RenewTerms { broker, .. }
            | Self::ReplicasLost { broker, .. }
            | Self::PrepareStop { broker, .. } => Some(*broker),
            Self::CreateTopics { .. }
            | Self::DeleteTopics { .. }
            | Self::CreatePartitions { .. }
            | Self::AlterConfigs { .. }
            | Self::AllocateProducerIds
            | Self::ElectLeaders { .. }
            | Self::Reassign { .. }
            | Self::ListReassignments { .. }
            | Self::Unregister { .. } => None,
        }
    }

    /// What is answered when nobody decides.
    pub fn refused(&self) -> Answer {
        fn each<T, E: From<NotController>>(count: usize) -> Vec<Result<T, E>> {
            (0..count).map(|_| Err(E::from(NotController))).collect()
        }
        match self {
            Self::CreateTopics { topics, .. } => Answer::CreateTopics(each(topics.len())),
            Self::DeleteTopics { topics } => Answer::DeleteTopics(each(topics.len())),
            Self::CreatePartitions { topics, .. } => Answer::CreatePartitions(each(topics.len())),
            Self::AlterConfigs { resources, .. } => Answer::AlterConfigs(each(resources.len())),
            Self::AllocateProducerIds => Answer::AllocateProducerIds(Err(NotController)),
            Self::Register(_) => Answer::Register(Err(NotController.into())),
            Self::Admit { .. } => Answer::Admit(Err(NotController.into())),
            Self::ReplicasDeleted { .. } => Answer::ReplicasDeleted(Err(NotController)),
            Self::AlterPartitions { .. } => Answer::AlterPartitions(Err(NotController.into())),
            Self::HandOver { .. } => Answer::HandOver(Err(NotController.into())),
            Self::RenewTerms { .. } => Answer::RenewTerms(Err(NotController.into())),
            Self::ReplicasLost { .. } => Answer::ReplicasLost(Err(NotController.into())),
            Self::PrepareStop { .. } => Answer::PrepareStop(Err(NotController.into())),
            Self::ElectLeaders { .. } => Answer::ElectLeaders(Err(NotController)),
            Self::Reassign { moves, .. } => Answer::Reassign(each(moves.len())),
            Self::ListReassignments { .. } => Answer::ListReassignments(Err(NotController)),
            Self::Unregister { .. } => Answer::Unregister(Err(NotController.into())),
        }
    }

    /// How urgent what follows is written.
    pub(super) fn urgency(&self) -> Urgency {
        match self {
            Self::Register(_)
            | Self::Admit { .. }
            | Self::AlterPartitions { .. }
            | Self::HandOver { .. }
            | Self::RenewTerms { .. }
            | Self::ReplicasLost { .. }
            | Self::PrepareStop { .. }
            | Self::ElectLeaders { .. } => Urgency::Election,
            Self::CreateTopics { .. }
            | Self::DeleteTopics { .. }
            | Self::CreatePartitions { .. }
            | Self::AlterConfigs { .. }
            | Self::AllocateProducerIds
            | Self::ReplicasDeleted { .. }
            | Self::Reassign { .. }
            | Self::ListReassignments { .. }
            | Self::Unregister { .. } => Urgency::Request,
        }
    }
}
