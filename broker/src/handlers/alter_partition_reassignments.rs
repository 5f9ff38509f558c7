//! AlterPartitionReassignments, versions 0 and 1 (KIP-455): partitions move to other brokers, or stop moving.
//!
//! Versions: 1 a client may rule out that the number of replicas changes. The answer comes when the move is decided, not
//! when it is done: ListPartitionReassignments shows it while it goes on.

use ottla_core::controller::{Move, NamedPartition};
use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_wire::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use crate::controller::{Refusal, wait_of};
use crate::server::dispatch::Cx;

/// Has the controller begin or cancel the moves, and answers in the order of the request.
pub async fn handle(cx: &Cx, request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse {
    let may_change_factor = request.allow_replication_factor_change;
    let mut moves = Vec::new();
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let partition =
                NamedPartition { topic: topic.name.clone(), partition: PartitionIndex::new(wanted.partition_index) };
            let target = wanted.replicas.map(|ids| ids.into_iter().map(BrokerId::new).collect());
            moves.push(Move { partition, target });
            let partition_index = wanted.partition_index;
            partitions.push(ReassignablePartitionResponse { partition_index, ..Default::default() });
        }
        responses.push(ReassignableTopicResponse { name: topic.name, partitions });
    }
    let results = cx.node.controller.reassign(moves, may_change_factor, wait_of(request.timeout_ms)).await;
    let whole = whole(&results);
    let each = responses.iter_mut().flat_map(|topic| &mut topic.partitions);
    for (partition, result) in each.zip(results) {
        if let Err(refusal) = result {
            // What refused the whole is said once.
            let message = Some(refusal.message).filter(|_| whole.is_none());
            (partition.error_code, partition.error_message) = (refusal.code.code(), message);
        }
    }
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_change_factor,
        error_code: whole.as_ref().map_or(ErrorCode::NONE, |refusal| refusal.code).code(),
        error_message: whole.map(|refusal| refusal.message),
        responses,
        ..Default::default()
    }
}

/// What kept the whole request from being decided.
fn whole(results: &[Result<(), Refusal>]) -> Option<Refusal> {
    let undecided = |code| code == ErrorCode::REQUEST_TIMED_OUT || code == ErrorCode::POLICY_VIOLATION;
    let first = results.first()?.as_ref().err()?;
    undecided(first.code).then(|| first.clone())
}
