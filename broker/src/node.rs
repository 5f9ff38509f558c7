//! One broker: everything wired together.
//!
//! Owns the composition and the order of starting and stopping. Starting: data directory, tables, controller,
//! partitions, groups, listeners. Stopping is the reverse, and ends with everything on disk. Must never decide
//! anything that a machine of `ottla_core` decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_coordination::Coordination;
use ottla_core::config::broker;
use ottla_core::limits;
use ottla_core::metadata::Endpoint;
use ottla_core::types::{BrokerId, Offset};
use ottla_log::store::LogDir;
use ottla_rpc::trust::Credentials;
use ottla_wire::ErrorCode;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::cold::ColdReads;
use crate::config::Config;
use crate::controller::{Place, Remote};
use crate::dynamic::Dynamic;
use crate::handlers::fetch::Sessions;
use crate::metadata::MetadataCell;
use crate::metrics::Metrics;
use crate::partitions::{self, Partitions, Replica};
use crate::server::admission::Budget;
use crate::server::listener::{self, BindError, Bound, Connections};
use crate::{advertised, certificates, controller, data, dynamic, groups, http, logging, repair, transport};

/// How long connections get to finish what they are at when the broker stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long leaderships get to move to others.
const HAND_OVER_MAX: Duration = Duration::from_secs(10);
/// How long nobody decides before whoever stops stops without having been told that it may: longer than an election takes.
const UNANSWERED_MAX: Duration = Duration::from_secs(4);
/// How often it is asked whether they have.
const HAND_OVER_LOOK: Duration = Duration::from_millis(50);

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
    /// What is shown to other brokers.
    pub credentials: Credentials,
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
    /// Whoever drops a broker without stopping it stops it as a crash would.
    _stop: DropGuard,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificate for other brokers cannot be used.
    #[error(transparent)]
    Certificates(#[from] certificates::CertificatesError),
    /// The file of what changes while it runs cannot be used.
    #[error(transparent)]
    Dynamic(#[from] dynamic::StartError),
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
        Self::start_beside(config, None).await
    }

    /// As [`Self::start`], for a broker whose cluster's metadata lies where another broker of this process has it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_beside(config: Config, shared: Option<Arc<dyn Coordination>>) -> Result<Self, StartError> {
        let clock = Clock;
        let level = config.values().text(&broker::OTTLA_LOG_LEVEL).unwrap_or_default().to_owned();
        let (config, dynamic) = dynamic::begin(config).await?;
        let mut bound = Vec::new();
        for listener in config.listeners() {
            bound.push(listener::bind(listener).await?);
        }
        let http = bind_http(&config).await?;
        let grpc = bind_grpc(&config, &bound).await?;
        let partitions = Arc::new(Partitions::new(config.id(), config.replica_settings()));
        let remote = remote(&config).await?;
        let cluster = remote.as_ref().and_then(|remote| remote.cluster);
        let keeps_metadata = remote.is_none() && shared.is_none();
        let data = Arc::new(data::open(&config, cluster, keeps_metadata, Arc::clone(&partitions)).await?);
        let metadata = Arc::new(MetadataCell::new(data.identity().cluster, config.id(), config.values().clone()));
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let credentials = certificates::start(&config, data.identity().cluster, &shutdown, &tasks).await?;
        partitions.hub().ready(&data.log, tokio::runtime::Handle::current());
        tasks.spawn(partitions::ring(Arc::clone(&partitions), shutdown.clone()));
        let me =
            transport::Me { cluster: data.identity().cluster, id: config.id(), partitions: Arc::clone(&partitions) };
        if grpc.is_some() {
            let dial = transport::dial(me, credentials.clone(), Arc::clone(&metadata), shutdown.clone());
            tasks.spawn(dial);
            tasks.spawn(partitions::follow_rates(Arc::clone(&partitions), Arc::clone(&metadata), shutdown.clone()));
            tasks.spawn(transport::solicit(Arc::clone(&partitions), shutdown.clone()));
        }
        let place = Place { remote, shared, grpc, credentials: credentials.clone() };
        let known = (&partitions, &metadata);
        let endpoints = advertised::start(&config, &bound, &shutdown, &tasks).await;
        let started = controller::start(&config, place, endpoints, &data, known, &shutdown, &tasks).await;
        let controller = started.inspect_err(|_| shutdown.cancel())?;
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
            credentials,
            shutdown,
            ready: AtomicBool::new(false),
        });
        node.metrics.observe(Arc::downgrade(&node));
        let stop = node.shutdown.clone().drop_guard();
        let listeners = bound.iter().map(|bound| (bound.listener.name.clone(), bound.local)).collect();
        for bound in bound {
            tasks.spawn(listener::serve(bound, Arc::clone(&node), tasks.clone()));
        }
        let http_address = http.as_ref().and_then(|socket| socket.local_addr().ok());
        if let Some(socket) = http {
            tasks.spawn(serve_http(socket, Arc::clone(&node)));
        }
        tend(&node, level, dynamic, &tasks);
        node.ready.store(true, Ordering::Release);
        Ok(Self { node, listeners, http: http_address, tasks, data, _stop: stop })
    }

    /// Stops: no more connections, what is under way finishes, everything is on disk.
    pub async fn stop(self) {
        self.hand_over().await;
        self.stop_alone().await;
    }

    /// As [`Self::stop`], when all brokers stop and nobody is left who could lead.
    pub async fn stop_alone(self) {
        self.node.shutdown.cancel();
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some work did not finish in time and is dropped");
        }
        self.data.close().await;
    }
}

