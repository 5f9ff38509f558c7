//! The response: records as the log has them, and where each partition stands.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{FLEXIBLE, LeaderIdAndEpoch, NodeEndpoint, RACKS, SESSIONS, TOPIC_IDS};
use crate::{ApiKey, DecodeError, EncodeError, Kind, Message, Reader, Writer, frame};

/// From here on a partition names its log start offset.
const LOG_START: i16 = 5;
/// From here on errors may name new leaders and where they listen.
const LEADERS: i16 = 16;
/// What a response takes without its records, per partition, roughly.
const PARTITION_BYTES: usize = 64;

/// Records of any number of partitions.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FetchResponse {
    /// How long the client should wait before its next request.
    pub throttle_time_ms: i32,
    /// An error of the whole request. Versions 7 and later.
    pub error_code: i16,
    /// 0 without a session. Versions 7 and later.
    pub session_id: i32,
    /// By topic; in a session those that changed.
    pub responses: Vec<FetchableTopicResponse>,
    /// Where the leaders listen that the partitions name. Versions 16 and later.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// Records of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FetchableTopicResponse {
    /// Versions 4 to 12.
    pub topic: String,
    /// Versions 13 and later.
    pub topic_id: [u8; 16],
    /// By partition.
    pub partitions: Vec<PartitionData>,
}

/// Records of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionData {
    /// The partition.
    pub partition_index: i32,
    /// 0 when it can be read.
    pub error_code: i16,
    /// The offset after the last record that consumers may see.
    pub high_watermark: i64,
    /// The offset after the last record before the first open transaction; −1 when unknown.
    pub last_stable_offset: i64,
    /// The first offset that is still there. Versions 5 and later.
    pub log_start_offset: i64,
    /// Where a follower's log left the leader's. Versions 12 and later.
    pub diverging_epoch: EpochEndOffset,
    /// Who leads now, where that is the error. Versions 12 and later.
    pub current_leader: LeaderIdAndEpoch,
    /// Versions 12 and later, between controllers.
    pub snapshot_id: SnapshotId,
    /// The aborted transactions among the records; null for a client that reads all records.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// A replica that the client had better ask; −1 for none. Versions 11 and later.
    pub preferred_read_replica: i32,
    /// Whole batches, in as many pieces as the log handed out. The last batch that a client reads may be cut off.
    pub records: Vec<Bytes>,
}

impl Default for PartitionData {
    fn default() -> Self {
        Self {
            partition_index: 0,
            error_code: 0,
            high_watermark: 0,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: EpochEndOffset::default(),
            current_leader: LeaderIdAndEpoch::default(),
            snapshot_id: SnapshotId::default(),
            aborted_transactions: Some(Vec::new()),
            preferred_read_replica: -1,
            records: Vec::new(),
        }
    }
}

/// The end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// −1 for none.
    pub epoch: i32,
    /// −1 for none.
    pub end_offset: i64,
}

impl Default for EpochEndOffset {
    fn default() -> Self {
        Self { epoch: -1, end_offset: -1 }
    }
}

/// A snapshot of the controllers' log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId {
    /// −1 for none.
    pub end_offset: i64,
    /// −1 for none.
    pub epoch: i32,
}

impl Default for SnapshotId {
    fn default() -> Self {
        Self { end_offset: -1, epoch: -1 }
    }
}

/// A transaction whose records a client must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: i64,
}

impl PartitionData {
    /// The bytes of all pieces together.
    pub fn record_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

impl FetchResponse {
    /// The whole frame, length and header included, in pieces. Pieces of records are passed on as they are; only short
    /// ones are copied.
    pub fn encode_chunks(&self, version: i16, correlation_id: i32) -> Result<Vec<Bytes>, EncodeError> {
        let partitions: usize = self.responses.iter().map(|topic| topic.partitions.len()).sum();
        let w = Writer::sharing(PARTITION_BYTES + PARTITION_BYTES * (self.responses.len() + partitions));
        frame::framed(w, |w| {
            crate::header::ResponseHeader { correlation_id }.encode(w, ApiKey::Fetch, version);
            self.encode(w, version)
        })
    }
}

/// The smallest topic: its name or id, the count of its partitions, its tags.
fn topic_bytes_min(version: i16) -> usize {
    match version {
        ..FLEXIBLE => 6,
        FLEXIBLE..TOPIC_IDS => 3,
        TOPIC_IDS.. => 18,
    }
}

fn partition_bytes_min(version: i16) -> usize {
    match version {
        ..LOG_START => 30,
        LOG_START..RACKS => 38,
        RACKS..FLEXIBLE => 42,
        FLEXIBLE.. => 37,
    }
}

impl AbortedTransaction {
    fn read(r: &mut Reader, flexible: bool) -> Result<Self, DecodeError> {
        let aborted = Self { producer_id: r.i64()?, first_offset: r.i64()? };
        if flexible {
            r.skip_tags()?;
        }
        Ok(aborted)
    }

    fn write(self, w: &mut Writer, flexible: bool) {
        w.i64(self.producer_id);
        w.i64(self.first_offset);
        w.no_tags(flexible);
    }
}

impl PartitionData {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let mut partition = Self {
            partition_index: r.i32()?,
            error_code: r.i16()?,
            high_watermark: r.i64()?,
            last_stable_offset: r.i64()?,
            ..Self::default()
        };
        if version >= LOG_START {
            partition.log_start_offset = r.i64()?;
        }
        let aborted_bytes_min = 16;
        partition.aborted_transactions =
            r.array_or_null(flexible, aborted_bytes_min, |r| AbortedTransaction::read(r, flexible))?;
        if version >= RACKS {
            partition.preferred_read_replica = r.i32()?;
        }
        partition.records = r.bytes_or_null(flexible)?.filter(|records| !records.is_empty()).into_iter().collect();
        if flexible {
            partition.read_tags(r)?;
        }
        Ok(partition)
    }

