//! One Produce request to one leader, and what its answer says of each batch.
//!
//! Owns the wire side of writing: no retries, no order. Runs on a task of its own, where batches are also compressed.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_core::types::{BrokerId, Offset, Sequence, Timestamp, TopicId};
use ottla_wire::ErrorCode;
use ottla_wire::produce::ProduceResponse;
use ottla_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::batch::Batch;
use super::identity::Identity;
use crate::client::{Client, Purpose};
use crate::config::{Acks, NamedPartition, ProducerConfig};
use crate::error::{Error, Result};

/// A batch on its way.
pub(super) struct Parcel {
    pub(super) partition: NamedPartition,
    pub(super) topic: TopicId,
    pub(super) sequence: Option<(Identity, Sequence)>,
    pub(super) batch: Batch,
}

/// What became of it.
pub(super) enum Outcome {
    Stored {
        base: Option<Offset>,
        append_time: Option<Timestamp>,
    },
    Refused {
        code: ErrorCode,
        message: Option<String>,
    },
    /// No answer, or none that could be read: it may be stored or not.
    Unknown(Error),
    /// It never left.
    Unsent(Error),
}

/// Sends parcels to `leader` and waits for their fate.
pub(super) async fn send(
    client: Client,
    config: ProducerConfig,
    leader: BrokerId,
    mut parcels: Vec<Parcel>,
) -> (BrokerId, Vec<(Parcel, Outcome)>) {
    let connection = match client.broker(leader, Purpose::Produce).await {
        Ok(connection) => connection,
        Err(error) => return (leader, all(parcels, |_| Outcome::Unsent(error.clone()))),
    };
    let request = match request(&client, &config, &mut parcels) {
        Ok(request) => request,
        Err(error) => return (leader, all(parcels, |_| Outcome::Unsent(error.clone()))),
    };
    for parcel in &mut parcels {
        parcel.batch.attempts += 1;
    }
    let patience = client.config().request_timeout;
    if config.acks == Acks::None {
        return match connection.tell(&request, patience).await {
            Ok(()) => (leader, all(parcels, |_| Outcome::Stored { base: None, append_time: None })),
            Err(error) => (leader, all(parcels, |_| Outcome::Unknown(error.clone()))),
        };
    }
    let response = match connection.call(&request, patience).await {
        Ok(response) => response,
        Err(error) => return (leader, all(parcels, |_| Outcome::Unknown(error.clone()))),
    };
    let mut outcomes = outcomes(response, &parcels);
    (leader, all(parcels, |partition| outcomes.remove(partition).unwrap_or_else(missing)))
}

fn request(client: &Client, config: &ProducerConfig, parcels: &mut [Parcel]) -> Result<ProduceRequest> {
    let mut topics: BTreeMap<String, TopicProduceData> = BTreeMap::new();
    for parcel in parcels {
        let records: Bytes = parcel.batch.build(parcel.sequence)?;
        let name = &parcel.partition.topic;
        let topic = topics.entry(name.clone()).or_insert_with(|| TopicProduceData {
            name: name.clone(),
            topic_id: parcel.topic.to_bytes(),
            partition_data: Vec::new(),
        });
        topic
            .partition_data
            .push(PartitionProduceData { index: parcel.partition.partition.get(), records: Some(records) });
    }
    Ok(ProduceRequest {
        transactional_id: None,
        acks: config.acks.get(),
        timeout_ms: i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics.into_values().collect(),
    })
}

fn outcomes(response: ProduceResponse, parcels: &[Parcel]) -> BTreeMap<NamedPartition, Outcome> {
    let names: BTreeMap<[u8; 16], &str> =
        parcels.iter().map(|parcel| (parcel.topic.to_bytes(), parcel.partition.topic.as_str())).collect();
    let mut outcomes = BTreeMap::new();
    for topic in response.responses {
        let name = if topic.name.is_empty() { names.get(&topic.topic_id).copied() } else { Some(topic.name.as_str()) };
        let Some(name) = name else { continue };
        for answer in topic.partition_responses {
            let code = ErrorCode::new(answer.error_code);
            let outcome = if code.is_none() || code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER {
                Outcome::Stored {
                    base: (code.is_none() && answer.base_offset >= 0).then(|| Offset::new(answer.base_offset)),
                    append_time: (answer.log_append_time_ms >= 0).then(|| Timestamp::new(answer.log_append_time_ms)),
                }
            } else {
                Outcome::Refused { code, message: answer.error_message }
            };
            outcomes.insert(NamedPartition::new(name, answer.index.into()), outcome);
        }
    }
    outcomes
}

fn missing() -> Outcome {
    Outcome::Refused {
        code: ErrorCode::UNKNOWN_SERVER_ERROR,
        message: Some("the broker's answer does not mention it".to_owned()),
    }
}

fn all(parcels: Vec<Parcel>, mut outcome: impl FnMut(&NamedPartition) -> Outcome) -> Vec<(Parcel, Outcome)> {
    parcels
        .into_iter()
        .map(|parcel| {
            let outcome = outcome(&parcel.partition);
            (parcel, outcome)
        })
        .collect()
}