impl Running {
    /// Controlled shutdown: leaderships move first, so that clients hardly notice (L1).
    async fn hand_over(&self) {
        let others = self.node.metadata.image().brokers().values().filter(|broker| !broker.fenced).count() > 1;
        if !others || !self.node.config.controlled_shutdown() {
            return;
        }
        let hub = self.node.partitions.hub();
        hub.drain();
        let moved = async {
            let mut answered_at = Instant::now();
            while answered_at.elapsed() < UNANSWERED_MAX {
                match self.node.controller.may_stop(self.node.id(), hub.run()).await {
                    Some(true) => return true,
                    Some(false) => answered_at = Instant::now(),
                    None => {}
                }
                tokio::time::sleep(HAND_OVER_LOOK).await;
            }
            // Whoever could take over is stopping as well.
            false
        };
        if timeout(HAND_OVER_MAX, moved).await != Ok(true) {
            tracing::warn!("stopping although some partitions still need this broker");
        }
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

/// Binds where other brokers connect, and says what they are told.
async fn bind_grpc(config: &Config, bound: &[Bound]) -> Result<Option<(TcpListener, Endpoint)>, BindError> {
    let Some((host, port)) = config.grpc() else { return Ok(None) };
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let failed =
        |source| BindError { name: "ottla.grpc.listener".to_owned(), address: format!("{host}:{port}"), port, source };
    let socket = TcpListener::bind((host, port)).await.map_err(failed)?;
    let local = socket.local_addr().map_err(failed)?;
    let told = config.grpc_advertised();
    let own = bound.first().map(|bound| bound.listener.advertised_host.clone());
    let host = told.map(|(host, _)| host.to_owned()).filter(|host| !host.is_empty()).or(own);
    let port = told.map(|(_, port)| port).filter(|port| *port != 0).unwrap_or(local.port());
    Ok(Some((socket, Endpoint { host: host.unwrap_or_else(|| local.ip().to_string()), port })))
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

async fn serve_http(socket: TcpListener, node: Arc<Node>) {
    if let Err(error) = http::serve(socket, node).await {
        tracing::error!(%error, "HTTP listener ended");
    }
}

/// What goes on beside requests: the log obeys retention and is read for damage, files that change are followed. `level` is
/// that of the start.
fn tend(node: &Arc<Node>, level: String, dynamic: Option<Dynamic>, tasks: &TaskTracker) {
    tasks.spawn(retain(Arc::clone(node)));
    tasks.spawn(repair::scrub(Arc::clone(node)));
    tasks.spawn(repair::run(Arc::clone(node)));
    tasks.spawn(logging::follow(level, Arc::clone(&node.metadata), node.shutdown.clone()));
    if let Some(dynamic) = dynamic {
        dynamic.follow(node.controller.clone(), node.shutdown.clone(), tasks);
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
        let partitions = Arc::clone(&node.partitions);
        let committed = move |id| partitions.get(id).map_or_else(Offset::default, |replica| replica.high_watermark());
        let removed = tokio::task::spawn_blocking(move || log.retain(now, committed)).await;
        match removed {
            Ok(Ok(0)) => {}
            Ok(Ok(partitions)) => {
                tracing::debug!(partitions, "retention moved log starts");
                // Those that did not move have nothing to say.
                node.partitions.all().iter().for_each(Replica::start_moved);
            }
            Ok(Err(error)) => tracing::error!(%error, "retention"),
            Err(error) => tracing::error!(%error, "retention was interrupted"),
        }
    }
}
