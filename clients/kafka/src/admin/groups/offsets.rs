//! Committed offsets of a group, as an administrator reads, sets and deletes them.
//!
//! Owns commits without membership: a coordinator takes them only while the group has no members.

use std::collections::{BTreeMap, BTreeSet};

use ottla_core::types::{LeaderEpoch, Offset};
use ottla_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_wire::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_wire::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::admin::{Settled, Settling, settle, unmentioned};
use crate::client::{Client, Purpose};
use crate::config::NamedPartition;
use crate::error::{Result, check};

/// Where a group stands on a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record it would read.
    pub offset: Offset,
    /// The term that wrote the record before it.
    pub epoch: LeaderEpoch,
    /// A note that the committer left.
    pub metadata: String,
}

impl CommittedOffset {
    /// The position `offset`, without a note.
    pub fn at(offset: Offset) -> Self {
        Self { offset, epoch: LeaderEpoch::NONE, metadata: String::new() }
    }
}

/// Partitions by topic, as requests want them.
fn by_topic<'a, T>(partitions: impl Iterator<Item = (&'a NamedPartition, T)>) -> BTreeMap<&'a str, Vec<(i32, T)>> {
    let mut topics: BTreeMap<&str, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics.entry(&partition.topic).or_default().push((partition.partition.get(), value));
    }
    topics
}

