//! ListOffsets, versions 1 to 11: the offset at a time, or at one of the ends.
//!
//! Versions: 2 isolation levels, 4 leader epochs, 7 the record with the largest timestamp (−3), 8 and 9 the local log's
//! start (−4) and the last tiered offset (−5), 11 the earliest offset still to be tiered (−6). Nothing is tiered: the
//! local log begins at the log start, and there is no last tiered offset.
//! Must never answer past the high watermark.

use std::sync::Arc;

use ottla_core::types::{LeaderEpoch, Offset, Timestamp};
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_offsets_request::ListOffsetsPartition;
use ottla_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::lookup::{self, Found};
use crate::node::Node;
use crate::server::dispatch::Cx;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Answers each partition by itself; a search by time reads from disk, where that may be waited for.
pub async fn handle(cx: &Cx, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let searches = |wanted: &ListOffsetsPartition| wanted.timestamp >= 0 || wanted.timestamp == MAX_TIMESTAMP;
    let (node, version) = (Arc::clone(&cx.node), cx.version);
    if request.topics.iter().flat_map(|topic| &topic.partitions).any(searches) {
        cx.node.cold_reads.run(move || answer(&node, version, request)).await
    } else {
        answer(&node, version, request)
    }
}

fn answer(node: &Node, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let image = node.metadata.image();
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let one = |wanted: ListOffsetsPartition| {
                let found =
                    lookup::by_name(node, &image, &topic.name, wanted.partition_index, wanted.current_leader_epoch);
                let answered = found.and_then(|found| offset(version, &found, &wanted));
                match answered {
                    Ok((timestamp, offset, epoch)) => ListOffsetsPartitionResponse {
                        partition_index: wanted.partition_index,
                        timestamp: timestamp.get(),
                        offset: offset.get(),
                        // Before version 4 there is no field for it.
                        leader_epoch: if version >= 4 { epoch.get() } else { -1 },
                        ..Default::default()
                    },
                    Err(error) => ListOffsetsPartitionResponse {
                        partition_index: wanted.partition_index,
                        error_code: error.code(),
                        ..Default::default()
                    },
                }
            };
            ListOffsetsTopicResponse { partitions: topic.partitions.into_iter().map(one).collect(), name: topic.name }
        })
        .collect();
    ListOffsetsResponse { topics, ..Default::default() }
}

type Answered = (Timestamp, Offset, LeaderEpoch);

fn offset(version: i16, found: &Found, wanted: &ListOffsetsPartition) -> Result<Answered, ErrorCode> {
    found.check_epoch(wanted.current_leader_epoch)?;
    let log = &found.replica.log;
    found.confirmed()?;
    let unknown = if version < 5 { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::OFFSET_NOT_AVAILABLE };
    let end = found.replica.shown_watermark().ok_or(unknown)?;
    let needs = match wanted.timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 1,
    };
    if version < needs {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    let none = (Timestamp::NONE, Offset::new(-1), LeaderEpoch::NONE);
    let storage = |_| ErrorCode::KAFKA_STORAGE_ERROR;
    match wanted.timestamp {
        LATEST => Ok((Timestamp::NONE, end, found.leader_epoch)),
        EARLIEST | EARLIEST_LOCAL | EARLIEST_PENDING_UPLOAD => {
            let start = log.log_start();
            Ok((Timestamp::NONE, start, log.epoch_at(start).unwrap_or(found.leader_epoch)))
        }
        MAX_TIMESTAMP => Ok(log.max_timestamp(end).map_err(storage)?.unwrap_or(none)),
        LATEST_TIERED => Ok(none),
        timestamp if timestamp >= 0 => {
            Ok(log.offset_for_timestamp(Timestamp::new(timestamp), end).map_err(storage)?.unwrap_or(none))
        }
        _ => Err(ErrorCode::UNSUPPORTED_VERSION),
    }
}
