//! Deleting records from the front of partitions.
//!
//! Owns DeleteRecords, asked of each partition's leader.

use std::collections::BTreeMap;

use ottla_core::types::{BrokerId, Offset};
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::{Settled, Settling, millis_until, refuse, settle, unmentioned};
use crate::client::{Client, Purpose};
use crate::config::NamedPartition;
use crate::error::Result;

impl Client {
    /// Deletes every record before the offsets given; −1 means all there are. Answers the new first offsets.
    pub async fn delete_records(&self, before: &[(NamedPartition, Offset)]) -> Result<Vec<Settled<Offset>>> {
        let mut work = Settling::new(self.retry("deleting records"), before.to_vec());
        while let Some(open) = work.open() {
            let answer = self.delete_records_once(&open, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(work.done())
    }

    async fn delete_records_once(
        &self,
        before: &[(NamedPartition, Offset)],
        deadline: Instant,
    ) -> Result<Vec<Settled<Offset>>> {
        let api = ApiKey::DeleteRecords;
        let mut results: BTreeMap<NamedPartition, Settled<Offset>> = BTreeMap::new();
        let mut by_leader: BTreeMap<BrokerId, BTreeMap<&str, Vec<DeleteRecordsPartition>>> = BTreeMap::new();
        for (partition, offset) in before {
            match self.leader(partition).await {
                Ok(leader) => {
                    let topics = by_leader.entry(leader).or_default();
                    topics.entry(&partition.topic).or_default().push(DeleteRecordsPartition {
                        partition_index: partition.partition.get(),
                        offset: offset.get(),
                    });
                }
                Err(error) => {
                    let refused = refuse(error, api, format!("partition {partition}"))?;
                    results.insert(partition.clone(), Err(refused));
                }
            }
        }
        for (leader, topics) in by_leader {
            let topic = |(name, partitions): (&str, Vec<DeleteRecordsPartition>)| DeleteRecordsTopic {
                name: name.to_owned(),
                partitions,
            };
            let request = DeleteRecordsRequest {
                topics: topics.into_iter().map(topic).collect(),
                timeout_ms: millis_until(deadline),
            };
            let response = self.ask_broker(leader, Purpose::Control, &request, deadline).await?;
            for topic in response.topics {
                for answer in topic.partitions {
                    if ErrorCode::new(answer.error_code) != ErrorCode::NONE {
                        self.forget_topic(&topic.name);
                    }
                    let partition = NamedPartition::new(topic.name.clone(), answer.partition_index.into());
                    let subject = || format!("partition {partition}");
                    let settled = settle(api, subject, answer.error_code, None, Offset::new(answer.low_watermark));
                    results.insert(partition, settled);
                }
            }
        }
        let result = |(partition, _): &(NamedPartition, Offset)| {
            results.remove(partition).unwrap_or_else(|| Err(unmentioned(api, format!("partition {partition}"))))
        };
        Ok(before.iter().map(result).collect())
    }
}
