//! The thread that steps the controller machine and performs its effects.
//!
//! Owns the machine, the coordination store and the order of things: an image is served here before anybody is answered
//! for it, and documents that are written together cost one flush. It decides nothing. Disk and network may block it;
//! questions queue up meanwhile, and go into the next write together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_coordination::{Coordination, Expected, Holder, LeaseError, Put, PutError};
use ottla_core::controller::{
    Answer, Document, DocumentId, Effect, Effects, Event, LeaseCall, LeaseSeen, Machine, ReadOutcome, Request,
    RequestId, SessionId, Write, WriteOutcome,
};
use ottla_core::metadata::Image;
use ottla_core::types::{BrokerId, PartitionEpoch, TopicId, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::copies::{Copies, CopiesError};
use crate::clock::Clock;

/// After what time an image that could not be served here is tried again.
const APPLY_RETRY: Duration = Duration::from_secs(1);
/// How many questions are taken up at once.
const BATCH: usize = 256;

/// A question and where its answer goes.
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// How far the controller has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It does not decide.
    Waiting,
    /// It decides.
    Leading,
    /// It stopped for good, with a sentence.
    Halted(String),
}

/// What the rest of the broker does with images.
pub trait Site: Send {
    /// Has this broker serve what `image` says, and puts the image in force.
    ///
    /// # Errors
    /// Why it cannot; the image is not in force then, and is offered again.
    fn apply(&mut self, image: Arc<Image>) -> Result<(), String>;

    /// The data directory cannot be written any more (S2).
    fn fail(&mut self, _reason: &str) {}
}

/// Everything that the thread works with.
pub(super) struct Shell {
    pub(super) me: BrokerId,
    pub(super) clock: Clock,
    pub(super) coordination: Arc<dyn Coordination>,
    pub(super) lease: String,
    pub(super) holder: Holder,
    pub(super) copies: Copies,
    pub(super) session: SessionId,
    pub(super) site: Box<dyn Site>,
    pub(super) progress: watch::Sender<Progress>,
    machine: Machine,
    events: VecDeque<Event>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    /// Those of `waiting` that are registrations: few, and dropped if nobody waits for them any more.
    registering: BTreeSet<RequestId>,
    requests: u64,
    wake_at: Option<Instant>,
    /// The newest image that is not yet served here.
    unapplied: Option<Image>,
    /// Images are held back until this broker is admitted: its partitions begin in their new epochs, once.
    admitted: bool,
    /// Deleted topics of which it has been said that nothing is left here.
    reported: BTreeSet<TopicId>,
    /// The same of partitions that moved away, each with the version that said so.
    reported_moves: BTreeSet<(TopicPartition, PartitionEpoch)>,
}

/// Why the thread went on.
enum Next {
    Ask(Box<Ask>),
    Tick,
    Stop,
}

/// What a shell is made of.
pub(super) struct Parts {
    pub(super) me: BrokerId,
    pub(super) clock: Clock,
    pub(super) coordination: Arc<dyn Coordination>,
    pub(super) lease: String,
    pub(super) holder: Holder,
    pub(super) copies: Copies,
    pub(super) session: SessionId,
    pub(super) site: Box<dyn Site>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) machine: Machine,
}

