//! A simulated broker: a process that lives and dies, a disk that outlives it, and the shell around its replicas.
//!
//! Owns the shell's part: every effect is performed in order, and a process may die between any two. What the real shell
//! persists before it acts (metadata, runs, cuts) is persisted here too. It decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ottla_core::replica::{
    Altered, Answer, Ask, Context, Effect, Event, Host, Lane, LogView, Message, Note, Outcome, ProduceId, Replica,
    Rule, Rules, Settings, Verdict, Window,
};
use ottla_core::types::{BrokerId, Incarnation, Offset, PartitionIndex, TopicId, TopicPartition};

use crate::controller::{Snapshot, Start};
use crate::log::{Producers, SimLog};
use crate::world::{Action, Beside, Local, Payload, World};

/// A loop that stood still for longer is late. Microseconds.
const LATE_US: u64 = 400_000;
const HEARTBEAT_US: u64 = 250_000;

/// One broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: BrokerId,
    pub(crate) up: bool,
    /// Counts processes: what a dead one had planned does not happen.
    pub(crate) life: u64,
    pub(crate) registered: bool,
    pub(crate) host: Host,
    pub(crate) replicas: Vec<Replica>,
    ticks: Vec<Option<u64>>,
    flushing: Vec<bool>,
    pub(crate) ready: BTreeSet<(BrokerId, usize)>,
    pub(crate) windows: BTreeMap<BrokerId, Window>,
    pub(crate) frozen_until: u64,
    /// What came while it stood still is looked at then, though it may go on earlier.
    pub(crate) late_until: u64,
    last_loop: u64,
    /// Dies after so many effects.
    pub(crate) dies_after: Option<u32>,
    pub(crate) disk: Disk,
    /// A copy of the disk, for somebody to put back one day.
    pub(crate) copy: Option<Disk>,
    clock: Clock,
}

/// What outlives a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) logs: Vec<SimLog>,
    pub(crate) watermarks: Vec<Offset>,
    pub(crate) snapshot: Snapshot,
    /// The last run that was registered.
    pub(crate) run: Incarnation,
    pub(crate) fails: BTreeSet<usize>,
    pub(crate) slow_until: u64,
}

/// A clock with its own zero and its own speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    per_mille: u64,
}

impl Clock {
    pub(crate) fn new(base: Instant, per_mille: u64) -> Self {
        Self { base, per_mille }
    }

    fn at(self, now: u64) -> Instant {
        self.base + Duration::from_micros(now * self.per_mille / 1000)
    }

    fn micros(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX)
    }

    fn moment(self, micros: u64) -> Instant {
        self.base + Duration::from_micros(micros)
    }

    /// The first moment of the world at which this clock shows `at` or more.
    fn world(self, at: Instant) -> u64 {
        self.micros(at).saturating_mul(1000).div_ceil(self.per_mille)
    }
}

/// Shorter than in a cluster, so that everything happens within one run.
pub(crate) fn settings() -> Settings {
    Settings {
        lag_max: Duration::from_millis(1500),
        rejoin_max: Duration::from_secs(4),
        handover_interval: Duration::from_secs(10),
        ..Settings::default()
    }
}

impl Node {
    pub(crate) fn new(id: BrokerId, partitions: usize, clock: Clock, rules: Rules) -> Self {
        let disk = Disk {
            logs: vec![SimLog::default(); partitions],
            watermarks: vec![Offset::default(); partitions],
            ..Disk::default()
        };
        Self {
            id,
            up: false,
            life: 0,
            registered: false,
            host: Host::new(id, Incarnation::default(), settings(), rules, clock.at(0)),
            replicas: Vec::new(),
            ticks: vec![None; partitions],
            flushing: vec![false; partitions],
            ready: BTreeSet::new(),
            windows: BTreeMap::new(),
            frozen_until: 0,
            late_until: 0,
            last_loop: 0,
            dies_after: None,
            disk,
            copy: None,
            clock,
        }
    }

    /// Whether it takes part: it lives, and knows which run it is.
    pub(crate) fn runs(&self) -> bool {
        self.up && self.registered
    }

    pub(crate) fn instant(&self, now: u64) -> Instant {
        self.clock.at(now)
    }
}

/// The partition of an index.
fn partition_id(index: usize) -> TopicPartition {
    let index = i32::try_from(index).unwrap_or(0);
    TopicPartition::new(TopicId::from_bytes([1; 16]), PartitionIndex::new(index))
}

