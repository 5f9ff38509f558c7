//! Topics: create, delete, describe, add partitions.
//!
//! Owns the typed form of DescribeTopicPartitions, which it prefers to Metadata because it tells eligible leaders.

use std::collections::BTreeMap;

use ottla_core::types::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};
use ottla_wire::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_wire::messages::describe_topic_partitions_request::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use ottla_wire::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::{Settled, Settling, millis_until, settle, unmentioned};
use crate::client::Client;
use crate::error::{Error, Refused, Result, Terminal};
use crate::metadata::{self, Topics};

/// A topic to create.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` is the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None` is the broker's default.
    pub replicas: Option<i16>,
    /// Which brokers keep which partition; if given, it decides both counts.
    pub assignments: Vec<Vec<BrokerId>>,
    /// What it sets.
    pub configs: BTreeMap<String, String>,
}

/// A topic that was created, or would be.
#[derive(Debug, Clone)]
pub struct CreatedTopic {
    /// Its identity; zero after a dry run.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replicas: i16,
}

/// A topic as it is.
#[derive(Debug, Clone)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
    /// Whether it belongs to the cluster itself.
    pub internal: bool,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as it is.
#[derive(Debug, Clone)]
pub struct PartitionDescription {
    /// Its number.
    pub index: PartitionIndex,
    /// Who leads it.
    pub leader: Option<BrokerId>,
    /// The term of that leadership.
    pub epoch: LeaderEpoch,
    /// Who keeps a copy.
    pub replicas: Vec<BrokerId>,
    /// Whose copy is in sync.
    pub in_sync: Vec<BrokerId>,
    /// Who may lead although it is not in sync (KIP-966); `None` if the broker does not tell.
    pub eligible: Option<Vec<BrokerId>>,
    /// Whose copy cannot be reached.
    pub offline: Vec<BrokerId>,
}

/// A topic to delete.
#[derive(Debug, Clone)]
enum Doomed {
    Named(String),
    Identified(TopicId),
}

/// Partitions per answer that we ask for.
const PARTITIONS_PER_ANSWER: i32 = 2000;

impl Client {
    /// Creates `topics`, or only checks whether they could be created.
    pub async fn create_topics(&self, topics: &[NewTopic], dry_run: bool) -> Result<Vec<Settled<CreatedTopic>>> {
        let mut work = Settling::new(self.retry("creating topics"), topics.to_vec());
        while let Some(open) = work.open() {
            let answer = self.create_topics_once(&open, dry_run, work.deadline()).await;
            work.absorb(answer).await?;
        }
        for topic in topics {
            self.forget_topic(&topic.name);
        }
        Ok(work.done())
    }

    /// Waits until every broker that is asked knows `names` and each of their partitions has a leader: a cluster may
    /// answer a creation before it serves it.
    pub async fn await_topics(&self, names: &[String]) -> Result<()> {
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut retry = self.retry("waiting for new topics");
        loop {
            let seen = self.refresh(Topics::Named(&asked), false).await;
            let missing = |metadata: &metadata::Metadata| {
                let leads = |topic: &metadata::Topic| topic.partitions.values().all(|one| one.leader.is_some());
                let ready =
                    |name: &&str| metadata.topics.get(*name).is_some_and(|topic| topic.error.is_none() && leads(topic));
                asked.iter().find(|name| !ready(name)).map(|name| (*name).to_owned())
            };
            let error = match seen.map(|metadata| missing(&metadata)) {
                Ok(None) => return Ok(()),
                Ok(Some(topic)) => {
                    let code = ErrorCode::LEADER_NOT_AVAILABLE;
                    Error::from(Refused::new(ApiKey::Metadata, format!("topic {topic}"), code, None))
                }
                Err(error) => error,
            };
            retry.pause(error).await?;
        }
    }

