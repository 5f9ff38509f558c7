//! OffsetForLeaderEpoch, versions 2 to 4: where an epoch ends (KIP-101, KIP-320).
//!
//! Owns the answer's ends: never past the high watermark for a consumer.

use ottla_core::types::LeaderEpoch;
use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ottla_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use ottla_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::lookup;
use crate::server::dispatch::Cx;

/// Answers each partition by itself.
pub async fn handle(cx: &Cx, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let image = cx.node.metadata.image();
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let one = |wanted: OffsetForLeaderPartition| {
                let found = lookup::by_name(&cx.node, &image, &topic.topic, wanted.partition);
                let checked = found.and_then(|found| found.check_epoch(wanted.current_leader_epoch).map(|()| found));
                let mut answer = EpochEndOffset { partition: wanted.partition, ..Default::default() };
                match checked {
                    Ok(found) => {
                        let epoch = LeaderEpoch::new(wanted.leader_epoch);
                        let known = if epoch == found.leader_epoch {
                            Some((epoch, found.replica.high_watermark()))
                        } else {
                            found.replica.log.end_of_epoch(epoch)
                        };
                        if let Some((epoch, end)) = known {
                            answer.leader_epoch = epoch.get();
                            answer.end_offset = end.min(found.replica.high_watermark()).get();
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
