//! Writing and what follows: commits are published, then whoever waited for them is answered.
//!
//! Owns the order persist, publish, answer, and the documents as requests change them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::slot::Content;
use super::{
    Answer, DocumentId, Effect, Effects, Machine, Pending, Phase, RequestId, Revision, Root, Shard, ShardId, Work,
    WriteId, WriteOutcome, document,
};
use crate::metadata::{Image, Topic};

impl Machine {
    pub(super) fn on_wrote(
        &mut self,
        now: Instant,
        document: DocumentId,
        write: WriteId,
        outcome: WriteOutcome,
        out: &mut Effects,
    ) {
        let in_flight = match document {
            DocumentId::Root => self.root.in_flight(),
            DocumentId::Shard(shard) => self.shard_slot(shard).and_then(|slot| slot.in_flight()),
        };
        if in_flight != Some(write) {
            return;
        }
        match outcome {
            WriteOutcome::Done(revision) => self.on_done(now, document, revision, out),
            // A conflict may be with an earlier copy of this very write.
            WriteOutcome::Conflict | WriteOutcome::Unknown => {
                if !self.is_reading(document) {
                    self.read(document, out);
                }
            }
            WriteOutcome::NotDone => self.retry_later(now, document, out),
        }
    }

    pub(super) fn is_reading(&mut self, document: DocumentId) -> bool {
        match document {
            DocumentId::Root => self.root.is_reading(),
            DocumentId::Shard(shard) => self.shard_slot(shard).is_some_and(|slot| slot.is_reading()),
        }
    }

    pub(super) fn is_retrying(&mut self, document: DocumentId) -> bool {
        match document {
            DocumentId::Root => self.root.retry_at.is_some(),
            DocumentId::Shard(shard) => self.shard_slot(shard).is_some_and(|slot| slot.retry_at.is_some()),
        }
    }

    fn on_done(&mut self, now: Instant, document: DocumentId, revision: Revision, out: &mut Effects) {
        match document {
            DocumentId::Root => {
                self.root.end_read();
                let waiters = self.root.commit(revision);
                self.on_root_committed(waiters, out);
            }
            DocumentId::Shard(shard) => {
                let Some(slot) = self.shard_slot(shard) else { return };
                slot.end_read();
                let before = slot.committed().cloned();
                let waiters = slot.commit(revision);
                self.on_shard_committed(now, shard, before, waiters, out);
            }
        }
    }

    pub(super) fn on_root_committed(&mut self, waiters: Vec<RequestId>, out: &mut Effects) {
        self.note_own(DocumentId::Root);
        if self.phase == Phase::ClaimingRoot {
            return self.on_root_claimed(out);
        }
        let Some(root) = self.root.committed().cloned() else { return };
        self.image = self.with_root(self.image.clone(), &root);
        out.push(Effect::Publish(self.image.clone()));
        self.answer_waiters(DocumentId::Root, &waiters, out);
    }

    pub(super) fn on_shard_committed(
        &mut self,
        now: Instant,
        shard: ShardId,
        before: Option<Arc<Shard>>,
        waiters: Vec<RequestId>,
        out: &mut Effects,
    ) {
        self.note_own(DocumentId::Shard(shard));
        if self.phase == Phase::ClaimingShards {
            return self.act_if_all_claimed(now, out);
        }
        let Some(after) = self.shard_slot(shard).and_then(|slot| slot.committed().cloned()) else { return };
        if usize::try_from(shard.0).is_ok_and(|at| at >= self.shards.len()) {
            // A copy that is not counted yet concerns nobody.
            return;
        }
        self.growth.on_written(after.weight(), self.shards.len());
        self.publish_shard(before.as_deref(), &after, out);
        self.answer_waiters(DocumentId::Shard(shard), &waiters, out);
    }

    fn publish_shard(&mut self, before: Option<&Shard>, after: &Shard, out: &mut Effects) {
        let shard_count = self.root.committed().map_or(0, |root| root.shard_count);
        let mine = |name: &str| document::shard_of(name, shard_count) == ShardId(after.index);
        // Without the state before (it was settled by a read) everything of this shard is compared with the image.
        let known = |name: &str| match before {
            Some(before) => before.topics.get(name),
            None => self.image.topic(name),
        };
        let same = |topic: &Arc<Topic>| known(&topic.name).is_some_and(|known| Arc::ptr_eq(known, topic));
        let changed = after.topics.values().filter(|topic| mine(&topic.name) && !same(topic));
        let changed: Vec<_> = changed.cloned().collect();
        let gone: Vec<String> = match before {
            Some(before) => {
                let held = before.topics.keys().filter(|name| mine(name));
                held.filter(|name| !after.topics.contains_key(*name)).cloned().collect()
            }
            None => {
                let held = self.image.topics().keys().filter(|name| mine(name));
                held.filter(|name| !after.topics.contains_key(*name)).cloned().collect()
            }
        };
        let mut image = std::mem::take(&mut self.image);
        if !changed.is_empty() || !gone.is_empty() {
            image = image.with_topics(changed).without_topics(gone.iter().map(String::as_str));
        }
        if before.is_none_or(|before| before.tombstones != after.tombstones) {
            let all = self.shards.iter().filter_map(|slot| slot.committed());
            let belongs = |shard: &Shard, name: &str| document::shard_of(name, shard_count) == ShardId(shard.index);
            let stones = all.flat_map(|shard| shard.tombstones.iter().map(move |stone| (shard, stone)));
            let stones = stones.filter(|(shard, (_, stone))| belongs(shard, &stone.name));
            image = image.with_tombstones(stones.map(|(_, (id, stone))| (*id, stone.clone())).collect());
        }
        self.image = image;
        out.push(Effect::Publish(self.image.clone()));
    }

