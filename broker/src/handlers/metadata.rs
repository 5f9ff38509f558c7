//! Metadata, versions 0 to 13: brokers, topics and who leads what.
//!
//! Versions: 1 controller and racks, 2 cluster id, 4 a client may forbid automatic creation, 5 offline replicas, 7
//! leader epochs, 8 authorized operations, 10 topic ids, 12 topics by id alone, 13 a top-level error (KIP-1102).
//! Every broker is named by the address of the listener that the client came through. Must never name a leader that
//! does not serve yet.

use std::sync::Arc;

use ottla_core::metadata::{Image, Partition, Topic};
use ottla_core::types::{BrokerId, TopicId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::messages::{MetadataRequest, MetadataResponse};

use crate::server::dispatch::Cx;

/// Answers from the image, creating topics that may be created on demand first.
pub async fn handle(cx: &Cx, request: MetadataRequest) -> MetadataResponse {
    let mut image = cx.node.metadata.image();
    // Version 0 says "all topics" with an empty list, later ones with null.
    let wanted = request.topics.filter(|topics| cx.version > 0 || !topics.is_empty());
    let topics = match wanted {
        None => image.topics().values().map(|topic| described(cx, &image, topic)).collect(),
        Some(wanted) => {
            let may_create = cx.version < 4 || request.allow_auto_topic_creation;
            let mut failed = Vec::new();
            if may_create && cx.node.config.auto_create_topics() {
                let absent = wanted.iter().filter(|topic| topic_id(topic).is_none());
                let absent = absent.filter_map(|topic| topic.name.clone());
                let absent: Vec<String> = absent.filter(|name| image.topic(name).is_none()).collect();
                if !absent.is_empty() {
                    failed = cx.node.create_on_demand(absent).await;
                    image = cx.node.metadata.image();
                }
            }
            let one = |topic: &MetadataRequestTopic| match (topic_id(topic), &topic.name) {
                (Some(id), _) => by_id(cx, &image, id),
                (None, Some(name)) => match image.topic(name) {
                    Some(topic) => described(cx, &image, topic),
                    None => unknown(name, &failed),
                },
                (None, None) => by_id(cx, &image, TopicId::ZERO),
            };
            wanted.iter().map(one).collect()
        }
    };
    MetadataResponse {
        brokers: brokers(cx, &image),
        cluster_id: Some(image.cluster_id().to_string()),
        controller_id: image.controller().map_or(-1, BrokerId::get),
        topics,
        ..Default::default()
    }
}

/// The brokers, by the addresses of the session's listener.
pub fn brokers(cx: &Cx, image: &Image) -> Vec<MetadataResponseBroker> {
    let listener = &cx.session.listener.name;
    let reachable = image.brokers().values().filter(|broker| !broker.fenced);
    reachable
        .filter_map(|broker| {
            let endpoint = broker.endpoints.get(listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.id.get(),
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
            })
        })
        .collect()
}

fn described(cx: &Cx, image: &Image, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let partitions = topic.indexed().map(|(index, partition)| described_partition(cx, image, index.get(), partition));
    MetadataResponseTopic {
        error_code: ErrorCode::NONE.code(),
        name: Some(topic.name.clone()),
        topic_id: topic.id.to_bytes(),
        is_internal: topic.internal,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn described_partition(cx: &Cx, image: &Image, index: i32, partition: &Partition) -> MetadataResponsePartition {
    let (leader, error) = leader(cx, image, partition);
    // Clients of older versions do not know the other code.
    let error =
        if error == ErrorCode::LISTENER_NOT_FOUND && cx.version < 6 { ErrorCode::LEADER_NOT_AVAILABLE } else { error };
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: index,
        leader_id: leader.map_or(-1, BrokerId::get),
        leader_epoch: partition.leader_epoch.get(),
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        offline_replicas: offline(image, partition),
    }
}

/// Who leads, as clients of the session's listener may know it: nobody, if the leader has no address there (yet).
pub fn leader(cx: &Cx, image: &Image, partition: &Partition) -> (Option<BrokerId>, ErrorCode) {
    let Some(leader) = partition.leader else { return (None, ErrorCode::LEADER_NOT_AVAILABLE) };
    let listener = &cx.session.listener.name;
    // Of a leader that is just being unregistered nobody says that it has no address.
    match image.broker(leader).is_none_or(|broker| broker.endpoints.contains_key(listener)) {
        true => (Some(leader), ErrorCode::NONE),
        false => (None, ErrorCode::LISTENER_NOT_FOUND),
    }
}

/// Replicas on brokers that are dead, or not admitted.
pub fn offline(image: &Image, partition: &Partition) -> Vec<i32> {
    let lives = |id: &BrokerId| image.broker(*id).is_some_and(|broker| !broker.fenced);
    partition.replicas.iter().filter(|id| !lives(id)).map(|id| id.get()).collect()
}

/// Broker ids as the wire has them.
pub fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.get()).collect()
}

/// The id that a topic is asked for by. Java leaves the name empty beside it, not null.
fn topic_id(topic: &MetadataRequestTopic) -> Option<TopicId> {
    Some(TopicId::from_bytes(topic.topic_id)).filter(|id| !id.is_zero())
}

fn unknown(name: &str, failed: &[(String, ErrorCode)]) -> MetadataResponseTopic {
    let refused = failed.iter().find(|(failed, _)| failed == name).map(|(_, error)| *error);
    let error = refused.unwrap_or_else(|| {
        if ottla_core::controller::check_name(name).is_ok() {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            ErrorCode::INVALID_TOPIC_EXCEPTION
        }
    });
    MetadataResponseTopic { error_code: error.code(), name: Some(name.to_owned()), ..Default::default() }
}

fn by_id(cx: &Cx, image: &Image, id: TopicId) -> MetadataResponseTopic {
    match image.topic_by_id(id) {
        Some(topic) => described(cx, image, topic),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UNKNOWN_TOPIC_ID.code(),
            topic_id: id.to_bytes(),
            ..Default::default()
        },
    }
}
