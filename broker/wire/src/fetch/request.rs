//! The request: what a client wants to read, and how long it would wait.

use std::ops::RangeInclusive;

use super::{FLEXIBLE, FetchResponse, RACKS, SESSIONS, TOPIC_IDS};
use crate::{ApiKey, DecodeError, EncodeError, Kind, Message, Reader, Request, Writer};

/// From here on a follower names its log start offset.
const LOG_START: i16 = 5;
/// From here on a partition names the leader epoch that the client knows.
const LEADER_EPOCHS: i16 = 9;
/// From here on a replica sends its state instead of its id.
const REPLICA_STATE: i16 = 15;
/// From here on a replica names its directory.
const DIRECTORY_IDS: i16 = 17;
/// From here on a replica names its high watermark.
const HIGH_WATERMARKS: i16 = 18;

/// A question for records of any number of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// Versions 12 and later, from replicas.
    pub cluster_id: Option<String>,
    /// −1 from a consumer. Versions 4 to 14.
    pub replica_id: i32,
    /// Versions 15 and later.
    pub replica_state: ReplicaState,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// How many bytes are worth an answer.
    pub min_bytes: i32,
    /// How many bytes an answer may have; the first batch comes whole whatever it says.
    pub max_bytes: i32,
    /// 0: all records; 1: no records of open or aborted transactions.
    pub isolation_level: i8,
    /// 0 without a session. Versions 7 and later.
    pub session_id: i32,
    /// −1 without a session, 0 to begin one. Versions 7 and later.
    pub session_epoch: i32,
    /// The partitions by topic; in a session those that are new or changed.
    pub topics: Vec<FetchTopic>,
    /// The partitions to drop from the session. Versions 7 and later.
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    /// Where the consumer is. Versions 11 and later.
    pub rack_id: String,
}

impl Default for FetchRequest {
    fn default() -> Self {
        Self {
            cluster_id: None,
            replica_id: -1,
            replica_state: ReplicaState::default(),
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: i32::MAX,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: Vec::new(),
            forgotten_topics_data: Vec::new(),
            rack_id: String::new(),
        }
    }
}

/// Which replica asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// −1 from a consumer.
    pub replica_id: i32,
    /// −1 when unknown.
    pub replica_epoch: i64,
}

impl Default for ReplicaState {
    fn default() -> Self {
        Self { replica_id: -1, replica_epoch: -1 }
    }
}

/// The wanted partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FetchTopic {
    /// Versions 4 to 12.
    pub topic: String,
    /// Versions 13 and later.
    pub topic_id: [u8; 16],
    /// The partitions.
    pub partitions: Vec<FetchPartition>,
}

/// A wanted partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition.
    pub partition: i32,
    /// The epoch of the leader that the client means; −1 when it does not care. Versions 9 and later.
    pub current_leader_epoch: i32,
    /// From where to read.
    pub fetch_offset: i64,
    /// The epoch of the last record that the client has; −1 when it does not say. Versions 12 and later.
    pub last_fetched_epoch: i32,
    /// A follower's first offset; −1 from a consumer. Versions 5 and later.
    pub log_start_offset: i64,
    /// How many bytes may come from this partition.
    pub partition_max_bytes: i32,
    /// A follower's directory. Versions 17 and later.
    pub replica_directory_id: [u8; 16],
    /// A follower's high watermark. Version 18.
    pub high_watermark: i64,
}

impl Default for FetchPartition {
    fn default() -> Self {
        Self {
            partition: 0,
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 0,
            replica_directory_id: [0; 16],
            high_watermark: i64::MAX,
        }
    }
}

/// Partitions of one topic that leave the session.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ForgottenTopic {
    /// Versions 7 to 12.
    pub topic: String,
    /// Versions 13 and later.
    pub topic_id: [u8; 16],
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// The smallest topic of either kind: its name or id, the count of its partitions, its tags.
fn topic_bytes_min(version: i16) -> usize {
    match version {
        ..FLEXIBLE => 6,
        FLEXIBLE..TOPIC_IDS => 3,
        TOPIC_IDS.. => 18,
    }
}

fn partition_bytes_min(version: i16) -> usize {
    match version {
        ..LOG_START => 16,
        LOG_START..LEADER_EPOCHS => 24,
        LEADER_EPOCHS..FLEXIBLE => 28,
        FLEXIBLE.. => 33,
    }
}

fn read_topic(r: &mut Reader, version: i16) -> Result<(String, [u8; 16]), DecodeError> {
    if version >= TOPIC_IDS { Ok((String::new(), r.uuid()?)) } else { Ok((r.string(version >= FLEXIBLE)?, [0; 16])) }
}

fn write_topic(w: &mut Writer, version: i16, name: &str, id: &[u8; 16]) -> Result<(), EncodeError> {
    if version >= TOPIC_IDS {
        w.uuid(id);
        Ok(())
    } else {
        w.string(version >= FLEXIBLE, name)
    }
}

