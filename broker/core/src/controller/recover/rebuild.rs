//! The documents that are written: the newest copies, lifted above everything that anybody may have seen.
//!
//! Owns the distances. A directory that was not asked may have seen more than those that were: epochs, versions, runs
//! and producer ids go on so far above the highest known one that it cannot have come there. Every run of a broker is
//! over, and every leadership too: nobody leads before a new run of it is admitted, in a new term (A5, A6). Without claims
//! a document descends from every state of a lower version and epoch (ADR 0008), so that every directory takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::document::{Document, DocumentId, Header, Root, SessionId, Shard, WriteId};
use super::super::producer_ids::PRODUCER_ID_BLOCK;
use super::{Directory, Holder, Stored};
use crate::metadata::{Partition, Topic};
use crate::types::{BrokerId, ClusterId, ControllerEpoch, Incarnation, LeaderEpoch, PartitionEpoch, ProducerId};

/// One controller a second for twelve days.
const EPOCHS_SKIPPED: i64 = 1 << 20;
/// A thousand writes of one document a second for 34 years.
const VERSIONS_SKIPPED: u64 = 1 << 40;
/// One start of a broker a second for twelve days.
pub(in crate::controller) const RUNS_SKIPPED: i64 = 1 << 20;
/// Elections of one partition, and changes of it, that a missing directory may have seen.
const TERMS_SKIPPED: i32 = 1 << 14;
/// One block of ids a second for eleven days.
const PRODUCER_IDS_SKIPPED: i64 = 1_000_000 * PRODUCER_ID_BLOCK;

/// The highest of everything that must never be given out again.
#[derive(Clone, Debug, Default)]
pub(super) struct Floor {
    pub(super) epoch_seen: ControllerEpoch,
    runs: BTreeMap<BrokerId, Incarnation>,
    producer_id: ProducerId,
}

impl Floor {
    pub(super) fn of(directories: &[Directory], stored: &BTreeMap<DocumentId, Stored>) -> Self {
        let mut floor = Self::default();
        for document in directories.iter().flat_map(|directory| directory.copies.values()) {
            floor.raise(document);
        }
        for found in stored.values() {
            if let Stored::Document(document) = found {
                floor.raise(document);
            }
        }
        floor
    }

    fn raise(&mut self, document: &Document) {
        self.epoch_seen = self.epoch_seen.max(document.header().epoch);
        match document {
            Document::Root(root) => {
                self.producer_id = self.producer_id.max(root.next_producer_id);
                for (id, member) in &root.members {
                    self.raise_run(*id, member.broker.incarnation);
                }
                root.retired.iter().for_each(|(id, run)| self.raise_run(*id, *run));
            }
            Document::Shard(shard) => shard.runs.iter().for_each(|(id, run)| self.raise_run(*id, *run)),
        }
    }

    fn raise_run(&mut self, id: BrokerId, run: Incarnation) {
        let known = self.runs.entry(id).or_default();
        *known = (*known).max(run);
    }

    /// The epoch of the documents that are written.
    pub(super) fn epoch(&self) -> ControllerEpoch {
        ControllerEpoch::new(self.epoch_seen.get().saturating_add(EPOCHS_SKIPPED))
    }

    pub(super) fn next_producer_id(&self) -> ProducerId {
        ProducerId::new(self.producer_id.get().saturating_add(PRODUCER_IDS_SKIPPED))
    }
}

/// The version that a document gets.
pub(super) fn version(document: DocumentId, directories: &[Directory], stored: Option<&Stored>) -> u64 {
    let copies = directories.iter().filter_map(|directory| directory.copies.get(&document));
    let found = stored.and_then(|stored| match stored {
        Stored::Document(found) => Some(found),
        Stored::Unreadable(_) => None,
    });
    let highest = copies.chain(found).map(|one| one.header().version).max().unwrap_or_default();
    highest.saturating_add(VERSIONS_SKIPPED)
}

/// In whose name the documents are written.
pub(super) struct Writer {
    pub(super) cluster: ClusterId,
    pub(super) epoch: ControllerEpoch,
    pub(super) session: SessionId,
}

impl Writer {
    /// The header that follows on `before`, and on everything else.
    pub(super) fn header(&self, before: &Header, version: u64) -> Header {
        Header {
            cluster: self.cluster,
            version,
            epoch: self.epoch,
            writer: before.writer,
            write: WriteId { session: self.session, number: version },
            claims: Vec::new(),
        }
    }
}

/// The shard: everybody's membership stays, every term is over.
pub(super) fn shard(newest: &Shard, header: Header, lost: &BTreeSet<BrokerId>, certain: bool) -> Shard {
    let topics = newest.topics.iter().map(|(name, topic)| {
        let partitions = topic.partitions.iter().map(|one| partition(one, lost, certain)).collect();
        (name.clone(), Arc::new(Topic { partitions, ..Topic::clone(topic) }))
    });
    Shard { header, topics: topics.collect(), ..newest.clone() }
}

/// Terms that a missing directory may have seen are not given out again. What a lost broker held is gone: it is what an
/// emptied disk is, neither in sync nor eligible. Unless everything is `certain`, nobody is told to delete a replica: it
/// may be one again, and hold more than all others.
fn partition(newest: &Partition, lost: &BTreeSet<BrokerId>, certain: bool) -> Partition {
    let mut next = newest.clone();
    next.leader_epoch = LeaderEpoch::new(newest.leader_epoch.get().saturating_add(TERMS_SKIPPED));
    next.partition_epoch = PartitionEpoch::new(newest.partition_epoch.get().saturating_add(TERMS_SKIPPED));
    next.leader = newest.leader.filter(|leader| !lost.contains(leader));
    let member = |id: &&BrokerId| newest.isr.contains(id) || newest.elr.contains(id);
    let gone = newest.replicas.iter().filter(|id| lost.contains(id)).filter(member);
    next.last_known_elr.extend(gone.filter(|id| !newest.last_known_elr.contains(id)));
    next.isr.retain(|id| !lost.contains(id));
    next.elr.retain(|id| !lost.contains(id));
    if !certain {
        next.leaving.clear();
    }
    next
}

/// The root: every broker is registered for a run that no process has, and waits to be admitted. Those that are lost are
/// registered no more, so that nobody waits for them; whoever comes under their id begins anew.
pub(super) fn root(newest: &Root, holders: &[Holder], floor: &Floor, lost: &BTreeSet<BrokerId>) -> Root {
    let mut root = newest.clone();
    root.next_producer_id = floor.next_producer_id();
    root.members.retain(|id, _| !lost.contains(id));
    let mut retired = floor.runs.clone();
    for (id, member) in &mut root.members {
        let standing = holders.iter().find(|holder| holder.broker == Some(*id)).map(|holder| holder.standing);
        let recorded = standing.map(|standing| standing.incarnation);
        let last = retired.remove(id).unwrap_or_default().max(recorded.unwrap_or_default());
        member.admitted_from = match standing {
            // The very directory, as its last run left it, is admitted as after any stop; any other has to catch up.
            Some(standing) => recorded.filter(|_| member.stands_on(standing)),
            // Nobody has looked at it. If it still says what the root says of it, it is trusted like its copies.
            None => Some(member.broker.incarnation),
        };
        member.broker.incarnation = skipped(last);
        member.broker.fenced = true;
    }
    root.retired = retired.into_iter().map(|(id, run)| (id, skipped(run))).collect();
    root
}

fn skipped(run: Incarnation) -> Incarnation {
    Incarnation::new(run.get().saturating_add(RUNS_SKIPPED))
}