impl World {
    /// A process starts; it is nobody before the controller has told it which run it is.
    pub(crate) fn start_node(&mut self, b: usize) {
        let node = &mut self.nodes[b];
        if node.up {
            return;
        }
        node.up = true;
        node.life += 1;
        node.registered = false;
        node.last_loop = self.now;
        node.frozen_until = 0;
        node.dies_after = None;
        node.ready.clear();
        node.windows.clear();
        node.ticks.fill(None);
        node.flushing.fill(false);
        let life = node.life;
        self.plan(1000, Action::Local { node: b, life, what: Local::Heartbeat });
    }

    /// It is that run now: written down first, then it takes up what its disk holds.
    fn begin_run(&mut self, b: usize, run: Incarnation) {
        let now = self.now;
        let node = &mut self.nodes[b];
        node.disk.run = run;
        node.registered = true;
        node.host = Host::new(node.id, run, settings(), node.host.rules, node.clock.at(now));
        let replica = |p: usize| {
            let log = &node.disk.logs[p];
            Replica::new(partition_id(p), log.synced(), node.disk.watermarks[p].max(log.log_start()))
        };
        node.replicas = (0..node.disk.logs.len()).map(replica).collect();
        self.story.tell(now, format_args!("broker {} is run {run}", b + 1));
        let persisted = self.nodes[b].disk.snapshot.clone();
        let life = self.nodes[b].life;
        for p in 0..self.truth.len() {
            // What was found stays written down until the log has started over.
            if self.alive(b, life) && self.nodes[b].disk.logs[p].suspect {
                self.count("suspect at the start");
                self.step(b, p, Event::LogSuspect, &Beside::NONE);
            }
        }
        if self.alive(b, life) {
            self.apply_snapshot(b, persisted);
        }
    }

    /// A process dies: what was not synced is gone, except for some first part of it.
    pub(crate) fn kill_node(&mut self, b: usize, why: &str) {
        if !self.nodes[b].up {
            return;
        }
        let id = self.nodes[b].id;
        self.story.tell(self.now, format_args!("broker {id} dies: {why}"));
        self.count("crash");
        let unacked = (0..self.truth.len()).any(|p| self.nodes[b].disk.logs[p].end() > self.truth[p].watermark());
        if unacked {
            self.count("crash with an unacked tail");
        }
        let node = &mut self.nodes[b];
        node.up = false;
        node.registered = false;
        node.life += 1;
        node.replicas.clear();
        for log in &mut node.disk.logs {
            log.crash(&mut self.rng);
        }
        let delay = self.rng.within(50_000, 400_000);
        self.plan(delay, Action::NoticeDeath(b));
    }

    /// Something that the process itself planned, or that reached it.
    pub(crate) fn run_local(&mut self, b: usize, what: Local) {
        self.loop_runs(b);
        match what {
            Local::Heartbeat => self.beat(b),
            Local::Tick(p) => {
                let life = self.nodes[b].life;
                self.nodes[b].ticks[p] = None;
                self.step(b, p, Event::Tick, &Beside::NONE);
                if self.alive(b, life) {
                    self.check_rest(b, p);
                }
            }
            Local::Flush { partition, upto } => self.flushed(b, partition, upto),
            Local::Cut { partition, to, over } => {
                match over {
                    Some(producers) => self.start_over(b, partition, to, producers),
                    None => self.nodes[b].disk.logs[partition].truncate(to),
                }
                let node = &mut self.nodes[b];
                node.disk.watermarks[partition] = node.disk.watermarks[partition].min(to);
                self.step(b, partition, Event::Truncated(to), &Beside::NONE);
            }
            Local::Pump => self.pump(b),
            Local::Credit { to, records } => {
                if let Some(window) = self.nodes[b].windows.get_mut(&to) {
                    window.on_returned(records);
                }
                self.pump(b);
            }
        }
    }

    /// The hash of what lies below is for oracles: that of the leader, for nobody else can say.
    fn start_over(&mut self, b: usize, p: usize, at: Offset, producers: Producers) {
        let leader = self.nodes[b].replicas[p].assignment().leader_id();
        let leader = self.nodes.iter().find(|node| Some(node.id) == leader);
        let known = leader.and_then(|leader| leader.disk.logs[p].prefix(at));
        let before = known.unwrap_or_else(|| self.truth[p].prefix_at(at));
        self.nodes[b].disk.logs[p].start_over(at, before, producers);
    }

