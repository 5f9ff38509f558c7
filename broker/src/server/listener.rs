//! Accepting connections.
//!
//! Owns the sockets that listen, the count of connections and the one line in the log about a connection that ended
//! for a reason. Must never let one peer's connections keep others out: `max.connections` and `.per.ip` are refused at
//! once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use ottla_core::config::{BrokerConfig, broker};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::connection::{self, End};
use super::dispatch::Dispatcher;
use super::frames::FrameReader;
use super::session::{Listener, Session};
use crate::config::ListenerConfig;
use crate::node::Node;

/// How long accepting rests after the process ran out of descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// A listener's socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error("listener {name} cannot listen on {address}: {source}")]
pub struct BindError {
    /// The listener's name.
    pub name: String,
    /// What it was to bind.
    pub address: String,
    /// The port, for whoever wants to look up who holds it.
    pub port: u16,
    /// What the system said.
    pub source: io::Error,
}

/// A socket that listens, and what clients are told about it.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    /// As Metadata advertises it.
    pub listener: Arc<Listener>,
    /// Where it is bound.
    pub local: SocketAddr,
}

/// Binds `config`'s address.
///
/// # Errors
/// [`BindError`]
pub async fn bind(config: &ListenerConfig) -> Result<Bound, BindError> {
    let host = if config.host.is_empty() { "0.0.0.0" } else { &config.host };
    let refused = |source| BindError {
        name: config.name.clone(),
        address: format!("{host}:{}", config.port),
        port: config.port,
        source,
    };
    let socket = TcpListener::bind((host, config.port)).await.map_err(refused)?;
    let local = socket.local_addr().map_err(refused)?;
    let told = match (&config.advertised_host, local.ip()) {
        (Some(host), _) => host.clone(),
        (None, ip) if ip.is_unspecified() => host_name(),
        (None, _) => host.to_owned(),
    };
    let listener = Listener {
        name: config.name.clone(),
        advertised_host: told,
        advertised_port: config.advertised_port.unwrap_or_else(|| local.port()),
    };
    Ok(Bound { socket, listener: Arc::new(listener), local })
}

/// What this machine calls itself: what clients are told when nobody says otherwise, as in Kafka.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The connections of a broker, counted per address.
#[derive(Debug, Default)]
pub struct Connections {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    /// Connections that are open.
    pub fn len(&self) -> usize {
        self.by_address.lock().values().sum()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.by_address.lock().is_empty()
    }

    fn enter(self: &Arc<Self>, address: IpAddr, (max, per_address): (usize, usize)) -> Result<Counted, &'static str> {
        let mut counts = self.by_address.lock();
        if counts.values().sum::<usize>() >= max {
            return Err("max.connections is reached");
        }
        let count = counts.entry(address).or_insert(0);
        if *count >= per_address {
            return Err("max.connections.per.ip is reached");
        }
        *count += 1;
        Ok(Counted { connections: Arc::clone(self), address })
    }
}

/// One connection in the count.
struct Counted {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.connections.by_address.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// `max.connections` and `max.connections.per.ip`
fn connections_max(config: &BrokerConfig) -> (usize, usize) {
    let read = |key| usize::try_from(config.int(key)).unwrap_or(0);
    (read(&broker::MAX_CONNECTIONS), read(&broker::MAX_CONNECTIONS_PER_IP))
}

/// Accepts until the broker stops; each connection is a task of `tasks`.
pub async fn serve(bound: Bound, node: Arc<Node>, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = bound.socket.accept() => accepted,
            () = node.shutdown.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // What the peer did is its own; what the process lacks passes when connections end.
                tracing::warn!(listener = bound.listener.name, %error, "accept");
                sleep(OUT_OF_DESCRIPTORS).await;
                continue;
            }
        };
        match node.connections.enter(peer.ip(), connections_max(&node.metadata.config())) {
            Ok(counted) => {
                let session = Arc::new(Session::new(Arc::clone(&bound.listener), peer));
                tasks.spawn(run(stream, session, Arc::clone(&node), counted));
            }
            Err(reason) => tracing::warn!(%peer, reason, "connection refused"),
        }
    }
}

async fn run(stream: TcpStream, session: Arc<Session>, node: Arc<Node>, _counted: Counted) {
    // Answers are written whole: waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer = %session.peer, %error, "set TCP_NODELAY");
    }
    let frames = FrameReader::new(node.request_budget.charge(), node.config.request_bytes_max());
    let dispatcher = Dispatcher::new(Arc::clone(&node), Arc::clone(&session));
    let end = connection::serve(&stream, frames, &dispatcher, node.config.idle_max(), &node.shutdown).await;
    node.metrics.connection_ended(&end);
    if end.is_remarkable() {
        let (peer, listener) = (session.peer, &session.listener.name);
        tracing::warn!(%peer, listener, reason = %end, "connection closed");
    } else if !matches!(end, End::Peer) {
        tracing::debug!(peer = %session.peer, reason = %end, "connection closed");
    }
}
