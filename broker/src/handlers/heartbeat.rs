//! Heartbeat, versions 0 to 4: a member shows life and learns whether it has to join again.
//!
//! Versions: 3 static members (KIP-345).

use ottla_core::group::message::Heartbeat;
use ottla_core::group::{Generation, GroupId, InstanceId, MemberId};
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Answers at once.
pub async fn handle(cx: &Cx, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = GroupId::from(request.group_id.as_str());
    let heartbeat = Heartbeat {
        group: group.clone(),
        member: MemberId::new(request.member_id),
        instance: request.group_instance_id.map(InstanceId::new),
        generation: Generation::new(request.generation_id),
    };
    let outcome = cx.node.groups.heartbeat(heartbeat).await;
    let error_code = outcome.err().map_or(0, |error| error_code(error).code());
    HeartbeatResponse { error_code, ..Default::default() }
}
