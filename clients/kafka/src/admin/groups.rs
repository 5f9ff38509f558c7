//! Groups: list, describe, delete, committed offsets.
//!
//! Owns what an administrator sees of a classic group. Asks each group's coordinator, and finds it again when it moved.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::types::BrokerId;
use ottla_wire::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_wire::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ottla_wire::messages::list_groups_request::ListGroupsRequest;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::{ApiKey, ErrorCode, Request};
use tokio::time::Instant;

use super::{Settled, Settling, settle, unmentioned};
use crate::client::{Client, Purpose};
use crate::config::NamedPartition;
use crate::consumer::protocol;
use crate::error::{Refused, Result, check};

mod offsets;

pub use offsets::CommittedOffset;
pub(crate) use offsets::Member;

/// A group in a list.
#[derive(Debug, Clone)]
pub struct GroupListing {
    /// Its name.
    pub name: String,
    /// Who coordinates it.
    pub coordinator: BrokerId,
    /// What its members speak: `consumer`, `connect`.
    pub protocol_type: String,
    /// `Empty`, `PreparingRebalance`, `Stable` …
    pub state: String,
    /// `classic`, `consumer`, `share`; empty if the broker does not tell.
    pub kind: String,
}

/// A group as it is.
#[derive(Debug, Clone)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// Who coordinates it.
    pub coordinator: BrokerId,
    /// What its members speak.
    pub protocol_type: String,
    /// Which assignor they agreed on.
    pub protocol: String,
    /// `Dead` if there is no such group.
    pub state: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub id: String,
    /// The id that it gave itself, if it is a static member.
    pub instance: Option<String>,
    /// Its client's name.
    pub client_id: String,
    /// Where it calls from.
    pub host: String,
    /// What it reads; empty unless the protocol is `consumer`.
    pub partitions: BTreeSet<NamedPartition>,
}

impl Client {
    /// Every group of every broker.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let mut all = BTreeMap::new();
        for broker in self.broker_ids().await? {
            let mut retry = self.retry(format!("listing the groups of broker {broker}"));
            let groups = loop {
                match self.list_groups_of(broker, retry.deadline()).await {
                    Ok(groups) => break groups,
                    Err(error) => retry.pause(error).await?,
                }
            };
            for group in groups {
                let listing = GroupListing {
                    name: group.group_id.clone(),
                    coordinator: broker,
                    protocol_type: group.protocol_type,
                    state: group.group_state,
                    kind: group.group_type,
                };
                all.insert(group.group_id, listing);
            }
        }
        Ok(all.into_values().collect())
    }

    async fn list_groups_of(&self, broker: BrokerId, deadline: Instant) -> Result<Vec<ListedGroup>> {
        let request = ListGroupsRequest::default();
        let response = self.ask_broker(broker, Purpose::Control, &request, deadline).await?;
        check(ApiKey::ListGroups, || format!("broker {broker}"), response.error_code, None)?;
        Ok(response.groups)
    }

    /// Describes groups by name. A group that does not exist is refused with GROUP_ID_NOT_FOUND.
    pub async fn describe_groups(&self, names: &[String]) -> Result<Vec<Settled<GroupDescription>>> {
        let mut results = Vec::new();
        for name in names {
            let mut work = Settling::new(self.retry(format!("describing group {name}")), vec![name.clone()]);
            while work.open().is_some() {
                let answer = self.describe_group_once(name, work.deadline()).await;
                work.absorb(answer.map(|settled| vec![settled])).await?;
            }
            results.extend(work.done());
        }
        Ok(results)
    }

    async fn describe_group_once(&self, name: &str, deadline: Instant) -> Result<Settled<GroupDescription>> {
        let api = ApiKey::DescribeGroups;
        let request = DescribeGroupsRequest { groups: vec![name.to_owned()], ..DescribeGroupsRequest::default() };
        let coordinator = self.coordinator(name).await?;
        let response = self.ask_coordinator(name, Purpose::Control, &request, deadline).await?;
        let subject = || format!("group {name}");
        let Some(group) = response.groups.into_iter().find(|group| group.group_id == name) else {
            return Ok(Err(unmentioned(api, subject())));
        };
        if ErrorCode::new(group.error_code) == ErrorCode::NONE && group.group_state == "Dead" {
            let message = "there is no such group".to_owned();
            return Ok(Err(Refused::new(api, subject(), ErrorCode::GROUP_ID_NOT_FOUND, Some(message))));
        }
        let (code, message) = (group.error_code, group.error_message.clone());
        self.heed(name, code);
        Ok(settle(api, subject, code, message, described(group, coordinator)))
    }

    /// Deletes groups that have no members, with their offsets.
    pub async fn delete_groups(&self, names: &[String]) -> Result<Vec<Settled<()>>> {
        let mut results = Vec::new();
        for name in names {
            let mut work = Settling::new(self.retry(format!("deleting group {name}")), vec![name.clone()]);
            while work.open().is_some() {
                let answer = self.delete_group_once(name, work.deadline()).await;
                work.absorb(answer.map(|settled| vec![settled])).await?;
            }
            results.extend(work.done());
        }
        Ok(results)
    }

    async fn delete_group_once(&self, name: &str, deadline: Instant) -> Result<Settled<()>> {
        let api = ApiKey::DeleteGroups;
        let request = DeleteGroupsRequest { groups_names: vec![name.to_owned()] };
        let response = self.ask_coordinator(name, Purpose::Control, &request, deadline).await?;
        let subject = || format!("group {name}");
        let Some(group) = response.results.into_iter().find(|group| group.group_id == name) else {
            return Ok(Err(unmentioned(api, subject())));
        };
        self.heed(name, group.error_code);
        Ok(settle(api, subject, group.error_code, group.error_message, ()))
    }

    /// Looks for the coordinator again if `code` says that it moved.
    pub(crate) fn heed(&self, group: &str, code: i16) {
        let moved = [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE];
        if moved.contains(&ErrorCode::new(code)) {
            self.forget_coordinator(group);
        }
    }

    /// Asks the coordinator of `group` once.
    pub(crate) async fn ask_coordinator<R: Request>(
        &self,
        group: &str,
        purpose: Purpose,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let coordinator = self.coordinator(group).await?;
        let answer = self.ask_broker(coordinator, purpose, request, deadline).await;
        if answer.is_err() {
            self.forget_coordinator(group);
        }
        answer
    }
}

fn described(group: DescribedGroup, coordinator: BrokerId) -> GroupDescription {
    let consumers = group.protocol_type == protocol::TYPE;
    let member = |member: DescribedGroupMember| GroupMember {
        id: member.member_id,
        instance: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host.trim_start_matches('/').to_owned(),
        partitions: if consumers {
            // What another client wrote may be anything; a member whose assignment cannot be read has none to show.
            protocol::decode_assignment(&member.member_assignment).unwrap_or_default()
        } else {
            BTreeSet::new()
        },
    };
    GroupDescription {
        name: group.group_id,
        coordinator,
        protocol_type: group.protocol_type,
        protocol: group.protocol_data,
        state: group.group_state,
        members: group.members.into_iter().map(member).collect(),
    }
}
