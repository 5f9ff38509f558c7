//! The world: time, the network, the controller's place in it, and the order in which things happen.
//!
//! Owns the queue of everything that is going to happen, and the one seed that decides it. Messages between brokers are
//! lost, repeated, delayed and reordered; those to and from the controller are lost and delayed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ottla_core::replica::{Altered, Ask, Lane, Message, Rules, View};
use ottla_core::types::{BrokerId, Incarnation, LeaderEpoch, Offset, PartitionEpoch};

use crate::client::{Clients, Producer};
use crate::controller::{Controller, Oracle, Snapshot, Start};
use crate::log::{Producers, Record};
use crate::node::{Clock, Node, describe};
use crate::oracle::{Checked, Seen, Truth, Violation, check_brokers};
use crate::rng::Rng;
use crate::story::Story;

/// What comes beside a message: the records of a push, the producers below the offset at which an answer says to start
/// over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) records: Vec<Record>,
    pub(crate) producers: Producers,
}

impl Beside {
    /// Nothing.
    pub(crate) const NONE: Self = Self { records: Vec::new(), producers: Producers::new() };
}

/// What goes over the network. Node 0 is the controller, node n is broker n.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Replica {
        partition: usize,
        message: Message,
        beside: Beside,
    },
    Register(Start),
    Registered {
        process: u64,
        run: Incarnation,
    },
    Heartbeat {
        run: Incarnation,
        sent: u64,
        view: View,
    },
    Answered {
        run: Incarnation,
        sent: u64,
        newest: View,
    },
    Fenced {
        run: Incarnation,
    },
    Drain {
        run: Incarnation,
    },
    Delta(Snapshot),
    Ask {
        run: Incarnation,
        partition: usize,
        ask: Ask,
    },
    Altered {
        run: Incarnation,
        partition: usize,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        outcome: Altered,
    },
}

/// What a process plans for itself.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    Heartbeat,
    Tick(usize),
    Flush { partition: usize, upto: Offset },
    Cut { partition: usize, to: Offset, over: Option<Producers> },
    Pump,
    Credit { to: BrokerId, records: u64 },
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Deliver { from: usize, to: usize, payload: Payload },
    Local { node: usize, life: u64, what: Local },
    Start(usize),
    NoticeDeath(usize),
    ControllerTick,
    Produce(usize),
    Consume,
    Fault,
    Unblock(usize, usize),
    TakenForDead(usize),
    Crash(usize),
    Restart(usize),
    Damage(usize),
    EmptyDisk(usize),
    SlowDisk(usize),
    Retain,
    Heal,
    End,
}

/// How bad the network is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    pub(crate) blocked: BTreeSet<(usize, usize)>,
    pub(crate) loss_per_mille: u64,
    pub(crate) twice_per_mille: u64,
    pub(crate) slow_per_mille: u64,
    /// Until then, what this node is told and says between brokers mostly arrives late.
    pub(crate) stalled: BTreeMap<usize, u64>,
    /// Until then, questions to the controller wait in a queue, each for itself.
    pub(crate) asks_slow_until: u64,
    /// When the last message of each connection arrives: the next one arrives later, unless it is delayed on purpose.
    last: BTreeMap<(usize, usize, Lane), u64>,
}

/// The whole cluster.
pub(crate) struct World {
    pub(crate) now: u64,
    planned: u64,
    pub(crate) queue: BTreeMap<(u64, u64), Action>,
    pub(crate) rng: Rng,
    pub(crate) story: Story,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) controller: Oracle,
    pub(crate) controller_down_until: u64,
    controller_ran: u64,
    pub(crate) snapshot: Snapshot,
    pub(crate) truth: Vec<Truth>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) violation: Option<Violation>,
    pub(crate) healed: bool,
}

/// Until when there are faults, and how long everything has to come right afterwards. Microseconds.
const FAULTS_US: u64 = 14_000_000;
const HEALING_US: u64 = 12_000_000;

