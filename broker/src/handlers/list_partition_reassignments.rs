//! ListPartitionReassignments, version 0 (KIP-455): what is moving, from whom to whom.
//!
//! The controller answers, so that a move that was accepted anywhere is seen everywhere.

use std::collections::BTreeMap;

use ottla_core::controller::NamedPartition;
use ottla_core::types::PartitionIndex;
use ottla_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use ottla_wire::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::metadata::ids;
use crate::controller::wait_of;
use crate::server::dispatch::Cx;

/// Answers by topics; what is not moving is not listed.
pub async fn handle(cx: &Cx, request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    let wanted = request.topics.map(|topics| topics.into_iter().flat_map(named).collect());
    let moving = match cx.node.controller.list_reassignments(wanted, wait_of(request.timeout_ms)).await {
        Ok(moving) => moving,
        Err(refusal) => {
            return ListPartitionReassignmentsResponse {
                error_code: refusal.code.code(),
                error_message: Some(refusal.message),
                ..Default::default()
            };
        }
    };
    let mut topics: BTreeMap<String, Vec<OngoingPartitionReassignment>> = BTreeMap::new();
    for moving in moving {
        topics.entry(moving.partition.topic).or_default().push(OngoingPartitionReassignment {
            partition_index: moving.partition.partition.get(),
            replicas: ids(&moving.replicas),
            adding_replicas: ids(&moving.adding),
            removing_replicas: ids(&moving.removing),
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| OngoingTopicReassignment { name, partitions });
    ListPartitionReassignmentsResponse { topics: topics.collect(), ..Default::default() }
}

fn named(topic: ListPartitionReassignmentsTopics) -> impl Iterator<Item = NamedPartition> {
    let name = topic.name;
    let one = move |index| NamedPartition { topic: name.clone(), partition: PartitionIndex::new(index) };
    topic.partition_indexes.into_iter().map(one)
}
