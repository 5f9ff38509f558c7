//! One member of a classic group: joining, leading, leaving.
//!
//! Owns member id, generation and what the member has. The member that leads shares out the partitions for everyone.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use ottla_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_wire::{ApiKey, DecodeError, EncodeError, ErrorCode};
use tokio::time::Instant;

use super::assignor::{self, Member, Partitions};
use super::protocol::{self, Subscription};
use crate::client::{Client, Purpose};
use crate::config::{GroupConfig, NamedPartition, Strategy};
use crate::error::{Error, Result, Terminal, check};
use crate::metadata::Topics;

#[derive(Debug)]
pub(super) struct Membership {
    pub(super) client: Client,
    pub(super) config: GroupConfig,
    pub(super) topics: BTreeSet<String>,
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) owned: BTreeSet<NamedPartition>,
    /// What the leader last shared out, to notice that a topic has grown.
    pub(super) shared: Option<Partitions>,
}

impl Membership {
    pub(super) fn new(client: Client, config: GroupConfig, topics: BTreeSet<String>) -> Self {
        let (member_id, owned) = (String::new(), BTreeSet::new());
        Self { client, config, topics, member_id, generation: -1, owned, shared: None }
    }

    /// Whether members keep what they have while the group rebalances: only if all their strategies can.
    pub(super) fn cooperative(&self) -> bool {
        self.config.strategies.iter().all(|strategy| *strategy == Strategy::CooperativeSticky)
    }

