//! The arguments of `ottla dev`. The command line of the `ottla` binary mounts them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

const ABOUT: &str = "\
Runs a whole Ottla in the foreground, until it is interrupted or terminated (exit code 0). It reads the same YAML as
kubectl apply; without -f it is one broker whose topics are created on demand. When everything that is declared serves
it prints one line on stdout, `ready: bootstrap HOST:PORT`; everything else goes to stderr.

A Cluster whose pools have several replicas is run as that many brokers, which replicate as they would between
machines: ports follow on --kafka-port and --http-port, the bootstrap list names all of them.

Topics are made what the files declare: created, given partitions and configs, as the policies of each Topic say. Topics
that no file declares are left alone. What makes no sense on one machine (storage, rack, resources, listeners of other
types, more replicas than brokers) is accepted and named once. With --watch, what others change is corrected as well.

The same --data-dir goes on where it stopped, however it stopped.

Examples:
  ottla dev
  ottla dev -f deploy/examples/quickstart.yaml --watch
  ottla dev -f cluster.yaml -f topics/ --data-dir /tmp/ottla -c log.retention.hours=24
  ottla dev --kafka-port 0 --http-port 0 --ready-file ready & ... kcat -b \"$(cat ready)\" -L";

/// Runs a whole Ottla on this machine.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = ABOUT)]
pub struct DevArgs {
    /// A manifest, or a folder of manifests, with the Cluster and its Topics. May be given more than once.
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,

    /// Where records and metadata are kept; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".ottla/dev", env = "OTTLA_DATA_DIR", hide_env_values = true)]
    pub data_dir: PathBuf,

    /// Port for Kafka clients; 0 takes any free one.
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    pub kafka_port: u16,

    /// Port for /metrics, /livez and /readyz; 0 takes any free one.
    #[arg(long, value_name = "PORT", default_value_t = 9644)]
    pub http_port: u16,

    /// Address to listen on; 0.0.0.0 or :: for every network that this machine is part of.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,

    /// Name or address that clients are told to connect to. Absent: the address of --bind.
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,

    /// Sets a broker config, above what the files say. May be given more than once.
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub config: Vec<(String, String)>,

    /// Writes the bootstrap list to this file once everything that is declared serves, and removes it at the end.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Applies a file at once when it changes. A broken file is named, and what was read last stays.
    #[arg(long, requires = "files")]
    pub watch: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        Some(_) | None => Err("expected KEY=VALUE, such as log.retention.hours=24".to_owned()),
    }
}

impl DevArgs {
    /// What clients are told to connect to.
    pub fn advertised_host(&self) -> String {
        match &self.advertise {
            Some(host) => host.clone(),
            None if self.bind.is_unspecified() => "127.0.0.1".to_owned(),
            None => self.bind.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches, error::ErrorKind};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<DevArgs, clap::Error> {
        let command = DevArgs::augment_args(clap::Command::new("dev"));
        let matches = command.try_get_matches_from(std::iter::once(&"dev").chain(arguments))?;
        DevArgs::from_arg_matches(&matches)
    }

    #[test]
    fn defaults_are_those_that_scripts_rely_on() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.kafka_port, args.http_port), (9092, 9644));
        assert_eq!(args.bind.to_string(), "127.0.0.1");
        assert_eq!(args.advertised_host(), "127.0.0.1");
        assert_eq!(args.data_dir, PathBuf::from(".ottla/dev"));
        assert!(args.files.is_empty() && args.config.is_empty() && args.ready_file.is_none() && !args.watch);
    }

    #[test]
    fn flags_are_those_that_scripts_rely_on() {
        let args = parse(&[
            "-f",
            "a.yaml",
            "-f",
            "folder",
            "--data-dir",
            "/d",
            "--kafka-port",
            "0",
            "--http-port",
            "1",
            "--bind",
            "0.0.0.0",
            "--advertise",
            "me",
            "-c",
            "a.b=c=d",
            "-c",
            "x=",
            "--ready-file",
            "r",
            "--watch",
        ])
        .unwrap();
        assert_eq!(args.files, [PathBuf::from("a.yaml"), PathBuf::from("folder")]);
        assert_eq!(args.config, [("a.b".to_owned(), "c=d".to_owned()), ("x".to_owned(), String::new())]);
        assert_eq!(args.advertised_host(), "me");
        assert!(args.watch);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for arguments in [&["-c", "novalue"][..], &["-c", "=x"], &["--kafka-port", "70000"], &["--bind", "localhost"]] {
            assert_eq!(parse(arguments).unwrap_err().kind(), ErrorKind::ValueValidation, "{arguments:?}");
        }
        assert_eq!(parse(&["--watch"]).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
    }
}
