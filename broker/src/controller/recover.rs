//! Recovering a cluster's metadata from its brokers' data directories: reading them, and writing what the plan says.
//!
//! Owns the order: every directory is locked, so that its broker does not run; nobody renews the controller's Lease; only
//! then is anything compared. Nothing is changed before [`Recovery::apply`], which writes each document by
//! compare-and-swap on what was compared, the root last, and can be made again when it was interrupted. What is decided
//! is decided in `ottla_core::controller::recover`. It must never write into a data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla_coordination::{
    Access, Coordination, Embedded, Expected, Holder, Kubernetes, Lease, LeaseError, Put, PutError, Revision,
    Unavailable,
};
use ottla_core::controller::error::Standing;
use ottla_core::controller::recover::{Directory, Plan, Refusal, Stored, plan};
use ottla_core::controller::{Document, DocumentId, ShardId};
use ottla_core::table::MemoryTable;
use ottla_core::types::{BrokerId, Lsn};
use ottla_log::disk::real::RealDisk;
use ottla_log::disk::{Disk, DiskError, DiskLock, LockError};
use ottla_log::identity::{self, IdentityError};
use ottla_log::journal;
use uuid::Uuid;

use super::{Copies, CopiesError, LEASE, blocking};
use crate::clock::Clock;
use crate::data;

/// How long one request to the API server may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// For how long the Lease is taken while documents are written: brokers that start meanwhile wait.
const LEASE_TERM: Duration = Duration::from_secs(30);
/// How much longer than its term a Lease is watched before it counts as left behind.
const LEASE_SLACK: Duration = Duration::from_secs(1);
/// For how long a cluster that runs may have no Lease: longer than an election takes.
const BETWEEN_MAX: Duration = Duration::from_secs(5);
/// How often it is looked at.
const LEASE_LOOK: Duration = Duration::from_millis(250);
/// Documents that are written at once.
const WRITES: usize = 32;

/// Where a cluster's metadata lies.
#[derive(Clone, Debug)]
pub enum Home {
    /// In Kubernetes.
    Kubernetes(Access),
    /// In a folder: of the only broker, or of several in one process.
    Folder(PathBuf),
}

/// Why metadata was not recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A broker runs on a directory.
    #[error("{0}: stop its broker, and keep it from starting until the metadata is recovered")]
    Running(LockError),
    /// A directory cannot be read.
    #[error("{directory}: {error}")]
    Disk {
        /// Which one.
        directory: String,
        /// What the disk said.
        error: DiskError,
    },
    /// A directory is nobody's.
    #[error("{directory} is no data directory of a broker: {reason}")]
    NoDirectory {
        /// Which one.
        directory: String,
        /// Why not.
        reason: String,
    },
    /// The journal of a directory cannot be read.
    #[error("{directory}: {error}")]
    Journal {
        /// Which one.
        directory: String,
        /// Why not.
        error: journal::OpenError,
    },
    /// The copies in a directory cannot be used.
    #[error("{directory}: {error}")]
    Copies {
        /// Which one.
        directory: String,
        /// Why not.
        error: CopiesError,
    },
    /// Some broker of the cluster runs.
    #[error(
        "{holder} holds the cluster's Lease and renews it: stop every broker of the cluster, and keep them from starting \
         until the metadata is recovered"
    )]
    LeaseIsLive {
        /// Who.
        holder: String,
    },
    /// A broker has started since the plan was made.
    #[error("the cluster's Lease was taken since the plan was made: stop every broker of the cluster and try again")]
    LeaseTaken,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Unavailable),
    /// The folder of the metadata cannot be opened.
    #[error("open {folder}: {reason}; move it aside if it is damaged, and try again")]
    Folder {
        /// Which one.
        folder: String,
        /// Why not.
        reason: String,
    },
    /// A newer Ottla wrote what the store holds.
    #[error("{document} in the store cannot be read: {reason}")]
    Newer {
        /// Which document.
        document: DocumentId,
        /// Why not.
        reason: String,
    },
    /// Nothing can be made of what was found.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody else has written a document.
    #[error("{0} was changed by somebody else since the plan was made: stop every broker of the cluster and try again")]
    Changed(DocumentId),
    /// A document could not be written.
    #[error("write {document}: {reason}; try again: what was written so far is found and replaced")]
    Write {
        /// Which document.
        document: DocumentId,
        /// Why not.
        reason: String,
    },
}

