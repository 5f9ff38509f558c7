//! The records of `__consumer_offsets`, in Kafka's own formats, and back.
//!
//! A key begins with the number of its type: 1 (0 in old logs) an offset, 2 a group. Values carry their version. Types
//! that are not of the classic protocol are passed over. Values are written as Kafka 4.3 writes them, for its tools:
//! groups in version 3, offsets in version 4 with the topic's id, offsets with an expiry of their own in version 1.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::records::group_metadata_value::MemberMetadata;
use ottla_wire::records::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use ottla_wire::{DecodeError, EncodeError, Message, Reader, Writer};

use super::state::Group;
use super::words::{CommittedOffset, CommittedPartition, GroupId, MemberId, TopicName};
use crate::types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

const OFFSET_LEGACY: i16 = 0;
const OFFSET: i16 = 1;
const GROUP: i16 = 2;

/// One fact about groups; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A group's generation, members and assignment.
    Group {
        /// The group.
        group: GroupId,
        /// What it is now.
        value: Option<GroupValue>,
    },
    /// A committed offset.
    Offset {
        /// The group.
        group: GroupId,
        /// Where.
        partition: CommittedPartition,
        /// What it is now.
        value: Option<CommittedOffset>,
    },
}

/// A group as its record states it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupValue {
    /// Empty for a group that never had members.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The assignor in use.
    pub protocol: Option<String>,
    /// The member that assigned.
    pub leader: Option<String>,
    /// When the group came into its state, or −1.
    pub since: Timestamp,
    /// Its members.
    pub members: Vec<MemberValue>,
}

/// A member as its group's record states it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberValue {
    /// The member id.
    pub member: String,
    /// The instance id of a static member.
    pub instance: Option<String>,
    /// The client id.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// −1 in old records.
    pub rebalance_timeout_ms: i32,
    /// The session timeout.
    pub session_timeout_ms: i32,
    /// Its subscription under the group's protocol.
    pub subscription: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A record of `__consumer_offsets` that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not what the type and version say.
    #[error("record of type {kind} does not decode: {reason}")]
    Malformed {
        /// The type in its key.
        kind: i16,
        /// Where it broke off.
        reason: DecodeError,
    },
    /// Too short to name its type or version.
    #[error("record is {length} bytes, too short for its type")]
    TooShort {
        /// Bytes there are.
        length: usize,
    },
    /// The value is of a version that this broker does not know.
    #[error("value of type {kind} has version {version}, newer than this broker knows")]
    UnknownVersion {
        /// The type in its key.
        kind: i16,
        /// The version found.
        version: i16,
    },
}

impl Record {
    /// Key and value as they stand in the log.
    ///
    /// # Errors
    /// [`EncodeError`] if a string is too long for the format.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Self::Group { group, value } => {
                let key = prefixed(GROUP, &GroupMetadataKey { group: group.as_str().to_owned() }, 0)?;
                let value = value.as_ref().map(|value| prefixed(3, &value.to_wire(), 3)).transpose()?;
                Ok((key, value))
            }
            Self::Offset { group, partition, value } => {
                let key = OffsetCommitKey {
                    group: group.as_str().to_owned(),
                    topic: partition.topic.as_str().to_owned(),
                    partition: partition.partition.get(),
                };
                let value = value.as_ref().map(encode_offset).transpose()?;
                Ok((prefixed(OFFSET, &key, 0)?, value))
            }
        }
    }

    /// Reads a record back; `None` if its type is of no concern here.
    ///
    /// # Errors
    /// [`RecordError`] if the bytes are not what they claim to be.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, RecordError> {
        let (kind, mut key) = split(key)?;
        match kind {
            OFFSET_LEGACY | OFFSET => {
                let key: OffsetCommitKey = read(kind, &mut key, 0)?;
                let partition = CommittedPartition {
                    topic: TopicName::from(key.topic.as_str()),
                    partition: PartitionIndex::new(key.partition),
                };
                let value = value.map(decode_offset).transpose()?;
                Ok(Some(Self::Offset { group: GroupId::from(key.group.as_str()), partition, value }))
            }
            GROUP => {
                let key: GroupMetadataKey = read(kind, &mut key, 0)?;
                let value = value.map(GroupValue::decode).transpose()?;
                Ok(Some(Self::Group { group: GroupId::from(key.group.as_str()), value }))
            }
            _ => Ok(None),
        }
    }
}

