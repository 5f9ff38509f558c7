//! One broker: everything wired together.
//!
//! Owns the composition and the order of starting and stopping. Starting: data directory, tables, controller,
//! partitions, groups, listeners. Stopping is the reverse, and ends with everything on disk. Must never decide
//! anything that a machine of `ottla_core` decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_core::limits;
use ottla_core::metadata::Endpoint;
use ottla_core::types::BrokerId;
use ottla_log::store::LogDir;
use ottla_wire::ErrorCode;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::cold::ColdReads;
use crate::config::Config;
use crate::controller::Remote;
use crate::handlers::fetch::Sessions;
use crate::metadata::MetadataCell;
use crate::metrics::Metrics;
use crate::partitions::Partitions;
use crate::server::admission::Budget;
use crate::server::listener::{self, BindError, Bound, Connections};
use crate::{controller, data, groups, http, logging};

/// How long connections get to finish what they are at when the broker stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A broker that runs, as its handlers see it.
pub struct Node {
    /// What it runs with.
    pub config: Config,
    /// Time.
    pub clock: Clock,
    /// The cluster as it is now.
    pub metadata: Arc<MetadataCell>,
    /// Where metadata is changed.
    pub controller: controller::Handle,
    /// The data directory.
    pub log: Arc<LogDir>,
    /// The partitions that it serves.
    pub partitions: Arc<Partitions>,
    /// The group coordinator.
    pub groups: groups::Handle,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// Memory of requests, from the socket to the answer.
    pub request_budget: Arc<Budget>,
    /// Memory of Fetch answers, from the disk to the socket.
    pub fetch_budget: Arc<Budget>,
    /// Where requests read from disk.
    pub cold_reads: ColdReads,
    /// Fetch sessions.
    pub fetch_sessions: Sessions,
    /// Cancelled when the broker is to stop.
    pub shutdown: CancellationToken,
    ready: AtomicBool,
}

impl Node {
    /// `node.id`
    pub fn id(&self) -> BrokerId {
        self.config.id()
    }

    /// Why the broker is not ready to serve, if it is not.
    pub fn not_ready(&self) -> Option<String> {
        if self.shutdown.is_cancelled() {
            return Some("the broker stops".to_owned());
        }
        if let Some(reason) = self.partitions.offline_reason() {
            return Some(format!("data directory is offline: {reason}"));
        }
        (!self.ready.load(Ordering::Acquire)).then(|| "the broker starts".to_owned())
    }

    /// Creates topics that a client asked for by name, with the broker's defaults, and returns those that could not be
    /// created with the error for the client.
    pub async fn create_on_demand(&self, names: Vec<String>) -> Vec<(String, ErrorCode)> {
        self.controller.create_on_demand(names).await
    }
}

