//! Adding partitions to topics. Their number never falls.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{CreatePartitionsError, InvalidAssignment, InvalidPartitions, InvalidRequest};
use super::topics::{admit, check_assignments, positive, seed, twice};
use super::{Growth, Machine, Work, placement};
use crate::metadata::{Broker, Topic};
use crate::types::BrokerId;

impl Machine {
    pub(super) fn create_partitions(
        &mut self,
        work: &mut Work,
        topics: &[Growth],
        validate_only: bool,
    ) -> Vec<Result<(), CreatePartitionsError>> {
        let twice = twice(topics.iter().map(|growth| &growth.topic));
        let brokers = self.registered(work);
        let mut made = 0;
        let grow = |growth: &Growth| {
            if twice.contains(&growth.topic) {
                return Err(InvalidRequest::Duplicate(format!("topic '{}'", growth.topic)).into());
            }
            let topic = self.latest_topic(work, &growth.topic).cloned();
            let topic = topic.ok_or_else(|| CreatePartitionsError::UnknownName(growth.topic.clone()))?;
            let assigned = place(&brokers, &topic, growth, &mut made)?;
            if !validate_only {
                let shard = self.shard_of(&topic.name);
                self.name_runs(work, shard, assigned.iter().flatten().copied());
                let fresh = assigned.into_iter().map(|replicas| placement::new_partition(&brokers, replicas));
                if let Some(topic) = self.shard_for(work, shard).topics.get_mut(&growth.topic) {
                    Arc::make_mut(topic).partitions.extend(fresh);
                }
            }
            Ok(())
        };
        topics.iter().map(grow).collect()
    }
}

fn place(
    brokers: &BTreeMap<BrokerId, Broker>,
    topic: &Topic,
    growth: &Growth,
    made: &mut usize,
) -> Result<Vec<Vec<BrokerId>>, CreatePartitionsError> {
    let has = topic.partitions.len();
    let current = i32::try_from(has).unwrap_or(i32::MAX);
    let wanted = positive(growth.count).ok_or(InvalidPartitions::NotPositive(growth.count))?;
    if wanted == has {
        return Err(InvalidPartitions::Same(current).into());
    }
    if wanted < has {
        return Err(InvalidPartitions::Fewer { topic: topic.name.clone(), current, wanted: growth.count }.into());
    }
    let added = wanted - has;
    admit(made, added)?;
    let replicas = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    match &growth.assignments {
        Some(assigned) if assigned.len() != added => {
            Err(InvalidAssignment::Count { added, assigned: assigned.len() }.into())
        }
        Some(assigned) => {
            check_assignments(brokers, assigned, Some(replicas))?;
            Ok(assigned.clone())
        }
        None => Ok(placement::spread(brokers, has, added, replicas, seed(topic.id))?),
    }
}
