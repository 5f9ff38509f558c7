//! What the coordinator is asked and what it answers, in its own words.
//!
//! Versions of the wire protocol end here: a handler turns what a version means into a plain field.

use bytes::Bytes;

use super::error::Error;
use super::words::{CommittedOffset, CommittedPartition, Generation, GroupId, InstanceId, MemberId, State, TopicName};
use crate::types::{LeaderEpoch, Offset, PartitionIndex, TopicId};

/// A request to the coordinator of its group.
#[derive(Clone, Debug)]
pub enum Request {
    /// JoinGroup
    Join(Join),
    /// SyncGroup
    Sync(Sync),
    /// Heartbeat
    Heartbeat(Heartbeat),
    /// LeaveGroup
    Leave(Leave),
    /// OffsetCommit
    Commit(Commit),
    /// OffsetFetch of one group
    Fetch(Fetch),
    /// DescribeGroups of one group
    Describe(GroupId),
    /// ListGroups of one shard
    List(List),
    /// DeleteGroups of one group
    Delete(GroupId),
    /// OffsetDelete
    DeleteOffsets(DeleteOffsets),
}

/// The answer to a [`Request`], of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To [`Request::Join`].
    Join(Joined),
    /// To [`Request::Sync`].
    Sync(Result<Synced, Error>),
    /// To [`Request::Heartbeat`].
    Heartbeat(Result<(), Error>),
    /// To [`Request::Leave`]: one outcome per member asked for, in order.
    Leave(Result<Vec<Option<Error>>, Error>),
    /// To [`Request::Commit`]: one outcome per partition, in the order of the request.
    Commit(Result<Vec<Option<Error>>, Error>),
    /// To [`Request::Fetch`].
    Fetch(Result<Vec<FetchedTopic>, Error>),
    /// To [`Request::Describe`].
    Describe(Result<Described, Error>),
    /// To [`Request::List`].
    List(Result<Vec<Listed>, Error>),
    /// To [`Request::Delete`].
    Delete(Result<(), Error>),
    /// To [`Request::DeleteOffsets`]: one outcome per partition, in the order of the request.
    DeleteOffsets(Result<Vec<Option<Error>>, Error>),
}

macro_rules! unwraps {
    ($($variant:ident => $name:ident: $answer:ty;)*) => {
        impl Reply {
            $(
                #[doc = concat!("The answer to a [`Request::", stringify!($variant), "`], if this is one.")]
                pub fn $name(self) -> Option<$answer> {
                    if let Self::$variant(answer) = self { Some(answer) } else { None }
                }
            )*
        }
    };
}

unwraps! {
    Join => join: Joined;
    Sync => sync: Result<Synced, Error>;
    Heartbeat => heartbeat: Result<(), Error>;
    Leave => leave: Result<Vec<Option<Error>>, Error>;
    Commit => commit: Result<Vec<Option<Error>>, Error>;
    Fetch => fetch: Result<Vec<FetchedTopic>, Error>;
    Describe => describe: Result<Described, Error>;
    List => list: Result<Vec<Listed>, Error>;
    Delete => delete: Result<(), Error>;
    DeleteOffsets => delete_offsets: Result<Vec<Option<Error>>, Error>;
}

/// A member asks to be in the next generation.
#[derive(Clone, Debug)]
pub struct Join {
    /// The group.
    pub group: GroupId,
    /// The member, or unknown.
    pub member: MemberId,
    /// Set by static members.
    pub instance: Option<InstanceId>,
    /// Stated in the request's header.
    pub client_id: String,
    /// Where the client connects from, as Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
    /// Silence after which the member is taken for gone.
    pub session_timeout_ms: i32,
    /// Time that the member needs to join again.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// Assignors that the member knows, best first, each with the member's subscription.
    pub protocols: Vec<(String, Bytes)>,
    /// Version 4 and above: a dynamic member must come back with the id given.
    pub member_id_required: bool,
    /// Version 9 and above: a leader can be told that it need not assign.
    pub assignment_skippable: bool,
    /// Randomness for a new member id.
    pub fresh: uuid::Uuid,
}

