//! `ottla topic config`: show or change a topic's configuration and number of partitions.

use ottla_client::{ConfigChange, ConfigEntry, ConfigSource, ErrorCode, Operation, Resource};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::output::{Columns, Show};
use crate::text;

/// Shows or changes a topic's configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a change it shows what was set on the topic; with --all also what comes from the brokers and from defaults.
After a change it shows the result.

Examples:
  ottla topic config orders --all
  ottla topic config orders --set retention.ms=86400000 --set max.message.bytes=2000000
  ottla topic config orders --unset retention.ms
  ottla topic config orders --partitions 24")]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Set a configuration; repeat for more
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = text::pair)]
    set: Vec<(String, String)>,
    /// Go back to the default; repeat for more
    #[arg(short, long, value_name = "NAME")]
    unset: Vec<String>,
    /// Raise the number of partitions to this many; keys may then meet other partitions than before
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Show every configuration, whoever set it
    #[arg(short, long)]
    all: bool,
    /// Show what each configuration is for
    #[arg(long)]
    explain: bool,
    /// Only check whether the cluster would do it
    #[arg(long)]
    dry_run: bool,
}

/// The names that topics of Kafka 4 know, for "did you mean".
pub(super) const NAMES: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "errors.deadletterqueue.group.enable",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.copy.lag.bytes",
    "remote.copy.lag.ms",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

pub(crate) async fn run(cx: &Context, args: Args) -> Result<()> {
    let resource = Resource::Topic(args.topic.clone());
    if let Some(count) = args.partitions {
        for settled in cx.client.create_partitions(&[(args.topic.clone(), count)], args.dry_run).await? {
            settled?;
        }
    }
    let set = args.set.into_iter().map(|(name, value)| ConfigChange { name, operation: Operation::Set(value) });
    let unset = args.unset.into_iter().map(|name| ConfigChange { name, operation: Operation::Unset });
    let changes: Vec<_> = set.chain(unset).collect();
    if !changes.is_empty() {
        let settled = cx.client.alter_configs(&[(resource.clone(), changes.clone())], args.dry_run).await?;
        for settled in settled {
            settled.map_err(|refused| {
                // Ottla says so itself; other brokers do not.
                let told = refused.message.as_ref().is_some_and(|message| message.contains("did you mean"));
                let invalid = refused.code == ErrorCode::INVALID_CONFIG && !told;
                let failure = Failure::from(refused);
                let known = |name: &str| text::nearest(name, NAMES.iter().copied()).filter(|near| *near != name);
                let meant = changes.iter().find_map(|change| Some((known(&change.name)?, &change.name)));
                match meant {
                    Some((near, name)) if invalid => failure.way_out(format!("Did you mean {near} instead of {name}?")),
                    Some(_) | None => failure,
                }
            })?;
        }
    }
    let described = cx.client.describe_configs(&[resource], args.explain).await?;
    let entries = described.into_iter().next().unwrap_or_else(|| Ok(Vec::new()))?;
    if entries.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("the cluster tells no configuration of topic {}", args.topic)));
    }
    let wanted = |entry: &ConfigEntry| args.all || entry.source == ConfigSource::Topic;
    cx.print(&Configs(entries.into_iter().filter(wanted).map(Config::from).collect()))
}

#[derive(Debug, Serialize)]
struct Configs(Vec<Config>);

#[derive(Debug, Serialize)]
struct Config {
    name: String,
    value: Option<String>,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
}

impl From<ConfigEntry> for Config {
    fn from(entry: ConfigEntry) -> Self {
        let source = entry.source.name();
        Self { name: entry.name, value: entry.value, source, documentation: entry.documentation }
    }
}

impl Show for Configs {
    fn table(&self) -> String {
        if self.0.is_empty() {
            return "Nothing is set on this topic; --all shows what holds for it.".to_owned();
        }
        let explained = self.0.iter().any(|config| config.documentation.is_some());
        let header = ["NAME", "VALUE", "SET BY", "WHAT FOR"];
        let mut columns = Columns::new(if explained { &header } else { &header[..3] });
        for config in &self.0 {
            let value = config.value.clone().unwrap_or_else(|| "(secret)".to_owned());
            let mut row = vec![config.name.clone(), value, config.source.to_owned()];
            if explained {
                row.push(config.documentation.clone().unwrap_or_default());
            }
            columns.row(row);
        }
        columns.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn configurations_are_shown() {
        let config = |name: &str, value: Option<&str>, source| Config {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            source,
            documentation: None,
        };
        let configs = Configs(vec![
            config("cleanup.policy", Some("delete"), "default"),
            config("password", None, "brokers"),
            config("retention.ms", Some("1000"), "topic"),
        ]);
        for format in [Format::Table, Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("topic_config_{format:?}"), render(format, &configs).unwrap());
        }
        insta::assert_snapshot!("topic_config_empty", render(Format::Table, &Configs(Vec::new())).unwrap());
    }
}