    /// What is on its way to the disk never arrives.
    pub(crate) fn forget_flushes(&mut self, b: usize, p: usize) {
        self.queue.retain(|_, action| {
            !matches!(action, Action::Local { node, what: Local::Flush { partition, .. }, .. }
                if *node == b && *partition == p)
        });
        self.nodes[b].flushing[p] = false;
    }

    pub(crate) fn loop_runs(&mut self, b: usize) {
        let now = self.now;
        let node = &mut self.nodes[b];
        if now - node.last_loop > LATE_US {
            let at = node.clock.at(now);
            node.host.on_late_loop(at);
            self.count("late loop");
        }
        self.nodes[b].last_loop = now;
    }

    fn beat(&mut self, b: usize) {
        let node = &mut self.nodes[b];
        let (life, run) = (node.life, node.disk.run);
        let at = node.clock.at(self.now);
        let payload = if node.registered {
            Payload::Heartbeat { run, sent: node.clock.micros(at), view: node.disk.snapshot.view }
        } else {
            Payload::Register(Start { previous: run, process: life })
        };
        let solicit = node.registered && node.host.should_solicit(at);
        self.send(b + 1, 0, payload);
        self.plan(HEARTBEAT_US, Action::Local { node: b, life, what: Local::Heartbeat });
        for p in 0..self.truth.len() {
            if solicit && self.alive(b, life) {
                self.step(b, p, Event::Solicit, &Beside::NONE);
            }
        }
    }

    fn flushed(&mut self, b: usize, p: usize, upto: Offset) {
        let life = self.nodes[b].life;
        self.nodes[b].flushing[p] = false;
        if self.nodes[b].disk.fails.remove(&p) {
            let lost = self.nodes[b].disk.logs[p].drop_unsynced();
            let end = self.nodes[b].disk.logs[p].end();
            self.story.tell(self.now, format_args!("broker {} fails to write {lost} records of p{p}", b + 1));
            self.count("failed write");
            self.step(b, p, Event::WriteFailed(end), &Beside::NONE);
        } else {
            self.nodes[b].disk.logs[p].sync(upto);
            if self.rng.chance(100) {
                self.nodes[b].disk.watermarks[p] = self.nodes[b].replicas[p].high_watermark();
            }
            self.step(b, p, Event::Flushed(upto), &Beside::NONE);
        }
        if self.alive(b, life) {
            self.flush_more(b, p);
        }
    }

    pub(crate) fn alive(&self, b: usize, life: u64) -> bool {
        self.nodes[b].up && self.nodes[b].life == life
    }

    /// One flush at a time covers everything that was appended before it began.
    pub(crate) fn flush_more(&mut self, b: usize, p: usize) {
        let node = &mut self.nodes[b];
        let (end, synced) = (node.disk.logs[p].end(), node.disk.logs[p].synced());
        if node.flushing[p] || end == synced {
            return;
        }
        node.flushing[p] = true;
        let slow = node.disk.slow_until > self.now;
        let life = node.life;
        let delay = if slow { self.rng.within(400_000, 1_500_000) } else { self.rng.within(300, 4_000) };
        self.plan(delay, Action::Local { node: b, life, what: Local::Flush { partition: p, upto: end } });
    }

    pub(crate) fn apply_snapshot(&mut self, b: usize, snapshot: Snapshot) {
        let life = self.nodes[b].life;
        let newer = snapshot.view >= self.nodes[b].disk.snapshot.view;
        let changed = self.nodes[b].disk.snapshot.peers != snapshot.peers;
        if newer {
            self.nodes[b].disk.snapshot = snapshot.clone();
            for (&id, &peer) in &snapshot.peers {
                self.nodes[b].host.on_peer(id, peer);
            }
        }
        for (p, assignment) in snapshot.partitions.into_iter().enumerate() {
            if !self.alive(b, life) {
                return;
            }
            self.step(b, p, Event::Assigned(assignment), &Beside::NONE);
            if newer && changed && self.alive(b, life) {
                self.step(b, p, Event::PeersChanged, &Beside::NONE);
            }
        }
        if newer && self.alive(b, life) {
            self.nodes[b].host.on_view(snapshot.view);
        }
    }

