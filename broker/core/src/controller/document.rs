//! The documents that hold a cluster's metadata: one root and the topic shards.
//!
//! Owns their content and their header, by which a claim and a lost answer are judged. How they are stored and encoded
//! is not known here. A document is only ever replaced whole, by compare-and-swap.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::lineage::Claim;
use crate::metadata::{Broker, ExplicitConfig, Tombstone, Topic};
use crate::types::{BrokerId, ClusterId, ControllerEpoch, Incarnation, Lsn, ProducerId, TopicId};

/// How many topic shards a new cluster has.
pub const SHARD_COUNT: u32 = 16;

/// Index of a topic shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

/// Which document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentId {
    /// Brokers, epoch, shard count, producer ids, run-time broker configs.
    Root,
    /// The topics whose names hash to it.
    Shard(ShardId),
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Shard(shard) => write!(f, "topics-{:04}", shard.0),
        }
    }
}

/// One run of a process that may be the controller; drawn at random when it starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names one write for ever: a reader that finds it knows that the write took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WriteId {
    /// Who wrote.
    pub session: SessionId,
    /// Which of its writes.
    pub number: u64,
}

/// The store's own mark of a document's state. Only ever compared for equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub String);

impl Revision {
    /// Of a document that does not exist: a write that expects it creates the document.
    pub const ABSENT: Self = Self(String::new());

    /// Whether a document of this revision does not exist.
    pub fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}

/// What every document carries.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Counts its writes.
    pub version: u64,
    /// The term of the controller that wrote it.
    pub epoch: ControllerEpoch,
    /// The broker that was this controller.
    pub writer: BrokerId,
    /// The write that left it so. Ownership is epoch *and* session.
    pub write: WriteId,
    /// Who claimed it before and who owns it now, newest last.
    pub claims: Vec<Claim>,
}

impl Header {
    /// Whether `session` owns the document in its term `epoch`.
    pub fn owned_by(&self, epoch: ControllerEpoch, session: SessionId) -> bool {
        self.epoch == epoch && self.write.session == session
    }
}

/// The feature levels that a binary can run at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

impl FeatureRange {
    /// What this binary can.
    pub const SUPPORTED: Self = Self { min: 1, max: 1 };

    /// Whether a cluster that was finalised at `level` can have this binary.
    pub fn contains(self, level: u32) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl Default for FeatureRange {
    fn default() -> Self {
        Self::SUPPORTED
    }
}

/// A broker as the root knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What everybody may know.
    pub broker: Broker,
    /// While the broker has not yet confirmed that its data directory records this run: what the directory recorded
    /// when the run was allotted. A directory that still says so has never run it.
    pub admitted_from: Option<Incarnation>,
    /// The feature levels that its binary can run at.
    pub features: FeatureRange,
    /// How far its journal is known to have been on disk. A directory that ends before it is an older state of itself,
    /// although it records the same run (A9).
    pub synced: Lsn,
}

/// The root document.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Root {
    /// Version, owner, write.
    pub header: Header,
    /// How many topic shards there are.
    pub shard_count: u32,
    /// Every registered broker.
    pub members: BTreeMap<BrokerId, Member>,
    /// The first producer id that nobody was given.
    pub next_producer_id: ProducerId,
    /// What every broker of the cluster understands.
    pub feature_level: u32,
    /// Run-time configs of all brokers.
    pub broker_defaults: ExplicitConfig,
    /// Run-time configs of single brokers.
    pub broker_configs: BTreeMap<BrokerId, ExplicitConfig>,
    /// The last runs of brokers that were unregistered: no run of an id is ever allotted twice.
    pub retired: BTreeMap<BrokerId, Incarnation>,
    /// `min.insync.replicas` of topics that do not set it. The first controller fixes it for every broker.
    pub min_insync_replicas: Option<i32>,
}

/// One topic shard.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shard {
    /// Version, owner, write.
    pub header: Header,
    /// Which shard.
    pub index: u32,
    /// Its topics, by name.
    pub topics: BTreeMap<String, Arc<Topic>>,
    /// Its deleted topics whose replicas may still exist.
    pub tombstones: BTreeMap<TopicId, Tombstone>,
    /// Per broker, the run that the entries above hold for: an entry of an older run is never elected. That is all that
    /// it means. A leader waits for every entry of its ISR, whatever the run: whoever is admitted again on its own disk is
    /// a member at once, and must then hold everything that was committed meanwhile (R3, R4).
    pub runs: BTreeMap<BrokerId, Incarnation>,
}

