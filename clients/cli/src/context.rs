//! What a command has at hand: the cluster, the output format, the properties file.
//!
//! Owns how global options become a client's configuration: the command line before the environment before the file.

use std::path::Path;

use ottla_client::{Client, ClientConfig, Properties};

use crate::args::Global;
use crate::failure::{Exit, Failure, Result};
use crate::output::{self, Format, Show};
use crate::progress::Progress;

/// What a command has at hand.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) properties: Properties,
    pub(crate) format: Format,
    pub(crate) quiet: bool,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Result<Self> {
        let properties = match &global.command_config {
            Some(path) => read(path)?,
            None => Properties::default(),
        };
        let mut config = ClientConfig { call_timeout: global.timeout, ..ClientConfig::default() };
        properties.client(&mut config)?;
        if let Some(list) = &global.bootstrap {
            config.bootstrap =
                list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
        }
        for address in &mut config.bootstrap {
            *address = with_port(address)?;
        }
        config.request_timeout = config.request_timeout.min(config.call_timeout);
        config.connect_timeout = config.connect_timeout.min(config.call_timeout);
        for key in properties.ignored() {
            tracing::info!("--command-config: {key} means nothing to this client and is ignored");
        }
        Ok(Self { client: Client::new(config), properties, format: global.output, quiet: global.quiet })
    }

    /// Prints a result.
    pub(crate) fn print(&self, value: &impl Show) -> Result<()> {
        output::print(self.format, value)
    }

    /// Says something to a person, on stderr.
    pub(crate) fn say(&self, words: &str) {
        if !self.quiet {
            eprintln!("{words}");
        }
    }

    /// Shows that something goes on.
    pub(crate) fn progress(&self, total: Option<u64>, what: &str) -> Progress {
        Progress::new(self.quiet, total, what)
    }
}

fn read(path: &Path) -> Result<Properties> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot_read(path, &error))?;
    Ok(Properties::parse(&text))
}

/// Why the file `path` cannot be read.
pub(crate) fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
    Failure::new(exit, format!("cannot read {}: {error}", path.display()))
}

/// `host` as `host:9092`.
fn with_port(address: &str) -> Result<String> {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') || host.starts_with('[') => (host, port),
        Some(_) | None => (address, "9092"),
    };
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(Failure::usage(format!(
            "-b {address}: a broker is given as HOST:PORT, for example 127.0.0.1:9092"
        )));
    }
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_optional() {
        let cases = [("kafka", "kafka:9092"), ("kafka:1", "kafka:1"), ("[::1]:7", "[::1]:7")];
        for (address, expected) in cases {
            assert_eq!(with_port(address).unwrap(), expected);
        }
        for address in ["", ":9092", "kafka:", "kafka:99999", "kafka:x"] {
            assert!(with_port(address).is_err(), "{address:?}");
        }
    }
}
