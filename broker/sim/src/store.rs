//! Coordination as the simulated brokers share it: the metadata documents, changed by compare-and-swap, and one Lease.
//!
//! Owns what is committed: whatever was ever written stays known, so that a version that is written twice, an epoch with
//! two controllers or one that acts too early is noticed here (A1 to A4). It keeps its promises; whoever reaches it, how
//! late, and what comes of the answer is decided in `api.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_core::controller::{
    Document, DocumentId, LeaseCall, LeaseSeen, ReadOutcome, Revision, Root, SessionId, Shard, ShardId, Write, WriteId,
    WriteOutcome, document,
};
use ottla_core::metadata::{Partition, Topic};
use ottla_core::types::{BrokerId, ClusterId, ControllerEpoch, TopicId};

use crate::oracle::{Checked, holds};

/// The cluster.
pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

/// Who holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which broker, counted from 0.
    pub(crate) node: usize,
    /// Which process of it.
    pub(crate) life: u64,
}

impl Holder {
    /// In the words of the Lease.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.node + 1, self.life)
    }
}

#[derive(Clone, Debug)]
struct Lease {
    holder: Holder,
    duration: Duration,
    revision: u64,
}

/// The documents and the Lease.
#[derive(Debug)]
pub(crate) struct Store {
    documents: BTreeMap<DocumentId, (Document, u64)>,
    lease: Option<Lease>,
    changes: u64,
    /// Every version that was ever written, and by which write.
    line: BTreeMap<(DocumentId, u64), WriteId>,
    owners: BTreeMap<ControllerEpoch, SessionId>,
    /// The highest version of each that a broker has acted on.
    acted_on: BTreeMap<DocumentId, u64>,
    /// Earlier states, oldest first, for somebody to put back.
    earlier: BTreeMap<DocumentId, Vec<Document>>,
    /// What somebody has restored or deleted: nobody may write it before it is made again (A7).
    spoiled: Option<DocumentId>,
    /// Until then whoever reaches for the Lease is told to hold it. Microseconds.
    pub(crate) lies_until: u64,
    /// Writes are only done if the document is as expected: not so in a mutant.
    pub(crate) compares: bool,
}

/// The topic of a partition: each has one of its own, in the shard of the same number.
pub(crate) fn topic_name(p: usize, shards: u32) -> String {
    let wanted = ShardId(u32::try_from(p).unwrap_or(0) % shards.max(1));
    let names = (0..).map(|n: u32| format!("t{p}-{n}"));
    names.into_iter().find(|name| document::shard_of(name, shards) == wanted).unwrap_or_default()
}

/// The id of that topic.
pub(crate) fn topic_id(p: usize) -> TopicId {
    TopicId::from_bytes((p as u128 + 1).to_be_bytes())
}

/// One topic before anybody has joined: nobody leads it, and every replica counts as in sync, for all are empty.
pub(crate) fn topic(p: usize, name: String, replicas: Vec<BrokerId>, min_insync: u16, unclean: bool) -> Topic {
    let partition = Partition { isr: replicas.clone(), replicas, ..Partition::default() };
    let mut config = BTreeMap::from([("min.insync.replicas".to_owned(), min_insync.to_string())]);
    if unclean {
        config.insert("unclean.leader.election.enable".to_owned(), "true".to_owned());
    }
    Topic { name, id: topic_id(p), partitions: vec![partition], config, internal: false }
}

