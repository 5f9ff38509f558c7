//! What of the configuration a file says that changes while the broker runs.
//!
//! Owns when such a file is taken: at start it has to be there and right, as the configuration itself; later one that is
//! empty or wrong changes nothing, and one line says so. What stands in it is a value of the file: what was set at run time
//! wins. Must never change a key under a broker that only a start may change, nor write a value into the log.

use std::path::Path;

use ottla_core::config::{BrokerConfig, InvalidValue};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, PropertiesError, parse_properties};
use crate::controller;
use crate::followed::{self, Followed};

const KEY: &str = "ottla.dynamic.config.file";

/// Why the file cannot be taken as it is.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is about to be written.
    #[error("it is empty; a file that sets nothing holds a comment")]
    Empty,
    /// A line cannot be read.
    #[error(transparent)]
    Notation(#[from] PropertiesError),
    /// Values that their keys do not take.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Values(Vec<InvalidValue>),
}

/// Why a broker cannot start with the file.
#[derive(Debug, thiserror::Error)]
#[error("ottla.dynamic.config.file {path}: {problem}")]
pub struct StartError {
    /// The file.
    path: String,
    /// What is wrong with it.
    problem: String,
}

/// The configuration as it is at start, and the file to follow from then on.
pub struct Dynamic {
    file: Followed,
    /// What the configuration says without the file.
    base: BrokerConfig,
    now: BrokerConfig,
}

/// Reads the file that `config` names, if it names one.
///
/// # Errors
/// [`StartError`]: what a broker kept, and for how long, must not depend on whether a file was there in time.
pub async fn begin(config: Config) -> Result<(Config, Option<Dynamic>), StartError> {
    let Some(path) = config.dynamic_file().map(Path::to_owned) else { return Ok((config, None)) };
    let failed = |problem: String| StartError { path: path.display().to_string(), problem };
    let text = followed::read(&path).await.map_err(|error| failed(error.to_string()))?;
    let base = config.values().clone();
    let now = taken(&base, &text).map_err(|error| failed(error.to_string()))?;
    let file = Followed::known(KEY, &path, text);
    Ok((config.with_values(now.clone()), Some(Dynamic { file, base, now })))
}

/// What `base` and `text` come to; of what is not taken a line tells.
fn taken(base: &BrokerConfig, text: &str) -> Result<BrokerConfig, FileError> {
    if text.trim().is_empty() {
        return Err(FileError::Empty);
    }
    let (config, ignored) = base.with_dynamic_file(parse_properties(text)?).map_err(FileError::Values)?;
    for what in ignored {
        tracing::warn!("{KEY}: {what}; it is ignored");
    }
    Ok(config)
}

impl Dynamic {
    /// Has what the file says come into force, until `stop`.
    pub fn follow(mut self, controller: controller::Handle, stop: CancellationToken, tasks: &TaskTracker) {
        tasks.spawn(async move {
            while let Some(text) = stop.run_until_cancelled(self.file.changed()).await {
                self.take(&text, &controller).await;
            }
        });
    }

    async fn take(&mut self, text: &str, controller: &controller::Handle) {
        match taken(&self.base, text) {
            Ok(next) if next != self.now => {
                let (before, after) = (self.now.file(), next.file());
                let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
                let changed: Vec<&str> =
                    names.filter(|name| before.get(*name) != after.get(*name)).map(String::as_str).collect();
                tracing::info!(keys = changed.join(", "), "the configuration was changed by its file");
                controller.configure(next.clone()).await;
                self.now = next;
            }
            Ok(_) => {}
            Err(error) => self.file.refuse(&error),
        }
    }
}
