//! One Fetch request to one leader, and what its answer says of each partition.
//!
//! Owns the wire side of reading: no positions, no retries. Runs on a task of its own, where records are also checked and
//! unpacked.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::types::{BrokerId, LeaderEpoch, Offset, TopicId};
use ottla_wire::ErrorCode;
use ottla_wire::fetch::PartitionData;
use ottla_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};

use super::records::{self, Record};
use crate::client::{Client, Purpose};
use crate::config::{ConsumerConfig, NamedPartition};
use crate::error::Result;

/// What to read of one partition.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) partition: NamedPartition,
    pub(super) topic: TopicId,
    pub(super) from: Offset,
    pub(super) epoch: LeaderEpoch,
}

/// What a leader answered about one partition.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) partition: NamedPartition,
    /// What was asked for: an answer to an older position is void.
    pub(super) from: Offset,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Read { records: Vec<Record>, next: Offset, high_watermark: Offset, bytes: usize },
    Refused(ErrorCode),
}

/// Asks `leader` once.
pub(super) async fn fetch(
    client: Client,
    config: ConsumerConfig,
    leader: BrokerId,
    wanted: Vec<Wanted>,
) -> Result<Vec<Answer>> {
    let connection = client.broker(leader, Purpose::Fetch).await?;
    let request = request(&config, &client.config().rack, &wanted);
    // A long poll may take its whole time before the answer is due.
    let patience = client.config().request_timeout + config.fetch_wait_max;
    let response = connection.call(&request, patience).await?;
    let whole = ErrorCode::new(response.error_code);
    let asked: BTreeMap<(&str, i32), &Wanted> =
        wanted.iter().map(|one| ((one.partition.topic.as_str(), one.partition.partition.get()), one)).collect();
    let names: BTreeMap<[u8; 16], &str> =
        wanted.iter().map(|one| (one.topic.to_bytes(), one.partition.topic.as_str())).collect();
    if !whole.is_none() {
        let refused = |one: &Wanted| answer(one, Outcome::Refused(whole));
        return Ok(wanted.iter().map(refused).collect());
    }
    let mut answers = Vec::new();
    for topic in response.responses {
        let name =
            if topic.topic.is_empty() { names.get(&topic.topic_id).copied() } else { Some(topic.topic.as_str()) };
        for data in topic.partitions {
            let Some(one) = name.and_then(|name| asked.get(&(name, data.partition_index))) else { continue };
            answers.push(answer(one, outcome(one, data, config.read_committed)?));
        }
    }
    Ok(answers)
}

fn answer(wanted: &Wanted, outcome: Outcome) -> Answer {
    Answer { partition: wanted.partition.clone(), from: wanted.from, outcome }
}

fn outcome(wanted: &Wanted, data: PartitionData, read_committed: bool) -> Result<Outcome> {
    let code = ErrorCode::new(data.error_code);
    if !code.is_none() {
        return Ok(Outcome::Refused(code));
    }
    let end = if read_committed { data.last_stable_offset } else { data.high_watermark };
    let mut pieces = data.records;
    // A reader gets the records as one slice of the frame; several pieces exist only where they are written.
    let bytes = if pieces.len() > 1 { pieces.concat().into() } else { pieces.pop().unwrap_or_default() };
    let size = bytes.len();
    let aborted = if read_committed { data.aborted_transactions.unwrap_or_default() } else { Vec::new() };
    let aborted = aborted.into_iter().map(|one| (one.first_offset, one.producer_id)).collect();
    let (records, next) = records::unpack(&wanted.partition, wanted.from, bytes, aborted)?;
    Ok(Outcome::Read { records, next, high_watermark: Offset::new(end), bytes: size })
}

fn request(config: &ConsumerConfig, rack: &str, wanted: &[Wanted]) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for one in wanted {
        let partition = FetchPartition {
            partition: one.partition.partition.get(),
            current_leader_epoch: one.epoch.get(),
            fetch_offset: one.from.get(),
            partition_max_bytes: clamp(config.partition_bytes_max),
            ..FetchPartition::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.topic == one.partition.topic => topic.partitions.push(partition),
            Some(_) | None => topics.push(FetchTopic {
                topic: one.partition.topic.clone(),
                topic_id: one.topic.to_bytes(),
                partitions: vec![partition],
            }),
        }
    }
    FetchRequest {
        max_wait_ms: millis(config.fetch_wait_max),
        min_bytes: clamp(config.fetch_bytes_min),
        max_bytes: clamp(config.fetch_bytes_max),
        isolation_level: i8::from(config.read_committed),
        topics,
        rack_id: rack.to_owned(),
        ..FetchRequest::default()
    }
}

fn clamp(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