impl Store {
    /// A cluster that has these topics, and in which no broker has registered.
    pub(crate) fn new(topics: Vec<Topic>) -> Self {
        let count = u32::try_from(topics.len()).unwrap_or(1);
        let mut store = Self {
            documents: BTreeMap::new(),
            lease: None,
            changes: 0,
            line: BTreeMap::new(),
            owners: BTreeMap::new(),
            acted_on: BTreeMap::new(),
            earlier: BTreeMap::new(),
            spoiled: None,
            lies_until: 0,
            compares: true,
        };
        for document in document::initial(CLUSTER) {
            match document {
                Document::Root(root) => {
                    store.put(Document::Root(Arc::new(Root { shard_count: count, ..(*root).clone() })));
                }
                Document::Shard(shard) if shard.index < count => {
                    let mut shard = (*shard).clone();
                    let mine = |topic: &&Topic| document::shard_of(&topic.name, count) == ShardId(shard.index);
                    let mine = topics.iter().filter(mine);
                    shard.topics = mine.map(|topic| (topic.name.clone(), Arc::new(topic.clone()))).collect();
                    store.put(Document::Shard(Arc::new(shard)));
                }
                Document::Shard(_) => {}
            }
        }
        store
    }

    fn put(&mut self, document: Document) -> u64 {
        self.changes += 1;
        let id = document.id();
        self.line.entry((id, document.header().version)).or_insert(document.header().write);
        if let Some((before, _)) = self.documents.insert(id, (document, self.changes)) {
            self.earlier.entry(id).or_default().push(before);
        }
        self.changes
    }

    pub(crate) fn read(&self, id: DocumentId) -> ReadOutcome {
        let found = self.documents.get(&id).cloned();
        found.map_or(ReadOutcome::Missing, |(content, at)| ReadOutcome::Found(content, Revision(at.to_string())))
    }

    pub(crate) fn root(&self) -> Option<&Root> {
        match &self.documents.get(&DocumentId::Root)?.0 {
            Document::Root(root) => Some(root),
            Document::Shard(_) => None,
        }
    }

    pub(crate) fn shard(&self, shard: u32) -> Option<&Arc<Shard>> {
        match &self.documents.get(&DocumentId::Shard(ShardId(shard)))?.0 {
            Document::Shard(shard) => Some(shard),
            Document::Root(_) => None,
        }
    }

    /// Whether a broker acts on what was committed (A4).
    pub(crate) fn check_line(&mut self, document: &Document) -> Checked {
        let (id, header) = (document.id(), document.header());
        let acted = self.acted_on.entry(id).or_default();
        *acted = header.version.max(*acted);
        let committed = self.line.get(&(id, header.version));
        holds("A4", committed == Some(&header.write), || {
            format!("{id} version {} of {:?} is acted on, {committed:?} is committed", header.version, header.write)
        })
    }

    /// A compare-and-swap, and what there is to say against it.
    pub(crate) fn write(&mut self, write: &Write) -> (WriteOutcome, Checked) {
        let id = write.content.id();
        let at = self.documents.get(&id).map(|(_, at)| at.to_string()).unwrap_or_default();
        if self.compares && at != write.expected.0 {
            return (WriteOutcome::Conflict, Ok(()));
        }
        let checked = self.check_write(write);
        let revision = self.put(write.content.clone());
        (WriteOutcome::Done(Revision(revision.to_string())), checked)
    }

    fn check_write(&mut self, write: &Write) -> Checked {
        let (id, new) = (write.content.id(), write.content.header().clone());
        let old = self.documents.get(&id).map(|(document, _)| document.header().clone()).unwrap_or_default();
        holds("A7", self.spoiled != Some(id), || {
            format!("{id} is written by the controller of epoch {} although it went back", new.epoch)
        })?;
        let owner = *self.owners.entry(new.epoch).or_insert(new.write.session);
        holds("A1", owner == new.write.session, || format!("two processes write {id} in epoch {}", new.epoch))?;
        holds("A2", new.epoch >= old.epoch, || format!("{id} goes from epoch {} to {}", old.epoch, new.epoch))?;
        let known = *self.line.entry((id, new.version)).or_insert(new.write);
        holds("A4", known == new.write && new.version == old.version + 1, || {
            format!("{id} goes from version {} to {}, which was {known:?} before", old.version, new.version)
        })?;
        let behind = |(document, _): &&(Document, u64)| {
            document.header().epoch < new.epoch && self.spoiled != Some(document.id())
        };
        let behind = self.documents.values().find(behind);
        let claims = old.epoch < new.epoch;
        holds("A3", claims || behind.is_none(), || {
            format!("the controller of epoch {} writes {id} before it has claimed everything", new.epoch)
        })
    }

