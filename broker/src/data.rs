//! The data directory of a broker: its lock, its identity, the log in it, and the tables beside the log.
//!
//! Owns what lies where, and the order of opening: the lock first, the identity next, everything else after. The log is
//! the truth; `state/` is a view of it that can be deleted; `metadata/` is the cluster's metadata where no Kubernetes
//! keeps it. Must never format a directory that holds anything.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_coordination::{Coordination, Embedded};
use ottla_core::config::broker;
use ottla_core::types::{ClusterId, DirectoryId, Incarnation, TopicPartition};
use ottla_log::disk::real::RealDisk;
use ottla_log::disk::{Disk, DiskError, DiskLock};
use ottla_log::identity::{self, Identity, IdentityError};
use ottla_log::store::{self, LogDir, OpenError, Options, Suspicion};
use ottla_state::{Engine, RocksTable};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::config::Config;
use crate::partitions::Partitions;

/// Folder of the cluster's metadata documents.
pub const METADATA: &str = "metadata";
/// Folder of the view of internal topics.
const STATE: &str = "state";

/// A data directory that is open.
pub struct Data {
    /// The records.
    pub log: Arc<LogDir>,
    /// The cluster's metadata, where it is kept here; taken by whoever coordinates.
    metadata: Mutex<Option<RocksTable>>,
    /// The view of internal topics; taken by the group coordinator.
    state: Mutex<Option<RocksTable>>,
    disk: Arc<dyn Disk>,
    identity: Mutex<Identity>,
    /// What the log may have lost: the controller is told with the registration.
    pub doubts: Doubts,
    /// Opens what is opened again later.
    pub engine: Engine,
    /// Where the view lives.
    pub state_folder: PathBuf,
    _lock: Box<dyn DiskLock>,
}

/// What the log of a data directory may have lost, as far as it can know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// The machine stopped under it, or nobody can tell that it did not.
    pub unclean_stop: bool,
    /// Partitions that had opted out of durable acks, and lost what was not flushed.
    pub unflushed: Vec<TopicPartition>,
    /// Partitions whose records are damaged or may be missing (R12).
    pub suspect: Vec<TopicPartition>,
}

impl Doubts {
    fn of(recovered: &store::Recovered) -> Self {
        let holes = recovered.suspect.iter().filter(|(_, why)| *why == Suspicion::JournalHole).map(|(id, _)| *id);
        let damaged = recovered.damaged.iter().map(|(id, _)| *id);
        let suspect: BTreeSet<TopicPartition> = holes.chain(damaged).collect();
        let unflushed = recovered.suspect.iter().filter(|(_, why)| *why == Suspicion::UncleanStop);
        Self {
            unclean_stop: recovered.unclean_stop,
            unflushed: unflushed.map(|(id, _)| *id).collect(),
            suspect: suspect.into_iter().collect(),
        }
    }
}