    /// Joins, and returns what this member shall have. What it had stays in `owned` for the caller to compare.
    pub(super) async fn join(&mut self) -> Result<BTreeSet<NamedPartition>> {
        let mut retry = self.client.retry(format!("joining group {}", self.config.group));
        loop {
            let error = match self.join_once().await {
                Ok(assigned) => return Ok(assigned),
                Err(error) => error,
            };
            match error.code() {
                // The coordinator wants us to come back with the id that it has just given.
                Some(ErrorCode::MEMBER_ID_REQUIRED | ErrorCode::REBALANCE_IN_PROGRESS) => {}
                Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION) => self.forget(),
                _ => {
                    self.client.forget_coordinator(&self.config.group);
                    retry.pause(error).await?;
                }
            }
        }
    }

    /// Begins anew, as somebody whom the coordinator does not know.
    pub(super) fn forget(&mut self) {
        self.member_id.clear();
        self.generation = -1;
    }

    async fn join_once(&mut self) -> Result<BTreeSet<NamedPartition>> {
        let coordinator = self.client.coordinator(&self.config.group).await?;
        let connection = self.client.broker(coordinator, Purpose::Group).await?;
        // The coordinator answers when everyone has joined, or after the rebalance time-out.
        let patience = self.config.rebalance_timeout + self.client.config().request_timeout;
        let response = connection.call(&self.join_request()?, patience).await?;
        if ErrorCode::new(response.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
            self.member_id.clone_from(&response.member_id);
        }
        let group = self.config.group.clone();
        let subject = || format!("group {group}");
        check(ApiKey::JoinGroup, subject, response.error_code, None)?;
        self.member_id.clone_from(&response.member_id);
        self.generation = response.generation_id;
        let assignments = self.lead(&response).await?;
        let request = SyncGroupRequest {
            group_id: self.config.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance.clone(),
            protocol_type: Some(protocol::TYPE.to_owned()),
            protocol_name: response.protocol_name.clone(),
            assignments,
        };
        let synced = connection.call(&request, patience).await?;
        check(ApiKey::SyncGroup, subject, synced.error_code, None)?;
        let assigned = protocol::decode_assignment(&synced.assignment);
        let assigned = assigned.map_err(|error| garbled(connection.address(), &error))?;
        tracing::debug!(
            group,
            member = self.member_id,
            generation = self.generation,
            partitions = assigned.len(),
            "joined"
        );
        Ok(assigned)
    }

    fn join_request(&self) -> Result<JoinGroupRequest> {
        let subscription =
            Subscription { topics: self.topics.clone(), owned: self.owned.clone(), generation: self.generation };
        let metadata = protocol::encode_subscription(&subscription).map_err(|error| unwritable(&error))?;
        let protocol = |strategy: &Strategy| JoinGroupRequestProtocol {
            name: strategy.name().to_owned(),
            metadata: metadata.clone(),
        };
        Ok(JoinGroupRequest {
            group_id: self.config.group.clone(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.rebalance_timeout),
            member_id: self.member_id.clone(),
            group_instance_id: self.config.instance.clone(),
            protocol_type: protocol::TYPE.to_owned(),
            protocols: self.config.strategies.iter().map(protocol).collect(),
            reason: None,
        })
    }

    /// What everyone gets, if this member leads; nothing otherwise.
    async fn lead(&mut self, joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>> {
        self.shared = None;
        if joined.leader != self.member_id || joined.skip_assignment {
            return Ok(Vec::new());
        }
        let chosen = joined.protocol_name.as_deref().unwrap_or_default();
        let Some(strategy) = self.config.strategies.iter().find(|strategy| strategy.name() == chosen).copied() else {
            let reason = format!("it chose the assignor {chosen:?}, which this member did not offer");
            let address = format!("the coordinator of group {}", self.config.group);
            return Err(Terminal::Garbled { address, api: ApiKey::JoinGroup.name(), reason }.into());
        };
        let members: Vec<Member> = joined.members.iter().map(member).collect();
        let topics: BTreeSet<&str> =
            members.iter().flat_map(|member| member.subscription.topics.iter().map(String::as_str)).collect();
        let partitions = partitions(&self.client, &topics).await?;
        let assignment = assignor::assign(strategy, &members, &partitions);
        self.shared = Some(partitions);
        let encode = |(id, own): (String, BTreeSet<NamedPartition>)| {
            let assignment: Bytes = protocol::encode_assignment(&own).map_err(|error| unwritable(&error))?;
            Ok(SyncGroupRequestAssignment { member_id: id, assignment })
        };
        assignment.into_iter().map(encode).collect()
    }

    /// Whether topics have grown, appeared or gone since this member last shared them out.
    pub(super) async fn is_outdated(&self) -> Result<bool> {
        let Some(shared) = &self.shared else { return Ok(false) };
        let topics: BTreeSet<&str> =
            shared.keys().map(String::as_str).chain(self.topics.iter().map(String::as_str)).collect();
        Ok(partitions(&self.client, &topics).await? != *shared)
    }

    /// Leaves, so that the others need not wait for the session to end. A static member stays: it will be back.
    pub(super) async fn leave(&mut self) -> Result<()> {
        if self.member_id.is_empty() || self.config.instance.is_some() {
            return Ok(());
        }
        let identity = MemberIdentity {
            member_id: self.member_id.clone(),
            group_instance_id: None,
            reason: Some("the consumer is closing".to_owned()),
        };
        let request = LeaveGroupRequest {
            group_id: self.config.group.clone(),
            members: vec![identity],
            ..LeaveGroupRequest::default()
        };
        let deadline = Instant::now() + self.client.config().request_timeout;
        let group = self.config.group.clone();
        let response = self.client.ask_coordinator(&group, Purpose::Heartbeat, &request, deadline).await?;
        self.forget();
        check(ApiKey::LeaveGroup, || format!("group {group}"), response.error_code, None)
    }
}

/// The partitions of those of `topics` that exist.
async fn partitions(client: &Client, topics: &BTreeSet<&str>) -> Result<Partitions> {
    let names: Vec<&str> = topics.iter().copied().collect();
    let metadata = client.metadata(Topics::Named(&names)).await?;
    let existing = metadata.topics.iter().filter(|(_, topic)| topic.error.is_none());
    Ok(existing.map(|(name, topic)| (name.clone(), topic.partitions.keys().copied().collect())).collect())
}

/// Another member; one whose subscription cannot be read wants nothing that we could give.
fn member(member: &JoinGroupResponseMember) -> Member {
    Member {
        id: member.member_id.clone(),
        instance: member.group_instance_id.clone(),
        subscription: protocol::decode_subscription(&member.metadata).unwrap_or_default(),
    }
}

fn garbled(address: &str, error: &DecodeError) -> Error {
    let reason = error.to_string();
    Terminal::Garbled { address: address.to_owned(), api: ApiKey::SyncGroup.name(), reason }.into()
}

fn unwritable(error: &EncodeError) -> Error {
    let address = "a group".to_owned();
    Terminal::Unwritable { address, api: ApiKey::JoinGroup.name(), reason: error.to_string() }.into()
}

fn millis(time: std::time::Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