/// A broker that was started.
pub struct Running {
    /// The broker.
    pub node: Arc<Node>,
    /// Where each listener is bound, by name.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Where HTTP is served.
    pub http: Option<SocketAddr>,
    tasks: TaskTracker,
    data: Arc<data::Data>,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// A listener's socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The metadata cannot be read or claimed.
    #[error(transparent)]
    Controller(#[from] controller::StartError),
    /// The group coordinator's view cannot be opened.
    #[error(transparent)]
    Groups(#[from] groups::StartError),
}

impl Running {
    /// Starts a broker and returns once it serves.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock;
        let mut bound = Vec::new();
        for listener in config.listeners() {
            bound.push(listener::bind(listener).await?);
        }
        let http = bind_http(&config).await?;
        let partitions = Arc::new(Partitions::default());
        let remote = remote(&config).await?;
        let cluster = remote.as_ref().and_then(|remote| remote.cluster);
        let data = Arc::new(data::open(&config, cluster, Arc::clone(&partitions)).await?);
        let metadata = Arc::new(MetadataCell::new(data.identity().cluster, config.id(), config.values().clone()));
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let site = controller::here(config.id(), &data, &partitions, &metadata);
        let controller = controller::start(&config, remote, endpoints(&bound), &data, site, &shutdown, &tasks).await?;
        let groups = groups::start(&config, &data, &partitions, &metadata, &controller, &shutdown, &tasks).await?;
        let metrics = Arc::new(Metrics::new());
        let seed = i32::try_from(data::random() >> 33).unwrap_or(0);
        let node = Arc::new(Node {
            fetch_sessions: Sessions::new(config.fetch_sessions_max(), seed),
            log: Arc::clone(&data.log),
            config,
            clock,
            metadata,
            controller,
            partitions,
            groups,
            metrics,
            connections: Arc::default(),
            request_budget: Budget::new(limits::PRODUCE_BYTES),
            fetch_budget: Budget::new(limits::FETCH_BYTES),
            cold_reads: ColdReads::new(),
            shutdown,
            ready: AtomicBool::new(false),
        });
        node.metrics.observe(Arc::downgrade(&node));
        let listeners = bound.iter().map(|bound| (bound.listener.name.clone(), bound.local)).collect();
        for bound in bound {
            tasks.spawn(listener::serve(bound, Arc::clone(&node), tasks.clone()));
        }
        let http_address = http.as_ref().and_then(|socket| socket.local_addr().ok());
        if let Some(socket) = http {
            tasks.spawn(serve_http(socket, Arc::clone(&node)));
        }
        tasks.spawn(retain(Arc::clone(&node)));
        tasks.spawn(logging::follow(Arc::clone(&node.metadata), node.shutdown.clone()));
        node.ready.store(true, Ordering::Release);
        Ok(Self { node, listeners, http: http_address, tasks, data })
    }

    /// Stops: no more connections, what is under way finishes, everything is on disk.
    pub async fn stop(self) {
        self.node.shutdown.cancel();
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some work did not finish in time and is dropped");
        }
        self.data.close().await;
    }
}

/// The cluster's metadata in Kubernetes, if it lies there. A directory that was never used is not touched for a cluster
/// that does not exist.
async fn remote(config: &Config) -> Result<Option<Remote>, StartError> {
    let Some(access) = config.kubernetes() else { return Ok(None) };
    let remote = Remote::look(&access).await?;
    if remote.cluster.is_none() && !data::is_formatted(config).await? {
        return Err(controller::StartError::NotInitialized(remote.name).into());
    }
    Ok(Some(remote))
}

async fn bind_http(config: &Config) -> Result<Option<TcpListener>, BindError> {
    let Some((host, port)) = config.http() else { return Ok(None) };
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let bound = TcpListener::bind((host, port)).await;
    bound.map(Some).map_err(|source| BindError {
        name: "ottla.http.listener".to_owned(),
        address: format!("{host}:{port}"),
        port,
        source,
    })
}

/// What clients of each listener are told.
fn endpoints(bound: &[Bound]) -> Vec<(String, Endpoint)> {
    let one = |bound: &Bound| {
        let listener = &bound.listener;
        let endpoint = Endpoint { host: listener.advertised_host.clone(), port: listener.advertised_port };
        (listener.name.clone(), endpoint)
    };
    bound.iter().map(one).collect()
}

async fn serve_http(socket: TcpListener, node: Arc<Node>) {
    if let Err(error) = http::serve(socket, node).await {
        tracing::error!(%error, "HTTP listener ended");
    }
}

/// Removes what retention lets go, now and then.
async fn retain(node: Arc<Node>) {
    let mut ticks = interval(node.config.retention_check_interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.shutdown.cancelled() => return,
        }
        let (log, now) = (Arc::clone(&node.log), node.clock.wall());
        let removed = tokio::task::spawn_blocking(move || log.retain(now)).await;
        match removed {
            Ok(Ok(0)) => {}
            Ok(Ok(partitions)) => tracing::debug!(partitions, "retention moved log starts"),
            Ok(Err(error)) => tracing::error!(%error, "retention"),
            Err(error) => tracing::error!(%error, "retention was interrupted"),
        }
    }
}
