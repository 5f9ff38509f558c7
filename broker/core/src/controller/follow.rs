//! What a broker takes in of the metadata that the controller commits: documents in, an image of the cluster out.
//!
//! Owns A2 and A4 on the broker's side: the controller's epoch that a broker acts on never decreases, across restarts
//! too, and each document only ever moves forward, on one branch (ADR 0008). An image is made only of a complete set of documents that one
//! controller owns. A leader whose entry holds for an older run of its broker leads nothing (A5). It must never make up
//! what it was not given; nothing here is deleted because something is absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::document::{self, Document, DocumentId, Root, Shard, ShardId};
use super::vectors::Vector;
use crate::metadata::{Image, Topic};
use crate::types::{ClusterId, ControllerEpoch};

/// Documents that a broker must not act on; what it acts on stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FollowError {
    /// They are another cluster's.
    #[error("{document} belongs to cluster {got}, this broker to {expected}")]
    OtherCluster {
        /// Which document.
        document: DocumentId,
        /// Its cluster.
        got: ClusterId,
        /// This broker's.
        expected: ClusterId,
    },
    /// They come from a controller that was deposed (A2, R6).
    #[error("controller epoch {got} is over, {seen} has begun")]
    StaleController {
        /// The sender's epoch.
        got: ControllerEpoch,
        /// The highest that was seen.
        seen: ControllerEpoch,
    },
    /// A document is not the sender's own, or was never in the state that this broker has acted on (A4, A7).
    #[error(
        "{document} is at version {version} of epoch {epoch}, and that does not follow on from version {seen_version} of \
         epoch {seen_epoch}, which this broker has seen"
    )]
    WentBack {
        /// Which document.
        document: DocumentId,
        /// Its epoch.
        epoch: ControllerEpoch,
        /// Its version.
        version: u64,
        /// The epoch that was seen.
        seen_epoch: ControllerEpoch,
        /// The version that was seen.
        seen_version: u64,
    },
    /// A new controller's first word has to be everything.
    #[error("controller epoch {0} sent changes before it sent everything")]
    Incomplete(ControllerEpoch),
}

/// One broker's view of the committed metadata.
#[derive(Debug)]
pub struct Follower {
    cluster: ClusterId,
    epoch: ControllerEpoch,
    /// Per document, the state that this broker has acted on.
    floor: Vector,
    root: Option<Arc<Root>>,
    shards: BTreeMap<u32, Arc<Shard>>,
    image: Image,
}

impl Follower {
    /// A broker of `cluster` whose data directory has copies of the documents in `floor`.
    pub fn new(cluster: ClusterId, floor: Vector) -> Self {
        let epoch = floor.values().map(|seen| seen.epoch).max().unwrap_or_default();
        let (root, shards, image) = (None, BTreeMap::new(), Image::empty(cluster));
        Self { cluster, epoch, floor, root, shards, image }
    }

    /// The highest controller epoch that was seen.
    pub fn epoch(&self) -> ControllerEpoch {
        self.epoch
    }

    /// Per document, the state that was taken in.
    pub fn vector(&self) -> &Vector {
        &self.floor
    }

