//! Making a cluster's metadata again from the copies in its brokers' data directories (A8).
//!
//! Owns which copy of each document counts, what is in doubt when a directory is missing, and how the documents go on
//! upwards from it: above every epoch, version, run and producer id that anybody may have seen. Whoever has every
//! directory has everything that was ever acted on, because a broker copies a document before it acts on it. It must
//! never choose between two lineages, never take a shard for empty because nobody has it, and never hide that a state
//! may be out of date. Pure: what was found goes in, a plan comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::document::{Document, DocumentId, Root, SessionId, Shard, ShardId, shard_of};
use super::error::Standing;
use super::lineage::Seen;
use crate::types::{BrokerId, ClusterId, ControllerEpoch, DirectoryId, PartitionIndex};

mod doubts;
mod rebuild;
#[cfg(test)]
mod tests;

pub use doubts::{AtRisk, Doubt};
use rebuild::Floor;
pub(super) use rebuild::RUNS_SKIPPED;

/// What the session of a recovery begins with: its documents are known as such until a controller claims them.
const MARK: [u8; 8] = *b"recover\0";

/// The data directory of a broker that does not run.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Where it is, for messages.
    pub name: String,
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its identity, and the last run that it records.
    pub standing: Standing,
    /// The newest copy of each document in it.
    pub copies: BTreeMap<DocumentId, Document>,
    /// A copy cannot be read, and it is no torn end: what is lost may have been newer than what is there.
    pub damaged: bool,
}

/// What the coordination store holds of a document.
#[derive(Clone, Debug)]
pub enum Stored {
    /// It can be read.
    Document(Document),
    /// It cannot.
    Unreadable(String),
}

/// Why nothing can be made of what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No directory was named.
    #[error("no data directory is given: give that of every broker")]
    NoDirectory,
    /// The directories are of several clusters.
    #[error(
        "{one} belongs to cluster {cluster}, and {other} to cluster {another}: give the directories of one cluster"
    )]
    SeveralClusters {
        /// A directory.
        one: String,
        /// Its cluster.
        cluster: ClusterId,
        /// Another directory.
        other: String,
        /// Its cluster.
        another: ClusterId,
    },
    /// One directory is there twice.
    #[error("{one} and {other} are copies of one data directory: give the one that its broker last ran on")]
    Copied {
        /// A directory.
        one: String,
        /// Another directory of the same id.
        other: String,
    },
    /// Nobody has seen a root.
    #[error(
        "none of the directories holds a copy of the root document: no broker has run on them in this cluster, or its \
         metadata.copies is gone; give the directories of the other brokers"
    )]
    NoRoot,
    /// A broker that cannot be lost.
    #[error("broker {broker} is not lost: {why}")]
    NotLost {
        /// The broker.
        broker: BrokerId,
        /// Why not.
        why: String,
    },
    /// The root counts a shard that nobody has.
    #[error(
        "none of the directories holds a copy of {0}, which the root counts: the topics in it cannot be recovered from \
         them; give the directories of the other brokers"
    )]
    NoShard(DocumentId),
    /// Two copies were never states of one document.
    #[error(
        "{document} in {one} ({}) does not descend from {document} in {other} ({}): the metadata went back once, and was \
         changed on both branches since; leave out the directories of one branch, and go on with --incomplete: what was \
         acknowledged on that branch alone is lost then", At(*.at), At(*.past)
    )]
    Conflict {
        /// Which document.
        document: DocumentId,
        /// Where the newest copy is.
        one: String,
        /// What it is.
        at: Seen,
        /// Where the other copy is.
        other: String,
        /// What it is.
        past: Seen,
    },
    /// The store holds another cluster's documents.
    #[error(
        "{document} in the store belongs to cluster {found}, and the directories to cluster {expected}: give the name, \
         the namespace and the directories of one cluster"
    )]
    StoreOfAnother {
        /// Which document.
        document: DocumentId,
        /// Its cluster.
        found: ClusterId,
        /// The directories' cluster.
        expected: ClusterId,
    },
}

/// What the store holds of a document beside the newest copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InStore {
    /// Nothing.
    Missing,
    /// The very state of the newest copy.
    Same,
    /// A state that the newest copy descends from.
    Older(Seen),
    /// What an earlier recovery wrote and nobody has claimed.
    Recovered(Seen),
    /// A later state of the newest copy: none of the directories has seen it.
    Newer(Seen),
    /// A state of another lineage.
    Elsewhere(Seen),
    /// Something that cannot be read.
    Unreadable(String),
}

impl InStore {
    /// Whether going back to the newest copy gives something up that may have been acted on.
    pub fn is_given_up(&self) -> bool {
        match self {
            Self::Missing | Self::Same | Self::Older(_) | Self::Recovered(_) => false,
            Self::Newer(_) | Self::Elsewhere(_) | Self::Unreadable(_) => true,
        }
    }
}

