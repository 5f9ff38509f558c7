//! Reasons: the closed list of words by which the conditions of a Topic say why.
//!
//! Owns the words, which are the variants' own names. People write alerts on them: a word is added, never renamed.

use std::fmt;

/// Why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The topic is what `spec` says.
    AsDeclared,
    /// The topic differs from `spec` and is left so; `status.drift` says where.
    Drifted,
    /// The topic is being created or changed.
    Applying,
    /// Replicas are on their way to other brokers.
    MovingReplicas,
    /// A person has asked that nothing be changed.
    Paused,
    /// There is no Cluster of that name in the namespace.
    ClusterNotFound,
    /// The Cluster is being deleted.
    ClusterGoing,
    /// The Cluster's brokers do not answer.
    ClusterNotReady,
    /// The Cluster sleeps, because a person has asked for it: no broker runs.
    Hibernated,
    /// The deletion of the topic waits for the Cluster's brokers.
    DeletionWaits,
    /// An older Topic declares the same topic of the same Cluster.
    TopicClaimed,
    /// The name belongs to the brokers themselves, or Kafka does not take it.
    InvalidName,
    /// A key or value of `spec.config` cannot be used.
    InvalidConfig,
    /// More replicas are declared than there are brokers.
    TooFewBrokers,
    /// The topic existed before, and `adoptionPolicy` is Never.
    NotAdopted,
    /// The topic existed before and differs, and `adoptionPolicy` is IfIdentical.
    NotIdentical,
    /// Somebody has deleted the topic, and `driftPolicy` is Report.
    TopicLost,
    /// The brokers refuse a change.
    BrokerRefused,
    /// The definition of Topics in Kubernetes is older than the operator: it lacks fields that it writes.
    CRDTooOld,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What keeps a topic from becoming what `spec` says.
pub type Refusal = crate::verdict::Refusal<Reason>;
