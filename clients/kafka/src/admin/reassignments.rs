//! Reassignments: which brokers shall hold a partition, and which partitions are on their way.
//!
//! Owns the typed forms of AlterPartitionReassignments and ListPartitionReassignments (KIP-455).

use std::collections::BTreeMap;

use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::ApiKey;
use ottla_wire::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use tokio::time::Instant;

use super::{Settled, Settling, millis_until, settle, unmentioned};
use crate::client::Client;
use crate::config::NamedPartition;
use crate::error::{Result, check};
use crate::metadata::brokers;

/// A partition that moves.
#[derive(Debug, Clone)]
pub struct Reassignment {
    /// Which one.
    pub partition: NamedPartition,
    /// Who holds it now, leaving and coming brokers included.
    pub replicas: Vec<BrokerId>,
    /// Who comes.
    pub adding: Vec<BrokerId>,
    /// Who leaves once everyone who comes is in sync.
    pub removing: Vec<BrokerId>,
}

impl Client {
    /// Has each partition moved to the brokers given, the preferred leader first. The answer comes before the move is done.
    ///
    /// # Errors
    /// When nobody answers; what is refused stands in the result of its partition.
    pub async fn reassign(&self, targets: &[(NamedPartition, Vec<BrokerId>)]) -> Result<Vec<Settled<()>>> {
        let mut work = Settling::new(self.retry("reassigning partitions"), targets.to_vec());
        while let Some(open) = work.open() {
            let answer = self.reassign_once(&open, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(work.done())
    }

    async fn reassign_once(
        &self,
        targets: &[(NamedPartition, Vec<BrokerId>)],
        deadline: Instant,
    ) -> Result<Vec<Settled<()>>> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for (partition, replicas) in targets {
            topics.entry(&partition.topic).or_default().push(ReassignablePartition {
                partition_index: partition.partition.get(),
                replicas: Some(replicas.iter().map(|id| id.get()).collect()),
            });
        }
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: millis_until(deadline),
            topics: topics
                .into_iter()
                .map(|(name, partitions)| ReassignableTopic { name: name.to_owned(), partitions })
                .collect(),
            ..AlterPartitionReassignmentsRequest::default()
        };
        let response = self.ask_controller(&request, deadline).await?;
        let api = ApiKey::AlterPartitionReassignments;
        check(api, || "the reassignment".to_owned(), response.error_code, response.error_message.as_deref())?;
        let mut answers = BTreeMap::new();
        for topic in response.responses {
            for partition in topic.partitions {
                let index = PartitionIndex::new(partition.partition_index);
                answers.insert(NamedPartition::new(topic.name.clone(), index), partition);
            }
        }
        let result = |(partition, _): &(NamedPartition, Vec<BrokerId>)| {
            let subject = format!("partition {partition}");
            let answer = answers.remove(partition).ok_or_else(|| unmentioned(api, subject.clone()))?;
            settle(api, || subject, answer.error_code, answer.error_message, ())
        };
        Ok(targets.iter().map(result).collect())
    }

    /// Every partition that moves now.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub async fn reassignments(&self) -> Result<Vec<Reassignment>> {
        let mut retry = self.retry("listing reassignments");
        loop {
            match self.reassignments_once(retry.deadline()).await {
                Ok(found) => return Ok(found),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn reassignments_once(&self, deadline: Instant) -> Result<Vec<Reassignment>> {
        let request = ListPartitionReassignmentsRequest { timeout_ms: millis_until(deadline), topics: None };
        let response = self.ask_controller(&request, deadline).await?;
        let message = response.error_message.as_deref();
        check(ApiKey::ListPartitionReassignments, || "the cluster".to_owned(), response.error_code, message)?;
        let mut found = Vec::new();
        for topic in response.topics {
            found.extend(topic.partitions.into_iter().map(|partition| Reassignment {
                partition: NamedPartition::new(topic.name.clone(), PartitionIndex::new(partition.partition_index)),
                replicas: brokers(&partition.replicas),
                adding: brokers(&partition.adding_replicas),
                removing: brokers(&partition.removing_replicas),
            }));
        }
        Ok(found)
    }
}
