//! CreateTopics, versions 2 to 7.
//!
//! Versions: 5 the effective configs in the answer, 7 topic ids. Partitions and replicas of −1 mean the broker's
//! defaults in every version. The answer comes when the topic is durable and served here, or when the request's time is over.

use std::sync::Arc;

use ottla_core::config::BrokerConfig;
use ottla_core::controller::NewTopic;
use ottla_core::metadata::Topic;
use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::ErrorCode;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::describe_configs;
use crate::controller::{Refusal, explicit, fresh_topic_id, wait_of};
use crate::server::dispatch::Cx;

/// Has the controller create what is well-formed, and answers in the order of the request.
pub async fn handle(cx: &Cx, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    // A topic whose configs cannot be read is left out of what the controller sees, and answered here.
    let (mut wanted, mut refused) = (Vec::new(), Vec::new());
    for (index, topic) in request.topics.into_iter().enumerate() {
        match read(topic) {
            Ok(topic) => wanted.push(topic),
            Err(result) => refused.push((index, result)),
        }
    }
    let broker = cx.node.metadata.config();
    let wait = wait_of(request.timeout_ms);
    let created = cx.node.controller.create_topics(wanted, request.validate_only, wait).await;
    let mut created = created.into_iter();
    let mut refused = refused.into_iter().peekable();
    let mut topics = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        topics.push(match refused.next_if(|(at, _)| *at == index) {
            Some((_, result)) => result,
            None => answered(name, created.next(), &broker),
        });
    }
    CreateTopicsResponse { topics, ..Default::default() }
}

fn read(topic: CreatableTopic) -> Result<NewTopic, CreatableTopicResult> {
    let mut config = Vec::with_capacity(topic.configs.len());
    for entry in topic.configs {
        match entry.value {
            Some(value) => config.push((entry.name, value)),
            None => {
                let message = format!("null is no value for configuration {}", entry.name);
                return Err(failed(topic.name, ErrorCode::INVALID_CONFIG, message));
            }
        }
    }
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId::new).collect();
    let assignments = topic.assignments.into_iter();
    Ok(NewTopic {
        name: topic.name,
        id: fresh_topic_id(),
        partitions: Some(topic.num_partitions).filter(|&count| count != -1),
        replication_factor: Some(topic.replication_factor).filter(|&factor| factor != -1),
        assignments: assignments
            .map(|one| (PartitionIndex::new(one.partition_index), brokers(one.broker_ids)))
            .collect(),
        config: explicit(config),
    })
}

fn failed(name: String, code: ErrorCode, message: String) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: code.code(),
        error_message: Some(message),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    }
}

fn answered(name: String, result: Option<Result<Arc<Topic>, Refusal>>, broker: &BrokerConfig) -> CreatableTopicResult {
    let topic = match result {
        Some(Ok(topic)) => topic,
        Some(Err(refusal)) => return failed(name, refusal.code, refusal.message),
        None => return failed(name, ErrorCode::UNKNOWN_SERVER_ERROR, "the controller did not answer".to_owned()),
    };
    let configs = describe_configs::topic_entries(&topic.config, broker, None).map(|entry| CreatableTopicConfigs {
        name: entry.key.name.to_owned(),
        value: entry.shown(),
        read_only: false,
        config_source: entry.source(),
        is_sensitive: entry.key.sensitive(),
    });
    CreatableTopicResult {
        name,
        topic_id: topic.id.to_bytes(),
        error_code: ErrorCode::NONE.code(),
        num_partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: topic
            .partitions
            .first()
            .map_or(-1, |partition| i16::try_from(partition.replicas.len()).unwrap_or(i16::MAX)),
        configs: Some(configs.collect()),
        ..Default::default()
    }
}
