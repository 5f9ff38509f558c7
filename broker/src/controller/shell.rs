//! The thread that steps the controller machine and performs its effects.
//!
//! Owns the machine and the order of things: what is committed is in force here before anybody is answered for it. It
//! decides nothing, and waits for nothing but its next event: the store has threads of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::config::BrokerConfig;
use ottla_core::controller::{
    Answer, Document, DocumentId, Effect, Effects, Event, Machine, Phase, Request, RequestId, WriteId,
};
use ottla_core::replica::View;
use ottla_core::types::{BrokerId, ControllerEpoch};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::io::Io;
use super::ledger::Ledger;
use crate::clock::Clock;

/// After what time an image that could not be served here is tried again.
const APPLY_RETRY: Duration = Duration::from_secs(1);
/// How many inputs are taken up at once.
const BATCH: usize = 256;

/// A question and where its answer goes.
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What the thread is told.
pub(super) enum Input {
    /// Somebody asks.
    Ask(Box<Ask>),
    /// Something happened.
    Event(Box<Event>),
    /// Another file of this broker counts.
    Configure(Box<BrokerConfig>),
}

/// What this process has committed, as others are sent it.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) epoch: ControllerEpoch,
    pub(super) view: View,
    pub(super) documents: BTreeMap<DocumentId, (WriteId, Bytes)>,
    pub(super) registered: BTreeSet<BrokerId>,
}

/// How far the controller has come.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// It does not decide, and does not try to.
    Waiting,
    /// It holds the Lease and is not there yet; how often it has asked brokers what they have seen.
    Claiming(u64),
    /// It decides.
    Leading(Arc<Published>),
    /// It stopped for good, with a sentence.
    Halted(String),
}

impl Stage {
    pub(super) fn is_leading(&self) -> bool {
        matches!(self, Self::Leading(_))
    }
}

/// Everything that the thread works with.
pub(super) struct Shell {
    parts: Parts,
    events: VecDeque<Event>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    /// Those of `waiting` that are registrations: few, and dropped if nobody waits for them any more.
    registering: BTreeSet<RequestId>,
    requests: u64,
    /// Every time that was asked for and has not come: the machine asks once for each.
    wakes: BTreeSet<Instant>,
    published: Option<Arc<Published>>,
    gathered: u64,
}

/// Why the thread went on.
enum Next {
    Input(Input),
    Store(Box<Event>),
    Tick,
    Stop,
}

/// What a shell is made of.
pub(super) struct Parts {
    pub(super) clock: Clock,
    pub(super) io: Io,
    pub(super) store: mpsc::UnboundedReceiver<Event>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) machine: Machine,
}

