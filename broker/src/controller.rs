//! The controller as the rest of the broker sees it: starting it, and asking it.
//!
//! Owns the way into a cluster: the documents of a new one, claiming, registering this broker's run (which the data
//! directory records, durably, before anything is served), and being admitted. Every change of metadata goes through
//! `Handle`; what it answers is durable and served here.

mod codes;
mod copies;
mod handle;
mod producer_ids;
mod remote;
mod shell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordination::{Coordination, Embedded, Holder, Unavailable};
use ottla_core::config::BrokerConfig;
use ottla_core::controller::error::{RegisterError, Standing};
use ottla_core::controller::{Config, DocumentId, FeatureRange, Machine, Registration, SessionId, Tuning, document};
use ottla_core::metadata::{Endpoint, Image};
use ottla_core::types::{BrokerId, ClusterId, DirectoryId, Incarnation, Lsn};
use ottla_log::store::Observer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::applier::Applier;
use crate::clock::Clock;
use crate::data::{Data, Doubts};
use crate::metadata::MetadataCell;
use crate::partitions::Partitions;

pub use codes::{AlteredResource, alter_config_code, create_partitions_code, create_topic_code, delete_topic_code};
pub use copies::{Copies, CopiesError};
pub use handle::{Handle, explicit, fresh_topic_id};
pub use remote::{Initialized, Remote, initialize};
pub use shell::Site;

use shell::{Parts, Progress, Shell};

/// The lease of a cluster that has one process to itself.
const LEASE: &str = "controller";
/// For how long it is asked for.
const LEASE_TERM: Duration = Duration::from_secs(10);
/// Questions that wait for the controller's thread.
const QUEUE: usize = 1024;

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
         nothing is created or deleted until it is restored"
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
    /// What clients of each listener are told.
    pub endpoints: Vec<(String, Endpoint)>,
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
    /// Time.
    pub clock: Clock,
}

/// Starts the controller of a broker that keeps its cluster's metadata in its own data directory, or where `remote` says.
///
/// # Errors
/// [`StartError`], a sentence for whoever started the broker.
pub async fn start(
    config: &crate::config::Config,
    remote: Option<Remote>,
    endpoints: Vec<(String, Endpoint)>,
    data: &Arc<Data>,
    site: Box<dyn Site>,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<Handle, StartError> {
    let (coordination, created_elsewhere): (Arc<dyn Coordination>, _) = match remote {
        Some(remote) => (remote.coordination, Some(remote.name)),
        None => {
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
        site,
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
pub fn here(me: BrokerId, data: &Data, partitions: &Arc<Partitions>, metadata: &Arc<MetadataCell>) -> Box<dyn Site> {
    let applier = Applier::new(me, Arc::clone(&data.log), Arc::clone(partitions), Arc::clone(metadata));
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

    let registration = Registration {
        broker: setup.me,
        cluster: setup.cluster,
        standing: Standing { directory: setup.directory, incarnation: setup.recorded, synced: setup.synced },
        rack: setup.rack.clone(),
        endpoints: setup.endpoints.iter().cloned().collect::<BTreeMap<_, _>>(),
        features: FeatureRange::SUPPORTED,
        unclean_stop: setup.doubts.unclean_stop,
        unflushed: setup.doubts.unflushed.clone(),
        suspect: setup.doubts.suspect.clone(),
    };
    let (handle, mut progress) = spawn(setup, shutdown, tasks);
    let leading = progress.wait_for(|progress| *progress != Progress::Waiting).await;
    match leading.map(|progress| progress.clone()) {
        Ok(Progress::Leading) => {}
        Ok(Progress::Halted(why)) => return Err(StartError::Halted(why)),
        Ok(Progress::Waiting) | Err(_) => return Err(StartError::Halted("the controller's thread ended".to_owned())),
    }
    let me = registration.broker;
    let registered = handle.register(registration).await?;
    let run = registered.incarnation;
    blocking(move || record(run)).await.map_err(|reason| StartError::Record { run, reason })?;
    if !registered.trusted {
        tracing::warn!(
            %run,
            "the data directory is not the one, or not in the state, that this broker last ran on: it leads no \
             partition that existed before until it has caught up, or unclean.leader.election.enable allows the loss"
        );
    }
    handle.admit(me, run).await?;
    Ok(handle)
}

/// The controller's thread; it ends with the last handle, or when the broker stops.
fn spawn(setup: Setup, shutdown: &CancellationToken, tasks: &TaskTracker) -> (Handle, watch::Receiver<Progress>) {
    let session = SessionId(Uuid::new_v4().into_bytes());
    let machine = Machine::new(Config {
        me: setup.me,
        session,
        cluster: setup.cluster,
        broker: setup.config.clone(),
        lease: LEASE_TERM,
        floor: setup.copies.floor(),
        tuning: Tuning::default(),
    });
    let (progress, watched) = watch::channel(Progress::Waiting);
    let (asks, asked) = mpsc::channel(QUEUE);
    let shell = Shell::new(Parts {
        me: setup.me,
        clock: setup.clock,
        coordination: setup.coordination,
        lease: LEASE.to_owned(),
        holder: Holder(format!("{}/{session:?}", setup.me)),
        copies: setup.copies,
        session,
        site: setup.site,
        progress,
        machine,
    });
    let (runtime, shutdown) = (tokio::runtime::Handle::current(), shutdown.clone());
    tasks.spawn_blocking(move || shell.run(&runtime, &shutdown, asked));
    (Handle::new(asks, setup.config), watched)
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
    shell::create_documents(coordination, &document::initial(cluster)).map_err(StartError::Init)
}

/// Runs what may block on disk where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

#[cfg(test)]
mod tests;
