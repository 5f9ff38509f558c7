//! The controller as the rest of the broker sees it: starting it, following another broker's, and asking it.
//!
//! Owns the way into a cluster: the documents of a new one, registering this broker's run (which the data directory
//! records, durably, before anything is served), and being admitted, by whichever broker decides. Every change of metadata
//! goes through `Handle`; what it answers is durable and served here.

mod codes;
mod copies;
mod handle;
mod io;
mod ledger;
mod link;
mod operations;
mod people;
mod producer_ids;
mod questions;
pub mod recover;
mod remote;
mod service;
mod shell;

use std::sync::Arc;
use std::time::Duration;

use ottla_coordination::{Coordination, Embedded, Holder, Unavailable, birth};
use ottla_core::config::BrokerConfig;
use ottla_core::controller::error::{RegisterError, Standing};
use ottla_core::controller::{
    Config, DocumentId, FeatureRange, Machine, Registered, Registration, SessionId, Tuning, document,
};
use ottla_core::metadata::{Endpoint, Image};
use ottla_core::replica::View;
use ottla_core::types::{BrokerId, ClusterId, DirectoryId, Incarnation, Lsn};
use ottla_log::store::Observer;
use ottla_rpc::trust::Credentials;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::advertised::Endpoints;
use crate::applier::Applier;
use crate::clock::Clock;
use crate::data::{Data, Doubts};
use crate::metadata::MetadataCell;
use crate::partitions::Partitions;
use crate::transport;

pub use copies::{Copies, CopiesError};
pub use handle::{Handle, explicit, fresh_topic_id};
pub use ledger::Site;
pub use link::GRPC;
pub use operations::Operations;
pub use people::{Refusal, WAIT_MAX, wait_of};
pub use remote::{Initialized, Remote, initialize};
pub use service::Shared;

use io::{Io, Tools};
use ledger::Ledger;
use link::{Gap, Ground, Link};
use service::{Heard, Service};
use shell::{Parts, Shell, Stage};

/// The lease of a cluster that has one process to itself.
const LEASE: &str = "controller";
/// For how long it is asked for.
const LEASE_TERM: Duration = Duration::from_secs(10);
/// Questions that wait for the controller's thread.
const QUEUE: usize = 1024;
/// How soon whoever is asked in vain is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// For how long an id may be taken by a run that is still believed to be alive, before this one gives up.
const ALIVE_MAX: u32 = 150;

