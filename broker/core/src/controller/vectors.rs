//! What brokers have seen of the metadata, so that metadata which went back is noticed (A7).
//!
//! Owns the vectors of (document, epoch, version). A document that is older than what anybody has seen, or a shard that
//! somebody has seen and that the root does not count, stops the controller, whenever that is said; nothing is deleted.
//! A vector that is merely of a later controller deposes this one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::budget::Urgency;
use super::document::Header;
use super::error::Standing;
use super::slot::Content;
use super::{DocumentId, Effects, Halt, Machine, Phase, ShardId, Work};
use crate::types::{BrokerId, ClusterId, ControllerEpoch};

/// Per document, the highest epoch and version that somebody has seen.
pub type Vector = BTreeMap<DocumentId, (ControllerEpoch, u64)>;

/// A broker that connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// The broker.
    pub broker: BrokerId,
    /// The cluster that its data directory belongs to.
    pub cluster: ClusterId,
    /// The data directory and the last run that it records.
    pub standing: Standing,
    /// The newest metadata that its data directory holds. A shard that the root it holds does not count is not in it: it
    /// was being made, and means nothing yet.
    pub vector: Vector,
}

#[derive(Debug)]
pub(super) struct Vectors {
    /// The highest that anybody has seen; nothing below it may be acted on.
    floor: Vector,
    /// What this process has written since it last began to claim.
    own: Vector,
    /// Who has said what it has seen, and what it stood on.
    heard: BTreeMap<BrokerId, Standing>,
    /// Who was asked.
    asked: Option<BTreeSet<BrokerId>>,
    /// What each document was when it was claimed.
    claimed_at: Vector,
}

impl Vectors {
    pub(super) fn new(floor: Vector) -> Self {
        Self { floor, own: Vector::new(), heard: BTreeMap::new(), asked: None, claimed_at: Vector::new() }
    }

    /// The highest that anybody has seen of the document.
    pub(super) fn floor(&self, document: DocumentId) -> Option<(ControllerEpoch, u64)> {
        self.floor.get(&document).copied()
    }

    /// The document was so when it was claimed.
    pub(super) fn claimed(&mut self, document: DocumentId, header: &Header) {
        self.claimed_at.insert(document, (header.epoch, header.version));
    }

    /// The highest that anybody has seen, of every document.
    pub(super) fn all(&self) -> impl Iterator<Item = (DocumentId, (ControllerEpoch, u64))> {
        self.floor.iter().map(|(document, seen)| (*document, *seen))
    }

    /// What the broker stood on when it last spoke.
    pub(super) fn heard(&self, id: BrokerId) -> Option<Standing> {
        self.heard.get(&id).copied()
    }

    /// What was said so far may be older than what is known now: everybody is asked anew.
    pub(super) fn begin(&mut self) {
        self.claimed_at.clear();
        self.heard.clear();
        self.asked = None;
        for (document, written) in std::mem::take(&mut self.own) {
            let floor = self.floor.entry(document).or_insert(written);
            *floor = written.max(*floor);
        }
    }

    /// Whether these have to be asked: they are not those that were.
    pub(super) fn asks<'a>(&mut self, members: impl Iterator<Item = &'a BrokerId>) -> bool {
        let members = Some(members.copied().collect());
        std::mem::replace(&mut self.asked, members.clone()) != members
    }

    /// Takes a vector in; the documents of which it has seen more than anybody before.
    fn take(&mut self, presentation: Presentation) -> Vec<DocumentId> {
        self.heard.insert(presentation.broker, presentation.standing);
        let mut raised = Vec::new();
        for (document, seen) in presentation.vector {
            if self.floor.get(&document).is_none_or(|floor| *floor < seen) {
                self.floor.insert(document, seen);
                raised.push(document);
            }
        }
        raised
    }
}

impl Machine {
    pub(super) fn on_presented(&mut self, presentation: Presentation, out: &mut Effects) {
        if presentation.cluster != self.config.cluster {
            return;
        }
        let raised = self.vectors.take(presentation);
        if self.phase == Phase::GatheringVectors {
            if !raised.is_empty() {
                self.weigh_again(out);
            }
            return self.claim_when_vouched(out);
        }
        for document in raised {
            // What is being read was perhaps read before the broker saw what it saw.
            if self.is_reading(document) {
                self.read(document, out);
            }
        }
    }

