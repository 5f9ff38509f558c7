//! OffsetCommit, versions 2 to 10: a group keeps its positions.
//!
//! Versions: 2 to 4 state a retention, 6 leader epochs, 7 static members, 9 an error of its own for an unknown group,
//! 10 topics by id. What is committed to must exist; whether it may be is the machine's question.

use ottla_core::group::message::{Commit, CommitPartition};
use ottla_core::group::{CommittedPartition, Error, Generation, GroupId, InstanceId, MemberId, TopicName};
use ottla_core::metadata::{Image, Topic};
use ottla_core::types::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use ottla_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Answers partition by partition, once what was accepted is in the log.
pub async fn handle(cx: &Cx, mut request: OffsetCommitRequest) -> OffsetCommitResponse {
    let image = cx.node.metadata.image();
    let mut accepted = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in std::mem::take(&mut request.topics) {
        topics.push(check(cx.version, &image, topic, &mut accepted));
    }
    if !accepted.is_empty() {
        let outcome = commit(cx, request, accepted).await;
        fill(&mut topics, outcome);
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

/// Sorts out partitions that do not exist; the accepted ones get their outcome later, in the same order.
fn check(
    version: i16,
    image: &Image,
    wanted: OffsetCommitRequestTopic,
    accepted: &mut Vec<CommitPartition>,
) -> OffsetCommitResponseTopic {
    let (topic, unknown) = if version >= 10 {
        (image.topic_by_id(TopicId::from_bytes(wanted.topic_id)), ErrorCode::UNKNOWN_TOPIC_ID)
    } else {
        (image.topic(&wanted.name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    };
    let name = topic.map(|topic| TopicName::from(topic.name.as_str()));
    let one = |partition: OffsetCommitRequestPartition| {
        let index = PartitionIndex::new(partition.partition_index);
        let error = match (&name, topic) {
            (Some(name), Some(topic)) if exists(topic, index) => {
                accepted.push(CommitPartition {
                    partition: CommittedPartition { topic: name.clone(), partition: index },
                    offset: Offset::new(partition.committed_offset),
                    leader_epoch: LeaderEpoch::new(partition.committed_leader_epoch),
                    metadata: partition.committed_metadata,
                    topic_id: topic.id,
                });
                ErrorCode::NONE
            }
            (_, Some(_)) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            (_, None) => unknown,
        };
        OffsetCommitResponsePartition { partition_index: partition.partition_index, error_code: error.code() }
    };
    let partitions = wanted.partitions.into_iter().map(one).collect();
    OffsetCommitResponseTopic { name: wanted.name, topic_id: wanted.topic_id, partitions }
}

fn exists(topic: &Topic, index: PartitionIndex) -> bool {
    topic.partition(index).is_some()
}

async fn commit(
    cx: &Cx,
    request: OffsetCommitRequest,
    partitions: Vec<CommitPartition>,
) -> Result<Vec<Option<Error>>, Error> {
    let group = GroupId::from(request.group_id.as_str());
    let commit = Commit {
        group: group.clone(),
        member: MemberId::new(request.member_id),
        instance: request.group_instance_id.map(InstanceId::new),
        generation: Generation::new(request.generation_id_or_member_epoch),
        retention_ms: request.retention_time_ms,
        unknown_group_named: cx.version >= 9,
        partitions,
    };
    cx.node.groups.commit(commit).await
}

/// Gives the accepted partitions, which have no error yet, their outcomes in order.
fn fill(topics: &mut [OffsetCommitResponseTopic], outcome: Result<Vec<Option<Error>>, Error>) {
    let open = topics.iter_mut().flat_map(|topic| &mut topic.partitions).filter(|partition| partition.error_code == 0);
    match outcome {
        Ok(outcomes) => {
            for (partition, error) in open.zip(outcomes) {
                partition.error_code = error.map_or(0, |error| error_code(error).code());
            }
        }
        Err(error) => open.for_each(|partition| partition.error_code = error_code(error).code()),
    }
}