impl Shell {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            me: parts.me,
            clock: parts.clock,
            coordination: parts.coordination,
            lease: parts.lease,
            holder: parts.holder,
            copies: parts.copies,
            session: parts.session,
            site: parts.site,
            progress: parts.progress,
            machine: parts.machine,
            events: VecDeque::from([Event::Start]),
            waiting: BTreeMap::new(),
            registering: BTreeSet::new(),
            requests: 0,
            wake_at: None,
            unapplied: None,
            admitted: false,
            reported: BTreeSet::new(),
            reported_moves: BTreeSet::new(),
        }
    }

    /// Runs until nobody can ask any more, or the broker stops.
    pub(super) fn run(
        mut self,
        runtime: &tokio::runtime::Handle,
        shutdown: &CancellationToken,
        mut asks: mpsc::Receiver<Ask>,
    ) {
        while !shutdown.is_cancelled() {
            self.turn();
            if !self.events.is_empty() {
                self.take_up(&mut asks);
                continue;
            }
            let wait = self.wake_at.map(|at| at.saturating_duration_since(self.clock.monotonic()));
            // Without anything to wake up for, once in a while.
            let wait = wait.unwrap_or(Duration::from_secs(3600));
            let next = runtime.block_on(async {
                tokio::select! {
                    ask = asks.recv() => ask.map_or(Next::Stop, |ask| Next::Ask(Box::new(ask))),
                    () = tokio::time::sleep(wait) => Next::Tick,
                    () = shutdown.cancelled() => Next::Stop,
                }
            });
            match next {
                Next::Ask(ask) => {
                    self.accept(*ask);
                    self.take_up(&mut asks);
                }
                Next::Tick => {
                    self.wake_at = None;
                    self.events.push_back(Event::Tick);
                }
                Next::Stop => break,
            }
        }
        self.release();
    }

    fn take_up(&mut self, asks: &mut mpsc::Receiver<Ask>) {
        while self.events.len() < BATCH
            && let Ok(ask) = asks.try_recv()
        {
            self.accept(ask);
        }
    }

    fn accept(&mut self, ask: Ask) {
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
        let now = self.clock.monotonic();
        let is_gone = |id: &&RequestId| self.waiting.get(*id).is_none_or(oneshot::Sender::is_closed);
        let gone: Vec<RequestId> = self.registering.iter().filter(is_gone).copied().collect();
        for id in gone {
            self.registering.remove(&id);
            self.events.push_back(Event::AskerGone(id));
        }
        let mut effects = Effects::new();
        while let Some(event) = self.events.pop_front() {
            self.machine.step(now, event, &mut effects);
        }
        self.perform(now, effects);
    }

    fn perform(&mut self, now: Instant, effects: Effects) {
        let mut writes = Vec::new();
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::Lease(call) => {
                    let seen = self.lease(&call);
                    self.events.push_back(Event::Lease(seen));
                }
                Effect::Read { document, token } => {
                    let outcome = self.read(document);
                    self.events.push_back(Event::Read { document, token, outcome });
                }
                Effect::Write(write) => writes.push(write),
                // Nobody else can be asked from here: this broker vouches for what it has seen itself.
                Effect::Gather(_) => {}
                // Only the newest image matters: it holds what the earlier ones did.
                Effect::Publish(image) => self.unapplied = Some(image),
                Effect::Answer(id, answer) => {
                    self.admitted |= answer == Answer::Admit(Ok(()));
                    answers.push((id, answer));
                }
                Effect::Leading(epoch) => {
                    tracing::info!(%epoch, "this broker is the controller");
                    self.progress.send_replace(Progress::Leading);
                }
                Effect::Deposed => {
                    tracing::warn!("another broker has taken over as the controller");
                    self.progress.send_replace(Progress::Waiting);
                }
                Effect::Halted(why) => {
                    tracing::error!(%why, "the controller stops");
                    self.progress.send_replace(Progress::Halted(why.to_string()));
                }
                Effect::WakeAt(at) => self.wake_by(at),
            }
        }
        self.apply(now);
        for (id, answer) in answers {
            self.answer(id, answer);
        }
        self.write(writes);
    }

    fn wake_by(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&id) {
            // Whoever asked may have gone; what was decided stands.
            let _gone = reply.send(answer);
        }
    }

    fn read(&mut self, document: DocumentId) -> ReadOutcome {
        match self.coordination.get(&document.to_string()) {
            Ok(Some(found)) => match ottla_rpc::decode(&found.content) {
                // A write of ours whose answer was lost: it is about to be acted on. What others wrote is claimed first.
                Ok(document) if document.header().write.session == self.session => {
                    match self.keep(vec![(&document, found.content)]) {
                        Ok(()) => ReadOutcome::Found(document, found.revision),
                        Err(()) => ReadOutcome::Failed,
                    }
                }
                Ok(document) => ReadOutcome::Found(document, found.revision),
                Err(error) => ReadOutcome::Unreadable(error.to_string()),
            },
            Ok(None) => ReadOutcome::Missing,
            Err(error) => {
                tracing::warn!(%document, %error, "read metadata");
                ReadOutcome::Failed
            }
        }
    }

    fn write(&mut self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        let expected = |write: &Write| match write.expected.is_absent() {
            true => Expected::Absent,
            false => Expected::At(write.expected.clone()),
        };
        let put = |write: &Write| Put {
            name: write.content.id().to_string(),
            content: ottla_rpc::encode(&write.content),
            expected: expected(write),
        };
        let puts: Vec<Put> = writes.iter().map(put).collect();
        let contents: Vec<_> = puts.iter().map(|put| put.content.clone()).collect();
        let results = self.coordination.put(puts);
        let done = writes.iter().zip(contents).zip(&results).filter(|(_, result)| result.is_ok());
        let kept = self.keep(done.map(|((write, content), _)| (&write.content, content)).collect());
        for (write, result) in writes.iter().zip(results) {
            let document = write.content.id();
            let outcome = match result {
                // It took effect, but must not be acted on.
                Ok(_) if kept.is_err() => WriteOutcome::Unknown,
                Ok(revision) => WriteOutcome::Done(revision),
                Err(PutError::Conflict) => WriteOutcome::Conflict,
                Err(PutError::NotDone(reason)) => {
                    tracing::warn!(%document, reason, "write metadata");
                    WriteOutcome::NotDone
                }
                Err(PutError::Unknown(reason)) => {
                    tracing::warn!(%document, reason, "write metadata, outcome unknown");
                    WriteOutcome::Unknown
                }
            };
            self.events.push_back(Event::Wrote { document, write: write.id(), outcome });
        }
    }

    /// Has copies of documents in the data directory before anything is done for them.
    fn keep(&mut self, documents: Vec<(&Document, Bytes)>) -> Result<(), ()> {
        match self.copies.keep(documents.into_iter()) {
            Ok(()) => Ok(()),
            Err(CopiesError::Stopped(_)) => Err(()),
            Err(error) => {
                tracing::error!(%error, "metadata is not acted on any more");
                self.site.fail(&error.to_string());
                Err(())
            }
        }
    }

    fn lease(&self, call: &LeaseCall) -> LeaseSeen {
        let (name, holder) = (self.lease.as_str(), &self.holder);
        let had = match call {
            LeaseCall::Observe => Err(LeaseError::Taken),
            LeaseCall::Acquire { seen, duration } => self.coordination.acquire(name, holder, *duration, seen.as_ref()),
            LeaseCall::Renew { held, duration } => self.coordination.renew(name, holder, *duration, held),
        };
        if let Ok(lease) = had {
            return LeaseSeen::Ours(lease.revision);
        }
        match self.coordination.observe(name) {
            Ok(None) => LeaseSeen::Free,
            Ok(Some(lease)) if lease.holder == *holder => LeaseSeen::Ours(lease.revision),
            Ok(Some(lease)) => LeaseSeen::Theirs { revision: lease.revision, duration: lease.duration },
            Err(error) => {
                tracing::warn!(%error, "observe the controller's lease");
                LeaseSeen::Failed
            }
        }
    }

    fn apply(&mut self, now: Instant) {
        if !self.admitted {
            return;
        }
        let Some(image) = self.unapplied.take() else { return };
        match self.site.apply(Arc::new(image.clone())) {
            Ok(()) => self.report_deleted(&image),
            Err(reason) => {
                tracing::error!(reason, "serve the newest metadata");
                self.unapplied = Some(image);
                self.wake_by(now + APPLY_RETRY);
            }
        }
    }

    /// What a tombstone stood for is gone from here: its topic's tombstone need not wait for this broker.
    fn report_deleted(&mut self, image: &Image) {
        self.reported.retain(|id| image.tombstones().contains_key(id));
        let mine = image.tombstones().iter().filter(|(_, tombstone)| tombstone.holders.contains(&self.me));
        let topics: Vec<TopicId> = mine.map(|(id, _)| *id).filter(|id| !self.reported.contains(id)).collect();
        let partitions = self.moved_away(image);
        if topics.is_empty() && partitions.is_empty() {
            return;
        }
        self.reported.extend(&topics);
        self.requests += 1;
        let request = Request::ReplicasDeleted { broker: self.me, topics, partitions };
        self.events.push_back(Event::Ask(RequestId(self.requests), request));
    }

    /// Partitions that moved away from here, and of which it has not been said yet that nothing is left.
    fn moved_away(&mut self, image: &Image) -> Vec<(TopicPartition, PartitionEpoch)> {
        // A broker that is alone has nowhere to move anything to.
        if image.brokers().len() < 2 {
            return Vec::new();
        }
        let mut mine = BTreeSet::new();
        for topic in image.topics().values() {
            for (index, partition) in topic.indexed().filter(|(_, partition)| partition.leaving.contains(&self.me)) {
                mine.insert((TopicPartition::new(topic.id, index), partition.partition_epoch));
            }
        }
        let fresh = mine.difference(&self.reported_moves).copied().collect();
        self.reported_moves = mine;
        fresh
    }

    /// The next controller need not wait for the lease to run out.
    fn release(&self) {
        if let Ok(Some(lease)) = self.coordination.observe(&self.lease)
            && lease.holder == self.holder
            && let Err(error) = self.coordination.release(&self.lease, &self.holder, &lease.revision)
        {
            tracing::debug!(%error, "release the controller's lease");
        }
    }
}

/// Creates the documents of a new cluster, all of them in one write. Those that exist stay as they are.
///
/// # Errors
/// Why they could not be created.
pub(super) fn create_documents(coordination: &dyn Coordination, documents: &[Document]) -> Result<(), String> {
    let put = |document: &Document| Put {
        name: document.id().to_string(),
        content: ottla_rpc::encode(document),
        expected: Expected::Absent,
    };
    let results = coordination.put(documents.iter().map(put).collect());
    results.into_iter().try_for_each(|result| match result {
        Ok(_) | Err(PutError::Conflict) => Ok(()),
        Err(PutError::NotDone(reason) | PutError::Unknown(reason)) => Err(reason),
    })
}