impl FetchPartition {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let mut partition = Self { partition: r.i32()?, ..Self::default() };
        if version >= LEADER_EPOCHS {
            partition.current_leader_epoch = r.i32()?;
        }
        partition.fetch_offset = r.i64()?;
        if version >= FLEXIBLE {
            partition.last_fetched_epoch = r.i32()?;
        }
        if version >= LOG_START {
            partition.log_start_offset = r.i64()?;
        }
        partition.partition_max_bytes = r.i32()?;
        if version >= FLEXIBLE {
            r.tags(|r, tag| {
                match tag {
                    0 if version >= DIRECTORY_IDS => partition.replica_directory_id = r.uuid()?,
                    1 if version >= HIGH_WATERMARKS => partition.high_watermark = r.i64()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
        }
        Ok(partition)
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.i32(self.partition);
        if version >= LEADER_EPOCHS {
            w.i32(self.current_leader_epoch);
        }
        w.i64(self.fetch_offset);
        if version >= FLEXIBLE {
            w.i32(self.last_fetched_epoch);
        } else if self.last_fetched_epoch != -1 {
            return Err(EncodeError::absent("FetchPartition.last_fetched_epoch", version));
        }
        if version >= LOG_START {
            w.i64(self.log_start_offset);
        }
        w.i32(self.partition_max_bytes);
        if version < FLEXIBLE {
            return Ok(());
        }
        let directory = version >= DIRECTORY_IDS && self.replica_directory_id != [0; 16];
        let high_watermark = version >= HIGH_WATERMARKS && self.high_watermark != i64::MAX;
        w.uvarint(u32::from(directory) + u32::from(high_watermark));
        if directory {
            w.tag(0, |w| {
                w.uuid(&self.replica_directory_id);
                Ok(())
            })?;
        }
        if high_watermark {
            w.tag(1, |w| {
                w.i64(self.high_watermark);
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl FetchTopic {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let (topic, topic_id) = read_topic(r, version)?;
        let partitions = r.array(flexible, partition_bytes_min(version), |r| FetchPartition::read(r, version))?;
        if flexible {
            r.skip_tags()?;
        }
        Ok(Self { topic, topic_id, partitions })
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        write_topic(w, version, &self.topic, &self.topic_id)?;
        w.array(flexible, &self.partitions, |w, partition| partition.write(w, version))?;
        w.no_tags(flexible);
        Ok(())
    }
}

impl ForgottenTopic {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let (topic, topic_id) = read_topic(r, version)?;
        let partitions = r.array(flexible, size_of::<i32>(), Reader::i32)?;
        if flexible {
            r.skip_tags()?;
        }
        Ok(Self { topic, topic_id, partitions })
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        write_topic(w, version, &self.topic, &self.topic_id)?;
        w.array(flexible, &self.partitions, |w, partition| {
            w.i32(*partition);
            Ok(())
        })?;
        w.no_tags(flexible);
        Ok(())
    }
}

impl FetchRequest {
    fn read_tags(&mut self, r: &mut Reader, version: i16) -> Result<(), DecodeError> {
        r.tags(|r, tag| {
            match tag {
                0 => self.cluster_id = r.string_or_null(true)?,
                1 if version >= REPLICA_STATE => {
                    self.replica_state = ReplicaState { replica_id: r.i32()?, replica_epoch: r.i64()? };
                    r.skip_tags()?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn write_tags(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let replica = version >= REPLICA_STATE && self.replica_state != ReplicaState::default();
        w.uvarint(u32::from(self.cluster_id.is_some()) + u32::from(replica));
        if let Some(cluster_id) = &self.cluster_id {
            w.tag(0, |w| w.string(true, cluster_id))?;
        }
        if replica {
            w.tag(1, |w| {
                w.i32(self.replica_state.replica_id);
                w.i64(self.replica_state.replica_epoch);
                w.no_tags(true);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What the version has no place for and may not be dropped.
    fn check_absent(&self, version: i16) -> Result<(), EncodeError> {
        if version >= REPLICA_STATE && self.replica_id != -1 {
            return Err(EncodeError::absent("FetchRequest.replica_id", version));
        }
        if version < REPLICA_STATE && self.replica_state != ReplicaState::default() {
            return Err(EncodeError::absent("FetchRequest.replica_state", version));
        }
        if version < SESSIONS && !self.forgotten_topics_data.is_empty() {
            return Err(EncodeError::absent("FetchRequest.forgotten_topics_data", version));
        }
        Ok(())
    }
}

impl Message for FetchRequest {
    const NAME: &'static str = "FetchRequest";
    const KIND: Kind = Kind::Request(ApiKey::Fetch);
    const VERSIONS: RangeInclusive<i16> = ApiKey::Fetch.known_versions();

    fn read_fields(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let mut request = Self::default();
        if version < REPLICA_STATE {
            request.replica_id = r.i32()?;
        }
        request.max_wait_ms = r.i32()?;
        request.min_bytes = r.i32()?;
        request.max_bytes = r.i32()?;
        request.isolation_level = r.i8()?;
        if version >= SESSIONS {
            request.session_id = r.i32()?;
            request.session_epoch = r.i32()?;
        }
        request.topics = r.array(flexible, topic_bytes_min(version), |r| FetchTopic::read(r, version))?;
        if version >= SESSIONS {
            request.forgotten_topics_data =
                r.array(flexible, topic_bytes_min(version), |r| ForgottenTopic::read(r, version))?;
        }
        if version >= RACKS {
            request.rack_id = r.string(flexible)?;
        }
        if flexible {
            request.read_tags(r, version)?;
        }
        Ok(request)
    }

    fn write_fields(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        self.check_absent(version)?;
        if version < REPLICA_STATE {
            w.i32(self.replica_id);
        }
        w.i32(self.max_wait_ms);
        w.i32(self.min_bytes);
        w.i32(self.max_bytes);
        w.i8(self.isolation_level);
        if version >= SESSIONS {
            w.i32(self.session_id);
            w.i32(self.session_epoch);
        }
        w.array(flexible, &self.topics, |w, topic| topic.write(w, version))?;
        if version >= SESSIONS {
            w.array(flexible, &self.forgotten_topics_data, |w, topic| topic.write(w, version))?;
        }
        if version >= RACKS {
            w.string(flexible, &self.rack_id)?;
        }
        if flexible { self.write_tags(w, version) } else { Ok(()) }
    }
}

impl Request for FetchRequest {
    type Response = FetchResponse;
    const KEY: ApiKey = ApiKey::Fetch;
}
