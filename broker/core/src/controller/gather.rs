//! Before anything is written: the root is read, and half of its brokers say what they have seen (A7).
//!
//! Nothing is claimed before it has been compared, so that a document that went back is left as it is. The root is compared as it was
//! read after whatever it is compared with was said, and is claimed by a compare-and-swap on that very state, so that its
//! members are still those that were asked.

use std::sync::Arc;

use super::document::Root;
use super::slot::Slot;
use super::vectors::rolled_back;
use super::{DocumentId, Effect, Effects, Halt, Machine, Phase, Revision, ShardId, producer_ids};
use crate::config::broker;
use crate::types::{BrokerId, ControllerEpoch};

impl Machine {
    /// Begins at the root. Whatever was said before may be older than what is known now.
    pub(super) fn gather(&mut self, out: &mut Effects) {
        self.vectors.begin();
        self.forget_documents();
        self.phase = Phase::GatheringVectors;
        self.read(DocumentId::Root, out);
    }

    /// The root was read and is not older than anybody has seen it; whether it is claimed depends on what else was said.
    pub(super) fn weigh_root(&mut self, root: &Arc<Root>, revision: Revision, out: &mut Effects) {
        if let Some(why) = self.contradiction(root) {
            self.halt(why, out);
            return;
        }
        self.forget_documents();
        self.phase = Phase::GatheringVectors;
        if self.vectors.asks(root.members.keys()) {
            let members = root.members.iter().map(|(id, member)| (*id, member.broker.clone()));
            out.push(Effect::Gather(members.collect()));
        }
        self.unclaimed = Some((Arc::clone(root), revision));
        self.claim_when_vouched(out);
    }

    /// Claims the root, if enough of its brokers have said what they have seen.
    pub(super) fn claim_when_vouched(&mut self, out: &mut Effects) {
        let Some((root, revision)) = self.unclaimed.take() else { return };
        if self.is_vouched(&root) {
            self.claim_root(&root, revision, out);
        } else {
            self.unclaimed = Some((root, revision));
        }
    }

    /// Somebody has seen more than anybody before. If the root that was read does not go with that, it may only have
    /// been read too early.
    pub(super) fn weigh_again(&mut self, out: &mut Effects) {
        let goes = |(root, _): &(Arc<Root>, Revision)| self.contradiction(root).is_none();
        if !self.unclaimed.as_ref().is_some_and(goes) {
            self.unclaimed = None;
            self.read(DocumentId::Root, out);
        }
    }

    /// Why this root cannot be the newest, given what was said before it was read.
    fn contradiction(&self, root: &Root) -> Option<Halt> {
        if !self.stops_when_rolled_back() {
            return None;
        }
        let counts = |document: DocumentId| match document {
            DocumentId::Root => true,
            DocumentId::Shard(ShardId(shard)) => shard < root.shard_count,
        };
        if let Some(seen) = self.vectors.contradicts(DocumentId::Root, &root.header) {
            return Some(rolled_back(DocumentId::Root, &root.header, seen));
        }
        for (document, seen) in self.vectors.all() {
            if !counts(document) {
                return Some(Halt::Missing(document.to_string()));
            }
            // Every epoch was the root's before it was anybody's.
            if seen.epoch > root.header.epoch {
                let (document, seen_epoch) = (document.to_string(), seen.epoch.get());
                return Some(Halt::TermWentBack { epoch: root.header.epoch.get(), document, seen_epoch });
            }
        }
        None
    }

    /// Whether at least half of the registered brokers, this one included, have said what they have seen.
    fn is_vouched(&self, root: &Root) -> bool {
        let vouches = |id: &BrokerId| {
            let member = &root.members[id];
            // Our own floor is in the configuration; others count with the disk that the root knows.
            let standing = self.vectors.heard(*id);
            standing.map_or(*id == self.config.me, |standing| member.reaches(standing))
        };
        let heard = root.members.keys().filter(|id| vouches(id)).count();
        heard * 2 >= root.members.len() || !self.stops_when_rolled_back()
    }

    pub(super) fn stops_when_rolled_back(&self) -> bool {
        self.config.tuning.rules.rolled_back_metadata_stops
    }

    pub(super) fn forget_documents(&mut self) {
        self.root = Slot::new();
        self.shards.clear();
        self.unclaimed = None;
    }

    fn claim_root(&mut self, root: &Root, revision: Revision, out: &mut Effects) {
        self.phase = Phase::ClaimingRoot;
        self.owner.epoch = ControllerEpoch::new(root.header.epoch.get().saturating_add(1));
        let mut claimed = root.clone();
        claimed.next_producer_id = producer_ids::skipped(claimed.next_producer_id);
        self.fix_min_insync(&mut claimed);
        let write = self.root.claim(claimed, revision, &mut self.owner);
        out.push(Effect::Write(write));
    }
    /// The first controller fixes `min.insync.replicas` for every broker. The file of a broker that is alone may still
    /// change it: no other one counts.
    fn fix_min_insync(&self, root: &mut Root) {
        let alone = root.members.keys().all(|id| *id == self.config.me);
        if root.min_insync_replicas.is_none() || alone {
            root.min_insync_replicas = Some(self.config.broker.int(&broker::MIN_INSYNC_REPLICAS));
        }
    }
}