    fn read_tags(&mut self, r: &mut Reader) -> Result<(), DecodeError> {
        r.tags(|r, tag| {
            match tag {
                0 => {
                    self.diverging_epoch = EpochEndOffset { epoch: r.i32()?, end_offset: r.i64()? };
                    r.skip_tags()?;
                }
                1 => self.current_leader = LeaderIdAndEpoch::read(r)?,
                2 => {
                    self.snapshot_id = SnapshotId { end_offset: r.i64()?, epoch: r.i32()? };
                    r.skip_tags()?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        w.i32(self.partition_index);
        w.i16(self.error_code);
        w.i64(self.high_watermark);
        w.i64(self.last_stable_offset);
        if version >= LOG_START {
            w.i64(self.log_start_offset);
        }
        let aborted = self.aborted_transactions.as_deref();
        w.array_or_null(flexible, true, "PartitionData.aborted_transactions", aborted, |w, aborted| {
            aborted.write(w, flexible);
            Ok(())
        })?;
        if version >= RACKS {
            w.i32(self.preferred_read_replica);
        } else if self.preferred_read_replica != -1 {
            return Err(EncodeError::absent("PartitionData.preferred_read_replica", version));
        }
        w.length(flexible, true, self.record_bytes())?;
        self.records.iter().for_each(|piece| w.append(piece));
        self.write_tags(w, version)
    }

    fn write_tags(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let diverging = self.diverging_epoch != EpochEndOffset::default();
        let leader = self.current_leader != LeaderIdAndEpoch::default();
        let snapshot = self.snapshot_id != SnapshotId::default();
        if version < FLEXIBLE {
            let absent = |field| Err(EncodeError::absent(field, version));
            return match (diverging, leader, snapshot) {
                (true, _, _) => absent("PartitionData.diverging_epoch"),
                (_, true, _) => absent("PartitionData.current_leader"),
                (_, _, true) => absent("PartitionData.snapshot_id"),
                (false, false, false) => Ok(()),
            };
        }
        w.uvarint(u32::from(diverging) + u32::from(leader) + u32::from(snapshot));
        if diverging {
            w.tag(0, |w| {
                w.i32(self.diverging_epoch.epoch);
                w.i64(self.diverging_epoch.end_offset);
                w.no_tags(true);
                Ok(())
            })?;
        }
        if leader {
            w.tag(1, |w| {
                self.current_leader.write(w);
                Ok(())
            })?;
        }
        if snapshot {
            w.tag(2, |w| {
                w.i64(self.snapshot_id.end_offset);
                w.i32(self.snapshot_id.epoch);
                w.no_tags(true);
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl FetchableTopicResponse {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let by_id = version >= TOPIC_IDS;
        let topic = if by_id { String::new() } else { r.string(flexible)? };
        let topic_id = if by_id { r.uuid()? } else { [0; 16] };
        let partitions = r.array(flexible, partition_bytes_min(version), |r| PartitionData::read(r, version))?;
        if flexible {
            r.skip_tags()?;
        }
        Ok(Self { topic, topic_id, partitions })
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        if version >= TOPIC_IDS {
            w.uuid(&self.topic_id);
        } else {
            w.string(flexible, &self.topic)?;
        }
        w.array(flexible, &self.partitions, |w, partition| partition.write(w, version))?;
        w.no_tags(flexible);
        Ok(())
    }
}

impl Message for FetchResponse {
    const NAME: &'static str = "FetchResponse";
    const KIND: Kind = Kind::Response(ApiKey::Fetch);
    const VERSIONS: RangeInclusive<i16> = ApiKey::Fetch.known_versions();

    fn read_fields(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let mut response = Self { throttle_time_ms: r.i32()?, ..Self::default() };
        if version >= SESSIONS {
            response.error_code = r.i16()?;
            response.session_id = r.i32()?;
        }
        response.responses =
            r.array(flexible, topic_bytes_min(version), |r| FetchableTopicResponse::read(r, version))?;
        if flexible {
            r.tags(|r, tag| {
                if tag != 0 || version < LEADERS {
                    return Ok(false);
                }
                response.node_endpoints = r.array(true, NodeEndpoint::BYTES_MIN, NodeEndpoint::read)?;
                Ok(true)
            })?;
        }
        Ok(response)
    }

    fn write_fields(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        w.i32(self.throttle_time_ms);
        if version >= SESSIONS {
            w.i16(self.error_code);
            w.i32(self.session_id);
        } else if self.session_id != 0 {
            return Err(EncodeError::absent("FetchResponse.session_id", version));
        }
        w.array(flexible, &self.responses, |w, topic| topic.write(w, version))?;
        if self.node_endpoints.is_empty() {
            w.no_tags(flexible);
            return Ok(());
        }
        if version < LEADERS {
            return Err(EncodeError::absent("FetchResponse.node_endpoints", version));
        }
        w.uvarint(1);
        w.tag(0, |w| w.array(true, &self.node_endpoints, |w, endpoint| endpoint.write(w)))
    }
}
