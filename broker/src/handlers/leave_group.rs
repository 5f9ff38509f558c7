//! LeaveGroup, versions 0 to 5: members go, or an administrator removes them.
//!
//! Versions: 3 takes several members, static ones by instance id alone (KIP-345); 5 takes reasons (KIP-800).

use ottla_core::group::message::{Leave, Leaving};
use ottla_core::group::{Error, GroupId, InstanceId, MemberId};
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::leave_group_response::MemberResponse;
use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Answers member by member; before version 3 there is one, and its error is the request's.
pub async fn handle(cx: &Cx, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = GroupId::from(request.group_id.as_str());
    let members = if cx.version < 3 {
        vec![MemberIdentity { member_id: request.member_id, ..Default::default() }]
    } else {
        request.members
    };
    let leaving = |member: &MemberIdentity| {
        if let Some(reason) = &member.reason {
            tracing::debug!(%group, member = member.member_id, reason, "leave");
        }
        Leaving {
            member: MemberId::from(member.member_id.as_str()),
            instance: member.group_instance_id.as_deref().map(InstanceId::from),
        }
    };
    let leave = Leave { group: group.clone(), members: members.iter().map(leaving).collect() };
    let outcome = cx.node.groups.leave(leave).await;
    respond(cx.version, members, outcome)
}

fn respond(
    version: i16,
    members: Vec<MemberIdentity>,
    outcome: Result<Vec<Option<Error>>, Error>,
) -> LeaveGroupResponse {
    let code = |error: Option<Error>| error.map_or(0, |error| error_code(error).code());
    match outcome {
        Err(error) => LeaveGroupResponse { error_code: code(Some(error)), ..Default::default() },
        Ok(outcomes) if version < 3 => {
            LeaveGroupResponse { error_code: code(outcomes.into_iter().flatten().next()), ..Default::default() }
        }
        Ok(outcomes) => {
            let member = |(member, outcome): (MemberIdentity, Option<Error>)| MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: code(outcome),
            };
            LeaveGroupResponse {
                members: members.into_iter().zip(outcomes).map(member).collect(),
                ..Default::default()
            }
        }
    }
}