/// Why the controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory's metadata is in other hands.
    #[error("the metadata of this data directory is in use already")]
    InUse,
    /// The coordination store cannot be read or written.
    #[error(transparent)]
    Coordination(#[from] Unavailable),
    /// The cluster's documents are gone.
    #[error(
        "MetadataRolledBack: the data directory has served cluster {0} before, but the cluster's metadata is gone; \
         nothing is created or deleted until it is restored, or recovered by `ottla cluster recover-metadata`"
    )]
    MetadataGone(ClusterId),
    /// The cluster that the configuration names in Kubernetes was never created.
    #[error("cluster {0} has no metadata in Kubernetes; create it once with `ottla cluster init {0}`")]
    NotInitialized(String),
    /// The cluster of that name is another one.
    #[error("cluster {name} has id {found} in Kubernetes, not {wanted}: give the right name or the right id")]
    OtherCluster {
        /// Its name.
        name: String,
        /// Its id.
        found: ClusterId,
        /// What was expected.
        wanted: ClusterId,
    },
    /// The data directory's copies of the metadata cannot be used.
    #[error(transparent)]
    Copies(#[from] CopiesError),
    /// The documents of a new cluster could not be created.
    #[error("create the metadata of a new cluster: {0}")]
    Init(String),
    /// The controller stopped with a sentence.
    #[error("{0}")]
    Halted(String),
    /// This broker was not let in.
    #[error("register this broker: {0}")]
    Register(#[from] RegisterError),
    /// The data directory could not record its run.
    #[error("record run {run} in the data directory: {reason}")]
    Record {
        /// The run.
        run: Incarnation,
        /// Why not.
        reason: String,
    },
}

/// What a controller needs to know of its broker.
pub struct Setup {
    /// The broker's id.
    pub me: BrokerId,
    /// What its file says.
    pub config: BrokerConfig,
    /// Its failure domain.
    pub rack: Option<String>,
    /// What clients of each listener are told, now and whenever it changes.
    pub endpoints: watch::Receiver<Endpoints>,
    /// The cluster that the data directory belongs to.
    pub cluster: ClusterId,
    /// The data directory.
    pub directory: DirectoryId,
    /// The last run that the data directory records; 0 for none.
    pub recorded: Incarnation,
    /// How far its journal is on disk.
    pub synced: Lsn,
    /// What its log may have lost.
    pub doubts: Doubts,
    /// Where metadata is kept.
    pub coordination: Arc<dyn Coordination>,
    /// The cluster's name where brokers may not create it themselves.
    pub created_elsewhere: Option<String>,
    /// Copies of that metadata in the data directory.
    pub copies: Copies,
    /// What is done with images.
    pub site: Box<dyn Site>,
    /// This broker's replicas.
    pub partitions: Arc<Partitions>,
    /// What is in force here.
    pub metadata: Arc<MetadataCell>,
    /// Where other brokers connect, and what they are told; without it, there are none.
    pub grpc: Option<(TcpListener, Endpoint)>,
    /// What is shown to other brokers.
    pub credentials: Credentials,
    /// Time.
    pub clock: Clock,
}

/// Where metadata lies, and what of it is this broker's business.
pub struct Place {
    /// In Kubernetes.
    pub remote: Option<Remote>,
    /// In the data directory of another broker of this process.
    pub shared: Option<Arc<dyn Coordination>>,
    /// Where other brokers connect, and what they are told.
    pub grpc: Option<(TcpListener, Endpoint)>,
    /// What is shown to other brokers.
    pub credentials: Credentials,
}

/// Starts the controller of a broker that keeps its cluster's metadata in its own data directory, or where `place` says.
///
/// # Errors
/// [`StartError`], a sentence for whoever started the broker.
pub async fn start(
    config: &crate::config::Config,
    place: Place,
    endpoints: watch::Receiver<Endpoints>,
    data: &Arc<Data>,
    (partitions, metadata): (&Arc<Partitions>, &Arc<MetadataCell>),
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Handle, StartError> {
    let (coordination, created_elsewhere): (Arc<dyn Coordination>, _) = match (place.remote, place.shared) {
        (Some(remote), _) => (remote.coordination, Some(remote.name)),
        (None, Some(shared)) => (shared, None),
        (None, None) => {
            let table = data.take_metadata().ok_or(StartError::InUse)?;
            (Arc::new(blocking(move || Embedded::new(table)).await?), None)
        }
    };
    let identity = data.identity();
    let disk = Arc::clone(data.disk());
    let copies = blocking(move || Copies::open(disk, identity.cluster)).await?;
    let setup = Setup {
        me: config.id(),
        config: config.values().clone(),
        rack: config.rack().map(str::to_owned),
        endpoints,
        cluster: identity.cluster,
        directory: identity.directory,
        recorded: identity.incarnation,
        synced: data.log.synced(),
        doubts: data.doubts.clone(),
        coordination,
        created_elsewhere,
        copies,
        site: here(config.id(), data, partitions, metadata),
        partitions: Arc::clone(partitions),
        metadata: Arc::clone(metadata),
        grpc: place.grpc,
        credentials: place.credentials,
        clock: Clock,
    };
    let data = Arc::clone(data);
    let record = move |run| {
        data.set_incarnation(run).map_err(|error| error.to_string())?;
        // The registration that allotted the run is durable, and with it what the log may have lost.
        data.log.doubts_told().map_err(|error| error.to_string())
    };
    run(setup, record, shutdown, tasks).await
}

/// This broker's partitions, to be brought in line with images, which come into force in `metadata`.
fn here(me: BrokerId, data: &Data, partitions: &Arc<Partitions>, metadata: &Arc<MetadataCell>) -> Box<dyn Site> {
    let applier = Applier::new(me, Arc::clone(&data.log), Arc::clone(partitions), Arc::clone(metadata));
    let applier = applier.suspecting(data.doubts.suspect.iter().copied());
    Box::new(Here { applier, partitions: Arc::clone(partitions) })
}

struct Here {
    applier: Applier,
    partitions: Arc<Partitions>,
}

impl Site for Here {
    fn apply(&mut self, image: Arc<Image>) -> Result<(), String> {
        self.applier.apply(image).map_err(|error| error.to_string())
    }

    fn configure(&mut self, file: BrokerConfig) {
        self.applier.configure(file);
    }

    fn viewed(&mut self, view: View) {
        self.partitions.hub().host.write().on_view(view);
    }

    fn fail(&mut self, reason: &str) {
        Observer::offline(&*self.partitions, reason);
    }
}

/// Starts the controller and has this broker registered and admitted. `record` writes the allotted run into the data
/// directory and returns once it is durable. Returns when everything that the metadata says of this broker is served.
///
/// # Errors
/// [`StartError`], a sentence for whoever started the broker.
pub async fn run<R>(
    setup: Setup,
    record: R,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Handle, StartError>
where
    R: FnOnce(Incarnation) -> Result<(), String> + Send + 'static,
{
    let coordination = Arc::clone(&setup.coordination);
    let (cluster, recorded) = (setup.cluster, setup.recorded);
    let created_elsewhere = setup.created_elsewhere.clone();
    blocking(move || init(&*coordination, cluster, recorded, created_elsewhere)).await?;

    let mut reached = Reached {
        grpc: setup.grpc.as_ref().map(|(_, endpoint)| (GRPC.to_owned(), endpoint.clone())),
        clients: setup.endpoints.clone(),
    };
    let endpoints = reached.now();
    let registration = Registration {
        broker: setup.me,
        cluster: setup.cluster,
        standing: Standing { directory: setup.directory, incarnation: setup.recorded, synced: setup.synced },
        rack: setup.rack.clone(),
        endpoints,
        features: FeatureRange::SUPPORTED,
        unclean_stop: setup.doubts.unclean_stop,
        unflushed: setup.doubts.unflushed.clone(),
        suspect: setup.doubts.suspect.clone(),
    };
    let partitions = Arc::clone(&setup.partitions);
    let started = spawn(setup, shutdown, tasks);
    let me = registration.broker;
    let registered = started.register(registration, shutdown).await?;
    let run = registered.incarnation;
    blocking(move || record(run)).await.map_err(|reason| StartError::Record { run, reason })?;
    started.ground.standing.lock().incarnation = run;
    partitions.hub().begin_run(run);
    if !registered.trusted {
        tracing::warn!(
            %run,
            "the data directory is not the one, or not in the state, that this broker last ran on: it leads no \
             partition that existed before until it has caught up, or unclean.leader.election.enable allows the loss"
        );
    }
    started.admit(me, run, shutdown).await?;
    let ledger = Arc::clone(&started.ledger);
    blocking(move || ledger.lock().admit()).await;
    tasks.spawn(attend(started.handle.clone(), (me, run), reached, Arc::clone(&started.ledger), shutdown.clone()));
    tasks.spawn(questions::run(started.handle.clone(), partitions, shutdown.clone()));
    Ok(started.handle)
}

/// A controller that runs, and the line to another one's.
struct Started {
    handle: Handle,
    stage: watch::Receiver<Stage>,
    ledger: Arc<Mutex<Ledger>>,
    ground: Ground,
}

impl Started {
    /// Asks whoever decides, until somebody does.
    async fn register(
        &self,
        registration: Registration,
        shutdown: &CancellationToken,
    ) -> Result<Registered, StartError> {
        let mut alive = 0;
        loop {
            match self.handle.register(registration.clone()).await {
                Ok(registered) => return Ok(registered),
                Err(RegisterError::NotController(_)) => {}
                // What is left of the run before: its stream is about to be found closed.
                Err(RegisterError::Alive { .. }) if alive < ALIVE_MAX => alive += 1,
                Err(error) => return Err(error.into()),
            }
            self.again(shutdown).await?;
        }
    }

    async fn admit(&self, me: BrokerId, run: Incarnation, shutdown: &CancellationToken) -> Result<(), StartError> {
        loop {
            match self.handle.admit(me, run, None).await {
                Ok(()) => return Ok(()),
                Err(RegisterError::NotController(_)) => {}
                Err(error) => return Err(error.into()),
            }
            self.again(shutdown).await?;
        }
    }

    async fn again(&self, shutdown: &CancellationToken) -> Result<(), StartError> {
        if let Stage::Halted(why) = &*self.stage.borrow() {
            return Err(StartError::Halted(why.clone()));
        }
        if shutdown.is_cancelled() {
            return Err(StartError::Halted("the broker is told to stop".to_owned()));
        }
        let mut stage = self.stage.clone();
        let _changed_or_time = tokio::time::timeout(ASK_AGAIN, stage.changed()).await;
        Ok(())
    }
}

fn machine(setup: &Setup, session: SessionId) -> Machine {
    Machine::new(Config {
        me: setup.me,
        session,
        cluster: setup.cluster,
        broker: setup.config.clone(),
        lease: LEASE_TERM,
        floor: setup.copies.floor(),
        tuning: Tuning::default(),
    })
}

/// The controller's threads; they end when the broker stops.
fn spawn(setup: Setup, shutdown: &CancellationToken, tasks: &TaskTracker) -> Started {
    let session = SessionId(Uuid::new_v4().into_bytes());
    let machine = machine(&setup, session);
    let address = setup.grpc.as_ref().map(|(_, endpoint)| format!("{}:{}", endpoint.host, endpoint.port));
    let holder = Holder(link::holder(setup.me, &format!("{session:?}"), address.as_deref()));
    let ledger = Arc::new(Mutex::new(Ledger::new(setup.me, setup.cluster, setup.copies, setup.site)));
    let (stage, staged) = watch::channel(Stage::Waiting);
    let (shell, inputs) = mpsc::channel(QUEUE);
    let (events, store) = mpsc::unbounded_channel();
    let (other, others) = watch::channel(None);
    let tools = Tools {
        coordination: Arc::clone(&setup.coordination),
        lease: LEASE.to_owned(),
        holder,
        session,
        ledger: Arc::clone(&ledger),
        events,
        other,
    };
    let standing = Standing { directory: setup.directory, incarnation: setup.recorded, synced: setup.synced };
    let ground = Ground { me: setup.me, cluster: setup.cluster, standing: Arc::new(Mutex::new(standing)) };
    let heard = Arc::new(Heard::default());
    let service = Service {
        me: setup.me,
        stage: staged.clone(),
        shell: shell.clone(),
        ledger: Arc::clone(&ledger),
        heard: Arc::clone(&heard),
        clock: setup.clock,
    };
    let me = transport::Me { cluster: setup.cluster, id: setup.me, partitions: Arc::clone(&setup.partitions) };
    let link = setup.grpc.map(|(socket, _)| {
        let credentials = setup.credentials;
        let operations = Operations::new(setup.me, setup.metadata, staged.clone(), credentials.clone());
        let services = (Shared(Arc::new(service)), operations);
        tasks.spawn(transport::serve(socket, credentials.clone(), me, services, shutdown.clone()));
        let (asks, asked) = mpsc::channel(QUEUE);
        let (intake, taken) = mpsc::unbounded_channel();
        let gap = Arc::new(Gap::default());
        let link = Link {
            ground: ground.clone(),
            coordination: setup.coordination,
            lease: LEASE.to_owned(),
            ledger: Arc::clone(&ledger),
            hub: Arc::clone(setup.partitions.hub()),
            heard,
            stage: staged.clone(),
            shell: shell.clone(),
            intake,
            gap: Arc::clone(&gap),
            asks: asked,
            clock: setup.clock,
            credentials,
            complained: None,
            other: others,
        };
        let (ledger, shell, clock) = (Arc::clone(&ledger), shell.clone(), setup.clock);
        tasks.spawn_blocking(move || link::take_in(taken, &ledger, &shell, &gap, clock));
        link_thread(link, shutdown, tasks);
        asks
    });
    let handle = Handle::new(shell, link, staged.clone(), setup.config);
    let io = Io::start(tools, tasks);
    let shell = Shell::new(Parts { clock: setup.clock, io, store, ledger: Arc::clone(&ledger), stage, machine });
    let (runtime, shutdown) = (tokio::runtime::Handle::current(), shutdown.clone());
    tasks.spawn_blocking(move || shell.run(&runtime, &shutdown, inputs));
    Started { handle, stage: staged, ledger, ground }
}

/// Signs of life have a thread and a runtime of their own: however busy the others are, they leave in time.
fn link_thread(link: Link, shutdown: &CancellationToken, tasks: &TaskTracker) {
    let shutdown = shutdown.clone();
    tasks.spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(link.run(shutdown)),
            Err(error) => tracing::error!(%error, "no runtime for the line to the controller"),
        }
    });
}