/// The answer to a join; with an error most fields are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Why not.
    pub error: Option<Error>,
    /// The new generation, or −1.
    pub generation: Generation,
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The assignor chosen.
    pub protocol: Option<String>,
    /// The member that assigns, or empty.
    pub leader: String,
    /// The leader has nothing to do: the assignment stands.
    pub assignment_skipped: bool,
    /// The id to go on with.
    pub member: MemberId,
    /// For the leader: everyone's subscription.
    pub members: Vec<JoinedMember>,
}

impl Joined {
    /// A refusal.
    pub fn refused(error: Error, member: MemberId) -> Self {
        Self {
            error: Some(error),
            generation: Generation::NONE,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            assignment_skipped: false,
            member,
            members: Vec::new(),
        }
    }
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member: MemberId,
    /// Its instance id, if static.
    pub instance: Option<InstanceId>,
    /// Its subscription under the chosen protocol.
    pub metadata: Bytes,
}

/// A member asks for its assignment; the leader brings everyone's.
#[derive(Clone, Debug)]
pub struct Sync {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// Its instance id, if static.
    pub instance: Option<InstanceId>,
    /// The generation joined.
    pub generation: Generation,
    /// Checked if stated.
    pub protocol_type: Option<String>,
    /// Checked if stated.
    pub protocol: Option<String>,
    /// From the leader.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The group's protocol.
    pub protocol: Option<String>,
    /// What the leader assigned.
    pub assignment: Bytes,
}

/// A sign of life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// Its instance id, if static.
    pub instance: Option<InstanceId>,
    /// The generation that it is in.
    pub generation: Generation,
}

/// Members go, or an administrator removes them.
#[derive(Clone, Debug)]
pub struct Leave {
    /// The group.
    pub group: GroupId,
    /// Who goes.
    pub members: Vec<Leaving>,
}

/// One member to remove, by member id, or by instance id alone.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// The member, or unknown.
    pub member: MemberId,
    /// Its instance id.
    pub instance: Option<InstanceId>,
}

/// Positions to keep.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The group.
    pub group: GroupId,
    /// The member, or unknown for a consumer that assigns itself.
    pub member: MemberId,
    /// Its instance id, if static.
    pub instance: Option<InstanceId>,
    /// The generation, or −1.
    pub generation: Generation,
    /// Versions 2 to 4: an expiry of the client's own, in milliseconds; −1 means the broker's.
    pub retention_ms: i64,
    /// Version 9 and above: an unknown group is named as such.
    pub unknown_group_named: bool,
    /// The positions.
    pub partitions: Vec<CommitPartition>,
}

/// One position to keep.
#[derive(Clone, Debug)]
pub struct CommitPartition {
    /// Where.
    pub partition: CommittedPartition,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read, or −1.
    pub leader_epoch: LeaderEpoch,
    /// The client's note.
    pub metadata: Option<String>,
    /// The topic that the name means now.
    pub topic_id: TopicId,
}

/// A question for positions.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The group.
    pub group: GroupId,
    /// `None` asks for everything.
    pub topics: Option<Vec<(TopicName, Vec<PartitionIndex>)>>,
    /// Wait for commits that are on their way.
    pub require_stable: bool,
}

/// Positions in one topic; `None` where nothing is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic.
    pub topic: TopicName,
    /// Its partitions, in the order asked for.
    pub partitions: Vec<(PartitionIndex, Option<CommittedOffset>)>,
}

/// A group, for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Where it stands.
    pub state: State,
    /// Its protocol type, or empty.
    pub protocol_type: String,
    /// Its protocol while stable, else empty.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member, for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member.
    pub member: MemberId,
    /// Its instance id, if static.
    pub instance: Option<InstanceId>,
    /// Its client id.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Its subscription while the group is stable, else empty.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// Which groups to list; an empty filter lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Names of states, in any case.
    pub states: Vec<String>,
    /// Names of group types, in any case.
    pub types: Vec<String>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The group.
    pub group: GroupId,
    /// Its protocol type, or empty.
    pub protocol_type: String,
    /// Where it stands.
    pub state: State,
}

/// Positions to forget.
#[derive(Clone, Debug)]
pub struct DeleteOffsets {
    /// The group.
    pub group: GroupId,
    /// Which.
    pub partitions: Vec<CommittedPartition>,
}
