//! Clients: producers that keep a ledger, and consumers that believe nothing.
//!
//! Owns what was promised to whom. A producer keeps its leader until that refuses or falls silent, so that deposed ones
//! are asked too. Every value is unique.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_core::replica::{Acks, Context, Event, Hold, LogView, Outcome, Produce, ProduceId, Refusal, Rule};
use ottla_core::types::{LeaderEpoch, Offset};

use crate::log::producer_of;
use crate::world::{Action, Beside, World};

/// How long a request may take. Microseconds.
const TIMEOUT_US: u64 = 3_000_000;
/// When everything is healed and nobody produces any more. Microseconds.
const QUIET_US: u64 = 30_000_000;
/// How much later than its time a held request may be let go: clocks do not go at the same speed. Microseconds.
const HELD_US: u64 = 100_000;

/// A producer of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    partition: usize,
    /// The broker that it believes to lead.
    leader: usize,
    /// It numbers its records, waits for acks=all, and sends each one until it is safe (T1).
    idempotent: bool,
    /// The number of its record that is not known to be safe yet.
    number: u64,
    /// The request that carries it, and when that is given up.
    waits: Option<(ProduceId, u64)>,
}

impl Producer {
    pub(crate) fn new(partition: usize, idempotent: bool) -> Self {
        Self { partition, leader: 0, idempotent, number: 1, waits: None }
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
    /// Nothing was appended: it waits for the next epoch, at most until then.
    held: Option<u64>,
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
        if self.healed && self.clients.values > 0 && self.now > QUIET_US {
            return;
        }
        let pause = self.rng.within(5_000, 60_000);
        self.plan(pause, Action::Produce(index));
        let lives: Vec<u64> = self.nodes.iter().map(|node| if node.up { node.life } else { 0 }).collect();
        self.clients.open.retain(|_, open| lives[open.broker] == open.life);
        let Producer { partition: p, leader: b, idempotent, waits, .. } = self.clients.producers[index].clone();
        if waits.is_some_and(|(id, until)| self.clients.open.contains_key(&id) && self.now < until) {
            return;
        }
        let acks = if idempotent || self.rng.chance(700) { Acks::All } else { Acks::Leader };
        if !self.try_produce(b, p, acks, index) {
            self.look_up(index);
        }
    }

    /// Where the shell finds that this record was appended before, or `Err` if one before it is missing.
    fn find_retry(&self, b: usize, p: usize, index: usize, epoch: LeaderEpoch) -> Result<Option<Offset>, u64> {
        let (log, number) = (&self.nodes[b].disk.logs[p], self.clients.producers[index].number);
        let last = log.last_of(index as u64);
        if !self.nodes[b].host.rules.hold(Rule::SequencesFromLog) {
            // Only what this leader has appended itself is remembered.
            let own = |(_, at): &(u64, Offset)| log.get(*at).is_some_and(|record| record.epoch == epoch);
            return Ok(last.filter(|&(last, _)| last == number).filter(own).map(|(_, at)| at));
        }
        match last {
            Some((last, at)) if last == number => Ok(Some(at)),
            last if last.map_or(0, |(last, _)| last) + 1 == number => Ok(None),
            last => Err(last.map_or(0, |(last, _)| last)),
        }
    }

    /// A number does not follow: that may only be so where records were given up, or at a leader of the past.
    fn out_of_order(&mut self, p: usize, index: usize, last: u64, epoch: LeaderEpoch) {
        self.count("refused: out of order");
        let number = self.clients.producers[index].number;
        let newest = self.snapshot.partitions[p].leader_epoch == epoch;
        if newest && self.snapshot.partitions[p].unclean.is_none() {
            self.fail("T1", format!("producer {index} comes with {number}, the leader of epoch {epoch} has {last}"));
        } else if newest {
            self.clients.producers[index].number = last + 1;
        }
    }

    /// Metadata: mostly of the controller, now and then of a broker that may be behind.
    fn look_up(&mut self, index: usize) {
        let p = self.clients.producers[index].partition;
        let b = usize::try_from(self.rng.within(0, self.nodes.len() as u64)).unwrap_or(0);
        let stale = crate::committed::told(&self.nodes[b].image, p).and_then(|assignment| assignment.leader_id());
        let newest = self.snapshot.partitions.get(p).and_then(|assignment| assignment.leader_id());
        let known = if self.rng.chance(300) { stale } else { newest };
        if let Some(leader) = known {
            self.clients.producers[index].leader = usize::try_from(leader.get() - 1).unwrap_or(0);
        }
    }

