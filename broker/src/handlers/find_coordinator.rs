//! FindCoordinator, versions 0 to 6: which broker to ask for a group.
//!
//! Versions: 1 names the type of key, 4 asks for several keys at once (KIP-699), 6 adds share groups (KIP-932).
//! Known gap: transactions and share groups have no coordinator yet; asking for one is refused for good, so that a
//! client says so instead of asking on for ever.

use ottla_core::group::{Error, GroupId};
use ottla_wire::ErrorCode;
use ottla_wire::messages::find_coordinator_response::Coordinator;
use ottla_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

const GROUP: i8 = 0;

/// Answers each key by itself; the first question for a group creates `__consumer_offsets`.
pub async fn handle(cx: &Cx, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if cx.version < 4 {
        let found = find(cx, request.key_type, request.key).await;
        return FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..Default::default()
        };
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in request.coordinator_keys {
        coordinators.push(find(cx, request.key_type, key).await);
    }
    FindCoordinatorResponse { coordinators, ..Default::default() }
}

async fn find(cx: &Cx, key_type: i8, key: String) -> Coordinator {
    if key_type != GROUP {
        let reason = format!("there is no coordinator for keys of type {key_type}, only for groups (type {GROUP})");
        return refused(key, ErrorCode::INVALID_REQUEST, reason);
    }
    match endpoint(cx, &GroupId::from(key.as_str())).await {
        Ok((node_id, host, port)) => Coordinator { key, node_id, host, port, ..Default::default() },
        Err(error) => refused(key, error_code(error), error.to_string()),
    }
}

/// The coordinator, by the address of the listener that the client came through.
async fn endpoint(cx: &Cx, group: &GroupId) -> Result<(i32, String, i32), Error> {
    let found = cx.node.groups.find(group).await?;
    let image = cx.node.metadata.image();
    let broker = image.broker(found.broker).ok_or(Error::CoordinatorNotAvailable)?;
    let endpoint = broker.endpoints.get(&cx.session.listener.name).ok_or(Error::CoordinatorNotAvailable)?;
    Ok((found.broker.get(), endpoint.host.clone(), i32::from(endpoint.port)))
}

fn refused(key: String, error: ErrorCode, message: String) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code: error.code(),
        error_message: Some(message),
    }
}
