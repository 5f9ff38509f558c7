//! Twice as many shards, when one has become too large.
//!
//! Copy, then count: while everything else waits for a moment, the topics that will belong to the new shards are written
//! there, and then one compare-and-swap of the root makes the count double. Until then the new documents mean nothing,
//! and whoever claims after a crash overwrites them; from then on a topic in a shard that its name does not hash to
//! means nothing, and is removed with the next write.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::budget::Urgency;
use super::document::{Shard, shard_of};
use super::slot::Slot;
use super::{DocumentId, Effect, Effects, Machine, Phase, Request, RequestId, ShardId, Work};

/// From this size on a shard is too large; well below what Kubernetes takes.
pub const SHARD_BYTES_MAX: u64 = 256 * 1024;
/// There are never more shards than this.
const SHARDS_MAX: usize = 1 << 16;
/// How many questions wait meanwhile; more are refused, to be asked again.
const WAITING_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Growth {
    /// A shard was written that is too large.
    wanted: bool,
    stage: Stage,
    waiting: VecDeque<(RequestId, Request)>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Everything under way comes to its end.
    Settling,
    /// The new shards are written.
    Copying(Vec<Slot<Shard>>),
    /// The root is written.
    Counting(Vec<Slot<Shard>>),
}

impl Growth {
    /// A shard of that size was written.
    pub(super) fn on_written(&mut self, bytes: u64, shards: usize) {
        self.wanted |= bytes >= SHARD_BYTES_MAX && shards * 2 <= SHARDS_MAX;
    }

    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// Copies are made: nothing may change that they would have to hold.
    pub(super) fn is_copying(&self) -> bool {
        matches!(self.stage, Stage::Copying(_) | Stage::Counting(_))
    }

    /// Slot number `at` of those that are being made.
    pub(super) fn slot(&mut self, at: usize) -> Option<&mut Slot<Shard>> {
        match &mut self.stage {
            Stage::Copying(slots) => slots.get_mut(at),
            Stage::Idle | Stage::Settling | Stage::Counting(_) => None,
        }
    }

    pub(super) fn slots(&self) -> usize {
        match &self.stage {
            Stage::Copying(slots) => slots.len(),
            Stage::Idle | Stage::Settling | Stage::Counting(_) => 0,
        }
    }

    /// Holds a question back until it is over; gives it back if too many wait.
    pub(super) fn hold(&mut self, id: RequestId, request: Request) -> Option<Request> {
        if self.waiting.len() >= WAITING_MAX {
            return Some(request);
        }
        self.waiting.push_back((id, request));
        None
    }

    /// Nobody waits for the answer to a registration any more.
    pub(super) fn drop_registration(&mut self, id: RequestId) -> Option<Request> {
        let held = |(held, request): &(RequestId, Request)| *held == id && matches!(request, Request::Register(_));
        let at = self.waiting.iter().position(held)?;
        self.waiting.remove(at).map(|(_, request)| request)
    }

    /// It does not go on; who waits for it.
    pub(super) fn abandon(&mut self) -> VecDeque<(RequestId, Request)> {
        self.stage = Stage::Idle;
        self.wanted = false;
        std::mem::take(&mut self.waiting)
    }
}

impl Machine {
    /// Goes one step on, if the one before is done.
    pub(super) fn grow(&mut self, now: Instant, out: &mut Effects) {
        if self.phase != Phase::Acting {
            return;
        }
        match std::mem::take(&mut self.growth.stage) {
            Stage::Idle if !self.growth.wanted => {}
            Stage::Idle | Stage::Settling if !self.is_settled() => self.growth.stage = Stage::Settling,
            Stage::Idle | Stage::Settling => {
                let old = u32::try_from(self.shards.len()).expect("a count of shards is a u32");
                self.growth.stage = Stage::Copying((0..old).map(|_| Slot::new()).collect());
                for shard in old..old * 2 {
                    self.read(DocumentId::Shard(ShardId(shard)), out);
                }
            }
            Stage::Copying(slots) => {
                let done = slots.iter().all(|slot| slot.committed().is_some());
                self.growth.stage = if done { Stage::Counting(slots) } else { Stage::Copying(slots) };
                if done {
                    let count = u32::try_from(self.shards.len() * 2).expect("at most SHARDS_MAX");
                    self.root_for(&mut Work::internal(Urgency::Election)).shard_count = count;
                }
            }
            Stage::Counting(slots) => {
                let counted = self.root.committed().map_or(0, |root| root.shard_count);
                if usize::try_from(counted).is_ok_and(|counted| counted > self.shards.len()) {
                    self.shards.extend(slots);
                    for shard in self.shard_ids().collect::<Vec<_>>() {
                        self.note_own(DocumentId::Shard(shard));
                    }
                    self.growth.wanted = false;
                    self.remove_strays(&mut Work::internal(Urgency::Request));
                    for (id, request) in std::mem::take(&mut self.growth.waiting) {
                        self.on_ask(now, id, request, out);
                    }
                } else {
                    self.growth.stage = Stage::Counting(slots);
                }
            }
        }
    }

    fn is_settled(&self) -> bool {
        let quiet = |staged: bool, flying: bool| !staged && !flying;
        quiet(self.root.wants_to_write().is_some(), self.root.in_flight().is_some())
            && self.shards.iter().all(|slot| quiet(slot.wants_to_write().is_some(), slot.in_flight().is_some()))
    }

    /// What belongs into a new shard: a part of the old one with the same hash under the old count.
    pub(super) fn split_off(&self, shard: ShardId, into: &mut Shard) {
        let old = self.shards.len();
        let count = u32::try_from(old * 2).expect("at most SHARDS_MAX");
        let at = usize::try_from(shard.0).expect("a shard's index fits") % old;
        let from = self.shards[at].committed().expect("a controller that acts has read every shard");
        let belongs = |name: &str| shard_of(name, count) == shard;
        into.index = shard.0;
        into.topics =
            from.topics.iter().filter(|(name, _)| belongs(name)).map(|(n, t)| (n.clone(), t.clone())).collect();
        let tombstones = from.tombstones.iter().filter(|(_, tombstone)| belongs(&tombstone.name));
        into.tombstones = tombstones.map(|(id, tombstone)| (*id, tombstone.clone())).collect();
        into.runs = from.runs.clone();
    }

    /// Topics and tombstones that a shard holds and that belong into another one mean nothing.
    pub(super) fn remove_strays(&mut self, work: &mut Work) {
        let count = u32::try_from(self.shards.len()).expect("a count of shards is a u32");
        for shard in self.shard_ids() {
            let latest = Arc::clone(self.latest_shard(work, shard));
            let stray = |name: &str| shard_of(name, count) != shard;
            let has_strays = latest.topics.keys().any(|name| stray(name))
                || latest.tombstones.values().any(|tombstone| stray(&tombstone.name));
            if has_strays {
                let content = self.shard_for(work, shard);
                content.topics.retain(|name, _| !stray(name));
                content.tombstones.retain(|_, tombstone| !stray(&tombstone.name));
            }
        }
    }

    /// Whoever waited for more shards is told to ask again.
    pub(super) fn abandon_growth(&mut self, out: &mut Effects) {
        for (id, request) in self.growth.abandon() {
            out.push(Effect::Answer(id, request.refused()));
        }
    }
}
