//! The command line: what stands in front of every command, and the commands.
//!
//! Owns global options and the help text around them; each command's own arguments stand in its own file.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{cluster, completions, consume, group, log, produce, topic};
use crate::failure::EXIT_CODES;
use crate::output::Format;
use crate::text;

const LONG_ABOUT: &str = "\
Looks after Kafka clusters, Ottla or any other, from the command line.

Results go to stdout, everything else to stderr. What is printed with -o json or -o yaml is documented and stable.";

const EXAMPLES: &str = "\
Examples:
  ottla topic create orders --partitions 6 --config retention.ms=86400000
  printf 'eu:17\\nus:4\\n' | ottla produce orders --key-separator :
  ottla consume orders --from -10 --output json
  ottla group describe billing
  ottla -b kafka-1:9092,kafka-2:9092 cluster describe";

/// Looks after Kafka clusters from the command line.
#[derive(Debug, Parser)]
#[command(
    name = "ottla",
    version,
    about = "Looks after Kafka clusters from the command line.",
    long_about = LONG_ABOUT,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"),
    after_help = "`ottla help COMMAND` tells more, with examples.",
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub(crate) struct Ottla {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Brokers to ask first, separated by commas [default: 127.0.0.1:9092]
    #[arg(short, long, global = true, value_name = "HOST:PORT,…", env = "OTTLA_BOOTSTRAP", hide_env_values = true)]
    pub(crate) bootstrap: Option<String>,
    /// A file of Kafka client properties
    ///
    /// The same file that Kafka's own tools take with --command-config. Keys that this client does not know are ignored
    /// and named with --verbose. Only security.protocol=PLAINTEXT is supported so far.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) command_config: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// How long a request may take, with all retries
    #[arg(long, global = true, value_name = "DURATION", value_parser = text::duration, default_value = "30s")]
    pub(crate) timeout: Duration,
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Tell on stderr what the client does; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Topics: list, describe, create, delete, configure
    #[command(subcommand, visible_alias = "topics")]
    Topic(topic::Command),
    /// Write records from stdin or files
    Produce(Box<produce::Args>),
    /// Read records, to the end or for ever
    Consume(Box<consume::Args>),
    /// Consumer groups: list, describe with lag, reset, delete
    #[command(subcommand, visible_alias = "groups")]
    Group(group::Command),
    /// The cluster itself: brokers and data directories
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// A data directory on this machine, offline
    #[command(subcommand)]
    Log(log::Command),
    /// A whole cluster on this machine
    #[cfg(feature = "dev")]
    Dev(Box<ottla_dev::Args>),
    /// A completion script for a shell
    Completions(completions::Args),
}