    /// The image of everything that was taken in.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Whether `documents` of the controller of `epoch` may be acted on; call before they are copied to disk.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn check<'a>(
        &self,
        epoch: ControllerEpoch,
        complete: bool,
        documents: impl Iterator<Item = &'a Document>,
    ) -> Result<(), FollowError> {
        if epoch < self.epoch {
            return Err(FollowError::StaleController { got: epoch, seen: self.epoch });
        }
        let begun = self.root.as_ref().is_some_and(|root| root.header.epoch == epoch);
        if !complete && !begun {
            return Err(FollowError::Incomplete(epoch));
        }
        documents.into_iter().try_for_each(|document| self.check_one(epoch, document))
    }

    fn check_one(&self, epoch: ControllerEpoch, document: &Document) -> Result<(), FollowError> {
        let (id, header) = (document.id(), document.header());
        if header.cluster != self.cluster {
            return Err(FollowError::OtherCluster { document: id, got: header.cluster, expected: self.cluster });
        }
        let seen = self.floor.get(&id).copied();
        if seen.is_some_and(|seen| !header.descends_from(seen)) || header.epoch != epoch {
            let seen = seen.unwrap_or_default();
            return Err(FollowError::WentBack {
                document: id,
                epoch: header.epoch,
                version: header.version,
                seen_epoch: seen.epoch,
                seen_version: seen.version,
            });
        }
        Ok(())
    }

    /// Takes in documents whose copies are durable; whether there is another image now.
    ///
    /// # Errors
    /// As [`Self::check`]; nothing is taken in then.
    pub fn take(
        &mut self,
        epoch: ControllerEpoch,
        complete: bool,
        documents: Vec<Document>,
    ) -> Result<bool, FollowError> {
        self.check(epoch, complete, documents.iter())?;
        self.epoch = epoch;
        if complete {
            (self.root, self.shards) = (None, BTreeMap::new());
        }
        let (mut all, mut changed) = (complete, Vec::new());
        for document in documents {
            let (id, header) = (document.id(), document.header());
            self.floor.insert(id, header.seen());
            match document {
                Document::Root(root) => all |= self.take_root(root),
                Document::Shard(shard) => {
                    let before = self.shards.insert(shard.index, Arc::clone(&shard));
                    changed.push((before, shard));
                }
            }
        }
        let Some(root) = self.root.clone().filter(|root| self.is_complete(root)) else { return Ok(false) };
        if all {
            self.build(&root);
        } else {
            changed.into_iter().for_each(|(before, after)| self.change(&root, before.as_deref(), &after));
        }
        Ok(true)
    }

    fn is_complete(&self, root: &Root) -> bool {
        (0..root.shard_count).all(|shard| self.shards.contains_key(&shard))
    }

    /// Whether every shard has to be looked at again.
    fn take_root(&mut self, root: Arc<Root>) -> bool {
        let runs = |root: &Root| root.members.iter().map(|(id, member)| (*id, member.broker.incarnation)).collect();
        let key = |root: &Root| -> (u32, BTreeMap<_, _>) { (root.shard_count, runs(root)) };
        let all = self.root.as_ref().is_none_or(|before| key(before) != key(&root));
        self.image = with_root(std::mem::take(&mut self.image), &root);
        self.root = Some(root);
        all
    }

    fn build(&mut self, root: &Root) {
        let mut image = with_root(Image::empty(self.cluster), root);
        for shard in self.shards.values().filter(|shard| shard.index < root.shard_count) {
            image = image.with_topics(topics_of(shard, root));
        }
        self.image = image.with_tombstones(self.tombstones(root));
    }

    fn change(&mut self, root: &Root, before: Option<&Shard>, after: &Shard) {
        if after.index >= root.shard_count {
            return;
        }
        let known = |topic: &&Arc<Topic>| {
            let known = before.and_then(|before| before.topics.get(&topic.name));
            known.is_none_or(|known| !Arc::ptr_eq(known, topic))
        };
        let belongs = |name: &str| document::shard_of(name, root.shard_count) == ShardId(after.index);
        let mut image = std::mem::take(&mut self.image);
        // Entries of a run may have become valid with the shard's runs: then all of them are looked at.
        let all = before.is_none_or(|before| before.runs != after.runs);
        let changed = after.topics.values().filter(|topic| all || known(topic)).filter(|topic| belongs(&topic.name));
        image = image.with_topics(changed.map(|topic| seen(after, root, topic)).collect::<Vec<_>>());
        if let Some(before) = before {
            let gone = before.topics.keys().filter(|name| belongs(name) && !after.topics.contains_key(*name));
            image = image.without_topics(gone.map(String::as_str));
        }
        if before.is_none_or(|before| before.tombstones != after.tombstones) {
            image = image.with_tombstones(self.tombstones(root));
        }
        self.image = image;
    }

    fn tombstones(&self, root: &Root) -> BTreeMap<crate::types::TopicId, crate::metadata::Tombstone> {
        let counted = self.shards.values().filter(|shard| shard.index < root.shard_count);
        let stones = counted.flat_map(|shard| shard.tombstones.iter().map(move |stone| (shard, stone)));
        let belongs = |shard: &Shard, name: &str| document::shard_of(name, root.shard_count) == ShardId(shard.index);
        let stones = stones.filter(|(shard, (_, stone))| belongs(shard, &stone.name));
        stones.map(|(_, (id, stone))| (*id, stone.clone())).collect()
    }
}