impl Client {
    /// What `group` has committed, on `partitions` or (`None`) everywhere. Partitions without a commit are left out.
    pub async fn committed(
        &self,
        group: &str,
        partitions: Option<&BTreeSet<NamedPartition>>,
    ) -> Result<BTreeMap<NamedPartition, CommittedOffset>> {
        let mut retry = self.retry(format!("reading the offsets of group {group}"));
        loop {
            match self.committed_once(group, partitions, retry.deadline()).await {
                Ok(committed) => return Ok(committed),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn committed_once(
        &self,
        group: &str,
        partitions: Option<&BTreeSet<NamedPartition>>,
        deadline: Instant,
    ) -> Result<BTreeMap<NamedPartition, CommittedOffset>> {
        let api = ApiKey::OffsetFetch;
        let topic = |(name, partitions): (&str, Vec<(i32, ())>)| OffsetFetchRequestTopics {
            name: name.to_owned(),
            partition_indexes: partitions.into_iter().map(|(partition, ())| partition).collect(),
            ..OffsetFetchRequestTopics::default()
        };
        let topics = partitions.map(|partitions| {
            by_topic(partitions.iter().map(|partition| (partition, ()))).into_iter().map(topic).collect()
        });
        let asked =
            OffsetFetchRequestGroup { group_id: group.to_owned(), topics, ..OffsetFetchRequestGroup::default() };
        let request = OffsetFetchRequest { groups: vec![asked], ..OffsetFetchRequest::default() };
        let response = self.ask_coordinator(group, Purpose::Heartbeat, &request, deadline).await?;
        let mut committed = BTreeMap::new();
        for answer in response.groups {
            self.heed(group, answer.error_code);
            check(api, || format!("group {group}"), answer.error_code, None)?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    let named = NamedPartition::new(topic.name.clone(), partition.partition_index.into());
                    check(api, || format!("partition {named} of group {group}"), partition.error_code, None)?;
                    if partition.committed_offset >= 0 {
                        let offset = CommittedOffset {
                            offset: Offset::new(partition.committed_offset),
                            epoch: LeaderEpoch::new(partition.committed_leader_epoch),
                            metadata: partition.metadata.unwrap_or_default(),
                        };
                        committed.insert(named, offset);
                    }
                }
            }
        }
        Ok(committed)
    }

    /// Sets where `group` stands; only while it has no members.
    pub async fn reset_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<NamedPartition, CommittedOffset>,
    ) -> Result<Vec<(NamedPartition, Settled<()>)>> {
        let items: Vec<_> = offsets.iter().map(|(partition, offset)| (partition.clone(), offset.clone())).collect();
        let mut work = Settling::new(self.retry(format!("setting the offsets of group {group}")), items);
        while let Some(open) = work.open() {
            let member = Member { generation: -1, id: "", instance: None };
            let answer = self.commit_once(group, member, &open, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(offsets.keys().cloned().zip(work.done()).collect())
    }

    /// Commits once, as a member or as nobody.
    pub(crate) async fn commit_once(
        &self,
        group: &str,
        member: Member<'_>,
        offsets: &[(NamedPartition, CommittedOffset)],
        deadline: Instant,
    ) -> Result<Vec<Settled<()>>> {
        let api = ApiKey::OffsetCommit;
        let partition = |(index, offset): (i32, &CommittedOffset)| OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: offset.offset.get(),
            committed_leader_epoch: offset.epoch.get(),
            committed_metadata: Some(offset.metadata.clone()),
        };
        let topic = |(name, partitions): (&str, Vec<(i32, &CommittedOffset)>)| OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions: partitions.into_iter().map(partition).collect(),
            ..OffsetCommitRequestTopic::default()
        };
        let pairs = offsets.iter().map(|(partition, offset)| (partition, offset));
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.id.to_owned(),
            group_instance_id: member.instance.map(str::to_owned),
            topics: by_topic(pairs).into_iter().map(topic).collect(),
            ..OffsetCommitRequest::default()
        };
        let response = self.ask_coordinator(group, Purpose::Heartbeat, &request, deadline).await?;
        let mut answers: BTreeMap<NamedPartition, i16> = BTreeMap::new();
        for topic in response.topics {
            for answer in topic.partitions {
                let partition = NamedPartition::new(topic.name.clone(), answer.partition_index.into());
                self.heed(group, answer.error_code);
                answers.insert(partition, answer.error_code);
            }
        }
        let result = |(partition, _): &(NamedPartition, CommittedOffset)| {
            let subject = format!("partition {partition} of group {group}");
            match answers.get(partition) {
                Some(&code) => settle(api, || subject, code, None, ()),
                None => Err(unmentioned(api, subject)),
            }
        };
        Ok(offsets.iter().map(result).collect())
    }

    /// Makes `group` forget where it stands on `partitions`; topics that it subscribes to are refused.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<NamedPartition>,
    ) -> Result<Vec<(NamedPartition, Settled<()>)>> {
        let items: Vec<_> = partitions.iter().cloned().collect();
        let mut work = Settling::new(self.retry(format!("deleting offsets of group {group}")), items);
        while let Some(open) = work.open() {
            let answer = self.delete_offsets_once(group, &open, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(partitions.iter().cloned().zip(work.done()).collect())
    }

    async fn delete_offsets_once(
        &self,
        group: &str,
        partitions: &[NamedPartition],
        deadline: Instant,
    ) -> Result<Vec<Settled<()>>> {
        let api = ApiKey::OffsetDelete;
        let partition = |(index, ()): (i32, ())| OffsetDeleteRequestPartition { partition_index: index };
        let topic = |(name, partitions): (&str, Vec<(i32, ())>)| OffsetDeleteRequestTopic {
            name: name.to_owned(),
            partitions: partitions.into_iter().map(partition).collect(),
        };
        let request = OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: by_topic(partitions.iter().map(|one| (one, ()))).into_iter().map(topic).collect(),
        };
        let response = self.ask_coordinator(group, Purpose::Control, &request, deadline).await?;
        if ErrorCode::new(response.error_code) != ErrorCode::NONE {
            self.heed(group, response.error_code);
            let subject = || format!("group {group}");
            let refused = settle(api, subject, response.error_code, None, ());
            return Ok(partitions.iter().map(|_| refused.clone()).collect());
        }
        let mut answers: BTreeMap<NamedPartition, i16> = BTreeMap::new();
        for topic in response.topics {
            for answer in topic.partitions {
                let named = NamedPartition::new(topic.name.clone(), answer.partition_index.into());
                answers.insert(named, answer.error_code);
            }
        }
        let result = |partition: &NamedPartition| {
            let subject = format!("partition {partition} of group {group}");
            match answers.get(partition) {
                Some(&code) => settle(api, || subject, code, None, ()),
                None => Err(unmentioned(api, subject)),
            }
        };
        Ok(partitions.iter().map(result).collect())
    }
}

/// As whom a commit is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) generation: i32,
    pub(crate) id: &'a str,
    pub(crate) instance: Option<&'a str>,
}