impl GroupValue {
    pub(super) fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let (version, mut reader) = split_value(GROUP, bytes, 4)?;
        let wire: GroupMetadataValue = read(GROUP, &mut reader, version)?;
        let member = |member: MemberMetadata| MemberValue {
            member: member.member_id,
            instance: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            rebalance_timeout_ms: member.rebalance_timeout,
            session_timeout_ms: member.session_timeout,
            subscription: member.subscription,
            assignment: member.assignment,
        };
        Ok(Self {
            protocol_type: wire.protocol_type,
            generation: wire.generation,
            protocol: wire.protocol,
            leader: wire.leader,
            since: Timestamp::new(wire.current_state_timestamp),
            members: wire.members.into_iter().map(member).collect(),
        })
    }

    fn to_wire(&self) -> GroupMetadataValue {
        let member = |member: &MemberValue| MemberMetadata {
            member_id: member.member.clone(),
            group_instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.subscription.clone(),
            assignment: member.assignment.clone(),
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.since.get(),
            members: self.members.iter().map(member).collect(),
        }
    }
}

impl Group {
    /// The group as its record will state it; `assignment` stands for what the members have, if given.
    pub(super) fn record_value(&self, assignment: Option<&BTreeMap<MemberId, Bytes>>) -> GroupValue {
        let members = self.members.values().map(|member| {
            let assigned = assignment.and_then(|assignment| assignment.get(&member.id));
            MemberValue {
                member: member.id.as_str().to_owned(),
                instance: member.instance.as_ref().map(|instance| instance.as_str().to_owned()),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: member.metadata(self.protocol.as_deref()),
                assignment: assigned.unwrap_or(&member.assignment).clone(),
            }
        });
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation.get(),
            protocol: self.protocol.clone(),
            leader: self.leader.as_ref().map(|leader| leader.as_str().to_owned()),
            since: self.since.unwrap_or(Timestamp::NONE),
            members: members.collect(),
        }
    }
}

fn encode_offset(value: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let version = if value.expires_at == Timestamp::NONE { 4 } else { 1 };
    let wire = OffsetCommitValue {
        offset: value.offset.get(),
        leader_epoch: value.leader_epoch.get(),
        metadata: value.metadata.clone(),
        commit_timestamp: value.committed_at.get(),
        expire_timestamp: value.expires_at.get(),
        topic_id: value.topic_id.to_bytes(),
    };
    prefixed(version, &wire, version)
}

pub(super) fn decode_offset(bytes: Bytes) -> Result<CommittedOffset, RecordError> {
    let (version, mut reader) = split_value(OFFSET, bytes, 4)?;
    let wire: OffsetCommitValue = read(OFFSET, &mut reader, version)?;
    Ok(CommittedOffset {
        offset: Offset::new(wire.offset),
        leader_epoch: LeaderEpoch::new(wire.leader_epoch),
        metadata: wire.metadata,
        committed_at: Timestamp::new(wire.commit_timestamp),
        expires_at: Timestamp::new(wire.expire_timestamp),
        topic_id: TopicId::from_bytes(wire.topic_id),
    })
}

/// Two bytes of type or version, then the message.
fn prefixed(prefix: i16, message: &impl Message, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(prefix);
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}

fn split(mut bytes: Bytes) -> Result<(i16, Reader), RecordError> {
    if bytes.len() < 2 {
        return Err(RecordError::TooShort { length: bytes.len() });
    }
    let prefix = bytes.split_to(2);
    Ok((i16::from_be_bytes([prefix[0], prefix[1]]), Reader::new(bytes)))
}

fn split_value(kind: i16, bytes: Bytes, newest: i16) -> Result<(i16, Reader), RecordError> {
    let (version, reader) = split(bytes)?;
    if (0..=newest).contains(&version) {
        Ok((version, reader))
    } else {
        Err(RecordError::UnknownVersion { kind, version })
    }
}

fn read<M: Message>(kind: i16, reader: &mut Reader, version: i16) -> Result<M, RecordError> {
    M::decode(reader, version).map_err(|reason| RecordError::Malformed { kind, reason })
}
