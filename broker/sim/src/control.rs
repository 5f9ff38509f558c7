//! The shell of a broker's controller: the production machine, stepped with what happens, its effects performed in order.
//!
//! Owns the order of things, as `broker/src/controller/shell.rs` does: what is committed is in force here before others are
//! sent it, and is sent before anybody is answered. A process may die between any two effects. It decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use ottla_core::config::BrokerConfig;
use ottla_core::controller::{
    Answer, Config, Deposed, Document, DocumentId, Effect, Event, Follower, Following, Machine, Phase, Request,
    RequestId, SessionId, Tuning, Vector, WriteId, rules,
};
use ottla_core::replica::View;
use ottla_core::types::{BrokerId, ControllerEpoch, Incarnation};

use crate::api::Call;
use crate::enroll::{Entry, Question};
use crate::lines::Line;
use crate::link::Uplink;
use crate::store::CLUSTER;
use crate::world::{Action, Local, World};

/// For how long the Lease is asked for: shorter than in a cluster, so that it runs out within one run.
const LEASE_TERM: Duration = Duration::from_secs(3);

/// What a process has committed, as others are sent it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    pub(crate) epoch: ControllerEpoch,
    pub(crate) view: View,
    pub(crate) documents: BTreeMap<DocumentId, (WriteId, Document)>,
    pub(crate) registered: BTreeSet<BrokerId>,
}

/// How far a controller has come, as its lines see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It does not decide, and does not try to.
    Waiting,
    /// It holds the Lease; how often it has asked brokers what they have seen.
    Claiming(u64),
    /// It decides, and this is the newest that it has published.
    Leading(View),
    /// It stopped for good.
    Halted,
}

/// Whom an answer is for.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// Somebody on this broker.
    Own(Question),
    /// Whoever is at the other end of that line, and its number there.
    Line(u64, u64),
}

/// Everything of a process that has to do with the controller, be it here or elsewhere.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) machine: Machine,
    pub(crate) session: SessionId,
    events: VecDeque<Event>,
    turning: bool,
    wakes: BTreeSet<u64>,
    requests: u64,
    waiting: BTreeMap<RequestId, Asker>,
    registering: BTreeSet<RequestId>,
    pub(crate) published: Option<Published>,
    gathered: u64,
    pub(crate) stage: Stage,
    pub(crate) calls: [VecDeque<Call>; 2],
    pub(crate) busy: [bool; 2],
    pub(crate) lines: BTreeMap<u64, Line>,
    pub(crate) heard: BTreeMap<BrokerId, Instant>,
    /// As of when each broker is known to have followed this process.
    pub(crate) proven: BTreeMap<BrokerId, Instant>,
    pub(crate) following: Following,
    pub(crate) uplink: Option<Uplink>,
    pub(crate) follower: Follower,
    pub(crate) view: View,
    /// The newest image is not in force yet.
    pub(crate) unapplied: bool,
    pub(crate) entry: Entry,
    /// A question of that kind is under way.
    pub(crate) entering: bool,
    pub(crate) draining: bool,
}

impl Control {
    /// Of a process that starts on a disk with copies of these documents.
    pub(crate) fn new(me: BrokerId, session: SessionId, floor: Vector, rules: rules::Rules, now: Instant) -> Self {
        let machine = Machine::new(Config {
            me,
            session,
            cluster: CLUSTER,
            broker: BrokerConfig::default(),
            lease: LEASE_TERM,
            floor: floor.clone(),
            tuning: Tuning { rules, ..Tuning::default() },
        });
        Self {
            machine,
            session,
            events: VecDeque::new(),
            turning: false,
            wakes: BTreeSet::new(),
            requests: 0,
            waiting: BTreeMap::new(),
            registering: BTreeSet::new(),
            published: None,
            gathered: 0,
            stage: Stage::Waiting,
            calls: [VecDeque::new(), VecDeque::new()],
            busy: [false; 2],
            lines: BTreeMap::new(),
            heard: BTreeMap::new(),
            proven: BTreeMap::new(),
            following: Following::new(now),
            uplink: None,
            follower: Follower::new(CLUSTER, floor),
            view: View::default(),
            unapplied: false,
            entry: Entry::Registering,
            entering: false,
            draining: false,
        }
    }

    pub(crate) fn leads(&self) -> bool {
        matches!(self.stage, Stage::Leading(_))
    }

    /// The run that was allotted to this process, once it is recorded.
    pub(crate) fn own_run(&self) -> Option<Incarnation> {
        match self.entry {
            Entry::Registering => None,
            Entry::Recorded(run) | Entry::Admitted(run) => Some(run),
        }
    }

    fn stage_now(&self) -> Stage {
        match self.machine.phase() {
            Phase::Halted => Stage::Halted,
            Phase::Waiting | Phase::Backoff(_) => Stage::Waiting,
            Phase::GatheringVectors | Phase::ClaimingRoot | Phase::ClaimingShards => Stage::Claiming(self.gathered),
            Phase::Acting => match &self.published {
                Some(published) => Stage::Leading(published.view),
                None => Stage::Claiming(self.gathered),
            },
        }
    }

    /// Nobody is at the other end of that line any more: registrations that came by it are dropped.
    pub(crate) fn forget_line(&mut self, line: u64) -> Vec<RequestId> {
        let of_line = |asker: &Asker| matches!(asker, Asker::Line(other, _) if *other == line);
        let gone: Vec<RequestId> = self.waiting.iter().filter(|(_, asker)| of_line(asker)).map(|(id, _)| *id).collect();
        self.waiting.retain(|_, asker| !of_line(asker));
        gone.into_iter().filter(|id| self.registering.remove(id)).collect()
    }
}

/// Views of a later controller are higher than all of an earlier one.
fn first_view(epoch: ControllerEpoch) -> u64 {
    epoch.get().unsigned_abs() << 32
}

