//! Why a request was refused, and why an append failed.

/// What a group request can be refused with; each stands for one Kafka error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The coordinator cannot answer now, but the same broker may soon.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// Another broker coordinates this group, or will.
    #[error("this broker does not coordinate the group")]
    NotCoordinator,
    /// The group's records are still being read.
    #[error("the coordinator is loading the group")]
    LoadInProgress,
    /// The empty group id, where a group is needed.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The member is not of this group.
    #[error("the member is not known to the group")]
    UnknownMemberId,
    /// The generation is not the group's.
    #[error("the generation is not the group's")]
    IllegalGeneration,
    /// No protocol in common, or another protocol type.
    #[error("the member's protocols do not fit the group's")]
    InconsistentGroupProtocol,
    /// The member has to join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// Another process has taken the instance id.
    #[error("the instance id belongs to another member")]
    FencedInstanceId,
    /// The member has been given an id and has to join with it.
    #[error("join again with the member id given")]
    MemberIdRequired,
    /// The group is full.
    #[error("the group has reached its largest size")]
    GroupMaxSizeReached,
    /// The session timeout is out of bounds.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// There is no such group.
    #[error("the group is not known")]
    GroupIdNotFound,
    /// The group has members.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// The group is subscribed to the topic.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// The note of a commit is too long.
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    /// Nothing that the client can help.
    #[error("unknown error")]
    Unknown,
}

/// Why records did not get into the log. Nothing of the append is visible, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The partition's leader is elsewhere.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The data directory refuses writes.
    #[error("the data directory is offline")]
    Storage,
    /// The partition does not exist (any more).
    #[error("the partition does not exist")]
    UnknownPartition,
    /// Too few replicas are in sync.
    #[error("too few replicas are in sync")]
    NotEnoughReplicas,
    /// No space, or the log is otherwise closed to writes for a while.
    #[error("the log takes no writes now")]
    Unavailable,
    /// The records are larger than the topic takes.
    #[error("the records are larger than max.message.bytes")]
    TooLarge,
}

impl AppendError {
    /// What the waiting client is told (Kafka's mapping of append errors in the coordinator).
    pub const fn answer(self) -> Error {
        match self {
            Self::UnknownPartition | Self::NotEnoughReplicas | Self::Unavailable => Error::CoordinatorNotAvailable,
            Self::NotLeader | Self::Storage => Error::NotCoordinator,
            Self::TooLarge => Error::Unknown,
        }
    }
}
