//! DescribeProducers, version 0: who writes idempotently to a partition.

use ottla_wire::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use ottla_wire::messages::{DescribeProducersRequest, DescribeProducersResponse};

use crate::lookup;
use crate::server::dispatch::Cx;

/// Answers each partition by itself.
pub async fn handle(cx: &Cx, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let image = cx.node.metadata.image();
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let one = |partition_index: i32| match lookup::by_name(
                &cx.node,
                &image,
                &topic.name,
                partition_index,
                lookup::NO_EPOCH,
            ) {
                Ok(found) => PartitionResponse {
                    partition_index,
                    active_producers: found.replica.log.producers().into_iter().map(described).collect(),
                    ..Default::default()
                },
                Err(error) => PartitionResponse {
                    partition_index,
                    error_code: error.code(),
                    error_message: Some(format!("{} partition {partition_index}: {error}", topic.name)),
                    ..Default::default()
                },
            };
            let partitions = topic.partition_indexes.iter().copied().map(one).collect();
            TopicResponse { name: topic.name, partitions }
        })
        .collect();
    DescribeProducersResponse { topics, ..Default::default() }
}

fn described(state: ottla_core::producer::ProducerState) -> ProducerState {
    let last = state.batches.last();
    ProducerState {
        producer_id: state.id.get(),
        producer_epoch: i32::from(state.epoch.get()),
        last_sequence: last.map_or(-1, |batch| batch.last.get()),
        last_timestamp: last.map_or(-1, |batch| batch.timestamp.get()),
        coordinator_epoch: -1,
        current_txn_start_offset: -1,
    }
}
