//! From the controller's refusals to Kafka's error codes: one exhaustive match per operation.

use ottla_core::controller::error::{AlterConfigError, CreatePartitionsError, CreateTopicError, DeleteTopicError};
use ottla_wire::ErrorCode;

/// Why a topic was not created.
pub fn create_topic_code(error: &CreateTopicError) -> ErrorCode {
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
pub fn delete_topic_code(error: &DeleteTopicError) -> ErrorCode {
    match error {
        DeleteTopicError::UnknownName(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        DeleteTopicError::UnknownId(_) => ErrorCode::UNKNOWN_TOPIC_ID,
        DeleteTopicError::Disabled => ErrorCode::TOPIC_DELETION_DISABLED,
        DeleteTopicError::Request(_) => ErrorCode::INVALID_REQUEST,
        DeleteTopicError::NotController(_) => ErrorCode::NOT_CONTROLLER,
    }
}

/// Why a topic got no more partitions.
pub fn create_partitions_code(error: &CreatePartitionsError) -> ErrorCode {
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

/// What kind of thing was altered: Kafka calls a bad config of a broker a bad request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlteredResource {
    /// A topic.
    Topic,
    /// One broker, or all.
    Broker,
}

/// Why a config was not changed.
pub fn alter_config_code(error: &AlterConfigError, of: AlteredResource) -> ErrorCode {
    match (error, of) {
        (AlterConfigError::UnknownName(_), _) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        (AlterConfigError::Config(_), AlteredResource::Topic) => ErrorCode::INVALID_CONFIG,
        (AlterConfigError::Config(_), AlteredResource::Broker) | (AlterConfigError::Request(_), _) => {
            ErrorCode::INVALID_REQUEST
        }
        (AlterConfigError::NotController(_), _) => ErrorCode::NOT_CONTROLLER,
    }
}
