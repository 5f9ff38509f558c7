//! `ottla topic delete`: topics and all their records.

use std::io::{BufRead, IsTerminal};

use ottla_client::ErrorCode;
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure, Result, done};
use crate::output::Show;

/// Deletes topics with all their records
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks first when a person watches; scripts are not asked.

Examples:
  ottla topic delete orders
  ottla topic delete orders payments --if-exists --yes")]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// A topic that does not exist is no error
    #[arg(long)]
    if_exists: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<()> {
    if !args.yes && !confirmed(&args.topics)? {
        return Err(Failure::new(Exit::Failed, "nothing was deleted"));
    }
    let settled = cx.client.delete_topics(&args.topics).await?;
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for (name, settled) in args.topics.iter().zip(settled) {
        let outcome = match settled {
            Ok(()) => "deleted",
            Err(refused) if args.if_exists && refused.code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "absent",
            Err(refused) => {
                failures.push(refused.into());
                continue;
            }
        };
        results.push(Deleted { name: name.clone(), outcome });
    }
    cx.print(&Results(results))?;
    done(Failure::several(failures))
}

fn confirmed(topics: &[String]) -> Result<bool> {
    let (input, errors) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !errors.is_terminal() {
        return Ok(true);
    }
    eprint!("Delete {} with all records? [y/N] ", topics.join(", "));
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[derive(Debug, Serialize)]
struct Results(Vec<Deleted>);

#[derive(Debug, Serialize)]
struct Deleted {
    name: String,
    outcome: &'static str,
}

impl Show for Results {
    fn table(&self) -> String {
        self.0.iter().map(|one| format!("{} {}", one.name, one.outcome)).collect::<Vec<_>>().join("\n")
    }
}
