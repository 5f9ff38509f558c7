//! Where clients are told to connect: as the configuration says, and as a file says that may change while the broker runs.
//!
//! Owns what is wanted; the controller's metadata is what clients are told, on every broker. Must never make an address up for
//! a listener whose address the file is to say, nor let a file that cannot be read take back what is known.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_core::metadata::Endpoint;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ListenerConfig, advertised};
use crate::server::listener::Bound;

/// Per listener, what its clients are told.
pub type Endpoints = BTreeMap<String, Endpoint>;

/// How much of the file is read: more than all listeners with the longest of names have.
const BYTES_MAX: u64 = 64 * 1024;
/// How often the file is read.
const PERIOD: Duration = Duration::from_secs(1);

/// The file, and what it adds to.
struct File {
    path: PathBuf,
    listeners: Vec<ListenerConfig>,
    /// What the configuration says.
    fixed: Endpoints,
    /// What the file last said, as it stands there.
    seen: Option<String>,
    /// It has been told that the file cannot be read.
    told: bool,
    wanted: watch::Sender<Endpoints>,
}

/// What clients of the `bound` listeners are told, now and later: a file, if there is one, is followed until `stop`.
pub async fn start(
    config: &Config,
    bound: &[Bound],
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> watch::Receiver<Endpoints> {
    let one = |bound: &Bound| {
        let listener = &bound.listener;
        let endpoint = Endpoint { host: listener.advertised_host.clone(), port: listener.advertised_port };
        (listener.name.clone(), endpoint)
    };
    let mut fixed: Endpoints = bound.iter().map(one).collect();
    let path = config.advertised_file().map(Path::to_owned);
    if path.is_some() {
        let named = |name: &String| config.listeners().iter().any(|one| one.name == *name && one.is_advertised());
        fixed.retain(|name, _| named(name));
    }
    let (wanted, endpoints) = watch::channel(fixed.clone());
    let Some(path) = path else { return endpoints };
    let mut file = File { path, listeners: config.listeners().to_vec(), fixed, seen: None, told: false, wanted };
    file.look().await;
    tasks.spawn(file.follow(stop.clone()));
    endpoints
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

impl File {
    /// Reads it now and then until `stop`.
    async fn follow(mut self, stop: CancellationToken) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&mut self) {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let text = match read.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic())) {
            Ok(text) => text,
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "read ottla.advertised.listeners.file");
                }
                return;
            }
        };
        self.told = false;
        if self.seen.as_ref() == Some(&text) {
            return;
        }
        match advertised(&text, &self.listeners) {
            Ok(said) => {
                let mut all = self.fixed.clone();
                all.extend(said.into_iter().map(|(name, host, port)| (name, Endpoint { host, port })));
                let changed = self.wanted.send_if_modified(|wanted| {
                    let differs = *wanted != all;
                    *wanted = all;
                    differs
                });
                if changed {
                    tracing::info!(advertised = text.trim(), "clients are told other addresses");
                }
            }
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "ottla.advertised.listeners.file is not followed");
            }
        }
        self.seen = Some(text);
    }
}
