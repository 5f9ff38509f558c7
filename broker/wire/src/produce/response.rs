//! The response: where each batch came to stand, or why not.

use std::ops::RangeInclusive;

use super::{FLEXIBLE, TOPIC_IDS};
use crate::{ApiKey, DecodeError, EncodeError, Kind, Message, Reader, Writer};

/// From here on a partition names its log start offset.
const LOG_START: i16 = 5;
/// From here on errors name records and carry a text.
const RECORD_ERRORS: i16 = 8;
/// From here on an error may name the new leader.
const LEADERS: i16 = 10;

/// What became of the records of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProduceResponse {
    /// By topic.
    pub responses: Vec<TopicProduceResponse>,
    /// How long the client should wait before its next request.
    pub throttle_time_ms: i32,
    /// Versions 10 and later: where the leaders listen that the partitions name.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What became of one topic's records.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TopicProduceResponse {
    /// Versions 3 to 12.
    pub name: String,
    /// Version 13.
    pub topic_id: [u8; 16],
    /// By partition.
    pub partition_responses: Vec<PartitionProduceResponse>,
}

/// What became of one partition's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProduceResponse {
    /// The partition.
    pub index: i32,
    /// 0 when they are stored.
    pub error_code: i16,
    /// The offset of the first record.
    pub base_offset: i64,
    /// The time that the log set; −1 when the producer's stands.
    pub log_append_time_ms: i64,
    /// The first offset that is still there. Versions 5 and later.
    pub log_start_offset: i64,
    /// Which records are to blame. Versions 8 and later.
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    /// Versions 8 and later.
    pub error_message: Option<String>,
    /// Who leads now, where that is the error. Versions 10 and later.
    pub current_leader: LeaderIdAndEpoch,
}

impl Default for PartitionProduceResponse {
    fn default() -> Self {
        Self {
            index: 0,
            error_code: 0,
            base_offset: 0,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: LeaderIdAndEpoch::default(),
        }
    }
}

/// A record that is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BatchIndexAndErrorMessage {
    /// Its index in the batch.
    pub batch_index: i32,
    /// Why.
    pub batch_index_error_message: Option<String>,
}

/// A leader, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderIdAndEpoch {
    /// −1 when unknown.
    pub leader_id: i32,
    /// −1 when unknown.
    pub leader_epoch: i32,
}

impl Default for LeaderIdAndEpoch {
    fn default() -> Self {
        Self { leader_id: -1, leader_epoch: -1 }
    }
}

impl LeaderIdAndEpoch {
    pub(crate) fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let leader = Self { leader_id: r.i32()?, leader_epoch: r.i32()? };
        r.skip_tags()?;
        Ok(leader)
    }

    pub(crate) fn write(self, w: &mut Writer) {
        w.i32(self.leader_id);
        w.i32(self.leader_epoch);
        w.no_tags(true);
    }
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: i32,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<String>,
}

impl NodeEndpoint {
    /// The smallest endpoint: id, empty host, port, no rack, no tags.
    pub(crate) const BYTES_MIN: usize = 11;

    pub(crate) fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        let endpoint = Self { node_id: r.i32()?, host: r.string(true)?, port: r.i32()?, rack: r.string_or_null(true)? };
        r.skip_tags()?;
        Ok(endpoint)
    }

    pub(crate) fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.i32(self.node_id);
        w.string(true, &self.host)?;
        w.i32(self.port);
        w.string_or_null(true, true, "NodeEndpoint.rack", self.rack.as_deref())?;
        w.no_tags(true);
        Ok(())
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

/// The smallest partition: index, error and two or three numbers; later also no record errors, no text, no tags.
fn partition_bytes_min(version: i16) -> usize {
    match version {
        ..LOG_START => 22,
        LOG_START..RECORD_ERRORS => 30,
        RECORD_ERRORS..FLEXIBLE => 36,
        FLEXIBLE.. => 33,
    }
}

impl BatchIndexAndErrorMessage {
    fn read(r: &mut Reader, flexible: bool) -> Result<Self, DecodeError> {
        let error = Self { batch_index: r.i32()?, batch_index_error_message: r.string_or_null(flexible)? };
        if flexible {
            r.skip_tags()?;
        }
        Ok(error)
    }