/// A data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is somebody else's, damaged, newer, or in use.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It belongs to another cluster.
    #[error(
        "data directory {directory} belongs to cluster {found}, but {by} {wanted}; name the directory of this cluster"
    )]
    OtherCluster {
        /// The directory.
        directory: String,
        /// Its cluster.
        found: ClusterId,
        /// Who says otherwise.
        by: &'static str,
        /// And which.
        wanted: ClusterId,
    },
    /// The configuration names one cluster and Kubernetes another.
    #[error("cluster.id is {wanted}, but the cluster's metadata in Kubernetes is that of {found}")]
    Contradiction {
        /// What the configuration says.
        wanted: ClusterId,
        /// What Kubernetes says.
        found: ClusterId,
    },
    /// `cluster.id` is no cluster id.
    #[error("cluster.id is {0:?}; it must be 22 characters of URL-safe base64, or not set")]
    ClusterId(String),
    /// The log cannot be opened.
    #[error("open the log: {0}")]
    Log(#[from] OpenError),
    /// A table cannot be opened.
    #[error(transparent)]
    Table(#[from] ottla_state::OpenError),
    /// The work was interrupted.
    #[error("opening the data directory was interrupted: {0}")]
    Interrupted(String),
}

/// The cluster that a directory must belong to, and who says so.
type Wanted = Option<(ClusterId, &'static str)>;

/// Opens `config`'s data directory, formatting it if it is empty. It must be of `remote`, if there is such a cluster.
/// The cluster's metadata is opened with it if it `keeps_metadata`. `partitions` hears of durable ends.
///
/// # Errors
/// [`DataError`], with a sentence for the person who started the broker; nothing of what the directory held is lost.
pub async fn open(
    config: &Config,
    remote: Option<ClusterId>,
    keeps_metadata: bool,
    partitions: Arc<Partitions>,
) -> Result<Data, DataError> {
    let root = config.log_dir().to_owned();
    let wanted = wanted(config, remote)?;
    let opened = spawn_blocking(move || open_blocking(root, wanted, keeps_metadata, partitions)).await;
    opened.map_err(|error| DataError::Interrupted(error.to_string()))?
}

/// Whether `config`'s data directory is anybody's. It is not made.
///
/// # Errors
/// [`DataError`] when that cannot be read.
pub async fn is_formatted(config: &Config) -> Result<bool, DataError> {
    let root = config.log_dir().to_owned();
    let looked = spawn_blocking(move || {
        if !root.exists() {
            return Ok(false);
        }
        let disk = RealDisk::create(&root)?;
        Ok(identity::read(&disk)?.is_some())
    });
    looked.await.map_err(|error| DataError::Interrupted(error.to_string()))?
}

fn wanted(config: &Config, remote: Option<ClusterId>) -> Result<Wanted, DataError> {
    let there = remote.map(|cluster| (cluster, "the cluster's metadata in Kubernetes is that of"));
    let Some(text) = config.values().text(&broker::CLUSTER_ID).filter(|text| !text.is_empty()) else {
        return Ok(there);
    };
    let wanted = ClusterId::parse_kafka(text).ok_or_else(|| DataError::ClusterId(text.to_owned()))?;
    match remote {
        Some(found) if found != wanted => Err(DataError::Contradiction { wanted, found }),
        Some(_) | None => Ok(Some((wanted, "cluster.id is"))),
    }
}

/// The metadata of a cluster that several brokers of one process share, in `folder`; made if it is not there.
///
/// # Errors
/// [`ottla_state::OpenError`], or what the table holds cannot be used.
pub fn open_shared(folder: &std::path::Path) -> anyhow::Result<Arc<dyn Coordination>> {
    let table = Engine::new()?.open(folder)?;
    Ok(Arc::new(Embedded::new(table)?))
}

fn open_blocking(
    root: PathBuf,
    wanted: Wanted,
    keeps_metadata: bool,
    partitions: Arc<Partitions>,
) -> Result<Data, DataError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::create(&root)?);
    let lock = identity::lock(disk.as_ref()).map_err(IdentityError::from)?;
    let identity = identify(disk.as_ref(), wanted)?;
    let engine = Engine::new()?;
    let state_folder = root.join(STATE);
    // Three independent things: the log beside the two tables.
    let (log, metadata, state) = std::thread::scope(|scope| {
        let metadata = scope.spawn(|| keeps_metadata.then(|| engine.open(&root.join(METADATA))).transpose());
        let state = scope.spawn(|| open_view(&engine, &state_folder));
        let log = open_log(&disk, partitions);
        let interrupted = || DataError::Interrupted("a thread panicked".to_owned());
        (log, metadata.join().map_err(|_| interrupted()), state.join().map_err(|_| interrupted()))
    });
    let ((log, doubts), metadata, state) = (log?, metadata??, state??);
    Ok(Data {
        log: Arc::new(log),
        metadata: Mutex::new(metadata),
        state: Mutex::new(Some(state)),
        disk,
        identity: Mutex::new(identity),
        doubts,
        engine,
        state_folder,
        _lock: lock,
    })
}

