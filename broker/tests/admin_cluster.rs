//! What people ask of three brokers: the same at each of them, whichever decides.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[path = "support/trio.rs"]
mod trio;

#[path = "admin_cluster/everywhere.rs"]
mod everywhere;
#[path = "admin_cluster/followers.rs"]
mod followers;
#[path = "admin_cluster/leaders.rs"]
mod leaders;
#[path = "admin_cluster/moves.rs"]
mod moves;
#[path = "admin_cluster/operations.rs"]
mod operations;
#[path = "admin_cluster/removals.rs"]
mod removals;

use ottla_core::types::PartitionIndex;
use ottla_wire::ErrorCode;
use ottla_wire::messages::CreateTopicsRequest;
use ottla_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};

use trio::{Trio, id_of};

fn code(error: ErrorCode) -> i16 {
    error.code()
}

/// A topic of one partition on these brokers, made at the first of them that runs.
async fn create(trio: &Trio, name: &str, replicas: &[usize]) {
    create_with(trio, name, replicas, &[]).await;
}

/// As [`create`], with these configs.
async fn create_with(trio: &Trio, name: &str, replicas: &[usize], configs: &[(&str, &str)]) {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let broker_ids = replicas.iter().copied().map(id_of).collect();
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![CreatableReplicaAssignment { partition_index: 0, broker_ids }],
        configs: configs.iter().map(config).collect(),
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let at = trio.brokers.iter().position(Option::is_some).unwrap();
    let answer = trio.ask(at, &request, 7).await;
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    let everybody = |partition: &ottla_core::metadata::Partition| partition.isr.len() == replicas.len();
    trio.until(name, "created", everybody).await;
}

/// Who holds partition 0 of the topic, as any broker sees it.
fn replicas(trio: &Trio, topic: &str) -> Vec<i32> {
    let image = trio.any().node.metadata.image();
    image.partition(topic, PartitionIndex::new(0)).unwrap().replicas.iter().map(|id| id.get()).collect()
}
