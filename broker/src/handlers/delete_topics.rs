//! DeleteTopics, versions 1 to 6.
//!
//! Versions: 5 error messages, 6 topics by name or by id. What a topic's partitions held is gone from the disk some time
//! after the answer; the name is free at once.

use ottla_core::controller::TopicRef;
use ottla_core::types::TopicId;
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::delete_topics_response::DeletableTopicResult;
use ottla_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use crate::controller::{Refusal, wait_of};
use crate::server::dispatch::Cx;

/// Has the controller delete what is named, and answers in the order of the request.
pub async fn handle(cx: &Cx, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = |name: String| DeleteTopicState { name: Some(name), ..Default::default() };
    let mut states: Vec<DeleteTopicState> = request.topic_names.into_iter().map(by_name).collect();
    states.extend(request.topics);

    let mut refs = Vec::with_capacity(states.len());
    let mut responses: Vec<DeletableTopicResult> = Vec::with_capacity(states.len());
    let mut asked = Vec::with_capacity(states.len());
    for (index, state) in states.into_iter().enumerate() {
        let mut response =
            DeletableTopicResult { name: state.name.clone(), topic_id: state.topic_id, ..Default::default() };
        let id = TopicId::from_bytes(state.topic_id);
        match (state.name, id.is_zero()) {
            (Some(name), true) => {
                refs.push(TopicRef::Name(name));
                asked.push(index);
            }
            (None, false) => {
                refs.push(TopicRef::Id(id));
                asked.push(index);
            }
            (Some(_), false) => refuse(&mut response, "a topic is named either by name or by id, not by both"),
            (None, true) => refuse(&mut response, "a topic is named by name or by id; there is neither"),
        }
        responses.push(response);
    }
    let results = cx.node.controller.delete_topics(refs, wait_of(request.timeout_ms)).await;
    for (index, result) in asked.into_iter().zip(results) {
        answer(&mut responses[index], result);
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

fn refuse(response: &mut DeletableTopicResult, message: &str) {
    response.error_code = ErrorCode::INVALID_REQUEST.code();
    response.error_message = Some(message.to_owned());
}

fn answer(response: &mut DeletableTopicResult, result: Result<(String, TopicId), Refusal>) {
    match result {
        Ok((name, id)) => {
            response.name = Some(name);
            response.topic_id = id.to_bytes();
        }
        Err(refusal) => {
            response.error_code = refusal.code.code();
            response.error_message = Some(refusal.message);
        }
    }
}
