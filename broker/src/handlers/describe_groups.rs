//! DescribeGroups, versions 0 to 6: state, members and assignments.
//!
//! Versions: 3 authorized operations, 4 instance ids, 6 an error for an unknown group (KIP-1043), which before was
//! described as dead.

use ottla_core::group::message::{Described, DescribedMember};
use ottla_core::group::{Error, GroupId, State};
use ottla_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ottla_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Read, Delete, Describe, DescribeConfigs and AlterConfigs, by their numbers in an ACL: everything that can be done
/// to a group, which everyone may while there is no security.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Answers group by group.
pub async fn handle(cx: &Cx, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for id in request.groups {
        let group = GroupId::from(id.as_str());
        let reply = cx.node.groups.describe(&group).await;
        let mut described = match reply {
            Ok(described) => present(id, described),
            Err(error) => absent(cx.version, id, error),
        };
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations = ALL_OPERATIONS;
        }
        groups.push(described);
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

fn present(group_id: String, described: Described) -> DescribedGroup {
    let member = |member: DescribedMember| DescribedGroupMember {
        member_id: member.member.as_str().to_owned(),
        group_instance_id: member.instance.map(|instance| instance.as_str().to_owned()),
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    };
    DescribedGroup {
        group_id,
        group_state: described.state.name().to_owned(),
        protocol_type: described.protocol_type,
        protocol_data: described.protocol,
        members: described.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn absent(version: i16, group_id: String, error: Error) -> DescribedGroup {
    if error != Error::GroupIdNotFound {
        return DescribedGroup { error_code: error_code(error).code(), group_id, ..Default::default() };
    }
    let message = format!("Group {group_id} not found.");
    let (error_code, error_message) = if version >= 6 { (error_code(error).code(), Some(message)) } else { (0, None) };
    DescribedGroup {
        error_code,
        error_message,
        group_id,
        group_state: State::Dead.name().to_owned(),
        ..Default::default()
    }
}
