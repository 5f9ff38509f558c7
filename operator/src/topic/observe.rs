//! Looking: what a cluster has, for all of its Topics at once.
//!
//! Owns the questions that are asked of brokers: four, however many Topics there are, and one more per 50 topics. Must
//! never take what could not be read for absent.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Client, ConfigEntry, ConfigSource, Resource, Result, TopicDescription};

use super::world::{Broker, Found, World};

/// How many topics are asked about in one request for configurations. Their answer has every key of each, some 10 KiB a
/// topic once it is decoded: what is held of it at a time is most of what a look needs.
const CONFIGS_PER_REQUEST: usize = 50;

/// What the cluster has of `names`.
///
/// # Errors
/// When its brokers do not answer in time.
pub async fn look(client: &Client, names: &BTreeSet<&str>) -> Result<World> {
    let described = client.describe_cluster().await?;
    let broker = |node: ottla_client::ClusterNode| Broker { rack: node.rack, live: !node.fenced, load: 0 };
    let mut brokers: BTreeMap<i32, Broker> =
        described.brokers.into_iter().map(|node| (node.id.get(), broker(node))).collect();
    let mut topics = BTreeMap::new();
    for topic in client.list_topics().await? {
        for partition in &topic.partitions {
            for id in &partition.replicas {
                brokers.entry(id.get()).or_default().load += 1;
            }
        }
        if names.contains(topic.name.as_str()) {
            topics.insert(topic.name.clone(), found(topic));
        }
    }
    let reassignments = client.reassignments().await?;
    let moving = reassignments.len();
    for reassignment in reassignments {
        let Some(topic) = topics.get_mut(&reassignment.partition.topic) else { continue };
        topic.moving += 1;
        let left = reassignment.replicas.iter().filter(|id| !reassignment.removing.contains(id));
        topic.partitions.insert(reassignment.partition.partition.get(), left.map(|id| id.get()).collect());
    }
    configure(client, &mut topics).await?;
    Ok(World { brokers, topics, moving, declared: 0 })
}

fn found(topic: TopicDescription) -> Found {
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| (partition.index.get(), partition.replicas.iter().map(|id| id.get()).collect()));
    Found {
        id: topic.id.to_string(),
        internal: topic.internal,
        partitions: partitions.collect(),
        moving: 0,
        config: None,
    }
}

/// Adds what is set on each topic.
async fn configure(client: &Client, topics: &mut BTreeMap<String, Found>) -> Result<()> {
    let names: Vec<Resource> = topics.keys().map(|name| Resource::Topic(name.clone())).collect();
    for some in names.chunks(CONFIGS_PER_REQUEST) {
        let answers = client.describe_configs(some, false).await?;
        for (resource, answer) in some.iter().zip(answers) {
            let Resource::Topic(name) = resource else { continue };
            let Some(topic) = topics.get_mut(name) else { continue };
            topic.config = answer.ok().map(|entries| entries.into_iter().filter_map(own).collect());
        }
    }
    Ok(())
}

/// A key that is set on the topic itself.
fn own(entry: ConfigEntry) -> Option<(String, String)> {
    (entry.source == ConfigSource::Topic).then(|| (entry.name, entry.value.unwrap_or_default()))
}
