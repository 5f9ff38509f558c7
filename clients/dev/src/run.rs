//! The shell of `ottla dev`: start, be ready, watch, stop.
//!
//! Owns the process: signals, the one line on stdout, the ready file. Decides nothing: `compose` and `plan` do.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use ottla_broker::logging::{self, Format};
use ottla_broker::node::StartError;
use ottla_core::config::broker;
use ottla_crds::manifest::{self, Manifest};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::args::DevArgs;
use crate::compose::{Composition, compose};
use crate::fleet::{Fleet, Plan};
use crate::port::{Busy, holder};
use crate::reconcile::Reconciler;
use crate::record::replace;
use crate::watch::{Fingerprint, INTERVAL, Watch};

/// The name of the HTTP listener in the errors of the broker.
const HTTP: &str = "ottla.http.listener";

/// Runs until a signal, on a runtime of its own.
///
/// # Errors
/// As [`run`].
pub fn main(args: DevArgs) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(cores.clamp(1, 8)).thread_name("ottla").enable_all().build();
    runtime.context("start the runtime")?.block_on(run(args))
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the files, the flags, the ports or the data directory do not allow a start: sentences for a person.
pub async fn run(args: DevArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let fingerprint = Fingerprint::of(&args.files);
    let composition = read(&args)?;
    remove_ready(&args);
    let plan = Plan::new(&args, &composition)?;
    let log = |key| plan.configs[0].values().text(key).unwrap_or_default().to_owned();
    let format = if log(&broker::OTTLA_LOG_FORMAT) == "json" { Format::Json } else { Format::Text };
    logging::start(format, &log(&broker::OTTLA_LOG_LEVEL))?;
    for note in &composition.notes {
        tracing::warn!("{note}");
    }
    let data_dir = plan.data_dir.clone();
    let fleet = tokio::select! {
        started = plan.start() => started.map_err(|error| explain(error, &args))?,
        () = signals.stop() => return Ok(()),
    };
    let served = serve(&args, &data_dir, &fleet, composition, fingerprint, &mut signals).await;
    remove_ready(&args);
    fleet.stop().await;
    served
}

/// Everything between a start and a stop.
async fn serve(
    args: &DevArgs,
    data_dir: &Path,
    fleet: &Fleet,
    composition: Composition,
    fingerprint: Fingerprint,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let mut reconciler = Reconciler::new(fleet.nodes(), data_dir.to_owned(), &args.files)?;
    if !args.files.is_empty() {
        tokio::select! {
            applied = reconciler.apply(&composition.topics) => applied?,
            () = signals.stop() => return Ok(()),
        }
    }
    announce(args, fleet)?;
    if args.watch {
        watch(args, fleet, composition, Watch::new(fingerprint), &mut reconciler, signals).await;
    } else {
        signals.stop().await;
    }
    tracing::info!("stopping");
    Ok(())
}

/// Applies changed files and corrects what others change, until a signal.
async fn watch(
    args: &DevArgs,
    fleet: &Fleet,
    mut composition: Composition,
    mut files: Watch,
    reconciler: &mut Reconciler,
    signals: &mut Signals,
) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = fleet.0[0].node.metadata.changes();
    loop {
        tokio::select! {
            () = signals.stop() => return,
            _ = looks.tick() => {
                if !files.look(Fingerprint::of(&args.files)) {
                    continue;
                }
                reconciler.begin_again();
                match read(args) {
                    Ok(read) => {
                        tracing::info!("the files have changed, and are applied");
                        note_changes(&composition, &read);
                        composition = read;
                    }
                    Err(error) => {
                        reconciler.say(&error.context("the files have changed and cannot be applied; what they said before stays"));
                        continue;
                    }
                }
            }
            Ok(()) = changes.changed() => {}
        }
        changes.mark_unchanged();
        if let Err(error) = reconciler.apply(&composition.topics).await {
            reconciler.say(&error);
        }
    }
}

/// Says what of a change is new to say, and what has to wait.
fn note_changes(before: &Composition, now: &Composition) {
    for note in now.notes.iter().filter(|note| !before.notes.contains(note)) {
        tracing::warn!("{note}");
    }
    let keys = before.config.keys().chain(now.config.keys());
    let mut changed: Vec<&str> =
        keys.filter(|key| before.config.get(*key) != now.config.get(*key)).map(String::as_str).collect();
    changed.sort_unstable();
    changed.dedup();
    if before.brokers != now.brokers {
        tracing::warn!("the number of brokers applies at the next start");
    }
    if !changed.is_empty() {
        tracing::warn!("broker configs apply at the next start: {}", changed.join(", "));
    }
}

/// Reads what the files declare.
fn read(args: &DevArgs) -> anyhow::Result<Composition> {
    let manifest = if args.files.is_empty() { Manifest::default() } else { manifest::load(&args.files)? };
    Ok(compose(&manifest, &args.config)?)
}

/// Why the broker did not start, in the words of this command.
fn explain(error: StartError, args: &DevArgs) -> anyhow::Error {
    if let StartError::Bind(bind) = &error
        && bind.source.kind() == std::io::ErrorKind::AddrInUse
    {
        let flag = if bind.name == HTTP { "--http-port" } else { "--kafka-port" };
        return Busy { port: bind.port, holder: holder(bind.port), flag }.into();
    }
    anyhow::Error::from(error).context(format!("cannot start on {}", args.data_dir.display()))
}

/// Says that everything serves: one line on stdout, and the ready file.
fn announce(args: &DevArgs, fleet: &Fleet) -> anyhow::Result<()> {
    let host = args.advertised_host();
    let listeners = fleet.0.iter().flat_map(|running| &running.listeners);
    let list: Vec<String> = listeners.map(|(_, bound)| address(&host, *bound)).collect();
    let list = list.join(",");
    for http in fleet.0.iter().filter_map(|running| running.http) {
        tracing::info!("metrics and probes: http://{http}/metrics /livez /readyz");
    }
    if args.bind.is_unspecified() && args.advertise.is_none() {
        tracing::warn!("clients on other machines need --advertise: they are told to connect to {host}");
    }
    if let Some(file) = &args.ready_file {
        replace(file, &format!("{list}\n")).with_context(|| format!("write {}", file.display()))?;
    }
    let mut stdout = std::io::stdout().lock();
    // Whoever closed stdout does not want to know.
    let _ = writeln!(stdout, "ready: bootstrap {list}").and_then(|()| stdout.flush());
    Ok(())
}

fn address(host: &str, bound: SocketAddr) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("{host}:{}", bound.port())
}

fn remove_ready(args: &DevArgs) {
    if let Some(file) = &args.ready_file {
        // It is not there before the first start.
        let _ = std::fs::remove_file(file);
    }
}

/// The signals that stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let of = |kind| signal(kind).context("handle signals");
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_clients_take() {
        assert_eq!(address("127.0.0.1", "127.0.0.1:9092".parse().unwrap()), "127.0.0.1:9092");
        assert_eq!(address("::1", "[::1]:19092".parse().unwrap()), "[::1]:19092");
    }
}
