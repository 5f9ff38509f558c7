//! Claiming: the root first, by compare-and-swap, which alone allots the epoch; then every shard, only from a lower one,
//! and only if nobody has seen it newer.
//!
//! Owns standing down and halting. Its state is what it read while claiming (A3); on meeting an epoch at or above its
//! own by another writer it stops, and while it holds the Lease begins again at the root after a delay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slot::{Content, Settled, Slot};
use super::vectors::rolled_back;
use super::{
    Deposed, Document, DocumentId, Effect, Effects, Halt, Header, Machine, Phase, RETRY, ReadOutcome, Revision, Root,
    Shard, ShardId, document,
};
use crate::metadata::Image;

impl Machine {
    /// Stops deciding. What was under way may or may not take effect; whoever waited is told to ask again.
    pub(super) fn stand_down(&mut self, next: Phase, why: Deposed, out: &mut Effects) {
        let was_acting = self.phase == Phase::Acting;
        self.phase = next;
        if let Some(root) = self.root.committed().filter(|_| was_acting) {
            self.liveness.end(|id| root.members.get(&id).map(|member| member.broker.incarnation));
        }
        self.forget_documents();
        self.abandon_growth(out);
        for (id, pending) in std::mem::take(&mut self.pending) {
            out.push(Effect::Answer(id, pending.refused));
        }
        if was_acting {
            out.push(Effect::Deposed(why));
        }
    }

    /// Another owns a document in our term or a later one.
    fn deposed(&mut self, now: Instant, out: &mut Effects) {
        self.depositions = self.depositions.saturating_add(1);
        let until = now + self.backoff();
        self.stand_down(Phase::Backoff(until), Deposed::Claimed, out);
        out.push(Effect::WakeAt(until));
    }

    /// Between 100 and 612 ms, different for every process and every time, so that two claimers do not meet for ever.
    fn backoff(&self) -> Duration {
        let byte = |at: usize| u64::from(self.config.session.0[at % 16]);
        let at = usize::try_from(self.depositions).unwrap_or_default();
        Duration::from_millis(100 + byte(at) + byte(at + 7))
    }

    pub(super) fn halt(&mut self, why: Halt, out: &mut Effects) {
        self.stand_down(Phase::Halted, Deposed::Halted, out);
        out.push(Effect::Halted(why));
    }

    pub(super) fn read(&mut self, document: DocumentId, out: &mut Effects) {
        self.reads += 1;
        let token = self.reads;
        match document {
            DocumentId::Root => self.root.begin_read(token),
            DocumentId::Shard(shard) => {
                let Some(slot) = self.shard_slot(shard) else { return };
                slot.begin_read(token);
            }
        }
        out.push(Effect::Read { document, token });
    }

    pub(super) fn shard_slot(&mut self, shard: ShardId) -> Option<&mut Slot<Shard>> {
        let at = usize::try_from(shard.0).ok()?;
        match at.checked_sub(self.shards.len()) {
            Some(beyond) => self.growth.slot(beyond),
            None => self.shards.get_mut(at),
        }
    }

    pub(super) fn on_read(
        &mut self,
        now: Instant,
        document: DocumentId,
        token: u64,
        outcome: ReadOutcome,
        out: &mut Effects,
    ) {
        let awaited = match document {
            DocumentId::Root => self.root.awaits_read(token),
            DocumentId::Shard(shard) => self.shard_slot(shard).is_some_and(|slot| slot.awaits_read(token)),
        };
        if !awaited {
            return;
        }
        match document {
            DocumentId::Root => self.root.end_read(),
            DocumentId::Shard(shard) => {
                if let Some(slot) = self.shard_slot(shard) {
                    slot.end_read();
                }
            }
        }
        match outcome {
            ReadOutcome::Found(content, revision) => self.on_found(now, document, &content, revision, out),
            ReadOutcome::Missing if self.is_being_made(document) => self.make_shard(now, document, out),
            ReadOutcome::Missing => self.halt(Halt::Missing(document.to_string()), out),
            ReadOutcome::Unreadable(reason) => {
                self.halt(Halt::Unreadable { document: document.to_string(), reason }, out);
            }
            ReadOutcome::Failed => self.retry_later(now, document, out),
        }
    }