/// Where a document comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which document.
    pub document: DocumentId,
    /// The directory that holds the newest copy.
    pub from: String,
    /// What that copy is.
    pub at: Seen,
    /// What each directory holds, in the order in which they were given.
    pub copies: Vec<(String, Option<Seen>)>,
    /// What the store holds.
    pub in_store: InStore,
    /// The version that it gets.
    pub version: u64,
}

/// A directory as the newest root knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The directory.
    pub name: String,
    /// Its identity and the last run that it records.
    pub standing: Standing,
    /// Whose it is; `None` if the newest root registers no broker on it.
    pub broker: Option<BrokerId>,
}

/// What will be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch that all documents get. The next controller's is higher by one.
    pub epoch: ControllerEpoch,
    /// The highest epoch that was seen in any copy, or in the store.
    pub epoch_seen: ControllerEpoch,
    /// Every document, the root first.
    pub origins: Vec<Origin>,
    /// The directories, in the order in which they were given.
    pub holders: Vec<Holder>,
    /// The registered brokers.
    pub members: BTreeSet<BrokerId>,
    /// Why the newest copies may not be the newest that there are.
    pub doubts: Vec<Doubt>,
    /// Partitions whose leaders may then lack acknowledged records.
    pub at_risk: Vec<AtRisk>,
    /// Brokers whose disks are lost for good: they are registered no more, and members of nothing.
    pub lost: BTreeSet<BrokerId>,
    /// How many topics there are.
    pub topics: usize,
    /// How many partitions they have.
    pub partitions: usize,
    root: Arc<Root>,
    shards: Vec<Arc<Shard>>,
    floor: Floor,
}

/// What the newest copies in `directories` come to, beside what the store holds. The disks of the brokers in `lost` are
/// gone for good.
///
/// # Errors
/// [`Refusal`], when no sound metadata can be made of them.
pub fn plan(
    directories: &[Directory],
    stored: &BTreeMap<DocumentId, Stored>,
    lost: &BTreeSet<BrokerId>,
) -> Result<Plan, Refusal> {
    let cluster = check_directories(directories)?;
    let (_, root) = newest(directories, DocumentId::Root).ok_or(Refusal::NoRoot)?;
    let Document::Root(root) = root.clone() else { return Err(Refusal::NoRoot) };
    let holders: Vec<Holder> = directories.iter().map(|directory| holder(directory, &root)).collect();
    check_lost(lost, &root, &holders)?;
    let mut shards = Vec::new();
    for shard in (0..root.shard_count).map(|index| DocumentId::Shard(ShardId(index))) {
        match newest(directories, shard) {
            Some((_, Document::Shard(content))) => shards.push(Arc::clone(content)),
            Some((_, Document::Root(_))) | None => return Err(Refusal::NoShard(shard)),
        }
    }
    let mut origins = Vec::new();
    for document in [DocumentId::Root].into_iter().chain((0..root.shard_count).map(|at| DocumentId::Shard(ShardId(at))))
    {
        origins.push(origin(document, cluster, directories, stored.get(&document))?);
    }
    let floor = Floor::of(directories, stored);
    let doubts = doubts::of(directories, &root, &shards);
    let counted = || shards.iter().flat_map(|shard| topics_of(shard, root.shard_count));
    Ok(Plan {
        cluster,
        epoch: floor.epoch(),
        epoch_seen: floor.epoch_seen,
        at_risk: doubts::at_risk(&doubts, counted()),
        topics: counted().count(),
        partitions: counted().map(|topic| topic.partitions.len()).sum(),
        members: root.members.keys().copied().collect(),
        origins,
        holders,
        doubts,
        lost: lost.clone(),
        root,
        shards,
        floor,
    })
}

impl Plan {
    /// Whether enough of the registered brokers can vouch for the metadata that a controller may claim it: half of them.
    pub fn can_start(&self) -> bool {
        let members = self.members.difference(&self.lost).count();
        let away = self.doubts.iter().filter_map(Doubt::silent).filter(|broker| !self.lost.contains(broker)).count();
        members.saturating_sub(away) * 2 >= members
    }

    /// Whether a later state than the newest copy may have been acted on by somebody whose directory is not here.
    pub fn is_complete(&self) -> bool {
        self.doubts.is_empty()
    }

    /// Documents in the store that would be given up.
    pub fn given_up(&self) -> impl Iterator<Item = &Origin> {
        self.origins.iter().filter(|origin| origin.in_store.is_given_up())
    }

    /// The documents to write, the root last: until it is there, nobody takes the rest for a cluster. `session` tells
    /// this recovery from every other; draw it at random.
    pub fn documents(&self, session: [u8; 8]) -> Vec<Document> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&MARK);
        id[8..].copy_from_slice(&session);
        let by = rebuild::Writer { cluster: self.cluster, epoch: self.epoch, session: SessionId(id) };
        let version = |document| {
            let origin = self.origins.iter().find(|origin| origin.document == document);
            origin.map_or(0, |origin| origin.version)
        };
        let shards = self.shards.iter().map(|shard| {
            let id = DocumentId::Shard(ShardId(shard.index));
            Document::Shard(Arc::new(rebuild::shard(
                shard,
                by.header(&shard.header, version(id)),
                &self.lost,
                self.is_complete(),
            )))
        });
        let root = rebuild::root(&self.root, &self.holders, &self.floor, &self.lost);
        let header = by.header(&root.header, version(DocumentId::Root));
        shards.chain([Document::Root(Arc::new(Root { header, ..root }))]).collect()
    }

    /// The first producer id that will be given out.
    pub fn next_producer_id(&self) -> crate::types::ProducerId {
        self.floor.next_producer_id()
    }
}

