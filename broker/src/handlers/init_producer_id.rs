//! InitProducerId, versions 0 to 5, for idempotent producers.
//!
//! Versions: 3 the producer's id and epoch, which only transactional producers recover, 4 PRODUCER_FENCED, 5
//! transactions v2. Version 6 (two-phase commit) is unstable in Kafka and not offered.
//!
//! Known gap: there are no transactions. A transactional id is answered with TRANSACTIONAL_ID_AUTHORIZATION_FAILED: it
//! ends `initTransactions` at once and for good, where every retriable error would have the client ask until its own
//! timeout, a minute or more, without ever saying why.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::server::dispatch::Cx;

/// Hands out a producer id that nobody else has.
pub async fn handle(cx: &Cx, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        Some("") => return refused(ErrorCode::INVALID_REQUEST),
        Some(_) => return refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        None => {}
    }
    match cx.node.controller.next_producer_id().await {
        Ok(id) => InitProducerIdResponse { producer_id: id.get(), producer_epoch: 0, ..Default::default() },
        Err(_not_controller) => refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
    }
}