    fn on_found(&mut self, now: Instant, id: DocumentId, content: &Document, revision: Revision, out: &mut Effects) {
        if content.id() != id {
            let reason = format!("it holds {} instead", content.id());
            self.halt(Halt::Unreadable { document: id.to_string(), reason }, out);
            return;
        }
        if let Err(why) = self.check_header(id, content.header()) {
            self.halt(why, out);
            return;
        }
        match content {
            Document::Root(_) if self.is_as_committed(id, content.header()) => self.on_root_unchanged(out),
            Document::Shard(_) if self.is_as_committed(id, content.header()) => {}
            Document::Root(root) => self.on_root_found(now, root, revision, out),
            Document::Shard(shard) => self.on_shard_found(now, shard, revision, out),
        }
    }

    /// A document of another cluster, or one that was never in a state that somebody has seen, is never acted on.
    fn check_header(&self, id: DocumentId, header: &Header) -> Result<(), Halt> {
        if header.cluster != self.config.cluster {
            let document = id.to_string();
            return Err(Halt::OtherCluster { document, got: header.cluster, expected: self.config.cluster });
        }
        match self.vectors.contradicts(id, header).filter(|_| self.stops_when_rolled_back()) {
            Some(seen) => Err(rolled_back(id, header, seen)),
            None => Ok(()),
        }
    }

    /// Whether a document was read exactly as this process left it, and nothing of it is under way.
    fn is_as_committed(&self, id: DocumentId, header: &Header) -> bool {
        let settled = match id {
            DocumentId::Root => self.root.in_flight().is_none(),
            DocumentId::Shard(ShardId(shard)) => {
                let slot = usize::try_from(shard).ok().and_then(|at| self.shards.get(at));
                slot.is_some_and(|slot| slot.in_flight().is_none())
            }
        };
        settled && self.owned_header(id) == Some(header)
    }

    /// The root was read again because somebody has seen a shard that it does not count. It still does not.
    fn on_root_unchanged(&mut self, out: &mut Effects) {
        if let Some(shard) = self.uncounted_shard() {
            self.halt(Halt::Missing(shard.to_string()), out);
        }
    }

    fn on_root_found(&mut self, now: Instant, root: &Arc<Root>, revision: Revision, out: &mut Effects) {
        if self.root.in_flight().is_some() {
            match self.root.settle(root, revision.clone()) {
                Settled::Done(waiters) => return self.on_root_committed(waiters, out),
                Settled::NotYet => return self.resend(now, DocumentId::Root, out),
                Settled::Other => {}
            }
            // While the root is being claimed, an earlier controller may write it until we have it.
            if self.phase != Phase::ClaimingRoot || root.header.epoch >= self.owner.epoch {
                return self.deposed(now, out);
            }
        } else if self.phase != Phase::GatheringVectors {
            return self.deposed(now, out);
        }
        self.weigh_root(root, revision, out);
    }

    fn on_shard_found(&mut self, now: Instant, shard: &Arc<Shard>, revision: Revision, out: &mut Effects) {
        let id = shard.id();
        let making = self.is_being_made(id);
        let (epoch, claiming) = (self.owner.epoch, self.phase == Phase::ClaimingShards || making);
        let Some(slot) = self.shard_slot(ShardId(shard.index)) else { return };
        if slot.in_flight().is_some() {
            match slot.settle(shard, revision.clone()) {
                Settled::Done(waiters) => {
                    return self.on_shard_committed(now, ShardId(shard.index), None, waiters, out);
                }
                Settled::NotYet => return self.resend(now, id, out),
                Settled::Other => {}
            }
        }
        // A shard that we have claimed can only have been taken by a later term; one that we have not, by anybody.
        if !claiming || shard.header.epoch >= epoch {
            return self.deposed(now, out);
        }
        let mut content = (**shard).clone();
        if making {
            // Whoever began it before us did not come to count it.
            self.split_off(ShardId(shard.index), &mut content);
        }
        self.write_claim(content, revision, out);
    }

    fn write_claim(&mut self, content: Shard, revision: Revision, out: &mut Effects) {
        let shard = ShardId(content.index);
        // Not through `shard_slot`, which borrows the owner too.
        let at = usize::try_from(shard.0).expect("a shard's index fits");
        let slot = match at.checked_sub(self.shards.len()) {
            Some(beyond) => self.growth.slot(beyond),
            None => self.shards.get_mut(at),
        };
        if let Some(slot) = slot {
            let write = slot.claim(content, revision, &mut self.owner);
            self.bucket.spend(write.content.weight());
            out.push(Effect::Write(write));
        }
    }

