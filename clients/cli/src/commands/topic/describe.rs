//! `ottla topic describe`: partitions, leaders, offsets, sizes, configuration.

use std::collections::BTreeMap;

use ottla_client::{
    ConfigEntry, ConfigSource, DirectoryDescription, NamedPartition, PartitionDescription, Resource, Settled,
    TopicDescription, types::Offset,
};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Result, done, split};
use crate::output::{Columns, Show, list, or_dash};
use crate::text::bytes;

/// Shows topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ottla topic describe orders
  ottla topic describe orders payments -o yaml
  ottla topic describe orders -o json | jq '[.[0].partitions[] | .end - .start] | add'")]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<()> {
    let (found, failure) = split(cx.client.describe_topics(&args.topics).await?);
    let names: Vec<String> = found.iter().map(|topic| topic.name.clone()).collect();
    let mut topics = Vec::new();
    if !found.is_empty() {
        let (directories, _) = split(cx.client.describe_log_dirs(Some(&names)).await?);
        let resources: Vec<_> = names.iter().cloned().map(Resource::Topic).collect();
        let configs = cx.client.describe_configs(&resources, false).await?;
        for (topic, config) in found.into_iter().zip(configs) {
            let named = |partition: &PartitionDescription| NamedPartition::new(topic.name.clone(), partition.index);
            let partitions: Vec<_> = topic.partitions.iter().map(named).collect();
            let ends = ends(cx, &topic, &partitions).await?;
            topics.push(Topic::new(&topic, &ends, &sizes(&directories), config));
        }
    }
    cx.print(&Topics(topics))?;
    done(failure)
}

/// First and next offsets of the partitions that have a leader to tell them.
async fn ends(
    cx: &Context,
    topic: &TopicDescription,
    partitions: &[NamedPartition],
) -> Result<BTreeMap<NamedPartition, (Offset, Offset)>> {
    let led = |partition: &NamedPartition| {
        topic.partitions.iter().any(|one| one.index == partition.partition && one.leader.is_some())
    };
    let asked: Vec<_> = partitions.iter().filter(|partition| led(partition)).cloned().collect();
    let found = cx.client.ends(&asked, false).await?;
    Ok(asked.into_iter().zip(found).filter_map(|(partition, ends)| ends.ok().map(|ends| (partition, ends))).collect())
}

/// Bytes of each partition on its fullest replica.
fn sizes(directories: &[DirectoryDescription]) -> BTreeMap<NamedPartition, i64> {
    let mut sizes = BTreeMap::new();
    for replica in directories.iter().flat_map(|directory| &directory.replicas) {
        let size: &mut i64 = sizes.entry(replica.partition.clone()).or_default();
        *size = replica.bytes.max(*size);
    }
    sizes
}

#[derive(Debug, Serialize)]
struct Topics(Vec<Topic>);

#[derive(Debug, Serialize)]
struct Topic {
    name: String,
    id: String,
    internal: bool,
    bytes: i64,
    config: BTreeMap<String, Option<String>>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    eligible: Option<Vec<i32>>,
    offline: Vec<i32>,
    start: Option<i64>,
    end: Option<i64>,
    bytes: Option<i64>,
}

impl Topic {
    fn new(
        topic: &TopicDescription,
        ends: &BTreeMap<NamedPartition, (Offset, Offset)>,
        sizes: &BTreeMap<NamedPartition, i64>,
        config: Settled<Vec<ConfigEntry>>,
    ) -> Self {
        let ids = |brokers: &[ottla_client::types::BrokerId]| brokers.iter().map(|id| id.get()).collect::<Vec<_>>();
        let partition = |one: &PartitionDescription| {
            let named = NamedPartition::new(topic.name.clone(), one.index);
            let ends = ends.get(&named);
            Partition {
                partition: one.index.get(),
                leader: one.leader.map(|id| id.get()),
                leader_epoch: one.epoch.get(),
                replicas: ids(&one.replicas),
                in_sync: ids(&one.in_sync),
                eligible: one.eligible.as_deref().map(ids),
                offline: ids(&one.offline),
                start: ends.map(|(start, _)| start.get()),
                end: ends.map(|(_, end)| end.get()),
                bytes: sizes.get(&named).copied(),
            }
        };
        let explicit = |entry: &ConfigEntry| entry.source == ConfigSource::Topic;
        let set = config.unwrap_or_default().into_iter().filter(explicit).map(|entry| (entry.name, entry.value));
        let partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
        Self {
            name: topic.name.clone(),
            id: topic.id.to_string(),
            internal: topic.internal,
            bytes: partitions.iter().filter_map(|one| one.bytes).sum(),
            config: set.collect(),
            partitions,
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!("Topic       {}", self.name),
            format!("Id          {}", self.id),
            format!("Partitions  {}", self.partitions.len()),
            format!("Size        {}", bytes(self.bytes)),
        ];
        for (at, (name, value)) in self.config.iter().enumerate() {
            let label = if at == 0 { "Config" } else { "" };
            lines.push(format!("{label:<12}{name}={}", value.as_deref().unwrap_or("(secret)")));
        }
        let header = ["PARTITION#", "LEADER#", "EPOCH#", "REPLICAS", "IN SYNC", "START#", "END#", "SIZE#"];
        let mut columns = Columns::new(&header);
        for one in &self.partitions {
            columns.row([
                one.partition.to_string(),
                one.leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
                one.leader_epoch.to_string(),
                list(&one.replicas),
                list(&one.in_sync),
                or_dash(one.start),
                or_dash(one.end),
                or_dash(one.bytes.map(bytes)),
            ]);
        }
        format!("{}\n\n{}", lines.join("\n"), columns.text())
    }
}

impl Show for Topics {
    fn table(&self) -> String {
        self.0.iter().map(Topic::text).collect::<Vec<_>>().join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn a_topic_is_shown() {
        let partition = |index, leader: Option<i32>| Partition {
            partition: index,
            leader,
            leader_epoch: 4,
            replicas: vec![0, 1],
            in_sync: leader.into_iter().collect(),
            eligible: Some(Vec::new()),
            offline: Vec::new(),
            start: leader.map(|_| 10),
            end: leader.map(|_| 12_345),
            bytes: leader.map(|_| 3 << 20),
        };
        let topic = Topic {
            name: "orders".to_owned(),
            id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            internal: false,
            bytes: 3 << 20,
            config: [("cleanup.policy", "compact"), ("retention.ms", "86400000")]
                .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
                .into(),
            partitions: vec![partition(0, Some(1)), partition(1, None)],
        };
        let topics = Topics(vec![topic]);
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("topic_describe_{format:?}"), render(format, &topics).unwrap());
        }
    }
}
