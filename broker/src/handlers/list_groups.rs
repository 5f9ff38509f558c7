//! ListGroups, versions 0 to 5: the groups that this broker coordinates.
//!
//! Versions: 4 filters by state (KIP-518), 5 by type (KIP-848). Every group is of the classic type so far.

use ottla_core::group::message::{List, Listed};
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Answers with all or with an error: a list that lacks groups that are still being loaded would mislead.
pub async fn handle(cx: &Cx, request: ListGroupsRequest) -> ListGroupsResponse {
    let filter = List { states: request.states_filter, types: request.types_filter };
    let group = |listed: Listed| ListedGroup {
        group_id: listed.group.as_str().to_owned(),
        protocol_type: listed.protocol_type,
        group_state: listed.state.name().to_owned(),
        group_type: "classic".to_owned(),
    };
    match cx.node.groups.list(&filter).await {
        Ok(groups) => ListGroupsResponse { groups: groups.into_iter().map(group).collect(), ..Default::default() },
        Err(error) => ListGroupsResponse { error_code: error_code(error).code(), ..Default::default() },
    }
}
