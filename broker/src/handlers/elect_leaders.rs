//! ElectLeaders, versions 0 to 2 (KIP-183, KIP-460): the preferred leader, or any replica where records may be lost.
//!
//! Versions: 1 unclean elections and a top-level error. A request for all partitions is answered for those that needed an
//! election only.

use ottla_core::controller::{ElectionKind, NamedPartition};
use ottla_core::types::PartitionIndex;
use ottla_wire::ErrorCode;
use ottla_wire::messages::elect_leaders_request::TopicPartitions;
use ottla_wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use crate::controller::{Refusal, wait_of};
use crate::server::dispatch::Cx;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Has the controller elect, and answers by topics, in the order of the request.
pub async fn handle(cx: &Cx, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let named: Option<Vec<NamedPartition>> =
        request.topic_partitions.map(|topics| topics.into_iter().flat_map(named).collect());
    let kind = match request.election_type {
        PREFERRED => ElectionKind::Preferred,
        UNCLEAN => ElectionKind::Unclean,
        other => {
            let message = format!("{other} is no type of election: {PREFERRED} is preferred, {UNCLEAN} is unclean");
            return refused(named, &Refusal { code: ErrorCode::INVALID_REQUEST, message });
        }
    };
    match cx.node.controller.elect_leaders(kind, named.clone(), wait_of(request.timeout_ms)).await {
        Ok(elected) => ElectLeadersResponse { replica_election_results: by_topic(elected), ..Default::default() },
        Err(refusal) => refused(named, &refusal),
    }
}

fn named(topic: TopicPartitions) -> impl Iterator<Item = NamedPartition> {
    let name = topic.topic;
    let one = move |index| NamedPartition { topic: name.clone(), partition: PartitionIndex::new(index) };
    topic.partitions.into_iter().map(one)
}

/// Version 0 has no place for an error but beside each partition.
fn refused(named: Option<Vec<NamedPartition>>, refusal: &Refusal) -> ElectLeadersResponse {
    let each = named.into_iter().flatten().map(|named| (named, Err(refusal.clone())));
    ElectLeadersResponse {
        error_code: refusal.code.code(),
        replica_election_results: by_topic(each),
        ..Default::default()
    }
}

fn by_topic(elected: impl IntoIterator<Item = (NamedPartition, Result<(), Refusal>)>) -> Vec<ReplicaElectionResult> {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for (NamedPartition { topic, partition }, result) in elected {
        let (error_code, error_message) = match result {
            Ok(()) => (ErrorCode::NONE, None),
            Err(refusal) => (refusal.code, Some(refusal.message)),
        };
        let one = PartitionResult { partition_id: partition.get(), error_code: error_code.code(), error_message };
        match topics.last_mut().filter(|last| last.topic == topic) {
            Some(last) => last.partition_result.push(one),
            None => topics.push(ReplicaElectionResult { topic, partition_result: vec![one] }),
        }
    }
    topics
}
