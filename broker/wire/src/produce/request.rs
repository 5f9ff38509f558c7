//! The request: records on their way to the log.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{FLEXIBLE, ProduceResponse, TOPIC_IDS};
use crate::{ApiKey, DecodeError, EncodeError, Kind, Message, Reader, Request, Writer};

/// Records for any number of partitions.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProduceRequest {
    /// Whose transaction the records belong to.
    pub transactional_id: Option<String>,
    /// 0: do not answer; 1: answer when the leader has it; −1: when all in-sync replicas have it.
    pub acks: i16,
    /// How long the broker may wait for that.
    pub timeout_ms: i32,
    /// The records by topic.
    pub topic_data: Vec<TopicProduceData>,
}

/// Records for one topic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TopicProduceData {
    /// Versions 3 to 12.
    pub name: String,
    /// Version 13.
    pub topic_id: [u8; 16],
    /// The records by partition.
    pub partition_data: Vec<PartitionProduceData>,
}

/// Records for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PartitionProduceData {
    /// The partition.
    pub index: i32,
    /// One batch, as `record::check_produced` demands; null is legal here and refused there.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// The record bytes of all partitions together.
    pub fn record_bytes(&self) -> usize {
        let partitions = self.topic_data.iter().flat_map(|topic| &topic.partition_data);
        partitions.map(|partition| partition.records.as_ref().map_or(0, Bytes::len)).sum()
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

fn partition_bytes_min(flexible: bool) -> usize {
    if flexible { 6 } else { 8 }
}

impl TopicProduceData {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let by_id = version >= TOPIC_IDS;
        let name = if by_id { String::new() } else { r.string(flexible)? };
        let topic_id = if by_id { r.uuid()? } else { [0; 16] };
        let partition_data = r.array(flexible, partition_bytes_min(flexible), |r| {
            let partition = PartitionProduceData { index: r.i32()?, records: r.bytes_or_null(flexible)? };
            if flexible {
                r.skip_tags()?;
            }
            Ok(partition)
        })?;
        if flexible {
            r.skip_tags()?;
        }
        Ok(Self { name, topic_id, partition_data })
    }

    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        if version >= TOPIC_IDS {
            w.uuid(&self.topic_id);
        } else {
            w.string(flexible, &self.name)?;
        }
        w.array(flexible, &self.partition_data, |w, partition| {
            w.i32(partition.index);
            w.bytes_or_null(flexible, true, "PartitionProduceData.records", partition.records.as_ref())?;
            w.no_tags(flexible);
            Ok(())
        })?;
        w.no_tags(flexible);
        Ok(())
    }
}

impl Message for ProduceRequest {
    const NAME: &'static str = "ProduceRequest";
    const KIND: Kind = Kind::Request(ApiKey::Produce);
    const VERSIONS: RangeInclusive<i16> = ApiKey::Produce.known_versions();

    fn read_fields(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let request = Self {
            transactional_id: r.string_or_null(flexible)?,
            acks: r.i16()?,
            timeout_ms: r.i32()?,
            topic_data: r.array(flexible, topic_bytes_min(version), |r| TopicProduceData::read(r, version))?,
        };
        if flexible {
            r.skip_tags()?;
        }
        Ok(request)
    }

    fn write_fields(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        let flexible = version >= FLEXIBLE;
        w.string_or_null(flexible, true, "ProduceRequest.transactional_id", self.transactional_id.as_deref())?;
        w.i16(self.acks);
        w.i32(self.timeout_ms);
        w.array(flexible, &self.topic_data, |w, topic| topic.write(w, version))?;
        w.no_tags(flexible);
        Ok(())
    }
}

impl Request for ProduceRequest {
    type Response = ProduceResponse;
    const KEY: ApiKey = ApiKey::Produce;
}
