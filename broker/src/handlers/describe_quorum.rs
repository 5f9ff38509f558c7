//! DescribeQuorum, versions 0 to 2, for tools that ask who the controller is and whether brokers keep up.
//!
//! There is no quorum of voters here: a Lease elects, and compare-and-swap on documents decides. The answer says what there
//! is in the words that there are: every registered broker is a voter, the controller leads, its epoch is the leader's. In
//! place of offsets in a log of metadata stands the controller's epoch, which is what this broker knows of all of them: those
//! that live stand at it, the fenced ones do not, and are as far behind as there are epochs.
//! Versions: 1 when voters fetched last, 2 directories, addresses and messages (KIP-853).

use ottla_core::metadata::{Broker, Image};
use ottla_core::types::BrokerId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_quorum_request::TopicData as Asked;
use ottla_wire::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use ottla_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use crate::server::dispatch::Cx;

/// The one topic that tools ask for; no such topic is kept.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Answers from the image.
pub async fn handle(cx: &Cx, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let image = cx.node.metadata.image();
    let topic = |asked: Asked| TopicData {
        partitions: asked
            .partitions
            .into_iter()
            .map(|partition| described(cx, &image, &asked.topic_name, partition.partition_index))
            .collect(),
        topic_name: asked.topic_name,
    };
    DescribeQuorumResponse {
        topics: request.topics.into_iter().map(topic).collect(),
        // Before version 2 there is no place for them.
        nodes: if cx.version >= 2 { nodes(&image, &cx.session.listener.name) } else { Vec::new() },
        ..Default::default()
    }
}

fn described(cx: &Cx, image: &Image, topic: &str, partition_index: i32) -> PartitionData {
    let refused = |error: ErrorCode, message: String| PartitionData {
        partition_index,
        error_code: error.code(),
        error_message: Some(message),
        leader_id: -1,
        leader_epoch: -1,
        ..Default::default()
    };
    if topic != METADATA_TOPIC || partition_index != 0 {
        let message = format!("there is a quorum of {METADATA_TOPIC} partition 0 only");
        return refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message);
    }
    let Some(controller) = image.controller() else {
        return refused(ErrorCode::LEADER_NOT_AVAILABLE, "there is no controller".to_owned());
    };
    let epoch = image.epoch().get();
    PartitionData {
        partition_index,
        leader_id: controller.get(),
        leader_epoch: i32::try_from(epoch).unwrap_or(i32::MAX),
        high_watermark: epoch,
        current_voters: image.brokers().values().map(|broker| voter(cx, broker, epoch)).collect(),
        ..Default::default()
    }
}

fn voter(cx: &Cx, broker: &Broker, epoch: i64) -> ReplicaState {
    let (end, at) = if broker.fenced { (0, -1) } else { (epoch, cx.received.get()) };
    ReplicaState {
        replica_id: broker.id.get(),
        // Before version 2 there is no place for it.
        replica_directory_id: if cx.version >= 2 { broker.directory.to_bytes() } else { [0; 16] },
        log_end_offset: end,
        last_fetch_timestamp: at,
        last_caught_up_timestamp: at,
    }
}

fn nodes(image: &Image, listener: &str) -> Vec<Node> {
    let node = |(id, broker): (&BrokerId, &Broker)| {
        let endpoint = broker.endpoints.get(listener)?;
        let listener = Listener { name: listener.to_owned(), host: endpoint.host.clone(), port: endpoint.port };
        Some(Node { node_id: id.get(), listeners: vec![listener] })
    };
    image.brokers().iter().filter_map(node).collect()
}
