//! What brokers have seen of the metadata, so that metadata which went back is noticed (A7).
//!
//! Owns the vectors of documents and states. A document that was never in a state that somebody has seen, or a shard that
//! somebody has seen and that the root does not count, stops the controller, whenever that is said; nothing is deleted.
//! A vector that is merely of a later controller deposes this one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::budget::Urgency;
use super::document::Header;
use super::error::Standing;
use super::lineage::Seen;
use super::slot::Content;
use super::{DocumentId, Effects, Halt, Machine, Phase, ShardId, Work};
use crate::types::{BrokerId, ClusterId};

/// Per document, the newest state of it that somebody has seen.
pub type Vector = BTreeMap<DocumentId, Seen>;

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
    /// What this broker itself has seen or written.
    own: Vector,
    /// What brokers have said, as long as it has not been compared with a document that is claimed.
    said: BTreeMap<DocumentId, BTreeMap<BrokerId, Seen>>,
    /// Who has spoken since this attempt began, and what it stood on.
    heard: BTreeMap<BrokerId, Standing>,
    /// Who was asked.
    asked: Option<BTreeSet<BrokerId>>,
}

impl Vectors {
    pub(super) fn new(own: Vector) -> Self {
        Self { own, said: BTreeMap::new(), heard: BTreeMap::new(), asked: None }
    }

    /// Every state that somebody has seen.
    pub(super) fn all(&self) -> impl Iterator<Item = (DocumentId, Seen)> {
        let own = self.own.iter().map(|(document, seen)| (*document, *seen));
        own.chain(self.said.iter().flat_map(|(document, said)| said.values().map(|seen| (*document, *seen))))
    }

    /// A state of the document that somebody has seen and that it was never in.
    pub(super) fn contradicts(&self, document: DocumentId, header: &Header) -> Option<Seen> {
        let said = self.said.get(&document).into_iter().flat_map(BTreeMap::values);
        self.own.get(&document).into_iter().chain(said).copied().find(|seen| !header.descends_from(*seen))
    }

    /// What the broker stood on when it last spoke.
    pub(super) fn heard(&self, id: BrokerId) -> Option<Standing> {
        self.heard.get(&id).copied()
    }

    /// Everybody is asked anew: what was said so far may be older than what is known now. It still was seen.
    pub(super) fn begin(&mut self) {
        self.heard.clear();
        self.asked = None;
    }

    /// Whether these have to be asked: they are not those that were.
    pub(super) fn asks<'a>(&mut self, members: impl Iterator<Item = &'a BrokerId>) -> bool {
        let members = Some(members.copied().collect());
        std::mem::replace(&mut self.asked, members.clone()) != members
    }

    /// Takes a vector in; the documents of which it says something new.
    fn take(&mut self, presentation: Presentation) -> Vec<DocumentId> {
        let broker = presentation.broker;
        self.heard.insert(broker, presentation.standing);
        let mut raised = Vec::new();
        for (document, seen) in presentation.vector {
            let said = self.said.entry(document).or_default();
            // What a broker has seen stays seen, even if its disk is an older one by now.
            if said.get(&broker).is_none_or(|before| *before < seen) {
                said.insert(broker, seen);
                raised.push(document);
            }
        }
        raised
    }

    /// What is said of the document and goes with what it is need not be remembered.
    fn confirm(&mut self, document: DocumentId, header: &Header) {
        if let Some(said) = self.said.get_mut(&document) {
            said.retain(|_, seen| !header.descends_from(*seen));
            if said.is_empty() {
                self.said.remove(&document);
            }
        }
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

    /// This broker itself has taken in metadata, of another controller: whatever it claims later has to descend from that.
    pub(super) fn on_own_seen(&mut self, seen: Vector, out: &mut Effects) {
        let newer =
            |(document, seen): &(DocumentId, Seen)| self.vectors.own.get(document).is_none_or(|known| known < seen);
        let newer: Vector = seen.into_iter().filter(newer).collect();
        if newer.is_empty() {
            return;
        }
        let documents: Vec<DocumentId> = newer.keys().copied().collect();
        self.vectors.own.extend(newer);
        if self.phase == Phase::GatheringVectors {
            return self.weigh_again(out);
        }
        for document in documents {
            // What is being read was perhaps read before the other controller wrote it.
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
        if let Some(written) = self.owned_header(document).map(Header::seen) {
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
        for document in self.vectors.said.keys().copied().collect::<Vec<_>>() {
            let Some(owned) = self.owned_header(document).cloned() else {
                if !self.is_counted(document) {
                    // Only a later root could count that shard.
                    if !self.is_of_later_term(document) {
                        self.halt(Halt::Missing(document.to_string()), out);
                        return false;
                    }
                    suspects.insert(DocumentId::Root);
                }
                // What is not claimed yet is compared when it is read.
                continue;
            };
            self.vectors.confirm(document, &owned);
            let Some(seen) = self.vectors.contradicts(document, &owned) else { continue };
            // Later than what we know of: by a later controller, or by ourselves, if an answer was lost.
            let later = seen.epoch > owned.epoch || seen.session == owned.write.session && seen > owned.seen();
            if !later {
                self.halt(rolled_back(document, &owned, seen), out);
                return false;
            }
            suspects.insert(document);
        }
        for document in &suspects {
            // Read anew: either a later controller is found, and deposes us, or the document did go back.
            if !self.is_reading(*document) && !self.is_retrying(*document) {
                self.read(*document, out);
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

    /// Whether everything that was said of the document is of a later term than ours.
    fn is_of_later_term(&self, document: DocumentId) -> bool {
        let said = self.vectors.said.get(&document);
        said.is_some_and(|said| said.values().all(|seen| seen.epoch > self.owner.epoch))
    }

    /// A shard that somebody has seen and the root does not count.
    pub(super) fn uncounted_shard(&self) -> Option<DocumentId> {
        self.vectors.all().map(|(document, _)| document).find(|document| !self.is_counted(*document))
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

pub(super) fn rolled_back(document: DocumentId, found: &Header, seen: Seen) -> Halt {
    Halt::RolledBack {
        document: document.to_string(),
        epoch: found.epoch.get(),
        version: found.version,
        seen_epoch: seen.epoch.get(),
        seen_version: seen.version,
    }
}