impl RecoverError {
    /// Whether trying again without changing anything is of no use.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Disk { .. } | Self::Journal { .. } | Self::Store(_) | Self::Folder { .. } | Self::Write { .. } => {
                false
            }
            Self::Running(_)
            | Self::NoDirectory { .. }
            | Self::Copies { .. }
            | Self::LeaseIsLive { .. }
            | Self::LeaseTaken
            | Self::Newer { .. }
            | Self::Refused(_)
            | Self::Changed(_) => true,
        }
    }
}

/// A plan, and everything that is held until it was carried out or given up.
pub struct Recovery {
    plan: Plan,
    store: Arc<dyn Coordination>,
    /// A folder that is made when the plan is carried out.
    to_make: Option<PathBuf>,
    found: BTreeMap<DocumentId, Revision>,
    lease: Option<Lease>,
    /// Brokers cannot start on these directories meanwhile.
    _locks: Vec<Box<dyn DiskLock>>,
}

/// Locks the directories, sees that nobody decides, and plans. Waits for as long as a Lease holds that was left behind.
///
/// # Errors
/// [`RecoverError`]; nothing is changed.
pub async fn look(home: &Home, directories: Vec<PathBuf>, lost: BTreeSet<BrokerId>) -> Result<Recovery, RecoverError> {
    let (directories, locks) = blocking(move || open(&directories)).await?;
    let (store, to_make) = reach(home).await?;
    let lease = left_behind(&store).await?;
    let asked = Arc::clone(&store);
    let (plan, found) = blocking(move || {
        let (stored, found) = read(&*asked, &directories)?;
        Ok::<_, RecoverError>((plan(&directories, &stored, &lost)?, found))
    })
    .await?;
    Ok(Recovery { plan, store, to_make, found, lease, _locks: locks })
}

impl Recovery {
    /// What would be done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes every document. The Lease is held meanwhile, and free afterwards.
    ///
    /// # Errors
    /// [`RecoverError`]; it may be tried again.
    pub async fn apply(self) -> Result<(), RecoverError> {
        blocking(move || self.apply_blocking()).await
    }

    fn apply_blocking(self) -> Result<(), RecoverError> {
        let store = match &self.to_make {
            Some(folder) => open_folder(folder)?,
            None => Arc::clone(&self.store),
        };
        let (drawn, _) = Uuid::new_v4().as_u64_pair();
        let holder = Holder(format!("recover-metadata/{drawn:016x}"));
        let seen = self.lease.as_ref().map(|lease| &lease.revision);
        let lease = match store.acquire(LEASE, &holder, LEASE_TERM, seen) {
            Ok(lease) => lease,
            Err(LeaseError::Taken) => return Err(RecoverError::LeaseTaken),
            Err(LeaseError::Unavailable(error)) => return Err(error.into()),
        };
        let written = self.write(&*store, &self.plan.documents(drawn.to_be_bytes()));
        if let Err(error) = store.release(LEASE, &holder, &lease.revision) {
            tracing::warn!(%error, "the Lease is not given back: brokers wait until it has run out");
        }
        written
    }

    fn write(&self, store: &dyn Coordination, documents: &[Document]) -> Result<(), RecoverError> {
        // While the root is as it was, nobody can make a whole of what is written so far.
        let (root, shards) = documents.split_last().expect("a plan has a root");
        for chunk in shards.chunks(WRITES).chain([std::slice::from_ref(root)]) {
            let put = |document: &Document| Put {
                name: document.id().to_string(),
                content: ottla_rpc::encode(document),
                expected: self.found.get(&document.id()).cloned().map_or(Expected::Absent, Expected::At),
            };
            let results = store.put(chunk.iter().map(put).collect());
            for (document, result) in chunk.iter().zip(results) {
                settle(store, document, result)?;
            }
        }
        Ok(())
    }
}