impl World {
    /// The machine is told, after what it was told before; everything that follows is done.
    pub(crate) fn feed(&mut self, b: usize, event: Event) {
        let life = self.nodes[b].life;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        control.events.push_back(event);
        if std::mem::replace(&mut control.turning, true) {
            return;
        }
        while self.alive(b, life) && self.violation.is_none() {
            let now = self.nodes[b].instant(self.now);
            let Some(control) = self.nodes[b].control.as_mut() else { return };
            let Some(event) = control.events.pop_front() else {
                control.turning = false;
                return;
            };
            let mut effects = Vec::new();
            control.machine.step(now, event, &mut effects);
            self.perform_all(b, life, effects);
        }
    }

    fn perform_all(&mut self, b: usize, life: u64, effects: Vec<Effect>) {
        let (mut writes, mut answers, mut publish) = (Vec::new(), Vec::new(), false);
        for effect in effects {
            if self.dies_now(b) {
                return;
            }
            match effect {
                Effect::Lease(call) => self.call(b, Call::Lease(call)),
                Effect::Read { document, token } => self.call(b, Call::Read(document, token)),
                Effect::Write(write) => writes.push(write),
                Effect::Gather(_) => self.gathers(b),
                Effect::Publish(_) => publish = true,
                Effect::Answer(id, answer) => answers.push((id, answer)),
                Effect::Leading(epoch) => {
                    self.decides(b, epoch);
                    publish = true;
                }
                Effect::Deposed(why) => self.deposed(b, why),
                Effect::Halted(why) => self.halted(b, &why),
                Effect::WakeAt(at) => self.wake_at(b, at),
            }
        }
        if publish {
            self.publish(b);
        }
        if self.alive(b, life) {
            self.tell_stage(b);
        }
        for (id, answer) in answers {
            if !self.alive(b, life) || self.dies_now(b) {
                return;
            }
            self.answered(b, id, answer);
        }
        if self.alive(b, life) && !writes.is_empty() {
            self.call(b, Call::Writes(writes));
        }
    }

    fn gathers(&mut self, b: usize) {
        if let Some(control) = self.nodes[b].control.as_mut() {
            control.gathered += 1;
        }
        self.count("brokers asked what they have seen");
    }

    fn decides(&mut self, b: usize, epoch: ControllerEpoch) {
        self.story.tell(self.now, format_args!("broker {} is the controller of epoch {epoch}", b + 1));
        self.count("controller elected");
        if let Some(control) = self.nodes[b].control.as_mut() {
            control.published = None;
        }
    }

    fn deposed(&mut self, b: usize, why: Deposed) {
        self.story.tell(self.now, format_args!("broker {} is the controller no more: {why}", b + 1));
        self.count("controller deposed");
    }

    fn wake_at(&mut self, b: usize, at: Instant) {
        let node = &mut self.nodes[b];
        let (at, life) = (node.clock.world(at).max(self.now + 1), node.life);
        let Some(control) = node.control.as_mut() else { return };
        if control.wakes.insert(at) {
            self.plan(at - self.now, Action::Local { node: b, life, what: Local::Wake(at) });
        }
    }

    /// A time that the machine asked for has come.
    pub(crate) fn wakes(&mut self, b: usize, at: u64) {
        if let Some(control) = self.nodes[b].control.as_mut() {
            control.wakes.remove(&at);
            self.feed(b, Event::Tick);
        }
    }

    /// What is committed now comes into force here, and is what others are sent.
    fn publish(&mut self, b: usize) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let documents: Vec<Document> = control.machine.documents().collect();
        let root = documents.iter().find_map(|document| match document {
            Document::Root(root) => Some(root.clone()),
            Document::Shard(_) => None,
        });
        let Some(root) = root else { return };
        let epoch = root.header.epoch;
        let before = control.published.take().filter(|published| published.epoch == epoch);
        let (complete, before) = (before.is_none(), before.unwrap_or_default());
        let changed = |document: &&Document| {
            before.documents.get(&document.id()).is_none_or(|(write, _)| *write != document.header().write)
        };
        let changed: Vec<Document> = documents.iter().filter(changed).cloned().collect();
        let view = View(before.view.0.max(first_view(epoch)) + 1);
        let documents = documents.into_iter().map(|document| (document.id(), (document.header().write, document)));
        let registered = root.members.keys().copied().collect();
        control.published = Some(Published { epoch, view, documents: documents.collect(), registered });
        self.take_in(b, (epoch, view), complete, changed);
    }

    fn tell_stage(&mut self, b: usize) {
        let life = self.nodes[b].life;
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        let now = control.stage_now();
        if std::mem::replace(&mut control.stage, now) == now {
            return;
        }
        for line in control.lines.keys().copied().collect::<Vec<_>>() {
            if self.alive(b, life) {
                self.on_stage(b, line);
            }
        }
    }

    /// Asks this process' own machine.
    pub(crate) fn ask_here(&mut self, b: usize, asker: Asker, request: Request) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        control.requests += 1;
        let id = RequestId(control.requests);
        if matches!(request, Request::Register(_)) {
            control.registering.insert(id);
        }
        control.waiting.insert(id, asker);
        self.feed(b, Event::Ask(id, request));
    }

    fn answered(&mut self, b: usize, id: RequestId, answer: Answer) {
        let Some(control) = self.nodes[b].control.as_mut() else { return };
        control.registering.remove(&id);
        match control.waiting.remove(&id) {
            Some(Asker::Own(question)) => self.on_answer(b, question, Some(answer)),
            Some(Asker::Line(line, number)) => self.answer_line(b, line, number, answer),
            // Whoever asked has gone; what was decided stands.
            None => {}
        }
    }
}