    async fn create_topics_once(
        &self,
        topics: &[NewTopic],
        dry_run: bool,
        deadline: Instant,
    ) -> Result<Vec<Settled<CreatedTopic>>> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: millis_until(deadline),
            validate_only: dry_run,
        };
        let response = self.ask_controller(&request, deadline).await?;
        let api = ApiKey::CreateTopics;
        let mut answers: BTreeMap<_, _> =
            response.topics.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
        let result = |topic: &NewTopic| {
            let subject = format!("topic {}", topic.name);
            let answer = answers.remove(&topic.name).ok_or_else(|| unmentioned(api, subject.clone()))?;
            let created = CreatedTopic {
                id: TopicId::from_bytes(answer.topic_id),
                partitions: answer.num_partitions,
                replicas: answer.replication_factor,
            };
            settle(api, || subject, answer.error_code, answer.error_message, created)
        };
        Ok(topics.iter().map(result).collect())
    }

    /// Deletes topics by name.
    pub async fn delete_topics(&self, names: &[String]) -> Result<Vec<Settled<()>>> {
        let answers = self.delete(names.iter().cloned().map(Doomed::Named).collect()).await?;
        for name in names {
            self.forget_topic(name);
        }
        Ok(answers)
    }

    /// Deletes topics by id: one that was created again under the same name stays.
    ///
    /// # Errors
    /// When nobody answers; an id that is not there is UNKNOWN_TOPIC_ID in its own result.
    pub async fn delete_topics_by_id(&self, ids: &[TopicId]) -> Result<Vec<Settled<()>>> {
        self.delete(ids.iter().copied().map(Doomed::Identified).collect()).await
    }

    async fn delete(&self, doomed: Vec<Doomed>) -> Result<Vec<Settled<()>>> {
        let mut work = Settling::new(self.retry("deleting topics"), doomed);
        while let Some(open) = work.open() {
            let answer = self.delete_topics_once(&open, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(work.done())
    }

    async fn delete_topics_once(&self, doomed: &[Doomed], deadline: Instant) -> Result<Vec<Settled<()>>> {
        let state = |one: &Doomed| match one {
            Doomed::Named(name) => DeleteTopicState { name: Some(name.clone()), ..DeleteTopicState::default() },
            Doomed::Identified(id) => DeleteTopicState { name: None, topic_id: id.to_bytes() },
        };
        let request = DeleteTopicsRequest {
            topics: doomed.iter().map(state).collect(),
            timeout_ms: millis_until(deadline),
            ..DeleteTopicsRequest::default()
        };
        let response = self.ask_controller(&request, deadline).await?;
        let api = ApiKey::DeleteTopics;
        let answers = response.responses;
        let result = |one: &Doomed| {
            let (subject, answer) = match one {
                Doomed::Named(name) => {
                    (format!("topic {name}"), answers.iter().find(|answer| answer.name.as_ref() == Some(name)))
                }
                Doomed::Identified(id) => {
                    (format!("topic id {id}"), answers.iter().find(|answer| answer.topic_id == id.to_bytes()))
                }
            };
            let answer = answer.ok_or_else(|| unmentioned(api, subject.clone()))?;
            settle(api, || subject, answer.error_code, answer.error_message.clone(), ())
        };
        Ok(doomed.iter().map(result).collect())
    }

    /// Raises the number of partitions of topics to the counts given.
    pub async fn create_partitions(&self, counts: &[(String, i32)], dry_run: bool) -> Result<Vec<Settled<()>>> {
        let mut work = Settling::new(self.retry("adding partitions"), counts.to_vec());
        while let Some(open) = work.open() {
            let answer = self.create_partitions_once(&open, dry_run, work.deadline()).await;
            work.absorb(answer).await?;
        }
        for (name, _) in counts {
            self.forget_topic(name);
        }
        Ok(work.done())
    }

    async fn create_partitions_once(
        &self,
        counts: &[(String, i32)],
        dry_run: bool,
        deadline: Instant,
    ) -> Result<Vec<Settled<()>>> {
        let topic = |(name, count): &(String, i32)| CreatePartitionsTopic {
            name: name.clone(),
            count: *count,
            assignments: None,
        };
        let request = CreatePartitionsRequest {
            topics: counts.iter().map(topic).collect(),
            timeout_ms: millis_until(deadline),
            validate_only: dry_run,
        };
        let response = self.ask_controller(&request, deadline).await?;
        let api = ApiKey::CreatePartitions;
        let mut answers: BTreeMap<_, _> =
            response.results.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
        let result = |(name, _): &(String, i32)| {
            let subject = format!("topic {name}");
            let answer = answers.remove(name).ok_or_else(|| unmentioned(api, subject.clone()))?;
            settle(api, || subject, answer.error_code, answer.error_message, ())
        };
        Ok(counts.iter().map(result).collect())
    }

    /// Every topic with its partitions, by name.
    pub async fn list_topics(&self) -> Result<Vec<TopicDescription>> {
        let metadata = self.metadata(Topics::All).await?;
        Ok(metadata.topics.iter().map(|(name, topic)| described(name, topic)).collect())
    }

    /// Describes topics by name.
    pub async fn describe_topics(&self, names: &[String]) -> Result<Vec<Settled<TopicDescription>>> {
        let mut work = Settling::new(self.retry("describing topics"), names.to_vec());
        while let Some(open) = work.open() {
            let answer = match self.describe_by_partitions(&open, work.deadline()).await {
                Err(Error::Terminal(Terminal::Unsupported { .. })) => self.describe_by_metadata(&open).await,
                answer => answer,
            };
            work.absorb(answer).await?;
        }
        Ok(work.done())
    }

    async fn describe_by_partitions(
        &self,
        names: &[String],
        deadline: Instant,
    ) -> Result<Vec<Settled<TopicDescription>>> {
        let api = ApiKey::DescribeTopicPartitions;
        let mut found: BTreeMap<String, Settled<TopicDescription>> = BTreeMap::new();
        let mut sorted = names.to_vec();
        sorted.sort();
        let mut request = DescribeTopicPartitionsRequest {
            topics: sorted.into_iter().map(|name| TopicRequest { name }).collect(),
            response_partition_limit: PARTITIONS_PER_ANSWER,
            ..DescribeTopicPartitionsRequest::default()
        };
        loop {
            let connection = self.any().await?;
            let patience = deadline.saturating_duration_since(Instant::now()).min(self.config().request_timeout);
            let response = connection.call(&request, patience).await?;
            for topic in response.topics {
                collect(&mut found, topic);
            }
            let Some(next) = response.next_cursor else { break };
            let cursor = Cursor { topic_name: next.topic_name, partition_index: next.partition_index };
            let stuck = request.cursor.as_ref() == Some(&cursor);
            if stuck {
                let reason = "its cursor does not move".to_owned();
                let address = connection.address().to_owned();
                return Err(Terminal::Garbled { address, api: api.name(), reason }.into());
            }
            request.topics.retain(|topic| topic.name >= cursor.topic_name);
            request.cursor = Some(cursor);
        }
        let result =
            |name: &String| found.remove(name).unwrap_or_else(|| Err(unmentioned(api, format!("topic {name}"))));
        Ok(names.iter().map(result).collect())
    }

    async fn describe_by_metadata(&self, names: &[String]) -> Result<Vec<Settled<TopicDescription>>> {
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        let metadata = self.refresh(Topics::Named(&asked), false).await?;
        let api = ApiKey::Metadata;
        let result = |name: &String| {
            let subject = format!("topic {name}");
            let topic = metadata.topics.get(name).ok_or_else(|| unmentioned(api, subject.clone()))?;
            settle(api, || subject, topic.error.code(), None, described(name, topic))
        };
        Ok(names.iter().map(result).collect())
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let manual = !topic.assignments.is_empty();
    let assignment = |(index, brokers): (usize, &Vec<BrokerId>)| CreatableReplicaAssignment {
        partition_index: i32::try_from(index).unwrap_or(i32::MAX),
        broker_ids: brokers.iter().map(|id| id.get()).collect(),
    };
    let config =
        |(name, value): (&String, &String)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) };
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: if manual { -1 } else { topic.partitions.unwrap_or(-1) },
        replication_factor: if manual { -1 } else { topic.replicas.unwrap_or(-1) },
        assignments: topic.assignments.iter().enumerate().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
    }
}