/// A write whose answer was lost is settled by reading.
fn settle(
    store: &dyn Coordination,
    document: &Document,
    result: Result<Revision, PutError>,
) -> Result<(), RecoverError> {
    let (id, reason) = match result {
        Ok(_) => return Ok(()),
        Err(error @ PutError::NotDone(_)) => {
            return Err(RecoverError::Write { document: document.id(), reason: error.to_string() });
        }
        Err(error @ (PutError::Conflict | PutError::Unknown(_))) => (document.id(), error),
    };
    let found = store.get(&id.to_string())?.and_then(|found| ottla_rpc::decode(&found.content).ok());
    match (found, reason) {
        (Some(found), _) if found.header().write == document.header().write => Ok(()),
        (_, PutError::Conflict) => Err(RecoverError::Changed(id)),
        (_, error @ (PutError::NotDone(_) | PutError::Unknown(_))) => {
            Err(RecoverError::Write { document: id, reason: error.to_string() })
        }
    }
}

async fn reach(home: &Home) -> Result<(Arc<dyn Coordination>, Option<PathBuf>), RecoverError> {
    match home {
        Home::Kubernetes(access) => Ok((Arc::new(Kubernetes::connect(access, DEADLINE).await?), None)),
        Home::Folder(folder) if folder.exists() => {
            let folder = folder.clone();
            Ok((blocking(move || open_folder(&folder)).await?, None))
        }
        Home::Folder(folder) => Ok((Arc::new(Embedded::new(MemoryTable::default())?), Some(folder.clone()))),
    }
}

fn open_folder(folder: &Path) -> Result<Arc<dyn Coordination>, RecoverError> {
    let name = folder.display().to_string();
    data::open_shared(folder).map_err(|error| RecoverError::Folder { folder: name, reason: format!("{error:#}") })
}

/// The Lease as somebody left it behind; an error if anybody takes or renews it while it is watched. Where there is none, a
/// cluster that runs may be between two controllers: that is watched for as long as it may be, too.
async fn left_behind(store: &Arc<dyn Coordination>) -> Result<Option<Lease>, RecoverError> {
    let observe = || {
        let store = Arc::clone(store);
        blocking(move || store.observe(LEASE))
    };
    let mut left = observe().await?;
    let watched = left.as_ref().map_or(BETWEEN_MAX, |lease| lease.duration + LEASE_SLACK);
    let until = Clock.monotonic() + watched.max(BETWEEN_MAX);
    while Clock.monotonic() < until {
        tokio::time::sleep(LEASE_LOOK).await;
        let now = observe().await?;
        let revision = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.revision.clone());
        match now {
            Some(now) if Some(&now.revision) != revision(&left).as_ref() => {
                return Err(RecoverError::LeaseIsLive { holder: now.holder.0 });
            }
            now => left = now,
        }
    }
    Ok(left)
}

type Opened = (Vec<Directory>, Vec<Box<dyn DiskLock>>);

fn open(paths: &[PathBuf]) -> Result<Opened, RecoverError> {
    let (mut directories, mut locks) = (Vec::new(), Vec::new());
    let mut known = BTreeSet::new();
    for path in paths {
        let name = path.display().to_string();
        let there = path.canonicalize();
        if there.is_ok_and(|there| !known.insert(there)) {
            return Err(RecoverError::NoDirectory { directory: name, reason: "it is given twice".to_owned() });
        }
        let (directory, lock) = open_one(path, name)?;
        directories.push(directory);
        locks.extend(lock);
    }
    Ok((directories, locks))
}