/// Where this broker is reached: by other brokers, and by clients, which may change.
struct Reached {
    grpc: Option<(String, Endpoint)>,
    clients: watch::Receiver<Endpoints>,
}

impl Reached {
    fn now(&mut self) -> Endpoints {
        let mut all = self.clients.borrow_and_update().clone();
        all.extend(self.grpc.clone());
        all
    }

    /// Returns when it may be another one; never if nobody is left to change it.
    async fn changed(&mut self) {
        if self.clients.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// What this broker has to say when metadata changes: that what it deleted is gone; if it was taken for dead, that it is
/// here; if it is reached elsewhere than everybody is told, where. Who was taken for dead was out of every in-sync set
/// meanwhile, and comes back as any follower does.
async fn attend(
    handle: Handle,
    (me, run): (BrokerId, Incarnation),
    mut reached: Reached,
    ledger: Arc<Mutex<Ledger>>,
    shutdown: CancellationToken,
) {
    let changed = Arc::clone(&ledger.lock().changed);
    while !shutdown.is_cancelled() {
        let (known, endpoints) = (Arc::clone(&ledger), reached.now());
        let wanted = endpoints.clone();
        let (gone, fenced, elsewhere) = blocking(move || {
            let mut known = known.lock();
            (known.gone(), known.is_fenced(run), known.is_elsewhere(run, &wanted))
        })
        .await;
        if !gone.is_empty() && !handle.replicas_deleted(me, &gone).await {
            let known = Arc::clone(&ledger);
            blocking(move || known.lock().not_reported(&gone)).await;
            tokio::time::sleep(ASK_AGAIN * 10).await;
            continue;
        }
        if fenced || elsewhere {
            match handle.admit(me, run, Some(endpoints)).await {
                Ok(()) if fenced => tracing::info!(%run, "this broker was taken for dead, and is admitted again"),
                // A controller of an older version leaves them as they were; it is asked again when metadata changes.
                Ok(()) => tracing::info!("where clients are told to connect has changed"),
                Err(error) => {
                    tracing::debug!(%error, "ask to be admitted again");
                    tokio::time::sleep(ASK_AGAIN).await;
                    continue;
                }
            }
        }
        tokio::select! {
            () = changed.notified() => {}
            () = reached.changed() => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Creates a new cluster's documents, once, where that is a broker's business. Documents that vanished are never made up
/// again.
fn init(
    coordination: &dyn Coordination,
    cluster: ClusterId,
    recorded: Incarnation,
    created_elsewhere: Option<String>,
) -> Result<(), StartError> {
    if coordination.get(&DocumentId::Root.to_string())?.is_some() {
        return Ok(());
    }
    if recorded > Incarnation::default() {
        return Err(StartError::MetadataGone(cluster));
    }
    if let Some(name) = created_elsewhere {
        return Err(StartError::NotInitialized(name));
    }
    birth::create_documents(coordination, &document::initial(cluster)).map_err(StartError::Init)
}

/// Runs what may block on disk where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

#[cfg(test)]
mod tests;