fn check_directories(directories: &[Directory]) -> Result<ClusterId, Refusal> {
    let first = directories.first().ok_or(Refusal::NoDirectory)?;
    let mut known: BTreeMap<DirectoryId, &str> = BTreeMap::new();
    for directory in directories {
        if directory.cluster != first.cluster {
            return Err(Refusal::SeveralClusters {
                one: first.name.clone(),
                cluster: first.cluster,
                other: directory.name.clone(),
                another: directory.cluster,
            });
        }
        if let Some(one) = known.insert(directory.standing.directory, &directory.name) {
            return Err(Refusal::Copied { one: one.to_owned(), other: directory.name.clone() });
        }
    }
    Ok(first.cluster)
}

fn check_lost(lost: &BTreeSet<BrokerId>, root: &Root, holders: &[Holder]) -> Result<(), Refusal> {
    for broker in lost.iter().copied() {
        if let Some(holder) = holders.iter().find(|holder| holder.broker == Some(broker)) {
            return Err(Refusal::NotLost { broker, why: format!("{} is its data directory", holder.name) });
        }
        if !root.members.contains_key(&broker) {
            return Err(Refusal::NotLost { broker, why: "the newest root does not register it".to_owned() });
        }
    }
    Ok(())
}

/// The newest copy of a document and the directory that holds it; of equal ones, the first.
fn newest(directories: &[Directory], document: DocumentId) -> Option<(&Directory, &Document)> {
    let copies = directories.iter().filter_map(|directory| Some((directory, directory.copies.get(&document)?)));
    copies.fold(None, |best, next| match best {
        Some((_, known)) if known.header().seen() >= next.1.header().seen() => best,
        Some(_) | None => Some(next),
    })
}

fn origin(
    document: DocumentId,
    cluster: ClusterId,
    directories: &[Directory],
    stored: Option<&Stored>,
) -> Result<Origin, Refusal> {
    let missing = || if document == DocumentId::Root { Refusal::NoRoot } else { Refusal::NoShard(document) };
    let (holder, copy) = newest(directories, document).ok_or_else(missing)?;
    let mut copies = Vec::new();
    for directory in directories {
        let past = directory.copies.get(&document).map(|copy| copy.header().seen());
        if let Some(past) = past.filter(|past| !copy.header().descends_from(*past)) {
            return Err(Refusal::Conflict {
                document,
                one: holder.name.clone(),
                at: copy.header().seen(),
                other: directory.name.clone(),
                past,
            });
        }
        copies.push((directory.name.clone(), past));
    }
    let in_store = match stored {
        None => InStore::Missing,
        Some(Stored::Unreadable(reason)) => InStore::Unreadable(reason.clone()),
        Some(Stored::Document(found)) if found.header().cluster != cluster => {
            return Err(Refusal::StoreOfAnother { document, found: found.header().cluster, expected: cluster });
        }
        Some(Stored::Document(found)) => compare(copy, found),
    };
    let at = copy.header().seen();
    let version = rebuild::version(document, directories, stored);
    Ok(Origin { document, from: holder.name.clone(), at, copies, in_store, version })
}

fn compare(copy: &Document, found: &Document) -> InStore {
    let (copy, found) = (copy.header(), found.header());
    let (at, there) = (copy.seen(), found.seen());
    if at == there {
        InStore::Same
    } else if found.write.session.0.starts_with(&MARK) && found.descends_from(at) {
        InStore::Recovered(there)
    } else if copy.descends_from(there) {
        InStore::Older(there)
    } else if found.descends_from(at) {
        InStore::Newer(there)
    } else {
        InStore::Elsewhere(there)
    }
}

fn holder(directory: &Directory, root: &Root) -> Holder {
    let stands = |(_, member): &(&BrokerId, &super::Member)| member.broker.directory == directory.standing.directory;
    let broker = root.members.iter().find(stands).map(|(id, _)| *id);
    Holder { name: directory.name.clone(), standing: directory.standing, broker }
}

/// The topics of a shard that count: one whose name hashes to another shard was copied there.
fn topics_of(shard: &Shard, count: u32) -> impl Iterator<Item = &Arc<crate::metadata::Topic>> {
    let belongs = move |topic: &&Arc<crate::metadata::Topic>| shard_of(&topic.name, count) == ShardId(shard.index);
    shard.topics.values().filter(belongs)
}

/// A state as people are told of it.
struct At(Seen);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}, version {}, session {:?}", self.0.epoch, self.0.version, self.0.session)
    }
}

/// One partition, for messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionName {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: PartitionIndex,
}