fn open_one(path: &Path, name: String) -> Result<(Directory, Option<Box<dyn DiskLock>>), RecoverError> {
    let none = |reason: String| RecoverError::NoDirectory { directory: name.clone(), reason };
    let failed = |error: DiskError| RecoverError::Disk { directory: name.clone(), error };
    let disk: Arc<dyn Disk> = match RealDisk::open(path) {
        Ok(disk) => Arc::new(disk),
        Err(error) if error.is_not_found() => return Err(none("there is no such directory".to_owned())),
        Err(error) => return Err(failed(error)),
    };
    let identity = || match identity::look(disk.as_ref()) {
        Ok(Some(identity)) => Ok(identity),
        Ok(None) => Err(none("it is empty".to_owned())),
        Err(IdentityError::Disk(error)) => Err(failed(error)),
        Err(error) => Err(none(error.to_string())),
    };
    // The lock would leave a file in a directory that is somebody else's.
    identity()?;
    let lock = match identity::lock(disk.as_ref()) {
        Ok(lock) => Some(lock),
        Err(held @ LockError::Held { .. }) => return Err(RecoverError::Running(held)),
        // On a copy that cannot be written to, no broker runs.
        Err(LockError::Disk(DiskError::ReadOnly { .. })) => None,
        Err(LockError::Disk(error)) => return Err(failed(error)),
    };
    // Until it was locked, a broker could run.
    let identity = identity()?;
    let unusable = |error| RecoverError::Copies { directory: name.clone(), error };
    let synced = journal_end(&disk).map_err(|error| RecoverError::Journal { directory: name.clone(), error })?;
    let copies = Copies::open(disk, identity.cluster).map_err(unusable)?;
    let documents = copies.documents().map_err(unusable)?;
    let of_cluster = documents.into_iter().filter(|document| document.header().cluster == identity.cluster);
    let directory = Directory {
        cluster: identity.cluster,
        standing: Standing { directory: identity.directory, incarnation: identity.incarnation, synced },
        copies: of_cluster.map(|document| (document.id(), document)).collect(),
        damaged: copies.is_damaged(),
        name,
    };
    Ok((directory, lock))
}

/// The last frame of the journal, as a start would find it.
fn journal_end(disk: &Arc<dyn Disk>) -> Result<Lsn, journal::OpenError> {
    let mut replay = journal::Recovery::open(Arc::clone(disk), journal::Options::default())?;
    while replay.step()?.is_some() {}
    Ok(replay.report().last)
}

type Found = (BTreeMap<DocumentId, Stored>, BTreeMap<DocumentId, Revision>);

/// Everything that the store holds of the documents that are copied anywhere, or that it lists.
fn read(store: &dyn Coordination, directories: &[Directory]) -> Result<Found, RecoverError> {
    let mut ids: BTreeSet<DocumentId> =
        directories.iter().flat_map(|directory| directory.copies.keys().copied()).collect();
    ids.extend(store.list("")?.iter().filter_map(|document| parse(&document.name)));
    let (mut stored, mut revisions) = (BTreeMap::new(), BTreeMap::new());
    for id in ids {
        let Some(found) = store.get(&id.to_string())? else { continue };
        revisions.insert(id, found.revision);
        let content = match ottla_rpc::decode(&found.content) {
            Ok(document) if document.id() == id => Stored::Document(document),
            Ok(other) => Stored::Unreadable(format!("it holds {} instead", other.id())),
            Err(error @ ottla_rpc::DecodeError::Newer { .. }) => {
                return Err(RecoverError::Newer { document: id, reason: error.to_string() });
            }
            Err(error) => Stored::Unreadable(error.to_string()),
        };
        stored.insert(id, content);
    }
    Ok((stored, revisions))
}

/// The document of that name.
fn parse(name: &str) -> Option<DocumentId> {
    let index = name.strip_prefix("topics-").and_then(|index| index.parse().ok());
    let id = index.map_or(DocumentId::Root, |index| DocumentId::Shard(ShardId(index)));
    (id.to_string() == name).then_some(id)
}
