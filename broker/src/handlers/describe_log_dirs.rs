//! DescribeLogDirs, versions 1 to 5: what the data directory holds and has room for.
//!
//! Versions: 3 a top-level error, 4 total and usable bytes, 5 cordoned directories (KIP-1066; none is).

use std::collections::BTreeMap;

use ottla_core::types::{PartitionIndex, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::server::dispatch::Cx;

/// Answers for the one data directory of this broker; all topics where the request names none.
pub async fn handle(cx: &Cx, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let image = cx.node.metadata.image();
    let wanted: BTreeMap<String, Vec<i32>> = match request.topics {
        Some(topics) => topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect(),
        None => {
            let all = image.topics().values();
            all.map(|topic| (topic.name.clone(), topic.indexed().map(|(index, _)| index.get()).collect())).collect()
        }
    };
    let mut topics = Vec::new();
    for (name, indexes) in wanted {
        let Some(topic) = image.topic(&name) else { continue };
        let one = |index: i32| {
            let replica = cx.node.partitions.get(TopicPartition::new(topic.id, PartitionIndex::new(index)))?;
            let partition_size = i64::try_from(replica.log.size_bytes()).unwrap_or(i64::MAX);
            Some(DescribeLogDirsPartition { partition_index: index, partition_size, ..Default::default() })
        };
        let partitions: Vec<_> = indexes.into_iter().filter_map(one).collect();
        if !partitions.is_empty() {
            topics.push(DescribeLogDirsTopic { name, partitions });
        }
    }
    let offline = cx.node.partitions.offline_reason().is_some();
    let error = if offline { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NONE };
    let space = cx.node.log.space();
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let result = DescribeLogDirsResult {
        error_code: error.code(),
        log_dir: cx.node.config.log_dir().display().to_string(),
        topics,
        total_bytes: bytes(space.map(|space| space.total)),
        usable_bytes: bytes(space.map(|space| space.free)),
        ..Default::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..Default::default() }
}
