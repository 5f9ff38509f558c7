//! DeleteGroups, versions 0 to 3: empty groups go, with all that they have committed.
//!
//! Versions: 3 has a message for each error.

use ottla_core::group::GroupId;
use ottla_wire::messages::delete_groups_response::DeletableGroupResult;
use ottla_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Answers group by group.
pub async fn handle(cx: &Cx, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let group = GroupId::from(group_id.as_str());
        let error = cx.node.groups.delete(&group).await.err();
        results.push(DeletableGroupResult {
            group_id,
            error_code: error.map_or(0, |error| error_code(error).code()),
            error_message: error.map(|error| error.to_string()),
        });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
