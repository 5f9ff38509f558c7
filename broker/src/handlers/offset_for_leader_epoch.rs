//! OffsetForLeaderEpoch, versions 2 to 4: where an epoch ends (KIP-101, KIP-320).
//!
//! Owns the answer's ends: those of the leader's log, so that a consumer is never told that committed records are gone.

use ottla_core::types::{LeaderEpoch, Offset};
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ottla_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use ottla_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::lookup;
use crate::partitions::Replica;
use crate::server::dispatch::Cx;

/// Answers each partition by itself.
pub async fn handle(cx: &Cx, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let image = cx.node.metadata.image();
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let one = |wanted: OffsetForLeaderPartition| {
                let found =
                    lookup::by_name(&cx.node, &image, &topic.topic, wanted.partition, wanted.current_leader_epoch);
                let checked = found.and_then(|found| {
                    found.check_epoch(wanted.current_leader_epoch)?;
                    found.confirmed().map(|()| found)
                });
                let mut answer = EpochEndOffset { partition: wanted.partition, ..Default::default() };
                match checked {
                    Ok(found) => {
                        let epoch = LeaderEpoch::new(wanted.leader_epoch);
                        let end = end_of(&found.replica);
                        let known = if epoch == found.leader_epoch {
                            Some((epoch, end))
                        } else {
                            found.replica.log.end_of_epoch(epoch)
                        };
                        if let Some((epoch, last)) = known {
                            answer.leader_epoch = epoch.get();
                            answer.end_offset = last.min(end).get();
                        }
                        answer.error_code = ErrorCode::NONE.code();
                    }
                    Err(error) => answer.error_code = error.code(),
                }
                answer
            };
            let partitions = topic.partitions.into_iter().map(one).collect();
            OffsetForLeaderTopicResult { topic: topic.topic, partitions }
        })
        .collect();
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

/// Where the log ends, for comparing logs. A new leader's high watermark may lag behind what consumers have read from the
/// one before: to end there would tell them that records are gone which are not.
fn end_of(replica: &Replica) -> Offset {
    if replica.is_alone() { replica.high_watermark() } else { replica.log.log_end() }
}
