//! `ottla topic list`: one line per topic.

use ottla_client::TopicDescription;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Result;
use crate::output::{Columns, Show};

/// Lists topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ottla topic list
  ottla topic list --internal -o json | jq -r '.[].name'")]
pub(crate) struct Args {
    /// Include the cluster's own topics, like __consumer_offsets
    #[arg(long)]
    internal: bool,
    /// Only topics with a partition without leader or with too few replicas in sync
    #[arg(long)]
    unhealthy: bool,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<()> {
    let topics = cx.client.list_topics().await?;
    let wanted = topics.iter().filter(|topic| args.internal || !topic.internal).map(Topic::new);
    let wanted = wanted.filter(|topic| !args.unhealthy || topic.leaderless + topic.under_replicated > 0);
    cx.print(&Topics(wanted.collect()))
}

#[derive(Debug, Serialize)]
struct Topics(Vec<Topic>);

#[derive(Debug, Serialize)]
struct Topic {
    name: String,
    id: String,
    internal: bool,
    partitions: usize,
    replicas: usize,
    under_replicated: usize,
    leaderless: usize,
}

impl Topic {
    fn new(topic: &TopicDescription) -> Self {
        let partitions = &topic.partitions;
        Self {
            name: topic.name.clone(),
            id: topic.id.to_string(),
            internal: topic.internal,
            partitions: partitions.len(),
            replicas: partitions.first().map_or(0, |partition| partition.replicas.len()),
            under_replicated: partitions.iter().filter(|one| one.in_sync.len() < one.replicas.len()).count(),
            leaderless: partitions.iter().filter(|one| one.leader.is_none()).count(),
        }
    }
}

impl Show for Topics {
    fn table(&self) -> String {
        let mut columns = Columns::new(&["TOPIC", "PARTITIONS#", "REPLICAS#", "HEALTH"]);
        for topic in &self.0 {
            let health = match (topic.leaderless, topic.under_replicated) {
                (0, 0) => "ok".to_owned(),
                (0, behind) => format!("{behind} under-replicated"),
                (without, _) => format!("{without} without leader"),
            };
            let (partitions, replicas) = (topic.partitions.to_string(), topic.replicas.to_string());
            columns.row([topic.name.clone(), partitions, replicas, health]);
        }
        columns.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn topics_are_listed() {
        let topic = |name: &str, partitions, under_replicated, leaderless| Topic {
            name: name.to_owned(),
            id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            internal: name.starts_with("__"),
            partitions,
            replicas: 3,
            under_replicated,
            leaderless,
        };
        let topics =
            Topics(vec![topic("__consumer_offsets", 50, 0, 0), topic("orders", 12, 2, 0), topic("payments", 1, 1, 1)]);
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("topic_list_{format:?}"), render(format, &topics).unwrap());
        }
        insta::assert_snapshot!("topic_list_empty", render(Format::Table, &Topics(Vec::new())).unwrap());
    }
}