fn described(name: &str, topic: &metadata::Topic) -> TopicDescription {
    let partition = |(index, partition): (&PartitionIndex, &metadata::Partition)| PartitionDescription {
        index: *index,
        leader: partition.leader,
        epoch: partition.epoch,
        replicas: partition.replicas.clone(),
        in_sync: partition.in_sync.clone(),
        eligible: None,
        offline: partition.offline.clone(),
    };
    TopicDescription {
        name: name.to_owned(),
        id: topic.id,
        internal: topic.internal,
        partitions: topic.partitions.iter().map(partition).collect(),
    }
}

/// Adds one answer's share of a topic to what earlier answers said of it.
fn collect(found: &mut BTreeMap<String, Settled<TopicDescription>>, topic: DescribeTopicPartitionsResponseTopic) {
    let name = topic.name.clone().unwrap_or_default();
    let code = ErrorCode::new(topic.error_code);
    if code != ErrorCode::NONE {
        let refused = Refused::new(ApiKey::DescribeTopicPartitions, format!("topic {name}"), code, None);
        found.insert(name, Err(refused));
        return;
    }
    let partitions = topic.partitions.iter().map(|partition| PartitionDescription {
        index: PartitionIndex::new(partition.partition_index),
        leader: (partition.leader_id >= 0).then(|| BrokerId::new(partition.leader_id)),
        epoch: LeaderEpoch::new(partition.leader_epoch),
        replicas: metadata::brokers(&partition.replica_nodes),
        in_sync: metadata::brokers(&partition.isr_nodes),
        eligible: partition.eligible_leader_replicas.as_deref().map(metadata::brokers),
        offline: metadata::brokers(&partition.offline_replicas),
    });
    match found.get_mut(&name) {
        Some(Ok(known)) => known.partitions.extend(partitions),
        Some(Err(_)) | None => {
            let description = TopicDescription {
                name: name.clone(),
                id: TopicId::from_bytes(topic.topic_id),
                internal: topic.is_internal,
                partitions: partitions.collect(),
            };
            found.insert(name, Ok(description));
        }
    }
}
