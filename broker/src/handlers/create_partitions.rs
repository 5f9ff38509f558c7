//! CreatePartitions, versions 0 to 3.
//!
//! Records with keys that were written before stay where they are: only new ones go to new partitions.

use ottla_core::controller::Growth;
use ottla_core::types::BrokerId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use crate::controller::{Refusal, wait_of};
use crate::server::dispatch::Cx;

/// Has the controller add partitions, and answers in the order of the request.
pub async fn handle(cx: &Cx, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let topics = request.topics.into_iter().map(read).collect();
    let wait = wait_of(request.timeout_ms);
    let results = cx.node.controller.create_partitions(topics, request.validate_only, wait).await;
    let answered = |(name, result): (String, Result<(), Refusal>)| {
        let (error_code, error_message) = match result {
            Ok(()) => (ErrorCode::NONE, None),
            Err(refusal) => (refusal.code, Some(refusal.message)),
        };
        CreatePartitionsTopicResult { name, error_code: error_code.code(), error_message }
    };
    let results = names.into_iter().zip(results).map(answered).collect();
    CreatePartitionsResponse { results, ..Default::default() }
}

fn read(topic: CreatePartitionsTopic) -> Growth {
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId::new).collect();
    let assignments = topic.assignments.map(|all| all.into_iter().map(|one| brokers(one.broker_ids)).collect());
    Growth { topic: topic.name, count: topic.count, assignments }
}