    fn write(&self, w: &mut Writer, flexible: bool) -> Result<(), EncodeError> {
        const FIELD: &str = "BatchIndexAndErrorMessage.batch_index_error_message";
        w.i32(self.batch_index);
        w.string_or_null(flexible, true, FIELD, self.batch_index_error_message.as_deref())?;
        w.no_tags(flexible);
        Ok(())
    }
}

impl PartitionProduceResponse {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let mut partition = Self {
            index: r.i32()?,
            error_code: r.i16()?,
            base_offset: r.i64()?,
            log_append_time_ms: r.i64()?,
            ..Self::default()
        };
        if version >= LOG_START {
            partition.log_start_offset = r.i64()?;
        }
        if version >= RECORD_ERRORS {
            let error_bytes_min = 6;
            partition.record_errors =
                r.array(flexible, error_bytes_min, |r| BatchIndexAndErrorMessage::read(r, flexible))?;
            partition.error_message = r.string_or_null(flexible)?;
        }
        if flexible {
            r.tags(|r, tag| {
                if tag != 0 || version < LEADERS {
                    return Ok(false);
                }
                partition.current_leader = LeaderIdAndEpoch::read(r)?;
                Ok(true)
            })?;
        }
        Ok(partition)
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        w.i32(self.index);
        w.i16(self.error_code);
        w.i64(self.base_offset);
        w.i64(self.log_append_time_ms);
        if version >= LOG_START {
            w.i64(self.log_start_offset);
        }
        if version >= RECORD_ERRORS {
            w.array(flexible, &self.record_errors, |w, error| error.write(w, flexible))?;
            let message = self.error_message.as_deref();
            w.string_or_null(flexible, true, "PartitionProduceResponse.error_message", message)?;
        }
        let leader_known = self.current_leader != LeaderIdAndEpoch::default();
        if leader_known && version < LEADERS {
            return Err(EncodeError::absent("PartitionProduceResponse.current_leader", version));
        }
        if leader_known {
            w.uvarint(1);
            w.tag(0, |w| {
                self.current_leader.write(w);
                Ok(())
            })?;
        } else {
            w.no_tags(flexible);
        }
        Ok(())
    }
}

impl TopicProduceResponse {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let by_id = version >= TOPIC_IDS;
        let name = if by_id { String::new() } else { r.string(flexible)? };
        let topic_id = if by_id { r.uuid()? } else { [0; 16] };
        let partition_responses =
            r.array(flexible, partition_bytes_min(version), |r| PartitionProduceResponse::read(r, version))?;
        if flexible {
            r.skip_tags()?;
        }
        Ok(Self { name, topic_id, partition_responses })
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        if version >= TOPIC_IDS {
            w.uuid(&self.topic_id);
        } else {
            w.string(flexible, &self.name)?;
        }
        w.array(flexible, &self.partition_responses, |w, partition| partition.write(w, version))?;
        w.no_tags(flexible);
        Ok(())
    }
}

impl Message for ProduceResponse {
    const NAME: &'static str = "ProduceResponse";
    const KIND: Kind = Kind::Response(ApiKey::Produce);
    const VERSIONS: RangeInclusive<i16> = ApiKey::Produce.known_versions();

    fn read_fields(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let mut response = Self {
            responses: r.array(flexible, topic_bytes_min(version), |r| TopicProduceResponse::read(r, version))?,
            throttle_time_ms: r.i32()?,
            ..Self::default()
        };
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
        w.array(flexible, &self.responses, |w, topic| topic.write(w, version))?;
        w.i32(self.throttle_time_ms);
        if self.node_endpoints.is_empty() {
            w.no_tags(flexible);
            return Ok(());
        }
        if version < LEADERS {
            return Err(EncodeError::absent("ProduceResponse.node_endpoints", version));
        }
        w.uvarint(1);
        w.tag(0, |w| w.array(true, &self.node_endpoints, |w, endpoint| endpoint.write(w)))
    }
}