impl World {
    pub(crate) fn new(seed: u64, rules: Rules, base: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let partitions = 2;
        let brokers = if rng.chance(250) { 5 } else { 3 };
        let replicas = if rng.chance(500) { brokers } else { 3 };
        let ids: Vec<BrokerId> = (1..=brokers).map(|id| BrokerId::new(i32::try_from(id).unwrap_or(0))).collect();
        let nodes =
            ids.iter().map(|&id| Node::new(id, partitions, Clock::new(base, 995 + rng.within(0, 11)), rules)).collect();
        let min = if rng.chance(250) { 1 } else { 2 };
        let mut controller = Oracle::new(partitions, &ids, replicas, min);
        if rng.chance(150) {
            controller.allow_unclean(0);
        }
        let mut world = Self {
            now: 0,
            planned: 0,
            queue: BTreeMap::new(),
            story: Story::default(),
            counts: BTreeMap::new(),
            nodes,
            controller,
            controller_down_until: 0,
            controller_ran: 0,
            snapshot: Snapshot::default(),
            truth: vec![Truth::default(); partitions],
            network: Network { loss_per_mille: 2, twice_per_mille: 10, slow_per_mille: 10, ..Network::default() },
            clients: Clients::default(),
            violation: None,
            healed: false,
            rng,
        };
        if brokers > 3 {
            world.count("five brokers");
        }
        for b in 0..brokers {
            world.plan(0, Action::Start(b));
        }
        for producer in 0..5 {
            world.clients.producers.push(Producer::new(producer % partitions, producer > 2));
            world.plan(500_000, Action::Produce(producer));
        }
        world.plan(0, Action::ControllerTick);
        world.plan(600_000, Action::Consume);
        world.plan(1_000_000, Action::Fault);
        world.plan(1_500_000, Action::Retain);
        world.plan(FAULTS_US, Action::Heal);
        world.plan(FAULTS_US + HEALING_US, Action::End);
        world
    }

    /// Until the end, or until an invariant is broken.
    pub(crate) fn run(&mut self) {
        while let Some(((at, _), action)) = self.queue.pop_first() {
            self.now = at;
            if matches!(action, Action::End) {
                self.check_healed();
                return;
            }
            self.happen(action);
            if self.violation.is_some() {
                return;
            }
        }
    }

    pub(crate) fn plan(&mut self, delay: u64, action: Action) {
        self.planned += 1;
        self.queue.insert((self.now + delay, self.planned), action);
    }

    fn happen(&mut self, action: Action) {
        match action {
            Action::Deliver { from, to: 0, payload } => self.controller_hears(from, payload),
            Action::Deliver { from, to, payload } => {
                let b = to - 1;
                if !self.nodes[b].up {
                    return;
                }
                match self.nodes[b].frozen_until.checked_sub(self.now) {
                    Some(rest) if rest > 0 => self.plan(rest, Action::Deliver { from, to, payload }),
                    Some(_) | None => self.receive(b, from, payload),
                }
            }
            Action::Local { node, life, what } => {
                if !self.alive(node, life) {
                    return;
                }
                match self.nodes[node].frozen_until.checked_sub(self.now) {
                    Some(rest) if rest > 0 => self.plan(rest, Action::Local { node, life, what }),
                    Some(_) | None => self.run_local(node, what),
                }
            }
            Action::Start(b) => self.start_node(b),
            Action::NoticeDeath(b) => self.notice_death(b),
            Action::ControllerTick => self.controller_ticks(),
            Action::Produce(producer) => self.produce(producer),
            Action::Consume => self.consume(),
            Action::Fault => self.inject_fault(),
            Action::Unblock(from, to) => {
                self.network.blocked.remove(&(from, to));
            }
            Action::TakenForDead(b) => self.reset(b),
            Action::Crash(b) => self.crash_now(b),
            Action::Restart(b) => self.restart(b),
            Action::Damage(b) => self.die_damaged(b),
            Action::SlowDisk(b) => self.slow_disk(b),
            Action::EmptyDisk(b) => self.empty_disk(b),
            Action::Retain => self.retain(),
            Action::Heal => self.heal(),
            Action::End => {}
        }
    }

    /// Connections to a dead process are refused: by every broker that can reach its machine, and by the controller.
    fn notice_death(&mut self, b: usize) {
        if self.nodes[b].up {
            return;
        }
        let id = self.nodes[b].id;
        for other in 0..self.nodes.len() {
            let reaches = !self.network.blocked.contains(&(other + 1, b + 1));
            let awake = self.nodes[other].runs() && self.nodes[other].frozen_until <= self.now;
            for p in 0..self.truth.len() {
                if reaches && awake && self.nodes[other].runs() {
                    self.loop_runs(other);
                    self.step(other, p, ottla_core::replica::Event::PeerRefused(id), &Beside::NONE);
                }
            }
        }
        if !self.network.blocked.contains(&(0, b + 1)) && self.controller_down_until <= self.now {
            self.controller.refused(id);
            self.after_controller();
        }
    }