impl Shell {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            events: VecDeque::from([Event::Start]),
            waiting: BTreeMap::new(),
            registering: BTreeSet::new(),
            requests: 0,
            wakes: BTreeSet::new(),
            published: None,
            gathered: 0,
        }
    }

    /// Runs until nobody can ask any more, or the broker stops.
    pub(super) fn run(
        mut self,
        runtime: &tokio::runtime::Handle,
        shutdown: &CancellationToken,
        mut inputs: mpsc::Receiver<Input>,
    ) {
        while !shutdown.is_cancelled() {
            self.turn();
            if !self.events.is_empty() {
                self.take_up(&mut inputs);
                continue;
            }
            let wait = self.wakes.first().map(|at| at.saturating_duration_since(self.parts.clock.monotonic()));
            // Without anything to wake up for, once in a while.
            let wait = wait.unwrap_or(Duration::from_secs(3600));
            let store = &mut self.parts.store;
            let next = runtime.block_on(async {
                tokio::select! {
                    input = inputs.recv() => input.map_or(Next::Stop, Next::Input),
                    event = store.recv() => event.map_or(Next::Stop, |event| Next::Store(Box::new(event))),
                    () = tokio::time::sleep(wait) => Next::Tick,
                    () = shutdown.cancelled() => Next::Stop,
                }
            });
            match next {
                Next::Input(input) => self.accept(input),
                Next::Store(event) => self.events.push_back(*event),
                Next::Tick => {
                    let now = self.parts.clock.monotonic();
                    self.wakes.retain(|at| *at > now);
                    // Whatever arrived meanwhile is older than the tick.
                    self.take_up(&mut inputs);
                    self.events.push_back(Event::Tick);
                }
                Next::Stop => break,
            }
            self.take_up(&mut inputs);
        }
    }

    fn take_up(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        while self.events.len() < BATCH
            && let Ok(input) = inputs.try_recv()
        {
            self.accept(input);
        }
        while let Ok(event) = self.parts.store.try_recv() {
            self.events.push_back(event);
        }
    }

    fn accept(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.events.push_back(*event),
            Input::Ask(ask) => self.ask(*ask),
            Input::Configure(file) => {
                self.parts.machine.configure((*file).clone());
                self.parts.ledger.lock().configure(*file);
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        let registers = matches!(ask.request, Request::Register(_));
        if registers && ask.reply.is_closed() {
            // Its stream is gone; the next process of that broker may have registered since.
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        if registers {
            self.registering.insert(id);
        }
        self.waiting.insert(id, ask.reply);
        self.events.push_back(Event::Ask(id, ask.request));
    }

    /// Steps everything that has happened, then performs everything that follows.
    fn turn(&mut self) {
        let now = self.parts.clock.monotonic();
        let is_gone = |id: &&RequestId| self.waiting.get(*id).is_none_or(oneshot::Sender::is_closed);
        let gone: Vec<RequestId> = self.registering.iter().filter(is_gone).copied().collect();
        for id in gone {
            self.registering.remove(&id);
            self.events.push_back(Event::AskerGone(id));
        }
        let mut effects = Effects::new();
        while let Some(event) = self.events.pop_front() {
            self.parts.machine.step(now, event, &mut effects);
        }
        self.perform(now, effects);
    }

    fn perform(&mut self, now: Instant, effects: Effects) {
        let (mut writes, mut answers, mut publish) = (Vec::new(), Vec::new(), false);
        for effect in effects {
            match effect {
                Effect::Lease(call) => self.parts.io.lease(call),
                Effect::Read { document, token } => self.parts.io.read(document, token),
                Effect::Write(write) => writes.push(write),
                Effect::Gather(members) => {
                    self.gathered += 1;
                    if members.len() > 1 {
                        let brokers = members.len();
                        tracing::info!(
                            brokers,
                            "nothing is decided before half of the brokers have said what they know"
                        );
                    }
                }
                Effect::Publish(_) => publish = true,
                Effect::Answer(id, answer) => answers.push((id, answer)),
                Effect::Leading(epoch) => {
                    tracing::info!(%epoch, "this broker is the controller");
                    (self.published, publish) = (None, true);
                }
                Effect::Deposed(why) => tracing::warn!(%why, "this broker is not the controller any more"),
                Effect::Halted(why) => {
                    tracing::error!(%why, "the controller stops");
                    self.parts.stage.send_replace(Stage::Halted(why.to_string()));
                }
                Effect::WakeAt(at) => self.wake_by(at),
            }
        }
        if publish {
            self.publish();
        }
        self.tell_stage();
        if self.parts.ledger.lock().is_behind() {
            self.parts.ledger.lock().apply();
            self.wake_by(now + APPLY_RETRY);
        }
        for (id, answer) in answers {
            if let Some(reply) = self.waiting.remove(&id) {
                // Whoever asked may have gone; what was decided stands.
                let _gone = reply.send(answer);
            }
        }
        self.parts.io.write(writes);
    }

    fn wake_by(&mut self, at: Instant) {
        self.wakes.insert(at);
    }

    /// What is committed now comes into force here, and is what others are sent.
    fn publish(&mut self) {
        let documents: Vec<Document> = self.parts.machine.documents().collect();
        let Some(Document::Root(root)) = documents.iter().find(|document| document.id() == DocumentId::Root) else {
            return;
        };
        let epoch = root.header.epoch;
        let registered = root.members.keys().copied().collect();
        let before = self.published.take().filter(|published| published.epoch == epoch);
        let (complete, before) = (before.is_none(), before.unwrap_or_default());
        let known = |document: &Document| before.documents.get(&document.id());
        let (mut all, mut changed) = (BTreeMap::new(), Vec::new());
        for document in documents {
            let (id, write) = (document.id(), document.header().write);
            if let Some((same, bytes)) = known(&document).filter(|(known, _)| *known == write) {
                all.insert(id, (*same, bytes.clone()));
                continue;
            }
            let bytes = ottla_rpc::encode(&document);
            all.insert(id, (write, bytes.clone()));
            changed.push((document, bytes));
        }
        let view = View(before.view.0.max(first_view(epoch)) + 1);
        let taken = self.parts.ledger.lock().take((epoch, view), complete, changed);
        if let Err(error) = taken {
            tracing::error!(%error, "what this controller has committed is not in force here");
        }
        self.published = Some(Arc::new(Published { epoch, view, documents: all, registered }));
    }

    fn tell_stage(&self) {
        let now = match self.parts.machine.phase() {
            Phase::Halted => return,
            Phase::Waiting | Phase::Backoff(_) => Stage::Waiting,
            Phase::GatheringVectors | Phase::ClaimingRoot | Phase::ClaimingShards => Stage::Claiming(self.gathered),
            Phase::Acting => match &self.published {
                Some(published) => Stage::Leading(Arc::clone(published)),
                None => Stage::Claiming(self.gathered),
            },
        };
        self.parts.stage.send_if_modified(|stage| {
            let same = match (&*stage, &now) {
                (Stage::Waiting, Stage::Waiting) => true,
                (Stage::Claiming(before), Stage::Claiming(now)) => before == now,
                (Stage::Leading(before), Stage::Leading(now)) => Arc::ptr_eq(before, now),
                _ => false,
            };
            *stage = now;
            !same
        });
    }
}

/// Views of a later controller are higher than all of an earlier one.
fn first_view(epoch: ControllerEpoch) -> u64 {
    u64::try_from(epoch.get()).unwrap_or(0) << 32
}
