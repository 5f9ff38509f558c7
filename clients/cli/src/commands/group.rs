//! `ottla group`: consumer groups of a cluster.

use std::collections::BTreeSet;

use ottla_client::{NamedPartition, types::PartitionIndex};

use crate::context::Context;
use crate::failure::{Exit, Failure, Result};

mod delete;
mod describe;
mod list;
mod reset;

/// What can be done with groups.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List groups
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show where groups stand on each partition, how far behind, and who reads it
    #[command(visible_alias = "show")]
    Describe(describe::Args),
    /// Set where a group reads on; only while its consumers are stopped
    Reset(reset::Args),
    /// Delete groups, or single offsets of a group
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
}

pub(crate) async fn run(cx: &Context, command: Command) -> Result<()> {
    match command {
        Command::List(args) => list::run(cx, &args).await,
        Command::Describe(args) => describe::run(cx, &args).await,
        Command::Reset(args) => reset::run(cx, &args).await,
        Command::Delete(args) => delete::run(cx, &args).await,
    }
}

/// `TOPIC`, or `TOPIC:0,3` for some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selection {
    topic: String,
    partitions: Vec<PartitionIndex>,
}

fn selection(text: &str) -> Result<Selection, String> {
    let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
    if topic.is_empty() {
        return Err("write TOPIC, or TOPIC:0,3 for some of its partitions".to_owned());
    }
    let index = |one: &str| {
        let index = one.trim().parse::<i32>().ok().filter(|index| *index >= 0);
        index.map(PartitionIndex::new).ok_or_else(|| format!("{one:?} is no partition of {topic}"))
    };
    let partitions = partitions.split(',').filter(|one| !one.is_empty()).map(index).collect::<Result<_, _>>()?;
    Ok(Selection { topic: topic.to_owned(), partitions })
}

/// The partitions that `selections` mean.
async fn resolve(cx: &Context, selections: &[Selection]) -> Result<BTreeSet<NamedPartition>> {
    let mut all = BTreeSet::new();
    for selection in selections {
        let existing = cx.client.named_partitions(&selection.topic).await??;
        if selection.partitions.is_empty() {
            all.extend(existing);
            continue;
        }
        for &partition in &selection.partitions {
            let named = NamedPartition::new(selection.topic.clone(), partition);
            if !existing.contains(&named) {
                let (topic, count) = (&selection.topic, existing.len());
                let sentence = format!("topic {topic} has no partition {partition}; it has {count}");
                return Err(Failure::new(Exit::NotFound, sentence));
            }
            all.insert(named);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_read() {
        let partitions = |list: &[i32]| list.iter().copied().map(PartitionIndex::new).collect();
        let cases = [("orders", "orders", partitions(&[])), ("orders:0,3", "orders", partitions(&[0, 3]))];
        for (text, topic, partitions) in cases {
            assert_eq!(selection(text), Ok(Selection { topic: topic.to_owned(), partitions }), "{text}");
        }
        for text in ["", ":1", "orders:x", "orders:-1"] {
            assert!(selection(text).is_err(), "{text:?}");
        }
    }
}
