//! OffsetFetch, versions 1 to 10: what groups have committed.
//!
//! Versions: 2 asks for everything with null topics and has an error for the whole, 5 leader epochs, 7 stable offsets
//! (KIP-447), 8 several groups (KIP-709), 9 member epochs (of the newer protocol; ignored for classic groups), 10 topics
//! by id. What is not committed is answered with −1 and no error; while the group is being loaded that is an error (G2).

use std::sync::Arc;

use ottla_core::group::message::{Fetch, FetchedTopic};
use ottla_core::group::{CommittedOffset, GroupId, TopicName};
use ottla_core::metadata::Image;
use ottla_core::types::{PartitionIndex, TopicId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use ottla_wire::messages::{OffsetFetchRequest, OffsetFetchResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Answers group by group.
pub async fn handle(cx: &Cx, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let image = cx.node.metadata.image();
    if cx.version >= 8 {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            groups.push(fetch_group(cx, &image, group, request.require_stable).await);
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let topics = request.topics.map(|topics| {
        let named = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        named.collect()
    });
    let group = OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
    single(cx.version, fetch_group(cx, &image, group, request.require_stable).await)
}

/// The form of versions 1 to 7: one group. Version 1 has no place for an error but the partitions.
fn single(version: i16, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let failed = group.error_code;
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: if failed == 0 { partition.error_code } else { failed },
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    let topics = if failed != 0 && version >= 2 { Vec::new() } else { group.topics };
    OffsetFetchResponse { topics: topics.into_iter().map(topic).collect(), error_code: failed, ..Default::default() }
}

async fn fetch_group(
    cx: &Cx,
    image: &Arc<Image>,
    wanted: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let group = GroupId::from(wanted.group_id.as_str());
    let everything = wanted.topics.is_none();
    let resolved = wanted.topics.map(|topics| resolve(cx.version, image, topics));
    let named = resolved.as_ref().map(|topics| {
        let known = topics.iter().filter_map(|topic| Some((topic.name.clone()?, topic.partitions())));
        known.collect()
    });
    let fetch = Fetch { group: group.clone(), topics: named, require_stable };
    let reply = cx.node.groups.fetch(fetch).await;
    let mut response = OffsetFetchResponseGroup { group_id: wanted.group_id, ..Default::default() };
    match reply {
        Err(error) => {
            response.error_code = error_code(error).code();
            // Version 1 tells it partition by partition.
            response.topics = resolved.into_iter().flatten().map(|topic| topic.answer(&[])).collect();
            if cx.version >= 2 {
                response.topics.clear();
            }
        }
        Ok(fetched) if everything => {
            response.topics = fetched.into_iter().filter_map(|topic| whole(cx.version, image, topic)).collect();
        }
        Ok(fetched) => {
            let mut fetched = fetched.into_iter();
            let answers = resolved.into_iter().flatten().map(|topic| {
                let found = if topic.name.is_some() { fetched.next() } else { None };
                topic.answer(found.as_ref().map_or(&[], |found| &found.partitions))
            });
            response.topics = answers.collect();
        }
    }
    response
}

/// A topic that was asked for; without a name it is an id that names nothing.
struct Wanted {
    name: Option<TopicName>,
    asked: OffsetFetchRequestTopics,
}

fn resolve(version: i16, image: &Image, topics: Vec<OffsetFetchRequestTopics>) -> Vec<Wanted> {
    let one = |asked: OffsetFetchRequestTopics| {
        let name = if version >= 10 {
            let topic = image.topic_by_id(TopicId::from_bytes(asked.topic_id));
            topic.map(|topic| TopicName::from(topic.name.as_str()))
        } else {
            Some(TopicName::from(asked.name.as_str()))
        };
        Wanted { name, asked }
    };
    topics.into_iter().map(one).collect()
}

impl Wanted {
    fn partitions(&self) -> Vec<PartitionIndex> {
        self.asked.partition_indexes.iter().copied().map(PartitionIndex::new).collect()
    }

    fn answer(self, found: &[(PartitionIndex, Option<CommittedOffset>)]) -> OffsetFetchResponseTopics {
        let error = if self.name.is_some() { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_ID };
        let mut found = found.iter();
        let one = |index: i32| partition(index, found.next().and_then(|(_, value)| value.as_ref()), error);
        let partitions = self.asked.partition_indexes.iter().copied().map(one).collect();
        OffsetFetchResponseTopics { name: self.asked.name, topic_id: self.asked.topic_id, partitions }
    }
}

/// A topic of an answer to "everything"; by id it cannot be told if it is gone.
fn whole(version: i16, image: &Image, topic: FetchedTopic) -> Option<OffsetFetchResponseTopics> {
    let id = image.topic(topic.topic.as_str()).map(|topic| topic.id.to_bytes());
    if version >= 10 && id.is_none() {
        return None;
    }
    let one = |(index, value): &(PartitionIndex, Option<CommittedOffset>)| {
        partition(index.get(), value.as_ref(), ErrorCode::NONE)
    };
    Some(OffsetFetchResponseTopics {
        name: topic.topic.as_str().to_owned(),
        topic_id: id.unwrap_or_default(),
        partitions: topic.partitions.iter().map(one).collect(),
    })
}

fn partition(index: i32, value: Option<&CommittedOffset>, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: value.map_or(-1, |value| value.offset.get()),
        committed_leader_epoch: value.map_or(-1, |value| value.leader_epoch.get()),
        metadata: Some(value.map(|value| value.metadata.clone()).unwrap_or_default()),
        error_code: error.code(),
    }
}
