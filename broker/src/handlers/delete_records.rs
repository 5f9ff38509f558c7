//! DeleteRecords, versions 0 to 2: moves the start of partitions up.
//!
//! Owns the answer's order: the new start is durable here before it is answered, waiting fetches look again, and followers
//! are told. An answer does not wait for them.

use ottla_core::types::Offset;
use ottla_log::partition::DeleteRecordsError;
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use ottla_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::lookup;
use crate::server::dispatch::Cx;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// Moves each partition's start and waits until all moves are durable.
pub async fn handle(cx: &Cx, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = cx.node.metadata.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let found = lookup::by_name(&cx.node, &image, &topic.name, wanted.partition_index, lookup::NO_EPOCH);
            let moved = match found {
                Ok(found) => move_start(cx, &found, wanted.offset).await,
                Err(error) => Err(error),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark: moved.map_or(-1, Offset::get),
                error_code: moved.err().unwrap_or(ErrorCode::NONE).code(),
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

async fn move_start(cx: &Cx, found: &lookup::Found, wanted: i64) -> Result<Offset, ErrorCode> {
    if found.topic.internal {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    found.confirmed()?;
    let end = found.replica.high_watermark();
    let to = if wanted == HIGH_WATERMARK { end } else { Offset::new(wanted) };
    if to > end || wanted < HIGH_WATERMARK {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let (start, lsn) = found.replica.log.delete_records(to).map_err(|error| match error {
        DeleteRecordsError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        DeleteRecordsError::Deleted => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        DeleteRecordsError::Full => ErrorCode::REQUEST_TIMED_OUT,
        DeleteRecordsError::Offline(_) => ErrorCode::KAFKA_STORAGE_ERROR,
    })?;
    cx.node.log.durable(lsn).await.map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
    found.replica.start_moved();
    Ok(start)
}
