//! Offsets by position or time: ListOffsets, asked of each partition's leader.
//!
//! Owns the special timestamps. A partition whose leader moved is asked again; one that is unknown is refused at once.

use std::collections::BTreeMap;

use ottla_core::types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::{Settled, Settling, millis_until, refuse, settle, unmentioned};
use crate::client::{Client, Purpose};
use crate::config::NamedPartition;
use crate::error::{Refused, Result};

/// Which offset of a partition is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// The first record at or after this time.
    At(Timestamp),
    /// The record with the highest timestamp.
    MaxTimestamp,
    /// The oldest record on a local disk (KIP-405).
    EarliestLocal,
    /// The newest record in remote storage (KIP-1005).
    LatestTiered,
}

impl OffsetSpec {
    fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::At(time) => time.get(),
        }
    }
}

/// An offset that a leader answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// `None` when no record is that young.
    pub offset: Option<Offset>,
    /// The record's timestamp, where the question was about time.
    pub timestamp: Option<Timestamp>,
    /// The term that wrote it.
    pub epoch: LeaderEpoch,
}

type Question = (NamedPartition, OffsetSpec);

impl Client {
    /// Looks up one offset per question.
    pub async fn list_offsets(
        &self,
        questions: &[(NamedPartition, OffsetSpec)],
        read_committed: bool,
    ) -> Result<Vec<Settled<FoundOffset>>> {
        let mut work = Settling::new(self.retry("looking up offsets"), questions.to_vec());
        while let Some(open) = work.open() {
            let answer = self.list_offsets_once(&open, read_committed, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(work.done())
    }

    async fn list_offsets_once(
        &self,
        questions: &[Question],
        read_committed: bool,
        deadline: Instant,
    ) -> Result<Vec<Settled<FoundOffset>>> {
        let api = ApiKey::ListOffsets;
        let mut results: BTreeMap<usize, Settled<FoundOffset>> = BTreeMap::new();
        let mut by_leader: BTreeMap<BrokerId, Vec<usize>> = BTreeMap::new();
        for (at, (partition, _)) in questions.iter().enumerate() {
            match self.leader(partition).await {
                Ok(leader) => by_leader.entry(leader).or_default().push(at),
                Err(error) => {
                    results.insert(at, Err(refuse(error, api, format!("partition {partition}"))?));
                }
            }
        }
        for (leader, indices) in by_leader {
            for round in rounds(questions, &indices) {
                self.list_offsets_of(leader, questions, &round, read_committed, deadline, &mut results).await?;
            }
        }
        let result = |(at, (partition, _)): (usize, &Question)| {
            results.remove(&at).unwrap_or_else(|| Err(unmentioned(api, format!("partition {partition}"))))
        };
        Ok(questions.iter().enumerate().map(result).collect())
    }

    async fn list_offsets_of(
        &self,
        leader: BrokerId,
        questions: &[Question],
        indices: &[usize],
        read_committed: bool,
        deadline: Instant,
        results: &mut BTreeMap<usize, Settled<FoundOffset>>,
    ) -> Result<()> {
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        let mut asked: BTreeMap<(&str, i32), usize> = BTreeMap::new();
        for &at in indices {
            let (NamedPartition { topic, partition }, spec) = &questions[at];
            asked.insert((topic, partition.get()), at);
            topics.entry(topic).or_default().push(ListOffsetsPartition {
                partition_index: partition.get(),
                timestamp: spec.to_wire(),
                ..ListOffsetsPartition::default()
            });
        }
        let topic = |(name, partitions): (&str, Vec<ListOffsetsPartition>)| ListOffsetsTopic {
            name: name.to_owned(),
            partitions,
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(read_committed),
            topics: topics.into_iter().map(topic).collect(),
            timeout_ms: millis_until(deadline),
        };
        let response = match self.ask_broker(leader, Purpose::Control, &request, deadline).await {
            Ok(response) => response,
            Err(error) => {
                for &at in indices {
                    self.forget_topic(&questions[at].0.topic);
                }
                return Err(error);
            }
        };
        for topic in response.topics {
            for partition in topic.partitions {
                let Some(&at) = asked.get(&(topic.name.as_str(), partition.partition_index)) else { continue };
                let code = ErrorCode::new(partition.error_code);
                if code != ErrorCode::NONE {
                    self.forget_topic(&topic.name);
                }
                let found = FoundOffset {
                    offset: (partition.offset >= 0).then(|| Offset::new(partition.offset)),
                    timestamp: (partition.timestamp >= 0).then(|| Timestamp::new(partition.timestamp)),
                    epoch: LeaderEpoch::new(partition.leader_epoch),
                };
                let subject = || format!("partition {}-{}", topic.name, partition.partition_index);
                results.insert(at, settle(ApiKey::ListOffsets, subject, partition.error_code, None, found));
            }
        }
        Ok(())
    }

    /// Oldest and next offset of every partition given.
    pub async fn ends(
        &self,
        partitions: &[NamedPartition],
        read_committed: bool,
    ) -> Result<Vec<Settled<(Offset, Offset)>>> {
        let both = partitions
            .iter()
            .flat_map(|partition| [(partition.clone(), OffsetSpec::Earliest), (partition.clone(), OffsetSpec::Latest)]);
        let both: Vec<_> = both.collect();
        let found = self.list_offsets(&both, read_committed).await?;
        let pair = |pair: &[Settled<FoundOffset>]| -> Settled<(Offset, Offset)> {
            let [first, last] = pair else {
                return Err(unmentioned(ApiKey::ListOffsets, "a partition".to_owned()));
            };
            let (first, last) = (first.clone()?, last.clone()?);
            Ok((first.offset.unwrap_or_default(), last.offset.unwrap_or_default()))
        };
        Ok(found.chunks(2).map(pair).collect())
    }

    /// Every partition of `topic`, or why there is none.
    pub async fn named_partitions(&self, topic: &str) -> Result<Settled<Vec<NamedPartition>>> {
        let described = self.describe_topics(&[topic.to_owned()]).await?;
        let partitions = |description: super::TopicDescription| {
            let named = |index: PartitionIndex| NamedPartition::new(topic, index);
            description.partitions.into_iter().map(|partition| named(partition.index)).collect()
        };
        Ok(described
            .into_iter()
            .next()
            .unwrap_or_else(|| {
                Err(Refused::new(
                    ApiKey::Metadata,
                    format!("topic {topic}"),
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    None,
                ))
            })
            .map(partitions))
    }
}

/// A request may name a partition only once: splits `indices` so that each round does.
fn rounds(questions: &[Question], indices: &[usize]) -> Vec<Vec<usize>> {
    let mut seen: BTreeMap<&NamedPartition, usize> = BTreeMap::new();
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for &at in indices {
        let round = seen.entry(&questions[at].0).or_default();
        if *round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*round].push(at);
        *round += 1;
    }
    rounds
}
