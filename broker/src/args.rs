//! The command line of `ottla-broker`.
//!
//! Owns the order in which a key's value is looked for: flag, variable, file. Every key of the configuration is a flag
//! (`--node.id`, or `--node-id`) and a variable (`OTTLA_NODE_ID`). Must never take a key that does not exist.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, ArgAction, Command};
use ottla_core::config::broker;
use ottla_core::metadata::ExplicitConfig;

use crate::config::parse_properties;

const ABOUT: &str = "One Ottla broker.

It takes Kafka's configuration keys from a properties file, each also as a flag or as a variable: node.id is
--node.id 1 and OTTLA_NODE_ID=1. A flag wins over a variable, a variable over the file.";

const EXAMPLES: &str = "Examples:
  ottla-broker --config /etc/ottla/broker.properties
  ottla-broker --listeners PLAINTEXT://127.0.0.1:9092 --log.dirs /var/lib/ottla

It runs until SIGTERM or SIGINT, then stops cleanly and exits with 0. Exit code 1 means that it could not run or had
to stop, 2 that the command line is wrong; what happened is the last line it wrote.";

/// The command, for its help, manual page and completions.
pub fn command() -> Command {
    let file = Arg::new("config")
        .long("config")
        .short('c')
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("A properties file with Kafka's keys");
    let keys = broker::ALL.iter().map(|key| {
        let arg = Arg::new(key.name).long(key.name).value_name("VALUE").action(ArgAction::Set);
        let arg = arg.alias(key.name.replace('.', "-")).allow_hyphen_values(true).help_heading("Configuration keys");
        let default = key.default.filter(|default| !default.is_empty());
        arg.help(default.map_or_else(|| key.doc.to_owned(), |default| format!("{} [default: {default}]", key.doc)))
    });
    Command::new("ottla-broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about("One Ottla broker")
        .long_about(ABOUT)
        .after_long_help(EXAMPLES)
        .arg(file)
        .args(keys)
}

/// Reads the command line, the variables and the file into the values of keys.
///
/// # Errors
/// When the file cannot be read; what is wrong with the command line itself ends the process with clap's message.
pub fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<ExplicitConfig> {
    let matches = command().get_matches_from(arguments);
    let mut values = ExplicitConfig::new();
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        values = parse_properties(&text).with_context(|| format!("read {}", path.display()))?;
    }
    for key in broker::ALL {
        let flag = matches.get_one::<String>(key.name).cloned();
        let value = flag.or_else(|| std::env::var(variable(key.name)).ok());
        if let Some(value) = value {
            values.insert(key.name.to_owned(), value);
        }
    }
    Ok(values)
}

/// The variable of a key: `node.id` is `OTTLA_NODE_ID`; a key that begins with `ottla.` says so once.
fn variable(key: &str) -> String {
    let name = key.strip_prefix("ottla.").unwrap_or(key);
    format!("OTTLA_{}", name.replace(['.', '-'], "_").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn variables_are_named_after_their_keys() {
        assert_eq!(variable("node.id"), "OTTLA_NODE_ID");
        assert_eq!(variable("ottla.http.listener"), "OTTLA_HTTP_LISTENER");
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("broker.properties");
        std::fs::write(&file, "node.id=7\nlog.dirs=/a\nown.key=1").unwrap();
        let arguments = ["ottla-broker", "--config", file.to_str().unwrap(), "--node-id", "8"];
        let values = read(arguments.into_iter().map(str::to_owned)).unwrap();
        let expected = [("log.dirs", "/a"), ("node.id", "8"), ("own.key", "1")];
        assert_eq!(values, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
}
