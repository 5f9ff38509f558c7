//! From the controller's refusals to Kafka's error codes: one exhaustive match per operation.

use ottla_core::controller::error::{
    AlterConfigError, CreatePartitionsError, CreateTopicError, DeleteTopicError, ElectLeaderError, ReassignError,
    UnregisterError,
};
use ottla_wire::ErrorCode;

/// Why a topic was not created.
pub(super) fn create_topic_code(error: &CreateTopicError) -> ErrorCode {
    match error {
        CreateTopicError::Name(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        CreateTopicError::Exists(_) => ErrorCode::TOPIC_ALREADY_EXISTS,
        CreateTopicError::Partitions(_) => ErrorCode::INVALID_PARTITIONS,
        CreateTopicError::ReplicationFactor(_) => ErrorCode::INVALID_REPLICATION_FACTOR,
        CreateTopicError::Assignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        CreateTopicError::Config(_) => ErrorCode::INVALID_CONFIG,
        CreateTopicError::Request(_) => ErrorCode::INVALID_REQUEST,
        CreateTopicError::TooMany(_) => ErrorCode::POLICY_VIOLATION,
        CreateTopicError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}

/// Why a topic was not deleted.
pub(super) fn delete_topic_code(error: &DeleteTopicError) -> ErrorCode {
    match error {
        DeleteTopicError::UnknownName(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        DeleteTopicError::UnknownId(_) => ErrorCode::UNKNOWN_TOPIC_ID,
        DeleteTopicError::Disabled => ErrorCode::TOPIC_DELETION_DISABLED,
        DeleteTopicError::Request(_) => ErrorCode::INVALID_REQUEST,
        DeleteTopicError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}

/// Why a topic got no more partitions.
pub(super) fn create_partitions_code(error: &CreatePartitionsError) -> ErrorCode {
    match error {
        CreatePartitionsError::UnknownName(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        CreatePartitionsError::Partitions(_) => ErrorCode::INVALID_PARTITIONS,
        CreatePartitionsError::Assignment(_) => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        CreatePartitionsError::ReplicationFactor(_) => ErrorCode::INVALID_REPLICATION_FACTOR,
        CreatePartitionsError::Request(_) => ErrorCode::INVALID_REQUEST,
        CreatePartitionsError::TooMany(_) => ErrorCode::POLICY_VIOLATION,
        CreatePartitionsError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}

/// Why a config of a topic, or of brokers, was not changed: Kafka calls a bad config of a broker a bad request.
pub(super) fn alter_config_code(error: &AlterConfigError, of_topic: bool) -> ErrorCode {
    match error {
        AlterConfigError::UnknownName(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        AlterConfigError::Config(_) if of_topic => ErrorCode::INVALID_CONFIG,
        AlterConfigError::Config(_) | AlterConfigError::Request(_) => ErrorCode::INVALID_REQUEST,
        AlterConfigError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}

/// Why no leader was elected.
pub(super) fn elect_leader_code(error: &ElectLeaderError) -> ErrorCode {
    match error {
        ElectLeaderError::Unknown => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ElectLeaderError::NotNeeded => ErrorCode::ELECTION_NOT_NEEDED,
        ElectLeaderError::PreferredNotAvailable(_) => ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
        ElectLeaderError::NobodyAvailable => ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
        ElectLeaderError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}

/// Why a partition does not move.
pub(super) fn reassign_code(error: &ReassignError) -> ErrorCode {
    match error {
        ReassignError::Unknown => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ReassignError::NoneInProgress => ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
        ReassignError::Assignment(_) | ReassignError::NobodyInSync => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ReassignError::ReplicationFactor { .. } => ErrorCode::INVALID_REPLICATION_FACTOR,
        ReassignError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}

/// Why a broker was not unregistered. Kafka unregisters one that lives or holds replicas too; for the refusal it has no code
/// of its own, and the sentence of this one fits.
pub(super) fn unregister_code(error: &UnregisterError) -> ErrorCode {
    match error {
        UnregisterError::Unknown(_) => ErrorCode::BROKER_ID_NOT_REGISTERED,
        UnregisterError::Alive(_) | UnregisterError::HoldsReplicas { .. } => ErrorCode::POLICY_VIOLATION,
        UnregisterError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}