/// The topics of a shard as they count.
fn topics_of(shard: &Shard, root: &Root) -> Vec<Arc<Topic>> {
    let belongs = |topic: &&Arc<Topic>| document::shard_of(&topic.name, root.shard_count) == ShardId(shard.index);
    shard.topics.values().filter(belongs).map(|topic| seen(shard, root, topic)).collect()
}

/// The topic, without leaders whose entries hold for an older run of their broker: such a run leads nothing any more,
/// and the newer one was not given that term (A5).
fn seen(shard: &Shard, root: &Root, topic: &Arc<Topic>) -> Arc<Topic> {
    let leads = |id| {
        let registered = root.members.get(&id).map(|member| member.broker.incarnation);
        registered.is_some() && shard.runs.get(&id).copied() == registered
    };
    let stale = |leader: Option<crate::types::BrokerId>| leader.is_some_and(|id| !leads(id));
    if !topic.partitions.iter().any(|partition| stale(partition.leader)) {
        return Arc::clone(topic);
    }
    let mut topic = (**topic).clone();
    for partition in topic.partitions.iter_mut().filter(|partition| stale(partition.leader)) {
        partition.leader = None;
    }
    Arc::new(topic)
}

fn with_root(image: Image, root: &Root) -> Image {
    let brokers: BTreeMap<_, _> = root.members.iter().map(|(id, member)| (*id, member.broker.clone())).collect();
    image
        .with_controller(Some(root.header.writer), root.header.epoch)
        .with_brokers(brokers)
        .with_broker_configs(root.broker_defaults.clone(), root.broker_configs.clone())
        .with_min_insync_replicas(root.min_insync_replicas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{Claim, Header, Member, SessionId, WriteId};
    use crate::metadata::Partition;
    use crate::types::{BrokerId, Incarnation, LeaderEpoch, TopicId};

    const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);
    const ONE: BrokerId = BrokerId::new(1);

    fn header(epoch: i64, version: u64) -> Header {
        let epoch = ControllerEpoch::new(epoch);
        // One controller for each epoch, whose claim made the version of the epoch's number.
        let session = SessionId([epoch.get() as u8; 16]);
        let claims = vec![Claim { epoch, version: epoch.get() as u64, session }];
        let write = WriteId { session, number: version };
        Header { cluster: CLUSTER, version, epoch, writer: ONE, write, claims }
    }

    fn root(epoch: i64, version: u64, run: i64) -> Document {
        let broker = crate::metadata::Broker {
            id: ONE,
            incarnation: Incarnation::new(run),
            directory: crate::types::DirectoryId::from_bytes([1; 16]),
            rack: None,
            endpoints: BTreeMap::new(),
            fenced: false,
        };
        let member = Member {
            broker,
            admitted_from: None,
            features: crate::controller::FeatureRange::SUPPORTED,
            synced: crate::types::Lsn::default(),
        };
        let members = BTreeMap::from([(ONE, member)]);
        Document::Root(Arc::new(Root { header: header(epoch, version), shard_count: 1, members, ..Root::default() }))
    }

    fn shard(epoch: i64, version: u64, run: i64, topics: &[&str]) -> Document {
        let topic = |name: &&str| {
            let partition = Partition {
                leader: Some(ONE),
                leader_epoch: LeaderEpoch::new(3),
                replicas: vec![ONE],
                isr: vec![ONE],
                ..Partition::default()
            };
            let topic = Topic {
                name: (*name).to_owned(),
                id: TopicId::from_bytes([name.len() as u8; 16]),
                partitions: vec![partition],
                config: Default::default(),
                internal: false,
            };
            ((*name).to_owned(), Arc::new(topic))
        };
        let topics = topics.iter().map(topic).collect();
        let runs = BTreeMap::from([(ONE, Incarnation::new(run))]);
        Document::Shard(Arc::new(Shard { header: header(epoch, version), topics, runs, ..Shard::default() }))
    }

    fn take(
        follower: &mut Follower,
        epoch: i64,
        complete: bool,
        documents: Vec<Document>,
    ) -> Result<bool, FollowError> {
        follower.take(ControllerEpoch::new(epoch), complete, documents)
    }

    fn leader(follower: &Follower, topic: &str) -> Option<BrokerId> {
        follower.image().topic(topic)?.partitions[0].leader
    }

    #[test]
    fn an_image_needs_every_document_of_one_controller() {
        let mut follower = Follower::new(CLUSTER, Vector::new());
        let early = take(&mut follower, 4, false, vec![root(4, 7, 1)]);
        assert_eq!(early, Err(FollowError::Incomplete(ControllerEpoch::new(4))));
        assert_eq!(take(&mut follower, 4, true, vec![root(4, 7, 1), shard(4, 9, 1, &["a"])]), Ok(true));
        assert_eq!(leader(&follower, "a"), Some(ONE));
        assert_eq!(take(&mut follower, 4, false, vec![shard(4, 10, 1, &["bb"])]), Ok(true));
        assert_eq!((leader(&follower, "a"), leader(&follower, "bb")), (None, Some(ONE)));
        assert!(follower.image().topic("a").is_none());
    }

    #[test]
    fn neither_a_controller_nor_a_document_goes_back() {
        let mut follower = Follower::new(CLUSTER, Vector::new());
        take(&mut follower, 4, true, vec![root(4, 7, 1), shard(4, 9, 1, &["a"])]).unwrap();
        let older = take(&mut follower, 3, true, vec![root(3, 8, 1), shard(3, 10, 1, &[])]);
        assert!(matches!(older, Err(FollowError::StaleController { .. })), "{older:?}");
        let older = take(&mut follower, 4, false, vec![shard(4, 8, 1, &[])]);
        assert!(matches!(older, Err(FollowError::WentBack { .. })), "{older:?}");
        let mixed = take(&mut follower, 5, true, vec![root(5, 9, 1), shard(4, 11, 1, &[])]);
        assert!(matches!(mixed, Err(FollowError::WentBack { .. })), "{mixed:?}");
        assert_eq!(leader(&follower, "a"), Some(ONE), "nothing of it was taken in");
        // Across a restart as well.
        let mut follower = Follower::new(CLUSTER, follower.vector().clone());
        let older = take(&mut follower, 4, true, vec![root(4, 7, 1), shard(4, 8, 1, &[])]);
        assert!(matches!(older, Err(FollowError::WentBack { .. })), "{older:?}");
    }

    #[test]
    fn an_entry_of_an_older_run_leads_nothing_until_its_shard_says_otherwise() {
        let mut follower = Follower::new(CLUSTER, Vector::new());
        take(&mut follower, 4, true, vec![root(4, 7, 1), shard(4, 9, 1, &["a"])]).unwrap();
        take(&mut follower, 4, false, vec![root(4, 8, 2)]).unwrap();
        assert_eq!(leader(&follower, "a"), None);
        take(&mut follower, 4, false, vec![shard(4, 10, 2, &["a"])]).unwrap();
        assert_eq!(leader(&follower, "a"), Some(ONE));
    }
}