/// Either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// The root.
    Root(Arc<Root>),
    /// A shard.
    Shard(Arc<Shard>),
}

impl Document {
    /// Which one it is.
    pub fn id(&self) -> DocumentId {
        match self {
            Self::Root(_) => DocumentId::Root,
            Self::Shard(shard) => DocumentId::Shard(ShardId(shard.index)),
        }
    }

    /// Version, owner, write.
    pub fn header(&self) -> &Header {
        match self {
            Self::Root(root) => &root.header,
            Self::Shard(shard) => &shard.header,
        }
    }
}

impl Document {
    /// About how many bytes it has before compression; never far below what it has.
    pub fn weight(&self) -> u64 {
        match self {
            Self::Root(root) => root.weight(),
            Self::Shard(shard) => shard.weight(),
        }
    }
}

/// What a header without claims and what encoding adds to it comes to.
const HEADER_WEIGHT: usize = 80;
/// What a claim comes to.
const CLAIM_WEIGHT: usize = 30;

impl Header {
    fn weight(&self) -> usize {
        HEADER_WEIGHT + CLAIM_WEIGHT * self.claims.len()
    }
}

fn config_weight(config: &ExplicitConfig) -> usize {
    config.iter().map(|(key, value)| key.len() + value.len() + 6).sum()
}

impl Root {
    fn weight(&self) -> u64 {
        let member = |member: &Member| {
            let endpoints = member.broker.endpoints.iter();
            90 + endpoints.map(|(name, endpoint)| name.len() + endpoint.host.len() + 12).sum::<usize>()
        };
        let members: usize = self.members.values().map(member).sum();
        let configs: usize = self.broker_configs.values().map(|config| config_weight(config) + 8).sum();
        let retired = self.retired.len() * 14;
        let weight = self.header.weight() + members + configs + config_weight(&self.broker_defaults) + retired;
        u64::try_from(weight).unwrap_or(u64::MAX)
    }
}

impl Shard {
    pub(super) fn weight(&self) -> u64 {
        let partition = |partition: &crate::metadata::Partition| {
            let ids = partition.replicas.len() + partition.isr.len() + partition.elr.len() + partition.leaving.len();
            let moving = partition.reassignment.as_ref();
            16 + 2 * ids + 2 * moving.map_or(0, |moving| moving.origin.len() + moving.target.len() + 4)
        };
        let topic = |topic: &Arc<Topic>| {
            let partitions: usize = topic.partitions.iter().map(partition).sum();
            topic.name.len() + 28 + config_weight(&topic.config) + partitions
        };
        let topics: usize = self.topics.values().map(topic).sum();
        let tombstone = |tombstone: &Tombstone| tombstone.name.len() + 2 * tombstone.holders.len() + 28;
        let tombstones: usize = self.tombstones.values().map(tombstone).sum();
        u64::try_from(self.header.weight() + topics + tombstones + 14 * self.runs.len()).unwrap_or(u64::MAX)
    }
}

/// What `cluster init` creates: the shards first, the root last, so that a root never stands without its shards.
pub fn initial(cluster: ClusterId) -> Vec<Document> {
    let header = Header { cluster, ..Header::default() };
    let shard = |index| Document::Shard(Arc::new(Shard { header: header.clone(), index, ..Shard::default() }));
    let root = Root { header: header.clone(), shard_count: SHARD_COUNT, feature_level: 1, ..Root::default() };
    (0..SHARD_COUNT).map(shard).chain([Document::Root(Arc::new(root))]).collect()
}

/// The shard that holds the topic of that name: FNV-1a over the name, for ever the same.
pub fn shard_of(topic: &str, shard_count: u32) -> ShardId {
    let hash = topic
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let shard = hash.checked_rem(u64::from(shard_count)).unwrap_or_default();
    ShardId(u32::try_from(shard).expect("smaller than a u32"))
}
