//! SyncGroup, versions 0 to 5: a member fetches its assignment, the leader brings everyone's.
//!
//! Versions: 3 static members (KIP-345), 5 states protocol type and name, and must (KIP-559).

use bytes::Bytes;
use ottla_core::group::message::{Sync, Synced};
use ottla_core::group::{Error, Generation, GroupId, InstanceId, MemberId};
use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::groups::error_code;
use crate::server::dispatch::Cx;

/// Waits for the leader's assignment to be in the log.
pub async fn handle(cx: &Cx, request: SyncGroupRequest) -> SyncGroupResponse {
    if cx.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return respond(Err(Error::InconsistentGroupProtocol));
    }
    let group = GroupId::from(request.group_id.as_str());
    let sync = Sync {
        group: group.clone(),
        member: MemberId::new(request.member_id),
        instance: request.group_instance_id.map(InstanceId::new),
        generation: Generation::new(request.generation_id),
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        // Copied: an assignment outlives its request's frame.
        assignments: request
            .assignments
            .into_iter()
            .map(|entry| (MemberId::new(entry.member_id), Bytes::copy_from_slice(&entry.assignment)))
            .collect(),
    };
    respond(cx.node.groups.sync(sync).await)
}

fn respond(outcome: Result<Synced, Error>) -> SyncGroupResponse {
    match outcome {
        Ok(synced) => SyncGroupResponse {
            protocol_type: synced.protocol_type,
            protocol_name: synced.protocol,
            assignment: synced.assignment,
            ..Default::default()
        },
        Err(error) => SyncGroupResponse { error_code: error_code(error).code(), ..Default::default() },
    }
}
