//! The process's own log: text for people, JSON for machines, its level changed at run time.
//!
//! Owns the one subscriber of the process. Must never be written to per request.

use std::io::{IsTerminal, stderr};
use std::sync::{Arc, OnceLock};

use ottla_core::config::broker;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::metadata::MetadataCell;

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
/// What was asked for last.
static LEVEL: Mutex<String> = Mutex::new(String::new());

/// The client of Kubernetes says of every request that it failed, with a trace of it: hundreds of lines while there is no
/// API server. Whoever makes a request says so in one. A filter that names it has it back.
const KUBERNETES: &str = "kube_client";

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A level or filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("log level {level:?}: {problem}; write error, warn, info, debug or trace, or filters such as ottla_log=debug")]
pub struct LevelError {
    /// What was asked for.
    pub level: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Starts logging to standard error. A second call changes the level only: a process has one log.
///
/// # Errors
/// [`LevelError`]
pub fn start(format: Format, level: &str) -> Result<(), LevelError> {
    if FILTER.get().is_some() {
        return set_level(level);
    }
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        Format::Text => registry
            .with(fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr).with_target(false))
            .try_init(),
        Format::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(stderr)).try_init(),
    };
    if started.is_ok() {
        let _only_here = FILTER.set(handle);
        level.clone_into(&mut LEVEL.lock());
    }
    Ok(())
}

/// Changes what is logged from now on.
///
/// # Errors
/// [`LevelError`]
pub fn set_level(level: &str) -> Result<(), LevelError> {
    let filter = parse(level)?;
    let Some(handle) = FILTER.get() else { return Ok(()) };
    handle.reload(filter).map_err(|error| LevelError { level: level.to_owned(), problem: error.to_string() })?;
    level.clone_into(&mut LEVEL.lock());
    Ok(())
}

/// Has the log follow `ottla.log.level` as it is changed at run time, until the broker stops. `known`, the level of the start,
/// stays until somebody changes the key; one that was set through HTTP stays until the key changes again.
pub async fn follow(mut known: String, metadata: Arc<MetadataCell>, shutdown: CancellationToken) {
    let wanted = || metadata.config().text(&broker::OTTLA_LOG_LEVEL).unwrap_or_default().to_owned();
    let mut changes = metadata.changes();
    loop {
        changes.borrow_and_update();
        let level = wanted();
        if level != known {
            match set_level(&level) {
                Ok(()) => tracing::info!(level, "the log's level was changed"),
                Err(error) => tracing::error!(%error, "change the log's level"),
            }
            known = level;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// What is logged now.
pub fn level() -> String {
    LEVEL.lock().clone()
}

fn parse(level: &str) -> Result<EnvFilter, LevelError> {
    let problem = |problem: String| LevelError { level: level.to_owned(), problem };
    let known = ["error", "warn", "info", "debug", "trace", "off"];
    let plain = !level.contains(['=', ',']);
    if level.is_empty() || plain && !known.contains(&level.to_ascii_lowercase().as_str()) {
        return Err(problem("not a level".to_owned()));
    }
    let filter = EnvFilter::try_new(level).map_err(|error| problem(error.to_string()))?;
    if level.contains(KUBERNETES) {
        return Ok(filter);
    }
    let quiet = format!("{KUBERNETES}=off").parse();
    Ok(filter.add_directive(quiet.expect("a directive")))
}
