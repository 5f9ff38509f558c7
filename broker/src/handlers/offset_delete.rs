//! OffsetDelete, version 0: a group forgets positions that it does not use (KIP-496).

use ottla_core::group::message::DeleteOffsets;
use ottla_core::group::{CommittedPartition, Error, GroupId, TopicName};
use ottla_core::types::PartitionIndex;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use ottla_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Answers partition by partition; a topic that does not exist is named as such.
pub async fn handle(cx: &Cx, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = cx.node.metadata.image();
    let group = GroupId::from(request.group_id.as_str());
    let mut partitions = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let known = image.topic(&topic.name).is_some();
        let name = TopicName::from(topic.name.as_str());
        let error = if known { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            if known {
                partitions.push(CommittedPartition { topic: name.clone(), partition: PartitionIndex::new(index) });
            }
            answers.push(OffsetDeleteResponsePartition { partition_index: index, error_code: error.code() });
        }
        topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions: answers });
    }
    let delete = DeleteOffsets { group: group.clone(), partitions };
    match cx.node.groups.delete_offsets(delete).await {
        Err(error) => OffsetDeleteResponse { error_code: error_code(error).code(), ..Default::default() },
        Ok(outcomes) => {
            fill(&mut topics, outcomes);
            OffsetDeleteResponse { topics, ..Default::default() }
        }
    }
}

/// Gives the partitions that exist, which have no error yet, their outcomes in order.
fn fill(topics: &mut [OffsetDeleteResponseTopic], outcomes: Vec<Option<Error>>) {
    let open = topics.iter_mut().flat_map(|topic| &mut topic.partitions).filter(|partition| partition.error_code == 0);
    for (partition, error) in open.zip(outcomes) {
        partition.error_code = error.map_or(0, |error| error_code(error).code());
    }
}