    // --- the Lease ------------------------------------------------------------------------------------------------

    /// Who holds the Lease, whoever that is by now.
    pub(crate) fn holder(&self) -> Option<&Holder> {
        self.lease.as_ref().map(|lease| &lease.holder)
    }

    /// What comes of a call of this process.
    pub(crate) fn call(&mut self, now: u64, caller: &Holder, call: &LeaseCall) -> LeaseSeen {
        if now < self.lies_until && *call != LeaseCall::Observe {
            return LeaseSeen::Ours(Revision("taken twice".to_owned()));
        }
        let revision = self.lease.as_ref().map(|lease| Revision(lease.revision.to_string()));
        let ours = self.lease.as_ref().is_some_and(|lease| lease.holder == *caller);
        match call {
            LeaseCall::Acquire { seen, duration } if *seen == revision => self.grant(caller.clone(), *duration),
            LeaseCall::Renew { held, duration } if ours && Some(held) == revision.as_ref() => {
                self.grant(caller.clone(), *duration);
            }
            LeaseCall::Observe | LeaseCall::Acquire { .. } | LeaseCall::Renew { .. } => {}
        }
        let Some(lease) = &self.lease else { return LeaseSeen::Free };
        let revision = Revision(lease.revision.to_string());
        if lease.holder == *caller {
            return LeaseSeen::Ours(revision);
        }
        LeaseSeen::Theirs { holder: lease.holder.name(), revision, duration: lease.duration }
    }

    fn grant(&mut self, holder: Holder, duration: Duration) {
        self.changes += 1;
        self.lease = Some(Lease { holder, duration, revision: self.changes });
    }

    /// Somebody deletes the Lease.
    pub(crate) fn delete_lease(&mut self) {
        self.lease = None;
    }

    /// Somebody writes another name into the Lease.
    pub(crate) fn edit_lease(&mut self, holder: Holder) {
        let duration = self.lease.as_ref().map_or(Duration::from_secs(10), |lease| lease.duration);
        self.grant(holder, duration);
    }

    // --- what somebody does to documents --------------------------------------------------------------------------

    /// Every state that the document was in before this one, oldest first.
    pub(crate) fn earlier(&self, id: DocumentId) -> &[Document] {
        self.earlier.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Every document that there ever was.
    pub(crate) fn ids(&self) -> BTreeSet<DocumentId> {
        self.line.keys().map(|(id, _)| *id).collect()
    }

    /// Whether a document is not what it was, and was not recovered since.
    pub(crate) fn went_back(&self) -> bool {
        self.spoiled.is_some()
    }

    /// Whether that document is not what it was.
    pub(crate) fn is_spoiled(&self, id: DocumentId) -> bool {
        self.spoiled == Some(id)
    }

    /// The document goes back to that state.
    pub(crate) fn restore(&mut self, old: Document) {
        self.spoiled = Some(old.id());
        self.changes += 1;
        self.documents.insert(old.id(), (old, self.changes));
    }

    /// The document is gone.
    pub(crate) fn delete(&mut self, id: DocumentId) {
        self.spoiled = Some(id);
        self.documents.remove(&id);
    }

    /// A document is made again, above everything that anybody has acted on (A8). What nobody has acted on, and is lost,
    /// never was.
    pub(crate) fn recover(&mut self, document: Document) -> Checked {
        let (id, header) = (document.id(), document.header().clone());
        self.spoiled = None;
        self.line.retain(|(other, version), _| *other != id || *version < header.version);
        self.line.insert((id, header.version), header.write);
        self.owners.insert(header.epoch, header.write.session);
        self.put(document);
        self.earlier.remove(&id);
        let acted_on = self.acted_on.get(&id).copied().unwrap_or_default();
        holds("A8", header.version > acted_on, || {
            format!("{id} is recovered as version {}, version {acted_on} was acted on", header.version)
        })
    }
}