/// Opens the view of internal topics. It is derived: one that cannot be used is thrown away and rebuilt from records.
fn open_view(engine: &Engine, folder: &std::path::Path) -> Result<RocksTable, ottla_state::OpenError> {
    match engine.open(folder) {
        Ok(table) => Ok(table),
        Err(error @ ottla_state::OpenError::Damaged { .. }) => {
            tracing::warn!(%error, "the view of internal topics is rebuilt from their records");
            if let Err(error) = std::fs::remove_dir_all(folder) {
                tracing::error!(folder = %folder.display(), %error, "remove the damaged view");
            }
            engine.open(folder)
        }
        Err(error) => Err(error),
    }
}

fn identify(disk: &dyn Disk, wanted: Wanted) -> Result<Identity, DataError> {
    match identity::read(disk)? {
        Some(identity) => match wanted {
            Some((wanted, by)) if wanted != identity.cluster => Err(DataError::OtherCluster {
                directory: disk.root().display().to_string(),
                found: identity.cluster,
                by,
                wanted,
            }),
            Some(_) | None => Ok(identity),
        },
        None => {
            let random = |_| *Uuid::new_v4().as_bytes();
            let identity = Identity {
                cluster: wanted.map_or_else(|| ClusterId::from_bytes(random(())), |(cluster, _)| cluster),
                directory: DirectoryId::from_bytes(random(())),
                incarnation: Incarnation::new(0),
            };
            identity::write(disk, identity)?;
            tracing::info!(directory = %disk.root().display(), %identity, "formatted the data directory");
            Ok(identity)
        }
    }
}

fn open_log(disk: &Arc<dyn Disk>, partitions: Arc<Partitions>) -> Result<(LogDir, Doubts), DataError> {
    let options = Options::new(partitions, boot_id(), Box::new(random));
    let (log, recovered) = LogDir::open(Arc::clone(disk), options)?;
    report(&recovered);
    Ok((log, Doubts::of(&recovered)))
}

/// One line about what was found, and one about each thing that is not as it should be.
fn report(recovered: &store::Recovered) {
    tracing::info!(
        partitions = recovered.partitions,
        replayed_batches = recovered.batches,
        scanned = recovered.scanned,
        "opened the log"
    );
    for (partition, range) in &recovered.damaged {
        tracing::error!(%partition, from = %range.from, upto = %range.upto, "damaged on disk: these offsets cannot be read");
    }
    for (partition, suspicion) in &recovered.suspect {
        tracing::error!(%partition, ?suspicion, "may have lost its end");
    }
    for folder in &recovered.unreadable_folders {
        tracing::error!(folder, "cannot be read: its own record is damaged or missing; it is left alone");
    }
}

/// Draws 64 random bits.
pub fn random() -> u64 {
    Uuid::new_v4().as_u64_pair().1 ^ Uuid::new_v4().as_u64_pair().0
}

/// Which boot of the machine this is; all zeros where the system does not say, which counts as another boot every time.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Uuid::parse_str(text.trim()).unwrap_or_else(|_| Uuid::new_v4()).into_bytes()
}

impl Data {
    /// Whose directory it is.
    pub fn identity(&self) -> Identity {
        *self.identity.lock()
    }

    /// Makes `incarnation` durable as the one that runs on this directory; before it is registered.
    ///
    /// # Errors
    /// When the disk says no; the earlier one stands then.
    pub fn set_incarnation(&self, incarnation: Incarnation) -> Result<(), DiskError> {
        let mut identity = self.identity.lock();
        let changed = Identity { incarnation, ..*identity };
        identity::write(self.disk.as_ref(), changed)?;
        *identity = changed;
        Ok(())
    }

    /// The files of the directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The table of metadata documents; once.
    pub fn take_metadata(&self) -> Option<RocksTable> {
        self.metadata.lock().take()
    }

    /// The view of internal topics; once.
    pub fn take_state(&self) -> Option<RocksTable> {
        self.state.lock().take()
    }

    /// Everything on disk, in order. What fails is logged: acked records are safe all the same.
    pub async fn close(&self) {
        let log = Arc::clone(&self.log);
        match spawn_blocking(move || log.close()).await {
            Ok(Ok(())) => tracing::info!("closed the log"),
            Ok(Err(error)) => tracing::error!(%error, "close the log"),
            Err(error) => tracing::error!(%error, "closing the log was interrupted"),
        }
    }
}