    /// A message reached a running process.
    pub(crate) fn receive(&mut self, b: usize, from: usize, payload: Payload) {
        self.loop_runs(b);
        match payload {
            Payload::Registered { process, run } => {
                if process == self.nodes[b].life && !self.nodes[b].registered {
                    self.begin_run(b, run);
                }
            }
            // Whatever else comes before it knows its run is not for it.
            _ if !self.nodes[b].registered => {}
            Payload::Replica { partition, message, beside } => {
                let from = self.nodes[from - 1].id;
                self.step(b, partition, Event::Received { from, message }, &beside);
            }
            Payload::Answered { run, sent, newest } if run == self.nodes[b].disk.run => {
                let node = &mut self.nodes[b];
                let sent = node.clock.moment(sent);
                node.host.on_controller_answer(sent, newest);
            }
            Payload::Delta(snapshot) => self.apply_snapshot(b, snapshot),
            Payload::Altered { run, partition, leader_epoch, partition_epoch, outcome }
                if run == self.nodes[b].disk.run =>
            {
                self.write_down(b, partition, &outcome);
                let event = Event::Altered { leader_epoch, partition_epoch, outcome };
                self.step(b, partition, event, &Beside::NONE);
            }
            Payload::Fenced { run } if run == self.nodes[b].disk.run => {
                self.kill_node(b, "another run is registered");
                self.plan(50_000, Action::Start(b));
            }
            Payload::Answered { .. }
            | Payload::Altered { .. }
            | Payload::Fenced { .. }
            | Payload::Register(_)
            | Payload::Heartbeat { .. }
            | Payload::Drain { .. }
            | Payload::Ask { .. } => {}
        }
    }

    /// Metadata is durable before it is acted on, whichever way it came.
    fn write_down(&mut self, b: usize, p: usize, outcome: &Altered) {
        let known = &mut self.nodes[b].disk.snapshot.partitions;
        if let Altered::Done(new) = outcome
            && let Some(old) = known.get_mut(p).filter(|old| old.partition_epoch < new.partition_epoch)
        {
            old.clone_from(new);
        }
    }

