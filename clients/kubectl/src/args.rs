//! The command line: what stands in front of every verb, and the verbs.
//!
//! Owns options and their help; what a verb does stands in its own file.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Span;

use crate::failure::EXIT_CODES;

const EXAMPLES: &str = "\
Examples:
  kubectl ottla connect events
  kubectl ottla exec events -- topic list
  kubectl ottla status events -n shop
  kubectl ottla restart events --wait
  kubectl ottla logs events --broker 1 -f --since 10m
  kubectl ottla report events -o events.tar.gz";

/// What people ask of an Ottla Cluster every day.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-ottla",
    bin_name = "kubectl ottla",
    version,
    about = "What people ask of an Ottla Cluster every day.",
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"),
    after_help = "`kubectl ottla help VERB` tells more.",
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

/// Options that every verb takes, called as kubectl calls them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The namespace of the Cluster [default: that of the context]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// The context of the kubeconfig [default: the current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The kubeconfig [default: the files of KUBECONFIG, or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lets clients on this machine reach the brokers, until Ctrl-C
    Connect(Connect),
    /// Runs the `ottla` command in a broker's Pod
    Exec(Exec),
    /// How a Cluster is; exit code 1 when it is not Ready
    Status(Status),
    /// Restarts every broker, or one, as a change would
    Restart(Restart),
    /// Stops every broker; volumes, metadata and Services stay
    Hibernate(Waiting),
    /// Starts the brokers of a Cluster that hibernates
    Wake(Waiting),
    /// Has the operator change nothing until `resume`
    Pause(Subject),
    /// Lets the operator go on after `pause`
    Resume(Resume),
    /// The brokers' logs, each line behind the name of its Pod
    Logs(Logs),
    /// Collects what a bug report needs into one file, without secrets
    Report(Report),
}

/// `connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The Cluster
    pub(crate) name: String,
    /// The listener to go through [default: the first one without TLS]
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// The local port to begin at; broker N gets PORT + 1 + N where that is free. 0 takes any
    #[arg(long, default_value_t = 9092)]
    pub(crate) port: u16,
}

/// `exec`.
#[derive(Debug, Args)]
#[command(after_help = "What is piped in is the command's stdin; its exit code is kept.")]
pub(crate) struct Exec {
    /// The Cluster
    pub(crate) name: String,
    /// In this broker's Pod [default: the first one that serves]
    #[arg(long, value_name = "ID")]
    pub(crate) broker: Option<i32>,
    /// What `ottla` is to do
    #[arg(last = true, required = true, value_name = "WORDS")]
    pub(crate) words: Vec<String>,
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The Cluster [default: one line for each]
    pub(crate) name: Option<String>,
    /// One line for each Cluster of every namespace
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    pub(crate) all_namespaces: bool,
}

/// `restart`.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    /// This broker alone
    #[arg(long, value_name = "ID")]
    pub(crate) broker: Option<i32>,
}

/// Verbs that can be waited for.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// The Cluster
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// How long to wait, if at all.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// Waits until it is done, and tells how far it is
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
    pub(crate) timeout: Duration,
}

/// `pause`.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// cluster/NAME or topic/NAME; NAME alone is a Cluster
    #[arg(value_name = "KIND/NAME")]
    pub(crate) subject: String,
}

/// `resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) subject: Subject,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The Cluster
    pub(crate) name: String,
    /// This broker alone
    #[arg(long, value_name = "ID")]
    pub(crate) broker: Option<i32>,
    /// Goes on, also with Pods that come later
    #[arg(short, long, conflicts_with = "previous")]
    pub(crate) follow: bool,
    /// Nothing older than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// At most so many lines of each broker's past
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Of the process before, when a container has been started again
    #[arg(short, long)]
    pub(crate) previous: bool,
}

/// `report`.
#[derive(Debug, Args)]
#[command(
    after_help = "No Secret is asked for. What looks like a password, a token or a key in anything else is taken out; look \
                  through the file all the same before you give it to anybody."
)]
pub(crate) struct Report {
    /// The Cluster
    pub(crate) name: String,
    /// Where to write; `-` is stdout [default: ottla-NAME-TIME.tar.gz]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Where the operator runs [default: found by its labels]
    #[arg(long, value_name = "NAME")]
    pub(crate) operator_namespace: Option<String>,
    /// At most so many MiB of the end of each log
    #[arg(long, value_name = "MIB", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) log_size: u16,
}

/// `30s`, `5m`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| format!("{text:?} is no duration: write 30s, 5m or 1h30m"))?;
    let signed = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| format!("{text:?} is too long: use days at most"))?;
    Duration::try_from(signed).map_err(|_| format!("{text:?} is negative"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Ottla, String> {
        Ottla::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Ottla::command().debug_assert();
    }

    #[test]
    fn words_behind_the_dashes_are_the_commands_own() {
        let ottla = parsed("kubectl-ottla exec events -n shop -- topic list -o json").unwrap();
        let Command::Exec(exec) = ottla.command else { panic!("{:?}", ottla.command) };
        assert_eq!((exec.name.as_str(), exec.words.join(" ").as_str()), ("events", "topic list -o json"));
        assert_eq!(ottla.global.namespace.as_deref(), Some("shop"));
        assert!(parsed("kubectl-ottla exec events").is_err());
        assert!(parsed("kubectl-ottla logs events -f --previous").is_err(), "what has ended does not go on");
    }

    #[test]
    fn durations_are_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        assert!(duration("soon").unwrap_err().contains("\"soon\""));
        assert!(duration("-5m").unwrap_err().contains("negative"));
    }
}