    // --- the network ----------------------------------------------------------------------------------------------

    pub(crate) fn send(&mut self, from: usize, to: usize, payload: Payload) {
        self.send_on(from, to, Lane::Live, payload);
    }

    fn send_on(&mut self, from: usize, to: usize, lane: Lane, payload: Payload) {
        let lost = self.network.blocked.contains(&(from, to)) || self.rng.chance(self.network.loss_per_mille);
        if lost {
            self.count("message lost");
            return;
        }
        if from != 0 && to != 0 && self.rng.chance(self.network.twice_per_mille) {
            let delay = self.rng.within(100, 5_000);
            self.plan(delay, Action::Deliver { from, to, payload: payload.clone() });
        }
        let now = self.now;
        let stalled = |node: usize| self.network.stalled.get(&node).is_some_and(|&until| until > now);
        if from != 0 && to != 0 && (stalled(from) || stalled(to)) && self.rng.chance(600) {
            let delay = self.rng.within(2_000, 3_000_000);
            self.plan(delay, Action::Deliver { from, to, payload });
            return;
        }
        let asks = matches!(payload, Payload::Ask { .. }) && self.network.asks_slow_until > self.now;
        let queued = if asks && self.rng.chance(850) { self.rng.within(0, 2_500_000) } else { 0 };
        let delay = self.delay(from, to, lane);
        self.plan(delay + queued, Action::Deliver { from, to, payload });
    }

    /// Connections keep their order, but for messages that are much delayed: those come from an earlier connection.
    fn delay(&mut self, from: usize, to: usize, lane: Lane) -> u64 {
        if self.rng.chance(self.network.slow_per_mille) {
            let longest = if self.rng.chance(200) { 3_000_000 } else { 100_000 };
            return self.rng.within(2_000, longest);
        }
        let at = self.now + self.rng.within(100, 1_500);
        let last = self.network.last.entry((from, to, lane)).or_default();
        *last = at.max(*last + 1);
        *last - self.now
    }

    pub(crate) fn send_replica(
        &mut self,
        b: usize,
        to: BrokerId,
        partition: usize,
        message: Message,
        beside: Beside,
        lane: Lane,
    ) {
        let to = usize::try_from(to.get()).unwrap_or(0);
        self.send_on(b + 1, to, lane, Payload::Replica { partition, message, beside });
    }

    // --- the controller -------------------------------------------------------------------------------------------

    fn controller_hears(&mut self, from: usize, payload: Payload) {
        if let Some(rest) = self.controller_down_until.checked_sub(self.now).filter(|&rest| rest > 0) {
            self.plan(rest, Action::Deliver { from, to: 0, payload });
            return;
        }
        let broker = self.nodes[from - 1].id;
        match payload {
            // Its stream is closed: a registration that is read late would take the newer run's directory for an old one.
            Payload::Register(start) if start.process != self.nodes[from - 1].life => {}
            Payload::Register(start) => {
                let run = self.controller.register(self.now, broker, start);
                self.after_controller();
                self.send(0, from, Payload::Registered { process: start.process, run });
                let snapshot = self.snapshot.clone();
                self.send(0, from, Payload::Delta(snapshot));
            }
            Payload::Heartbeat { run, sent, view } => {
                if !self.controller.heartbeat(self.now, broker, run, view) {
                    self.send(0, from, Payload::Fenced { run });
                    return;
                }
                self.after_controller();
                if view < self.snapshot.view {
                    let snapshot = self.snapshot.clone();
                    self.send(0, from, Payload::Delta(snapshot));
                }
                let newest = self.snapshot.view;
                self.send(0, from, Payload::Answered { run, sent, newest });
            }
            // Not any more, if it comes late: nobody would stop the broker.
            Payload::Drain { .. } if self.healed => {}
            Payload::Drain { run } => {
                self.controller.drain(broker, run);
                self.after_controller();
            }
            Payload::Ask { run, partition, ask } => {
                let outcome = self.controller.ask(broker, run, partition, &ask);
                self.after_controller();
                if let (Some(outcome), Ask::Alter(alter)) = (outcome, ask) {
                    let what = describe(&outcome);
                    self.story.tell(self.now, format_args!("controller: p{partition} {:?} is {what}", alter.isr));
                    let (leader_epoch, partition_epoch) = (alter.leader_epoch, alter.partition_epoch);
                    let answer = Payload::Altered { run, partition, leader_epoch, partition_epoch, outcome };
                    self.send(0, from, answer);
                }
            }
            Payload::Replica { .. }
            | Payload::Registered { .. }
            | Payload::Answered { .. }
            | Payload::Fenced { .. }
            | Payload::Delta(_)
            | Payload::Altered { .. } => {}
        }
    }

