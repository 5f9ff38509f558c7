//! What brokers have seen of the metadata, so that metadata which went back is noticed (A7).
//!
//! Owns the vectors of (document, epoch, version). A claimer acts only after vectors from at least half of the
//! registered brokers, itself included, each from the data directory that the root knows. A document that is older than
//! what anybody has seen, or a shard that somebody has seen and that the root does not count, stops the controller;
//! nothing is deleted. A vector that is merely of a later controller deposes this one.

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
    /// The newest metadata that its data directory holds.
    pub vector: Vector,
}

#[derive(Debug)]
pub(super) struct Vectors {
    /// The highest that anybody has seen; nothing below it may be acted on.
    floor: Vector,
    /// Who has said what it has seen, and what it stood on.
    heard: BTreeMap<BrokerId, Standing>,
    /// What each document was when it was claimed.
    claimed_at: Vector,
}

impl Vectors {
    pub(super) fn new(floor: Vector) -> Self {
        Self { floor, heard: BTreeMap::new(), claimed_at: Vector::new() }
    }

    /// The highest that anybody has seen of the document.
    pub(super) fn floor(&self, document: DocumentId) -> Option<(ControllerEpoch, u64)> {
        self.floor.get(&document).copied()
    }

    /// The document was so when it was claimed.
    pub(super) fn claimed(&mut self, document: DocumentId, header: &Header) {
        self.claimed_at.insert(document, (header.epoch, header.version));
    }

    /// What was said before this claim may be older than what is known now.
    pub(super) fn begin_claim(&mut self) {
        self.claimed_at.clear();
        self.heard.clear();
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
    pub(super) fn on_presented(&mut self, now: Instant, presentation: Presentation, out: &mut Effects) {
        if presentation.cluster != self.config.cluster {
            return;
        }
        for document in self.vectors.take(presentation) {
            // What is being read was perhaps read before the broker saw what it saw.
            if self.is_reading(document) {
                self.read(document, out);
            }
        }
        if self.phase == Phase::GatheringVectors {
            self.act_if_nothing_went_back(now, out);
        }
    }

    pub(super) fn on_handed_over(&mut self, now: Instant, ages: &BTreeMap<BrokerId, Duration>) {
        for (id, age) in ages {
            if let Some(at) = now.checked_sub(*age) {
                self.liveness.handed_over(*id, at);
            }
        }
    }

    /// Begins to decide, if enough brokers have said what they have seen and none has seen more than there is.
    pub(super) fn act_if_nothing_went_back(&mut self, now: Instant, out: &mut Effects) {
        let Some(root) = self.root.committed() else { return };
        let vouches = |id: &BrokerId| {
            let member = &root.members[id];
            // Our own floor is in the configuration; others count with the disk that the root knows.
            let standing = self.vectors.heard.get(id);
            standing.map_or(*id == self.config.me, |standing| member.stands_on(*standing))
        };
        let heard = root.members.keys().filter(|id| vouches(id)).count();
        if heard * 2 < root.members.len() && self.config.tuning.rules.rolled_back_metadata_stops {
            return;
        }
        self.verify_seen(out);
        if self.phase == Phase::GatheringVectors {
            self.act(now, out);
        }
    }

    /// Compares what is owned with what anybody has seen.
    pub(super) fn verify_seen(&mut self, out: &mut Effects) {
        let owns = matches!(self.phase, Phase::GatheringVectors | Phase::Acting);
        if !owns || !self.config.tuning.rules.rolled_back_metadata_stops {
            return;
        }
        let mut suspects = BTreeSet::new();
        for (document, seen) in &self.vectors.floor {
            let owned = self.owned_header(*document).map(|header| (header.epoch, header.version));
            let Some(owned) = owned else {
                // A shard that the root does not count: only a later root could.
                suspects.insert((DocumentId::Root, *document));
                continue;
            };
            let claimed_at = self.vectors.claimed_at.get(document).copied();
            // Below our own epoch there is exactly one history, the one that was claimed.
            if seen.0 < self.owner.epoch && claimed_at.is_some_and(|at| at < *seen) {
                let at = claimed_at.unwrap_or_default();
                return self.halt(rolled_back(*document, at, *seen), out);
            }
            if owned < *seen {
                suspects.insert((*document, *document));
            }
        }
        for (read, seen) in suspects {
            // Read anew: either a later controller is found, and deposes us, or the document did go back.
            if read != seen && !self.root_may_count(seen) {
                return self.halt(Halt::Missing(seen.to_string()), out);
            }
            if !self.is_reading(read) && !self.is_retrying(read) {
                self.read(read, out);
            }
        }
    }

    /// Whether a later controller may have made the root count that shard.
    fn root_may_count(&self, shard: DocumentId) -> bool {
        self.vectors.floor(shard).is_some_and(|seen| seen.0 > self.owner.epoch)
    }

    /// A shard that somebody has seen and the root does not count.
    pub(super) fn uncounted_shard(&self) -> Option<DocumentId> {
        self.vectors.floor.keys().copied().find(|document| match document {
            DocumentId::Root => false,
            DocumentId::Shard(ShardId(shard)) => usize::try_from(*shard).is_ok_and(|at| at >= self.shards.len()),
        })
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
    fn act(&mut self, now: Instant, out: &mut Effects) {
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
