//! The world: time, the network, and the order in which things happen.
//!
//! Owns the queue of everything that is going to happen, and the one seed that decides it. Messages between replicas are
//! lost, repeated, delayed and reordered; streams to the controller keep their order (`streams.rs`). What is committed in
//! the store is judged at the moment at which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ottla_core::replica::{Ask, Lane, Message};
use ottla_core::types::{BrokerId, ControllerEpoch, Incarnation, Offset};

use crate::api::{Api, Call, Outcome};
use crate::client::{Clients, Producer};
use crate::committed::Snapshot;
use crate::log::{Producers, Record};
use crate::mutants::{Mutant, ShellRule};
use crate::node::{Clock, Node};
use crate::oracle::{Checked, Seen, Truth, Violation, check_brokers};
use crate::rng::Rng;
use crate::store::{Store, topic, topic_name};
use crate::story::Story;
use crate::streams::{Item, Stream};

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

/// What goes over the network, each message for itself. Node n is broker n.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Replica {
        partition: usize,
        message: Message,
        beside: Beside,
    },
    /// A broker finds the controller of that epoch silent, or hears it again.
    Silent {
        broker: BrokerId,
        epoch: ControllerEpoch,
        ages: BTreeMap<BrokerId, Duration>,
        heard_again: bool,
    },
}

/// What a process plans for itself.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    Heartbeat,
    Tick(usize),
    Flush {
        partition: usize,
        upto: Offset,
    },
    Cut {
        partition: usize,
        to: Offset,
        over: Option<Producers>,
    },
    Pump,
    Credit {
        to: BrokerId,
        records: u64,
    },
    /// The controller is looked for.
    Look,
    /// A time that the controller's machine asked for.
    Wake(u64),
    /// Registration, and being let in.
    Enroll,
    Question(usize, Ask),
    /// Whether a broker whose stream closed still takes connections.
    LookFor {
        broker: BrokerId,
        run: Incarnation,
        left: u32,
    },
    Stop {
        until: u64,
    },
}

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Deliver { from: usize, to: usize, payload: Payload },
    Local { node: usize, life: u64, what: Local },
    Start(usize),
    NoticeDeath(usize),
    Stream { id: u64, from: usize, seq: u64, item: Item },
    Reset { id: u64, end: usize },
    ApiArrives { node: usize, life: u64, call: Call, answered: bool },
    ApiAnswers { node: usize, life: u64, thread: usize, outcome: Outcome },
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
    Recover,
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
    /// Until then, connections to this node are refused, and it can make none to a controller.
    pub(crate) refusing: BTreeMap<usize, u64>,
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
    pub(crate) store: Store,
    pub(crate) api: Api,
    pub(crate) streams: BTreeMap<u64, Stream>,
    pub(crate) streams_opened: u64,
    /// The highest controller epoch that each disk has acted on.
    pub(crate) epochs: Vec<ControllerEpoch>,
    /// How many disks were emptied so far.
    pub(crate) directories: u64,
    pub(crate) minimum_asked_at: Option<u64>,
    mutant: Option<Mutant>,
    pub(crate) snapshot: Snapshot,
    pub(crate) truth: Vec<Truth>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) violation: Option<Violation>,
    pub(crate) healed: bool,
}

/// Until when there are faults, and how long everything has to come right afterwards. Microseconds.
const FAULTS_US: u64 = 24_000_000;
const HEALING_US: u64 = 12_000_000;
/// A broker that left ISRs again and again is let wait for a minute by the controller.
const HEALING_US_MAX: u64 = 100_000_000;