    /// Whether the document is a shard that is being made, and not counted yet.
    fn is_being_made(&mut self, id: DocumentId) -> bool {
        match id {
            DocumentId::Root => false,
            DocumentId::Shard(shard) => {
                let beyond = usize::try_from(shard.0).is_ok_and(|at| at >= self.shards.len());
                beyond && self.shard_slot(shard).is_some()
            }
        }
    }

    /// A shard that nobody has begun to make.
    fn make_shard(&mut self, now: Instant, id: DocumentId, out: &mut Effects) {
        let DocumentId::Shard(shard) = id else { return };
        if self.shard_slot(shard).is_some_and(|slot| slot.in_flight().is_some()) {
            return self.resend(now, id, out);
        }
        let header = Header { cluster: self.config.cluster, ..Header::default() };
        let mut content = Shard { header, index: shard.0, ..Shard::default() };
        self.split_off(shard, &mut content);
        self.write_claim(content, Revision::ABSENT, out);
    }

    /// The root is ours: its count of shards says what else there is to claim.
    pub(super) fn on_root_claimed(&mut self, out: &mut Effects) {
        let count = self.root.committed().map_or(0, |root| root.shard_count);
        self.phase = Phase::ClaimingShards;
        self.shards = (0..count).map(|_| Slot::new()).collect();
        for shard in 0..count {
            self.read(DocumentId::Shard(ShardId(shard)), out);
        }
    }

    pub(super) fn act_if_all_claimed(&mut self, now: Instant, out: &mut Effects) {
        if self.shards.iter().all(|slot| slot.committed().is_some())
            && self.verify_seen(out)
            && self.phase == Phase::ClaimingShards
        {
            self.act(now, out);
        }
    }

    /// The state to begin with is what was read while claiming (A3).
    pub(super) fn begin_acting(&mut self, out: &mut Effects) {
        let Some(root) = self.root.committed().cloned() else { return };
        self.phase = Phase::Acting;
        let shards = || self.shards.iter().filter_map(|slot| slot.committed());
        let count = root.shard_count;
        // A topic in a shard that its name does not hash to was copied into another one.
        let belongs = |shard: &Shard, name: &str| document::shard_of(name, count) == ShardId(shard.index);
        let stones = shards().flat_map(|shard| shard.tombstones.iter().map(move |stone| (shard, stone)));
        let stones = stones.filter(|(shard, (_, stone))| belongs(shard, &stone.name));
        let tombstones = stones.map(|(_, (id, stone))| (*id, stone.clone())).collect();
        let topics = shards().flat_map(|shard| shard.topics.values().map(move |topic| (shard, topic)));
        let topics = topics.filter(|(shard, topic)| belongs(shard, &topic.name)).map(|(_, topic)| topic.clone());
        let image = Image::empty(self.config.cluster).with_topics(topics).with_tombstones(tombstones);
        self.image = self.with_root(image, &root);
        self.read_broker_config();
        out.push(Effect::Publish(self.image.clone()));
        out.push(Effect::Leading(self.owner.epoch));
    }

    pub(super) fn retry_later(&mut self, now: Instant, document: DocumentId, out: &mut Effects) {
        let at = now + RETRY;
        match document {
            DocumentId::Root => self.root.retry_at = Some(at),
            DocumentId::Shard(shard) => {
                if let Some(slot) = self.shard_slot(shard) {
                    slot.retry_at = Some(at);
                }
            }
        }
        out.push(Effect::WakeAt(at));
    }

    /// A write that has not taken effect is sent again, a moment later: its first copy may still be on its way.
    fn resend(&mut self, now: Instant, document: DocumentId, out: &mut Effects) {
        self.retry_later(now, document, out);
    }

    pub(super) fn retry_due(&mut self, now: Instant, out: &mut Effects) {
        let due = |retry_at: Option<Instant>| retry_at.is_some_and(|at| at <= now);
        if due(self.root.retry_at) {
            match self.root.resend() {
                Some(write) => out.push(Effect::Write(write)),
                None => self.read(DocumentId::Root, out),
            }
        }
        let count = u32::try_from(self.shards.len() + self.growth.slots()).expect("a count of shards is a u32");
        for shard in (0..count).map(ShardId) {
            let Some(slot) = self.shard_slot(shard).filter(|slot| due(slot.retry_at)) else { continue };
            match slot.resend() {
                Some(write) => out.push(Effect::Write(write)),
                None => self.read(DocumentId::Shard(shard), out),
            }
        }
    }
}
