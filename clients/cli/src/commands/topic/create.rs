//! `ottla topic create`: new topics.

use std::collections::BTreeMap;

use ottla_client::{ErrorCode, NewTopic, Refused};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Failure, Result, done};
use crate::output::Show;
use crate::text;

/// Creates topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ottla topic create orders
  ottla topic create orders payments --partitions 12 --replicas 3
  ottla topic create audit -p 3 -c retention.ms=-1 -c cleanup.policy=compact --if-not-exists")]
pub(crate) struct Args {
    /// Their names: letters, digits, dots, underscores and dashes, at most 249
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// How many partitions each gets [default: the broker's num.partitions]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many brokers keep each partition [default: the broker's default.replication.factor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// A configuration; repeat for more
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = text::pair)]
    configs: Vec<(String, String)>,
    /// A topic that exists already is no error; it is left as it is
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether the cluster would do it
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<()> {
    let configs: BTreeMap<_, _> = args.configs.into_iter().collect();
    let new = |name: &String| NewTopic {
        name: name.clone(),
        partitions: args.partitions,
        replicas: args.replicas,
        assignments: Vec::new(),
        configs: configs.clone(),
    };
    let topics: Vec<_> = args.topics.iter().map(new).collect();
    let settled = cx.client.create_topics(&topics, args.dry_run).await?;
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for (topic, settled) in topics.iter().zip(settled) {
        let outcome = match settled {
            Ok(created) => {
                let outcome = if args.dry_run { "would be created" } else { "created" };
                let id = (!created.id.is_zero()).then(|| created.id.to_string());
                Created { name: topic.name.clone(), outcome, id, partitions: Some(created.partitions) }
            }
            Err(refused) if args.if_not_exists && refused.code == ErrorCode::TOPIC_ALREADY_EXISTS => {
                Created { name: topic.name.clone(), outcome: "exists", id: None, partitions: None }
            }
            Err(refused) => {
                failures.push(explain(refused, &configs));
                continue;
            }
        };
        results.push(outcome);
    }
    if !args.dry_run {
        // Whoever creates a topic uses it next: say so only when it can be used.
        let created: Vec<_> = results.iter().filter(|one| one.id.is_some()).map(|one| one.name.clone()).collect();
        cx.client.await_topics(&created).await?;
    }
    cx.print(&Results(results))?;
    done(Failure::several(failures))
}

/// Adds to a refused configuration what was probably meant.
fn explain(refused: Refused, configs: &BTreeMap<String, String>) -> Failure {
    // Ottla says so itself; other brokers do not.
    let told = refused.message.as_ref().is_some_and(|message| message.contains("did you mean"));
    let invalid = refused.code == ErrorCode::INVALID_CONFIG && !told;
    let failure = Failure::from(refused);
    let meant = configs.keys().find_map(|name| {
        let nearest = text::nearest(name, super::config::NAMES.iter().copied()).filter(|nearest| nearest != name)?;
        Some(format!("Did you mean {nearest} instead of {name}?"))
    });
    match meant {
        Some(words) if invalid => failure.way_out(words),
        Some(_) | None => failure,
    }
}

#[derive(Debug, Serialize)]
struct Results(Vec<Created>);

#[derive(Debug, Serialize)]
struct Created {
    name: String,
    outcome: &'static str,
    id: Option<String>,
    partitions: Option<i32>,
}

impl Show for Results {
    fn table(&self) -> String {
        let line = |one: &Created| match one.partitions {
            Some(1) => format!("{} {} with 1 partition", one.name, one.outcome),
            Some(count) if count > 0 => format!("{} {} with {count} partitions", one.name, one.outcome),
            Some(_) | None => format!("{} {}", one.name, one.outcome),
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn results_are_shown() {
        let created = |name: &str, outcome, partitions: Option<i32>| Created {
            name: name.to_owned(),
            outcome,
            id: partitions.map(|_| "AAAAAAAAAAAAAAAAAAAAAA".to_owned()),
            partitions,
        };
        let results = Results(vec![
            created("a", "created", Some(1)),
            created("b", "would be created", Some(3)),
            created("c", "exists", None),
        ]);
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("topic_create_{format:?}"), render(format, &results).unwrap());
        }
    }

    #[test]
    fn a_mistyped_key_is_answered_with_the_nearest() {
        let api = ottla_client::ApiKey::CreateTopics;
        let message = Some("Unknown topic config name: retention.mss".to_owned());
        let refused = Refused::new(api, "topic t", ErrorCode::INVALID_CONFIG, message);
        let failure = explain(refused, &[("retention.mss".to_owned(), "1".to_owned())].into());
        let mut text = Vec::new();
        failure.write(&mut text).unwrap();
        let expected = "ottla: topic t: Unknown topic config name: retention.mss [INVALID_CONFIG]\n  \
                        Did you mean retention.ms instead of retention.mss?\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
