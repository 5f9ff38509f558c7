//! `ottla group delete`: groups, or single offsets of one.

use serde::Serialize;

use super::{Selection, resolve, selection};
use crate::context::Context;
use crate::failure::{Failure, Result, done};
use crate::output::Show;

/// Deletes groups with their offsets
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A group is deleted only when it has no members; an offset only when no member reads its topic.

Examples:
  ottla group delete billing
  ottla group delete billing --offsets orders --offsets payments:0,1")]
pub(crate) struct Args {
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Delete only the offsets of this topic, or of some of its partitions; repeat for more
    #[arg(long, value_name = "TOPIC[:P,P]", value_parser = selection)]
    offsets: Vec<Selection>,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<()> {
    let mut results = Vec::new();
    let mut failures = Vec::new();
    if args.offsets.is_empty() {
        for (name, settled) in args.groups.iter().zip(cx.client.delete_groups(&args.groups).await?) {
            match settled {
                Ok(()) => results.push(Deleted { group: name.clone(), partition: None }),
                Err(refused) => failures.push(Failure::from(refused)),
            }
        }
    } else {
        let partitions = resolve(cx, &args.offsets).await?;
        for group in &args.groups {
            for (partition, settled) in cx.client.delete_offsets(group, &partitions).await? {
                match settled {
                    Ok(()) => {
                        let partition = Some(partition.to_string());
                        results.push(Deleted { group: group.clone(), partition });
                    }
                    Err(refused) => failures.push(Failure::from(refused)),
                }
            }
        }
    }
    cx.print(&Results(results))?;
    done(Failure::several(failures))
}

#[derive(Debug, Serialize)]
struct Results(Vec<Deleted>);

/// A group that was deleted, or its offset of one partition.
#[derive(Debug, Serialize)]
struct Deleted {
    group: String,
    partition: Option<String>,
}

impl Show for Results {
    fn table(&self) -> String {
        let line = |one: &Deleted| match &one.partition {
            None => format!("{} deleted", one.group),
            Some(partition) => format!("{} forgot where it stood on {partition}", one.group),
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