    fn try_produce(&mut self, b: usize, p: usize, acks: Acks, index: usize) -> bool {
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
                if let Refusal::EpochEnds { epoch } = refusal {
                    self.hold(b, p, epoch, index);
                    return true;
                }
                return false;
            }
        };
        let deadline = cx.now + Duration::from_micros(TIMEOUT_US);
        let (end, life) = (node.disk.logs[p].end(), node.life);
        let Producer { idempotent, number, .. } = self.clients.producers[index];
        let before = if idempotent { self.find_retry(b, p, index, epoch) } else { Ok(None) };
        let before = match before {
            Ok(before) => before,
            Err(last) => {
                self.out_of_order(p, index, last, epoch);
                return false;
            }
        };
        self.clients.values += 1;
        let id = ProduceId(self.clients.values);
        let value = if idempotent { ((index as u64) << 32) | number } else { self.clients.values };
        let at = before.unwrap_or(end);
        self.clients.open.insert(id, Open { partition: p, broker: b, life, at, epoch, value, acks, held: None });
        self.clients.producers[index].waits = Some((id, self.now + TIMEOUT_US / 2)).filter(|_| idempotent);
        if before.is_some() {
            self.count("retry found in the log");
        } else {
            self.append(b, p, at, epoch, value);
            self.flush_more(b, p);
        }
        self.step(b, p, Event::Appended(Some(Produce { id, end: at.plus(1), acks, deadline })), &Beside::NONE);
        true
    }

    /// The epoch is about to end: the request waits for the next one instead of coming again and again.
    fn hold(&mut self, b: usize, p: usize, epoch: LeaderEpoch, index: usize) {
        self.clients.values += 1;
        let id = ProduceId(self.clients.values);
        let node = &self.nodes[b];
        let (life, at) = (node.life, node.disk.logs[p].end());
        let patience = self.rng.within(0, TIMEOUT_US);
        let deadline = self.nodes[b].instant(self.now) + Duration::from_micros(patience);
        let held = Some(self.now + patience + HELD_US);
        let idempotent = self.clients.producers[index].idempotent;
        self.clients.producers[index].waits = Some((id, self.now + TIMEOUT_US)).filter(|_| idempotent);
        let open = Open { partition: p, broker: b, life, at, epoch, value: index as u64, acks: Acks::All, held };
        self.clients.open.insert(id, open);
        self.step(b, p, Event::Held(Hold { id, deadline }), &Beside::NONE);
    }

    /// A request that waited for the next epoch is let go: it is known now who leads, or nobody took over, or its time is up.
    fn let_go(&mut self, b: usize, held: Open, until: u64, outcome: Outcome) {
        let (p, now) = (held.partition, self.now);
        let node = &self.nodes[b];
        if now > until.max(node.late_until + HELD_US) {
            self.fail("Liveness", format!("a request is held for {} ms too long", (now - until) / 1000));
            return;
        }
        let cx = Context { now: node.instant(now), host: &node.host, log: &node.disk.logs[p] };
        let refusal = node.replicas[p].admit_produce(&cx, Acks::All).err();
        match outcome {
            Outcome::LookAgain if refusal == Some(Refusal::EpochEnds { epoch: held.epoch }) => {
                self.fail("Liveness", "a held request is let go while its epoch still ends".to_owned());
            }
            Outcome::LookAgain => {
                self.count("held until the next epoch");
                let producer = usize::try_from(held.value).ok().and_then(|index| self.clients.producers.get_mut(index));
                if let Some(Refusal::NotLeader { leader: Some(leader), .. }) = refusal
                    && let Some(producer) = producer
                {
                    producer.leader = usize::try_from(leader.get() - 1).unwrap_or(0);
                }
            }
            Outcome::TimedOut => self.count("held until its time was up"),
            Outcome::Safe | Outcome::LeadershipEnded | Outcome::WriteFailed => {
                self.fail("R1", format!("{outcome:?} is said of a request that nothing was appended for"));
            }
        }
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
        if let Some(until) = open.held {
            self.let_go(b, open, until, outcome);
            return;
        }
        let epoch = self.nodes[b].replicas[p].assignment().leader_epoch.max(open.epoch);
        match (outcome, open.acks) {
            (Outcome::Safe, Acks::All) => {
                self.count("acked all");
                self.checked(|world| world.truth[p].on_acked(epoch, open.at, open.value));
                self.on_safe(open.value);
            }
            (Outcome::Safe, Acks::Leader) => {
                self.count("acked by the leader");
                let log = &self.nodes[b].disk.logs[p];
                let durable = log.synced() > open.at && log.get(open.at).is_some_and(|r| r.value == open.value);
                if !durable {
                    self.fail("S1", format!("{} at {} is acknowledged but not durable", open.value, open.at));
                }
                let (now, id) = (self.now, self.nodes[b].id);
                self.checked(|world| world.truth[p].on_served(now, epoch, id));
            }
            (Outcome::TimedOut, _) => self.count("timed out"),
            (Outcome::LeadershipEnded, _) => self.count("leadership ended"),
            (Outcome::WriteFailed, _) => self.count("told that the write failed"),
            (Outcome::LookAgain, _) => self.fail("R1", "a request that was appended is told to come again".to_owned()),
        }
        debug_assert_eq!(open.partition, p, "answered for another partition");
    }

    /// A producer's record is safe: the next one.
    fn on_safe(&mut self, value: u64) {
        let (index, number) = producer_of(value);
        let producer = usize::try_from(index).ok().and_then(|index| self.clients.producers.get_mut(index));
        if let Some(producer) = producer.filter(|producer| producer.idempotent && producer.number == number) {
            producer.number += 1;
            producer.waits = None;
        }
    }

    /// Somebody reads a record from every broker that believes to lead, and asks for the high watermark.
    pub(crate) fn consume(&mut self) {
        // When everything has come right there is nothing new to read.
        let pause = if self.healed && self.now > QUIET_US { 300_000 } else { 15_000 };
        self.plan(pause, Action::Consume);
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
        let kept = at >= node.disk.logs[p].log_start();
        let record = self.nodes[b].disk.logs[p].get(at).copied();
        self.count("read");
        self.takes_part(b, p, "serves");
        self.checked(|world| world.truth[p].on_served(now, epoch, id));
        if kept {
            self.checked(|world| world.truth[p].on_read(id, epoch, at, record.as_ref()));
        }
        match shown {
            Some(end) => self.checked(|world| world.truth[p].on_shown(id, epoch, end)),
            None => self.count("watermark not shown after an election"),
        }
    }
}
