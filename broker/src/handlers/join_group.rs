//! JoinGroup, versions 0 to 9: a member enters a group or its next generation.
//!
//! Versions: 1 has a rebalance timeout of its own, 4 gives a new member its id first (KIP-394), 5 static members
//! (KIP-345), 7 tells the protocol type, 8 takes a reason (KIP-800), 9 lets the leader skip the assignment (KIP-814).

use bytes::Bytes;
use ottla_core::group::message::{Join, Joined};
use ottla_core::group::{GroupId, InstanceId, MemberId};
use ottla_wire::messages::join_group_response::JoinGroupResponseMember;
use ottla_wire::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Waits until the generation is complete, which may take as long as the members' rebalance timeouts.
pub async fn handle(cx: &Cx, request: JoinGroupRequest) -> JoinGroupResponse {
    let group = GroupId::from(request.group_id.as_str());
    let member = MemberId::from(request.member_id.as_str());
    if let Some(reason) = &request.reason {
        tracing::debug!(%group, %member, reason, "join");
    }
    let join = Join {
        group: group.clone(),
        member: member.clone(),
        instance: request.group_instance_id.map(InstanceId::new),
        client_id: cx.client_id.clone(),
        client_host: cx.session.client_host(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if cx.version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms },
        protocol_type: request.protocol_type,
        // Copied: a member outlives its request's frame.
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name, Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        member_id_required: cx.version >= 4,
        assignment_skippable: cx.version >= 9,
        fresh: uuid::Uuid::new_v4(),
    };
    respond(cx.version, cx.node.groups.join(join).await)
}

fn respond(version: i16, joined: Joined) -> JoinGroupResponse {
    let member = |member: ottla_core::group::message::JoinedMember| JoinGroupResponseMember {
        member_id: member.member.as_str().to_owned(),
        group_instance_id: member.instance.map(|instance| instance.as_str().to_owned()),
        metadata: member.metadata,
    };
    JoinGroupResponse {
        error_code: joined.error.map_or(0, |error| error_code(error).code()),
        generation_id: joined.generation.get(),
        protocol_type: joined.protocol_type,
        // Null is known from version 7 on.
        protocol_name: joined.protocol.or_else(|| (version < 7).then(String::new)),
        leader: joined.leader,
        skip_assignment: joined.assignment_skipped,
        member_id: joined.member.as_str().to_owned(),
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}