    pub(super) fn on_handed_over(&mut self, now: Instant, ages: &BTreeMap<BrokerId, Duration>) {
        for (id, age) in ages {
            if let Some(at) = now.checked_sub(*age) {
                self.liveness.handed_over(*id, at);
            }
        }
    }

    /// What this process has written, durably, counts like what others have seen once it claims again.
    pub(super) fn note_own(&mut self, document: DocumentId) {
        if let Some(written) = self.owned_header(document).map(|header| (header.epoch, header.version)) {
            self.vectors.own.insert(document, written);
        }
    }

    /// Compares what is claimed with what anybody has seen; false if something does not go together.
    pub(super) fn verify_seen(&mut self, out: &mut Effects) -> bool {
        let owns = matches!(self.phase, Phase::ClaimingShards | Phase::Acting);
        if !owns || !self.stops_when_rolled_back() {
            return true;
        }
        let mut suspects = BTreeSet::new();
        for (document, seen) in &self.vectors.floor {
            let owned = self.owned_header(*document).map(|header| (header.epoch, header.version));
            let Some(owned) = owned else {
                if !self.is_counted(*document) {
                    // A shard that the root does not count: only a later root could.
                    suspects.insert((DocumentId::Root, *document));
                }
                // What is not claimed yet is compared when it is read.
                continue;
            };
            let claimed_at = self.vectors.claimed_at.get(document).copied();
            // Below our own epoch there is exactly one history, the one that was claimed.
            if seen.0 < self.owner.epoch && claimed_at.is_some_and(|at| at < *seen) {
                let at = claimed_at.unwrap_or_default();
                self.halt(rolled_back(*document, at, *seen), out);
                return false;
            }
            if owned < *seen {
                suspects.insert((*document, *document));
            }
        }
        for (read, seen) in &suspects {
            // Read anew: either a later controller is found, and deposes us, or the document did go back.
            if read != seen && !self.root_may_count(*seen) {
                self.halt(Halt::Missing(seen.to_string()), out);
                return false;
            }
            if !self.is_reading(*read) && !self.is_retrying(*read) {
                self.read(*read, out);
            }
        }
        suspects.is_empty()
    }

    /// Whether the root that was claimed counts it.
    fn is_counted(&self, document: DocumentId) -> bool {
        match document {
            DocumentId::Root => true,
            DocumentId::Shard(ShardId(shard)) => usize::try_from(shard).is_ok_and(|at| at < self.shards.len()),
        }
    }

    /// Whether a later controller may have made the root count that shard.
    fn root_may_count(&self, shard: DocumentId) -> bool {
        self.vectors.floor(shard).is_some_and(|seen| seen.0 > self.owner.epoch)
    }

    /// A shard that somebody has seen and the root does not count.
    pub(super) fn uncounted_shard(&self) -> Option<DocumentId> {
        self.vectors.floor.keys().copied().find(|document| !self.is_counted(*document))
    }

    /// The header of a document as this process last wrote it.
    pub(super) fn owned_header(&self, document: DocumentId) -> Option<&Header> {
        match document {
            DocumentId::Root => self.root.committed().map(|root| root.header()),
            DocumentId::Shard(ShardId(shard)) => {
                let slot = usize::try_from(shard).ok().and_then(|at| self.shards.get(at));
                slot.and_then(|slot| slot.committed()).map(|shard| shard.header())
            }
        }
    }

    /// Everything is owned and nothing went back: from here on this process decides.
    pub(super) fn act(&mut self, now: Instant, out: &mut Effects) {
        self.begin_acting(out);
        let Some(root) = self.root.committed() else { return };
        let members = root.members.iter().map(|(id, member)| (*id, member.broker.incarnation));
        self.liveness.begin(now, members.collect::<Vec<_>>());
        let mut work = Work::internal(Urgency::Election);
        self.remove_strays(&mut work);
        self.complete_admissions(&mut work);
        let weights = self.shards.iter().filter_map(|slot| slot.latest()).map(|shard| shard.weight());
        let largest = weights.max().unwrap_or_default();
        self.growth.on_written(largest, self.shards.len());
        out.extend(self.liveness.next_look(now, self.config.me).map(super::Effect::WakeAt));
    }
}

fn rolled_back(document: DocumentId, found: (ControllerEpoch, u64), seen: (ControllerEpoch, u64)) -> Halt {
    Halt::RolledBack {
        document: document.to_string(),
        epoch: found.0.get(),
        version: found.1,
        seen_epoch: seen.0.get(),
        seen_version: seen.1,
    }
}
