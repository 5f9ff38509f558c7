//! A simulated broker: a process that lives and dies, a disk that outlives it, and the shell around its replicas.
//!
//! Owns the shell's part: every effect is performed in order, and a process may die between any two. What the real shell
//! persists before it acts (metadata, runs, cuts) is persisted here too. It decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ottla_core::controller::{Document, DocumentId, SessionId, rules};
use ottla_core::metadata::Image;
use ottla_core::replica::{
    Answer, Ask, Context, Effect, Event, Host, Lane, Message, Note, Outcome, ProduceId, Replica, Rule, Rules, Settings,
    Verdict, Window,
};
use ottla_core::types::{BrokerId, Incarnation, Offset, PartitionIndex, TopicPartition};

use crate::control::Control;
use crate::log::{Producers, SimLog};
use crate::mutants::Mutant;
use crate::store::topic_id;
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
    /// Its controller, and its line to others'; while it lives.
    pub(crate) control: Option<Control>,
    /// The metadata in force.
    pub(crate) image: Image,
    /// Which replicas have been given an assignment.
    pub(crate) began: Vec<bool>,
    rules: rules::Rules,
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
    pub(crate) clock: Clock,
}

/// What outlives a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) logs: Vec<SimLog>,
    pub(crate) watermarks: Vec<Offset>,
    /// Which directory it is.
    pub(crate) directory: u64,
    /// The last run that was registered.
    pub(crate) run: Incarnation,
    /// The last run of this broker that was let in, on whatever disk: for whoever chooses faults.
    pub(crate) served: Incarnation,
    /// How much was ever synced: the position of the journal.
    pub(crate) synced: u64,
    /// The newest metadata that was acted on.
    pub(crate) copies: BTreeMap<DocumentId, Document>,
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

    pub(crate) fn at(self, now: u64) -> Instant {
        self.base + Duration::from_micros(now * self.per_mille / 1000)
    }

    fn micros(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX)
    }

    /// The first moment of the world at which this clock shows `at` or more.
    pub(crate) fn world(self, at: Instant) -> u64 {
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
    pub(crate) fn new(id: BrokerId, partitions: usize, clock: Clock, mutant: Option<Mutant>) -> Self {
        let rules = match mutant {
            Some(Mutant::Replica(rule)) => Rules::without(rule),
            Some(Mutant::Controller(_) | Mutant::Shell(_)) | None => Rules::ALL,
        };
        let controller_rules = match mutant {
            Some(Mutant::Controller(rule)) => rules::Rules::without(rule),
            Some(Mutant::Replica(_) | Mutant::Shell(_)) | None => rules::Rules::ALL,
        };
        let disk = Disk {
            directory: u64::from(id.get().unsigned_abs()),
            logs: vec![SimLog::default(); partitions],
            watermarks: vec![Offset::default(); partitions],
            ..Disk::default()
        };
        Self {
            id,
            up: false,
            life: 0,
            registered: false,
            control: None,
            image: Image::default(),
            began: vec![false; partitions],
            rules: controller_rules,
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
pub(crate) fn partition_id(p: usize) -> TopicPartition {
    TopicPartition::new(topic_id(p), PartitionIndex::new(0))
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
        node.image = Image::default();
        node.began.fill(false);
        let life = node.life;
        let drawn = [self.rng.draw().to_be_bytes(), self.rng.draw().to_be_bytes()].concat();
        let session = SessionId(drawn.try_into().unwrap_or_default());
        let node = &mut self.nodes[b];
        let (floor, at) = (node.disk.vector(), node.clock.at(self.now));
        node.control = Some(Control::new(node.id, session, floor, node.rules, at));
        self.feed(b, ottla_core::controller::Event::Start);
        for (delay, what) in [(1000, Local::Heartbeat), (2000, Local::Look), (3000, Local::Enroll)] {
            self.plan(delay, Action::Local { node: b, life, what });
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
        node.control = None;
        for log in &mut node.disk.logs {
            log.crash(&mut self.rng);
        }
        self.close_all(b);
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
                node.disk.synced += 1;
                self.step(b, partition, Event::Truncated(to), &Beside::NONE);
            }
            Local::Look => self.look(b),
            Local::Wake(at) => self.wakes(b, at),
            Local::Enroll => self.enroll(b),
            Local::Question(p, ask) => self.question(b, p, ask),
            Local::LookFor { broker, run, left } => self.look_for(b, broker, run, left),
            Local::Stop { until } => self.ask_to_stop(b, until),
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
        let life = self.nodes[b].life;
        self.plan(HEARTBEAT_US, Action::Local { node: b, life, what: Local::Heartbeat });
        self.show_life(b);
        let node = &self.nodes[b];
        let solicit = node.runs() && node.host.should_solicit(node.clock.at(self.now));
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
            self.nodes[b].disk.synced += 1;
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

    /// A message reached a running process.
    pub(crate) fn receive(&mut self, b: usize, from: usize, payload: Payload) {
        self.loop_runs(b);
        match payload {
            Payload::Replica { partition, message, beside } => {
                if self.nodes[b].registered {
                    let from = self.nodes[from - 1].id;
                    self.step(b, partition, Event::Received { from, message }, &beside);
                }
            }
            Payload::Silent { broker, heard_again: true, .. } => {
                self.feed(b, ottla_core::controller::Event::ControllerHeard { broker });
            }
            Payload::Silent { broker, epoch, ages, heard_again: false } => {
                self.feed(b, ottla_core::controller::Event::ControllerSilent { broker, epoch, ages });
            }
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

    pub(crate) fn dies_now(&mut self, b: usize) -> bool {
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
        let life = self.nodes[b].life;
        // It waits a moment for others, to go in one request.
        let delay = self.rng.within(100, 2_500);
        self.plan(delay, Action::Local { node: b, life, what: Local::Question(p, ask) });
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
