//! Where clients are told to connect: as the configuration says, and as a file says that may change while the broker runs.
//!
//! Owns what is wanted; the controller's metadata is what clients are told, on every broker. Must never make an address up for
//! a listener whose address the file is to say, nor let a file that cannot be read take back what is known.

use std::collections::BTreeMap;

use ottla_core::metadata::Endpoint;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ListenerConfig, advertised};
use crate::followed::Followed;
use crate::server::listener::Bound;

/// Per listener, what its clients are told.
pub type Endpoints = BTreeMap<String, Endpoint>;

/// The file, and what it adds to.
struct File {
    file: Followed,
    listeners: Vec<ListenerConfig>,
    /// What the configuration says.
    fixed: Endpoints,
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
    let path = config.advertised_file();
    if path.is_some() {
        let named = |name: &String| config.listeners().iter().any(|one| one.name == *name && one.is_advertised());
        fixed.retain(|name, _| named(name));
    }
    let (wanted, endpoints) = watch::channel(fixed.clone());
    let Some(path) = path else { return endpoints };
    let file = Followed::new("ottla.advertised.listeners.file", path);
    let mut file = File { file, listeners: config.listeners().to_vec(), fixed, wanted };
    if let Some(text) = file.file.news().await {
        file.take(&text);
    }
    let stop = stop.clone();
    tasks.spawn(async move {
        while let Some(text) = stop.run_until_cancelled(file.file.changed()).await {
            file.take(&text);
        }
    });
    endpoints
}

impl File {
    /// Has clients be told what it says.
    fn take(&self, text: &str) {
        match advertised(text, &self.listeners) {
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
            Err(error) => self.file.refuse(&error),
        }
    }
}
