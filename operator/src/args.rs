//! The command line of `ottla-operator`.
//!
//! Owns the flags; each is a variable as well, which a Deployment sets.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Turns Cluster resources into running brokers
#[derive(Clone, Debug, Parser)]
#[command(name = "ottla-operator", version)]
#[command(after_help = "\
It runs until SIGTERM or SIGINT, then finishes what it is at and gives its lease back. Several replicas may run: one acts,
the others wait for its lease. Exit code 1 means that it could not run or has lost the lease, 2 that the command line is
wrong.")]
pub struct Args {
    /// Namespaces whose Clusters are looked after, separated by commas. Absent or empty: all of them.
    #[arg(long, env = "OTTLA_OPERATOR_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    pub watch_namespaces: Vec<String>,

    /// Image of the brokers, without its tag.
    #[arg(long, env = "OTTLA_OPERATOR_BROKER_IMAGE", default_value = "ottla-broker", value_name = "IMAGE")]
    pub broker_image: String,

    /// Version that a new Cluster runs when it does not say; the tag of the image.
    #[arg(long, env = "OTTLA_OPERATOR_BROKER_VERSION", default_value = env!("CARGO_PKG_VERSION"), value_name = "TAG")]
    pub broker_version: String,

    /// Where /livez, /readyz and /metrics are served, as host:port.
    #[arg(long, env = "OTTLA_OPERATOR_HTTP_LISTENER", default_value = "0.0.0.0:9644", value_name = "ADDRESS")]
    pub http_listener: String,

    /// Namespace of the lease by which replicas elect one of them. Absent: the operator's own.
    #[arg(long, env = "OTTLA_OPERATOR_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// Name of this replica in the lease. Absent: the name of the host.
    #[arg(long, env = "OTTLA_OPERATOR_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// How many Clusters are worked on at once.
    #[arg(long, env = "OTTLA_OPERATOR_CONCURRENCY", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "COUNT")]
    pub concurrency: u16,

    /// How to reach the API server. Absent: as KUBECONFIG or ~/.kube/config say, else as a pod does.
    #[arg(long, env = "OTTLA_OPERATOR_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// How the operator writes its log.
    #[arg(long, env = "OTTLA_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// What its log holds: error, warn, info, debug or trace, or filters such as ottla_operator=debug.
    #[arg(long, env = "OTTLA_OPERATOR_LOG_LEVEL", default_value = "info", value_name = "FILTER")]
    pub log_level: String,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn namespaces_are_a_list() {
        let read = |line: &[&str]| Args::try_parse_from(line).unwrap().watch_namespaces;
        assert!(read(&["ottla-operator"]).is_empty());
        assert_eq!(read(&["ottla-operator", "--watch-namespaces", "a,b"]), ["a", "b"]);
        assert!(Args::try_parse_from(["ottla-operator", "--concurrency", "0"]).is_err());
    }
}