impl World {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, base: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let partitions = 2;
        let brokers = if rng.chance(250) { 5 } else { 3 };
        let replicas_each = if rng.chance(500) { brokers } else { 3 };
        let ids: Vec<BrokerId> = (1..=brokers).map(|id| BrokerId::new(i32::try_from(id).unwrap_or(0))).collect();
        let nodes: Vec<Node> = ids
            .iter()
            .map(|&id| Node::new(id, partitions, Clock::new(base, 995 + rng.within(0, 11)), mutant))
            .collect();
        let unclean = rng.chance(200);
        let min = if rng.chance(if unclean { 600 } else { 250 }) { 1 } else { 2 };
        let placed = |p: usize| {
            let mut replicas = ids.clone();
            replicas.rotate_left(p % ids.len().max(1));
            replicas.truncate(replicas_each);
            let shards = u32::try_from(partitions).unwrap_or(1);
            topic(p, topic_name(p, shards), replicas, min, unclean && p == 0)
        };
        let mut store = Store::new((0..partitions).map(placed).collect());
        store.compares = mutant != Some(Mutant::Shell(ShellRule::WritesCompare));
        let snapshot = Snapshot::of(&store, &Snapshot::default(), partitions);
        let mut world = Self {
            now: 0,
            planned: 0,
            queue: BTreeMap::new(),
            story: Story::default(),
            counts: BTreeMap::new(),
            epochs: vec![ControllerEpoch::default(); nodes.len()],
            nodes,
            store,
            api: Api::default(),
            streams: BTreeMap::new(),
            streams_opened: 0,
            directories: 0,
            minimum_asked_at: None,
            mutant,
            snapshot,
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
            if matches!(action, Action::End) && self.ends() {
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
                    // What has arrived meanwhile is older than any time that came.
                    Some(rest) if rest > 0 => self.plan(rest + 1, Action::Local { node, life, what }),
                    Some(_) | None => self.run_local(node, what),
                }
            }
            Action::Start(b) => self.start_node(b),
            Action::NoticeDeath(b) => self.notice_death(b),
            Action::Stream { id, from, seq, item } => self.stream_arrives(id, from, seq, item),
            Action::Reset { id, end } => self.end_reset(id, end),
            Action::ApiArrives { node, life, call, answered } => self.api_arrives(node, life, call, answered),
            Action::ApiAnswers { node, life, thread, outcome } => {
                if !self.alive(node, life) {
                    return;
                }
                match self.nodes[node].frozen_until.checked_sub(self.now) {
                    Some(rest) if rest > 0 => self.plan(rest, Action::ApiAnswers { node, life, thread, outcome }),
                    Some(_) | None => self.api_answers(node, thread, outcome),
                }
            }
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
            Action::Recover => self.recover(),
            Action::Heal => self.heal(),
            Action::End => {}
        }
    }

    /// Connections to a dead process are refused: every broker that can reach its machine finds out.
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
        if self.rng.chance(self.network.twice_per_mille) {
            let delay = self.rng.within(100, 5_000);
            self.plan(delay, Action::Deliver { from, to, payload: payload.clone() });
        }
        let now = self.now;
        let stalled = |node: usize| self.network.stalled.get(&node).is_some_and(|&until| until > now);
        if (stalled(from) || stalled(to)) && self.rng.chance(600) {
            let delay = self.rng.within(2_000, 3_000_000);
            self.plan(delay, Action::Deliver { from, to, payload });
            return;
        }
        let delay = self.delay(from, to, lane);
        self.plan(delay, Action::Deliver { from, to, payload });
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

    // --- what is committed ----------------------------------------------------------------------------------------

    /// A write has taken effect: it is judged at once.
    pub(crate) fn committed(&mut self) {
        let new = Snapshot::of(&self.store, &self.snapshot, self.truth.len());
        let old = std::mem::replace(&mut self.snapshot, new.clone());
        self.checked(|_| check_brokers(&old, &new));
        for p in 0..new.partitions.len() {
            self.judge_unclean(p, old.partitions.get(p), &new.partitions[p]);
        }
        self.judge_admitted(&old, &new);
        for p in 0..new.partitions.len() {
            self.judge_version(p, old.partitions.get(p));
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
            if !same && new.leader_id().is_some_and(|leader| old.elr.contains(&leader)) {
                self.count("elr election");
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

    /// Whether a rule of the brokers' shells is kept.
    pub(crate) fn holds(&self, rule: ShellRule) -> bool {
        self.mutant != Some(Mutant::Shell(rule))
    }

    /// Whether everything has come right; until it has, there is some more time.
    fn ends(&mut self) -> bool {
        let right = (0..self.truth.len()).try_for_each(|p| {
            let newest = &self.snapshot.partitions[p];
            self.truth[p].on_healed(newest, &self.seen(p))?;
            self.truth[p].on_settled(newest, &self.seen(p))
        });
        if let Err(violation) = right {
            if self.now < FAULTS_US + HEALING_US_MAX {
                self.plan(1_000_000, Action::End);
                return false;
            }
            self.fail(violation.invariant, violation.what);
        } else if self.clients.open() > 0 {
            let open = self.clients.open();
            self.fail("Liveness", format!("{open} produce requests are not answered"));
        }
        true
    }
}