    pub(super) fn with_root(&self, image: Image, root: &Root) -> Image {
        let brokers: BTreeMap<_, _> = root.members.iter().map(|(id, member)| (*id, member.broker.clone())).collect();
        image
            .with_controller(Some(self.config.me), root.header.epoch)
            .with_brokers(brokers)
            .with_broker_configs(root.broker_defaults.clone(), root.broker_configs.clone())
            .with_min_insync_replicas(root.min_insync_replicas)
    }

    /// The broker configs that count for new requests are those of the latest root.
    pub(super) fn read_broker_config(&mut self) {
        if let Some(root) = self.root.latest() {
            let own = root.broker_configs.get(&self.config.me).cloned().unwrap_or_default();
            let run_time = self.config.broker.with_run_time(root.broker_defaults.clone(), own);
            self.broker = run_time.with_min_insync(root.min_insync_replicas);
        }
    }

    pub(super) fn answer_when_durable(&mut self, work: Work, answer: Answer, refused: Answer, out: &mut Effects) {
        let Some(id) = work.id else { return };
        let mut waits_for = work.consulted;
        waits_for.retain(|document| match document {
            DocumentId::Root => self.root.wait(id),
            DocumentId::Shard(shard) => {
                let slot = usize::try_from(shard.0).ok().and_then(|at| self.shards.get_mut(at));
                slot.is_some_and(|slot| slot.wait(id))
            }
        });
        if waits_for.is_empty() {
            out.push(Effect::Answer(id, answer));
        } else {
            self.pending.insert(id, Pending { answer, refused, waits_for });
        }
    }

    fn answer_waiters(&mut self, document: DocumentId, waiters: &[RequestId], out: &mut Effects) {
        for id in waiters {
            let Some(pending) = self.pending.get_mut(id) else { continue };
            pending.waits_for.remove(&document);
            if pending.waits_for.is_empty()
                && let Some(done) = self.pending.remove(id)
            {
                out.push(Effect::Answer(*id, done.answer));
            }
        }
    }

    /// Begins the writes of what is staged, the most urgent first, as far as the budget goes.
    pub(super) fn launch_staged(&mut self, now: Instant, out: &mut Effects) {
        if self.phase != Phase::Acting {
            return;
        }
        let root = self.root.wants_to_write().map(|urgency| (urgency, DocumentId::Root));
        let ids = self.shard_ids().zip(&self.shards);
        let shards = ids.filter_map(|(id, slot)| Some((slot.wants_to_write()?, DocumentId::Shard(id))));
        let mut wanted: Vec<_> = root.into_iter().chain(shards).collect();
        wanted.sort_unstable();
        for (urgency, document) in wanted {
            if let Err(at) = self.bucket.check(now, urgency) {
                out.push(Effect::WakeAt(at));
                return;
            }
            let write = match document {
                DocumentId::Root => self.root.launch(&mut self.owner),
                DocumentId::Shard(ShardId(shard)) => {
                    let at = usize::try_from(shard).expect("a shard's index fits");
                    self.shards[at].launch(&mut self.owner)
                }
            };
            if let Some(write) = write {
                self.bucket.spend(write.content.weight());
                out.push(Effect::Write(write));
            }
        }
    }

    /// The documents as requests change them.
    pub(super) fn root_for(&mut self, work: &mut Work) -> &mut Root {
        work.consulted.insert(DocumentId::Root);
        self.root.edit(work.id, work.urgency).expect("a controller that acts has read the root")
    }

    pub(super) fn latest_root(&self, work: &mut Work) -> &Arc<Root> {
        work.consulted.insert(DocumentId::Root);
        self.root.latest().expect("a controller that acts has read the root")
    }

    pub(super) fn shard_for(&mut self, work: &mut Work, shard: ShardId) -> &mut Shard {
        work.consulted.insert(DocumentId::Shard(shard));
        let slot = self.shard_slot(shard).expect("there is a slot for every shard of the root");
        slot.edit(work.id, work.urgency).expect("a controller that acts has read every shard")
    }

    pub(super) fn latest_shard(&self, work: &mut Work, shard: ShardId) -> &Arc<Shard> {
        work.consulted.insert(DocumentId::Shard(shard));
        let at = usize::try_from(shard.0).expect("a shard's index fits");
        self.shards[at].latest().expect("a controller that acts has read every shard")
    }

    pub(super) fn shard_of(&self, topic: &str) -> ShardId {
        let count = u32::try_from(self.shards.len()).expect("a count of shards is a u32");
        document::shard_of(topic, count)
    }

    pub(super) fn latest_topic(&self, work: &mut Work, name: &str) -> Option<&Arc<Topic>> {
        self.latest_shard(work, self.shard_of(name)).topics.get(name)
    }

    /// What must hold after every step.
    pub(super) fn check(&self) {
        if self.phase != Phase::Acting {
            assert!(self.pending.is_empty(), "only a controller that acts keeps requests waiting");
            return;
        }
        let (epoch, session) = (self.owner.epoch, self.owner.session);
        let owned = |header: &super::Header| header.owned_by(epoch, session);
        assert!(self.root.committed().is_some_and(|root| owned(root.header())), "A3: acting without the root");
        for slot in &self.shards {
            assert!(slot.committed().is_some_and(|shard| owned(shard.header())), "A3: acting without a shard");
        }
    }
}