    /// One event of one partition, with everything that follows at once. `beside` came with it.
    pub(crate) fn step(&mut self, b: usize, p: usize, event: Event, beside: &Beside) {
        let life = self.nodes[b].life;
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.now;
            let node = &mut self.nodes[b];
            let cx = Context { now: node.clock.at(now), host: &node.host, log: &node.disk.logs[p] };
            let mut effects = Vec::new();
            node.replicas[p].step(&cx, event, &mut effects);
            for effect in effects {
                if self.dies_now(b) || self.violation.is_some() {
                    return;
                }
                self.perform(b, p, effect, beside, &mut events);
                if !self.alive(b, life) {
                    return;
                }
            }
        }
        self.check_beliefs(b, p);
        self.plan_tick(b, p);
    }

    fn dies_now(&mut self, b: usize) -> bool {
        match &mut self.nodes[b].dies_after {
            Some(0) => {
                self.kill_node(b, "between two effects");
                let delay = self.rng.within(50_000, 2_000_000);
                self.plan(delay, Action::Start(b));
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn plan_tick(&mut self, b: usize, p: usize) {
        let node = &self.nodes[b];
        let Some(deadline) = node.replicas[p].deadline(&node.host) else { return };
        let at = node.clock.world(deadline).max(self.now + 1);
        if node.ticks[p].is_some_and(|planned| planned <= at) {
            return;
        }
        let life = node.life;
        self.nodes[b].ticks[p] = Some(at);
        self.plan(at - self.now, Action::Local { node: b, life, what: Local::Tick(p) });
    }

    fn perform(&mut self, b: usize, p: usize, effect: Effect, beside: &Beside, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Send { to, message } => {
                if matches!(message, Message::Ack(_)) {
                    self.takes_part(b, p, "acknowledges");
                }
                let beside = self.beside(b, p, &message);
                self.send_replica(b, to, p, message, beside, Lane::Live);
            }
            Effect::Ready(to) => {
                self.nodes[b].ready.insert((to, p));
                let life = self.nodes[b].life;
                let delay = self.rng.within(10, 800);
                self.plan(delay, Action::Local { node: b, life, what: Local::Pump });
            }
            Effect::Push { to, push, lane } => self.push(b, to, p, push, lane, events),
            Effect::BeginEpoch(epoch) => self.leads(b, p, epoch),
            Effect::Append { base, .. } => {
                for (at, record) in (base.get()..).zip(&beside.records) {
                    self.append(b, p, Offset::new(at), record.epoch, record.value);
                }
                self.flush_more(b, p);
            }
            Effect::Truncate(to) => self.cut(b, p, to, None),
            Effect::StartOver(to) => self.cut(b, p, to, Some(beside.producers.clone())),
            Effect::RemoveBelow(start) => self.remove_below(b, p, start),
            Effect::Ask(ask) => self.ask(b, p, ask),
            Effect::Answer(id, outcome) => self.answer(b, p, id, outcome),
            Effect::HighWatermark(end) => {
                let node = &mut self.nodes[b];
                if !node.replicas[p].is_leader() {
                    node.disk.watermarks[p] = node.disk.watermarks[p].min(end);
                }
                self.watermark_moved(b, p, end);
            }
            Effect::Noted(note) => self.noted(b, p, note),
        }
    }

    /// What goes out beside a message: who starts over is told which producers are known below (T1).
    fn beside(&self, b: usize, p: usize, message: &Message) -> Beside {
        match message {
            Message::Answer(Answer { verdict: Verdict::StartOver(at), .. })
                if self.nodes[b].host.rules.hold(Rule::ProducersComeAlong) =>
            {
                Beside { producers: self.nodes[b].disk.logs[p].producers(*at), ..Beside::NONE }
            }
            Message::Answer(_) | Message::Open(_) | Message::Push(_) | Message::Ack(_) => Beside::NONE,
        }
    }

    /// What the leader has removed goes here too.
    fn remove_below(&mut self, b: usize, p: usize, start: Offset) {
        let node = &mut self.nodes[b];
        node.disk.logs[p].remove_below(start);
        node.disk.watermarks[p] = node.disk.watermarks[p].max(start);
        let (id, epoch) = (node.id, node.replicas[p].assignment().leader_epoch);
        self.story.tell(self.now, format_args!("broker {id} removes p{p} below {start}, as its leader has"));
        self.count("removed as the leader has");
        self.checked(|world| world.truth[p].on_removed(id, epoch, start));
    }

    fn cut(&mut self, b: usize, p: usize, to: Offset, over: Option<Producers>) {
        let id = self.nodes[b].id;
        let end = self.nodes[b].disk.logs[p].end();
        self.story.tell(self.now, format_args!("broker {id} cuts p{p} from {end} to {to}"));
        self.count(if over.is_some() { "start over" } else { "truncation" });
        if over.is_none() {
            let epoch = self.nodes[b].replicas[p].assignment().leader_epoch;
            self.checked(|world| world.truth[p].on_cut(epoch, world.seen_one(&world.nodes[b], p), to));
        }
        let life = self.nodes[b].life;
        let delay = self.rng.within(300, 3_000);
        self.forget_flushes(b, p);
        self.plan(delay, Action::Local { node: b, life, what: Local::Cut { partition: p, to, over } });
    }

    fn ask(&mut self, b: usize, p: usize, ask: Ask) {
        self.story.tell(self.now, format_args!("broker {} asks about p{p}: {ask:?}", b + 1));
        let run = self.nodes[b].disk.run;
        self.send(b + 1, 0, Payload::Ask { run, partition: p, ask });
    }

    fn noted(&mut self, b: usize, p: usize, note: Note) {
        self.count(match note {
            Note::StaleIgnored => "stale message ignored",
            Note::StaleAckIgnored => "stale ack ignored",
            Note::StaleAssignment => "stale assignment ignored",
            Note::Gap => "gap",
            Note::Settling => "settling a change",
            Note::Unconfirmed => "answer held: unconfirmed",
            Note::HandedOver => "slow leader hands over",
            Note::Held => "held while an epoch ends",
            Note::CutRefused => "cut refused",
        });
        if note == Note::CutRefused {
            let what = format!("broker {} is told to cut p{p} below its high watermark", b + 1);
            self.fail("R8", what);
        }
    }

    fn answer(&mut self, b: usize, p: usize, id: ProduceId, outcome: Outcome) {
        self.client_answered(b, p, id, outcome);
    }
}

/// Keeps the names of what an answer may be in one place.
pub(crate) fn describe(outcome: &Altered) -> &'static str {
    match outcome {
        Altered::Done(_) => "committed",
        Altered::Outdated => "outdated",
        Altered::Ineligible => "ineligible",
    }
}
