//! DeleteRecords, versions 0 to 2: moves the start of partitions up.
//!
//! Owns the answer's order: the new start is durable here before followers are told, and they have removed the records too
//! before it is answered, as far as their brokers are in service. Who has not within the request's time is named by
//! REQUEST_TIMED_OUT on the partition; the records are gone here all the same, and there later.

use std::time::{Duration, Instant};

use ottla_core::types::Offset;
use ottla_log::partition::DeleteRecordsError;
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use ottla_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::lookup::{self, Found};
use crate::partitions::Kept;
use crate::server::dispatch::Cx;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// A partition whose start has moved here, and to where.
type Moved = Result<(Found, Offset), ErrorCode>;

/// Moves each partition's start, then waits until all moves have reached the followers.
pub async fn handle(cx: &Cx, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let until = cx.node.clock.monotonic() + patience;
    let image = cx.node.metadata.image();
    let mut started: Vec<(String, Vec<(i32, Moved)>)> = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let moved = match lookup::by_name(&cx.node, &image, &topic.name, index, lookup::NO_EPOCH) {
                Ok(found) => move_start(cx, &found, wanted.offset).await.map(|start| (found, start)),
                Err(error) => Err(error),
            };
            partitions.push((index, moved));
        }
        started.push((topic.name, partitions));
    }
    // Followers remove the records of all partitions at once: only then is any of them waited for.
    let mut topics = Vec::with_capacity(started.len());
    for (name, moves) in started {
        let mut partitions = Vec::with_capacity(moves.len());
        for (partition_index, moved) in moves {
            let (low, error) = finish(moved, until).await;
            let (low_watermark, error_code) = (low.map_or(-1, Offset::get), error.code());
            partitions.push(DeleteRecordsPartitionResult { partition_index, low_watermark, error_code });
        }
        topics.push(DeleteRecordsTopicResult { name, partitions });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

/// Waits for the followers; the low watermark, as far as it is known, and the partition's error.
async fn finish(moved: Moved, until: Instant) -> (Option<Offset>, ErrorCode) {
    let (found, start) = match moved {
        Ok(moved) => moved,
        Err(error) => return (None, error),
    };
    match found.replica.removed_below(start, found.leader_epoch, until).await {
        Ok(low) => (Some(low), ErrorCode::NONE),
        Err(Kept::TimedOut(low)) => (low, ErrorCode::REQUEST_TIMED_OUT),
        Err(Kept::LeadershipEnded) => (None, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    }
}

async fn move_start(cx: &Cx, found: &Found, wanted: i64) -> Result<Offset, ErrorCode> {
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
