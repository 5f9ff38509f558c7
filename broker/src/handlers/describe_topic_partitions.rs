//! DescribeTopicPartitions, version 0: topics page by page, with eligible leader replicas (KIP-966).
//!
//! Owns the paging: topics in order of name, a cursor where the limit cuts.

use std::sync::Arc;

use ottla_core::metadata::{Image, Topic};
use ottla_core::types::BrokerId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_wire::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use super::metadata::{ids, leader, offline};
use crate::server::dispatch::Cx;

/// The most partitions of one answer, as Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: i32 = 2000;

/// Answers up to the limit of partitions, from the cursor on.
pub async fn handle(cx: &Cx, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let image = cx.node.metadata.image();
    let mut names: Vec<String> = if request.topics.is_empty() {
        image.topics().keys().cloned().collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    names.sort_unstable();
    names.dedup();
    let mut from = 0;
    if let Some(cursor) = request.cursor {
        from = cursor.partition_index.max(0);
        let first = names.first().cloned();
        names.retain(|name| *name >= cursor.topic_name);
        if names.first() != Some(&cursor.topic_name) || first.is_none() {
            from = 0;
        }
    }
    let mut left = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if left == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
            break;
        }
        let (topic, next) = page(cx, &image, &name, from, left);
        from = 0;
        left -= i32::try_from(topic.partitions.len()).unwrap_or(left);
        response.topics.push(topic);
        if let Some(partition_index) = next {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index });
            break;
        }
    }
    response
}

/// Up to `limit` partitions of a topic from partition `from` on, and the partition to go on with if there are more.
fn page(
    cx: &Cx,
    image: &Image,
    name: &str,
    from: i32,
    limit: i32,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let Some(topic) = image.topic(name) else {
        let error = if ottla_core::controller::check_name(name).is_ok() {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            ErrorCode::INVALID_TOPIC_EXCEPTION
        };
        let topic = DescribeTopicPartitionsResponseTopic {
            error_code: error.code(),
            name: Some(name.to_owned()),
            ..Default::default()
        };
        return (topic, None);
    };
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let until = from.saturating_add(limit).min(count);
    (described(cx, image, topic, from, until), (until < count).then_some(until))
}

fn described(
    cx: &Cx,
    image: &Image,
    topic: &Arc<Topic>,
    from: i32,
    until: i32,
) -> DescribeTopicPartitionsResponseTopic {
    let pages = topic.indexed().filter(|(index, _)| (from..until).contains(&index.get()));
    let partitions = pages
        .map(|(index, partition)| DescribeTopicPartitionsResponsePartition {
            partition_index: index.get(),
            leader_id: leader(cx, image, partition).0.map_or(-1, BrokerId::get),
            leader_epoch: partition.leader_epoch.get(),
            replica_nodes: ids(&partition.replicas),
            isr_nodes: ids(&partition.isr),
            eligible_leader_replicas: Some(ids(&partition.elr)),
            last_known_elr: Some(ids(&partition.last_known_elr)),
            offline_replicas: offline(image, partition),
            ..Default::default()
        })
        .collect();
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id.to_bytes(),
        is_internal: topic.internal,
        partitions,
        ..Default::default()
    }
}
