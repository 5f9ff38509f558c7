//! Clients: producers that keep a ledger, and consumers that believe nothing.
//!
//! Owns what was promised to whom. A producer keeps its leader until that refuses or falls silent, so that deposed ones
//! are asked too. Every value is unique.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::replica::{Acks, Context, Event, Outcome, Produce, ProduceId, Refusal};
use ottla_core::types::{LeaderEpoch, Offset};

use crate::world::{Action, World};

/// How long a request may take. Microseconds.
const TIMEOUT_US: u64 = 3_000_000;

/// A producer of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    partition: usize,
    /// The broker that it believes to lead.
    leader: usize,
}

impl Producer {
    pub(crate) fn new(partition: usize) -> Self {
        Self { partition, leader: 0 }
    }
}

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    partition: usize,
    broker: usize,
    life: u64,
    at: Offset,
    epoch: LeaderEpoch,
    value: u64,
    acks: Acks,
}

/// All clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    pub(crate) producers: Vec<Producer>,
    open: BTreeMap<ProduceId, Open>,
    values: u64,
}

impl Clients {
    /// How many requests are not answered by a process that lives.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}

impl World {
    pub(crate) fn produce(&mut self, index: usize) {
        if self.healed && self.clients.values > 0 && self.now > 20_000_000 {
            return;
        }
        let pause = self.rng.within(5_000, 60_000);
        self.plan(pause, Action::Produce(index));
        let lives: Vec<u64> = self.nodes.iter().map(|node| if node.up { node.life } else { 0 }).collect();
        self.clients.open.retain(|_, open| lives[open.broker] == open.life);
        let Producer { partition: p, leader: b } = self.clients.producers[index].clone();
        let acks = if self.rng.chance(700) { Acks::All } else { Acks::Leader };
        if !self.try_produce(b, p, acks) {
            self.look_up(index);
        }
    }

    /// Metadata: mostly of the controller, now and then of a broker that may be behind.
    fn look_up(&mut self, index: usize) {
        let p = self.clients.producers[index].partition;
        let b = usize::try_from(self.rng.within(0, self.nodes.len() as u64)).unwrap_or(0);
        let stale = self.nodes[b].disk.snapshot.partitions.get(p);
        let newest = self.snapshot.partitions.get(p);
        let known = if self.rng.chance(300) { stale } else { newest };
        if let Some(leader) = known.and_then(|assignment| assignment.leader_id()) {
            self.clients.producers[index].leader = usize::try_from(leader.get() - 1).unwrap_or(0);
        }
    }

    fn try_produce(&mut self, b: usize, p: usize, acks: Acks) -> bool {
        let now = self.now;
        if !self.nodes[b].runs() || self.nodes[b].frozen_until > now {
            return false;
        }
        self.loop_runs(b);
        let node = &self.nodes[b];
        let cx = Context { now: node.instant(now), host: &node.host, log: &node.disk.logs[p] };
        let epoch = match node.replicas[p].admit_produce(&cx, acks) {
            Ok(epoch) => epoch,
            Err(refusal) => {
                self.refused(refusal);
                return false;
            }
        };
        let deadline = cx.now + Duration::from_micros(TIMEOUT_US);
        let (at, life) = (node.disk.logs[p].end(), node.life);
        self.clients.values += 1;
        let (value, id) = (self.clients.values, ProduceId(self.clients.values));
        self.clients.open.insert(id, Open { partition: p, broker: b, life, at, epoch, value, acks });
        self.append(b, p, at, epoch, value);
        self.flush_more(b, p);
        self.step(b, p, Event::Appended(Some(Produce { id, end: at.plus(1), acks, deadline })), &[]);
        true
    }

    fn refused(&mut self, refusal: Refusal) {
        self.count(match refusal {
            Refusal::NotLeader { .. } => "refused: not leader",
            Refusal::Unconfirmed { .. } => "refused: unconfirmed leader",
            Refusal::NotEnoughReplicas { .. } => "refused: too few in sync",
            Refusal::EpochEnds { .. } => "refused: epoch ends",
        });
    }

    /// An answer leaves a broker: from here on it is a promise.
    pub(crate) fn client_answered(&mut self, b: usize, p: usize, id: ProduceId, outcome: Outcome) {
        let Some(open) = self.clients.open.remove(&id) else {
            self.fail("Liveness", format!("request {id:?} is answered twice"));
            return;
        };
        match (outcome, open.acks) {
            (Outcome::Safe, Acks::All) => {
                self.count("acked all");
                self.checked(|world| world.truth[p].on_acked(open.at, open.value));
            }
            (Outcome::Safe, Acks::Leader) => {
                self.count("acked by the leader");
                let log = &self.nodes[b].disk.logs[p];
                let durable = log.synced() > open.at && log.get(open.at).is_some_and(|r| r.value == open.value);
                if !durable {
                    self.fail("S1", format!("{} at {} is acknowledged but not durable", open.value, open.at));
                }
                let (now, id, epoch) =
                    (self.now, self.nodes[b].id, self.nodes[b].replicas[p].assignment().leader_epoch);
                self.checked(|world| world.truth[p].on_served(now, epoch.max(open.epoch), id));
            }
            (Outcome::TimedOut, _) => self.count("timed out"),
            (Outcome::LeadershipEnded, _) => self.count("leadership ended"),
            (Outcome::WriteFailed, _) => self.count("told that the write failed"),
        }
        debug_assert_eq!(open.partition, p, "answered for another partition");
    }

    /// Somebody reads a record from every broker that believes to lead, and asks for the high watermark.
    pub(crate) fn consume(&mut self) {
        self.plan(15_000, Action::Consume);
        for b in 0..self.nodes.len() {
            for p in 0..self.truth.len() {
                self.read(b, p);
            }
        }
    }

    fn read(&mut self, b: usize, p: usize) {
        let now = self.now;
        if !self.nodes[b].runs() || self.nodes[b].frozen_until > now {
            return;
        }
        self.loop_runs(b);
        let node = &self.nodes[b];
        let cx = Context { now: node.instant(now), host: &node.host, log: &node.disk.logs[p] };
        let Ok(end) = node.replicas[p].admit_fetch(&cx) else { return };
        let shown = node.replicas[p].shown_watermark(&cx);
        let (id, epoch) = (node.id, node.replicas[p].assignment().leader_epoch);
        let newest = i64::try_from(self.rng.within(0, 8)).unwrap_or(0);
        let at = Offset::new(end.get() - 1 - newest);
        let record = self.nodes[b].disk.logs[p].get(at).copied().filter(|_| at.get() >= 0);
        self.count("read");
        self.checked(|world| world.truth[p].on_served(now, epoch, id));
        if at.get() >= 0 {
            self.checked(|world| world.truth[p].on_read(id, at, record.as_ref()));
        }
        match shown {
            Some(end) => self.checked(|world| world.truth[p].on_shown(id, epoch, end)),
            None => self.count("watermark not shown after an election"),
        }
    }
}
