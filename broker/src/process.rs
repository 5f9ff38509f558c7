//! Running a broker as a process.
//!
//! Owns the runtime, the signals and what a person reads when a broker cannot start. Must never leave before everything
//! is on disk.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use ottla_core::config::broker;
use tokio::signal::unix::{SignalKind, signal};

use crate::args;
use crate::config::Config;
use crate::logging::{self, Format};
use crate::node::Running;

/// Threads that serve connections. More of them than cores only adds wake-ups.
const WORKERS_MAX: usize = 8;

/// Runs the broker that `arguments` describe until a signal stops it.
///
/// # Errors
/// When it cannot start, with a sentence for the person who started it.
pub fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let values = args::read(arguments)?;
    let (config, unknown) = Config::new(values)?;
    let text = |key| config.values().text(key).unwrap_or_default().to_owned();
    let format = if text(&broker::OTTLA_LOG_FORMAT) == "json" { Format::Json } else { Format::Text };
    logging::start(format, &text(&broker::OTTLA_LOG_LEVEL))?;
    for key in unknown {
        tracing::warn!("{key}; it is ignored");
    }
    runtime().context("start the runtime")?.block_on(serve(config))
}

/// The runtime of a process that serves brokers.
///
/// # Errors
/// When the system refuses threads.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let named = AtomicUsize::new(0);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(1, WORKERS_MAX))
        .thread_name_fn(move || format!("ottla-{}", named.fetch_add(1, Ordering::Relaxed)))
        .enable_all()
        .build()
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    let started = tokio::select! {
        started = Running::start(config) => started,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let running = started?;
    for (name, address) in &running.listeners {
        tracing::info!(listener = name, %address, "listening");
    }
    if let Some(address) = running.http {
        tracing::info!(%address, "serving /livez, /readyz and /metrics");
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    running.stop().await;
    Ok(())
}