    fn controller_ticks(&mut self) {
        self.plan(50_000, Action::ControllerTick);
        if self.controller_down_until > self.now {
            return;
        }
        let late = (self.now - self.controller_ran).saturating_sub(100_000);
        self.controller.tick(self.now, late);
        self.controller_ran = self.now;
        self.after_controller();
    }

    /// Whatever the controller has committed is judged, told and published.
    pub(crate) fn after_controller(&mut self) {
        let new = self.controller.snapshot();
        if new.view == self.snapshot.view {
            return;
        }
        let old = std::mem::replace(&mut self.snapshot, new.clone());
        self.checked(|_| check_brokers(&old, &new));
        for p in 0..new.partitions.len() {
            self.judge_unclean(p, old.partitions.get(p), &new.partitions[p]);
        }
        self.judge_admitted(&old, &new);
        for p in 0..new.partitions.len() {
            self.judge_version(p, old.partitions.get(p));
        }
        for b in 0..self.nodes.len() {
            self.send(0, b + 1, Payload::Delta(new.clone()));
        }
    }

    fn judge_version(&mut self, p: usize, old: Option<&ottla_core::replica::Assignment>) {
        let new = self.snapshot.partitions[p].clone();
        if old == Some(&new) {
            return;
        }
        let (leader, epoch, version) = (new.leader_id(), new.leader_epoch, new.partition_epoch);
        let (isr, elr) = (&new.isr, &new.elr);
        self.story.tell(
            self.now,
            format_args!("p{p} version {version}: leader {leader:?} epoch {epoch} isr {isr:?} elr {elr:?}"),
        );
        self.checked(|world| world.truth[p].on_version(&new));
        self.checked(|world| world.truth[p].on_members(&new, &world.seen(p)));
        if let Some(old) = old {
            let same = old.leader_epoch == new.leader_epoch;
            if same && new.isr.len() > old.isr.len() {
                self.count("isr expand");
            }
            if same && new.isr.len() < old.isr.len() {
                self.count("isr shrink");
            }
            let tail = |node: &Node| node.disk.logs[p].end() > self.truth[p].watermark();
            if !same && new.leader != old.leader && self.nodes.iter().any(tail) {
                self.count("election with an unacked tail");
            }
        }
        self.judge_members(p, old, &new);
    }

    // --- judging --------------------------------------------------------------------------------------------------

    pub(crate) fn seen(&self, p: usize) -> Vec<Seen<'_>> {
        self.nodes.iter().map(|node| self.seen_one(node, p)).collect()
    }

    pub(crate) fn seen_one<'a>(&self, node: &'a Node, p: usize) -> Seen<'a> {
        let registered = node.runs() && !node.disk.logs[p].suspect;
        let current = self.snapshot.peers.get(&node.id).is_some_and(|peer| peer.incarnation == node.disk.run);
        Seen { id: node.id, registered: registered && current, log: &node.disk.logs[p] }
    }

    pub(crate) fn checked(&mut self, check: impl FnOnce(&mut Self) -> Checked) {
        if let Err(violation) = check(self) {
            self.fail(violation.invariant, violation.what);
        }
    }

    pub(crate) fn fail(&mut self, invariant: &'static str, what: String) {
        self.story.tell(self.now, format_args!("BROKEN {invariant}: {what}"));
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn check_healed(&mut self) {
        let elr = self.controller.elr_elections();
        *self.counts.entry("elr election").or_default() += elr;
        for p in 0..self.truth.len() {
            let newest = self.snapshot.partitions[p].clone();
            self.checked(|world| world.truth[p].on_healed(&newest, &world.seen(p)));
            self.checked(|world| world.truth[p].on_settled(&newest, &world.seen(p)));
        }
        if self.clients.open() > 0 {
            let open = self.clients.open();
            self.fail("Liveness", format!("{open} produce requests are not answered"));
        }
    }
}
