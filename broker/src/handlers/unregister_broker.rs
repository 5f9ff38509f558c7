//! UnregisterBroker, version 0: a broker is gone for good, and its id is free of replicas.
//!
//! Kafka forgets a broker that lives or holds replicas too; here that is refused, because its replicas would stay named by
//! partitions for ever.

use ottla_core::types::BrokerId;
use ottla_wire::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::controller::WAIT_MAX;
use crate::server::dispatch::Cx;

/// Has the controller forget the broker.
pub async fn handle(cx: &Cx, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    match cx.node.controller.unregister(BrokerId::new(request.broker_id), WAIT_MAX).await {
        Ok(()) => UnregisterBrokerResponse::default(),
        Err(refusal) => UnregisterBrokerResponse {
            error_code: refusal.code.code(),
            error_message: Some(refusal.message),
            ..Default::default()
        },
    }
}
