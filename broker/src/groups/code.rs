//! What the machine's refusals are called on the wire.

use ottla_core::group::Error;
use ottla_wire::ErrorCode;

/// Kafka's code for a refusal.
pub const fn error_code(error: Error) -> ErrorCode {
    match error {
        Error::CoordinatorNotAvailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        Error::NotCoordinator => ErrorCode::NOT_COORDINATOR,
        Error::LoadInProgress => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        Error::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        Error::UnknownMemberId => ErrorCode::UNKNOWN_MEMBER_ID,
        Error::IllegalGeneration => ErrorCode::ILLEGAL_GENERATION,
        Error::InconsistentGroupProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        Error::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        Error::FencedInstanceId => ErrorCode::FENCED_INSTANCE_ID,
        Error::MemberIdRequired => ErrorCode::MEMBER_ID_REQUIRED,
        Error::GroupMaxSizeReached => ErrorCode::GROUP_MAX_SIZE_REACHED,
        Error::InvalidSessionTimeout => ErrorCode::INVALID_SESSION_TIMEOUT,
        Error::GroupIdNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
        Error::NonEmptyGroup => ErrorCode::NON_EMPTY_GROUP,
        Error::GroupSubscribedToTopic => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
        Error::OffsetMetadataTooLarge => ErrorCode::OFFSET_METADATA_TOO_LARGE,
        Error::Unknown => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}
