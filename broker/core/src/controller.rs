//! The controller: the one machine that changes a cluster's metadata.
//!
//! Owns claiming (root first, then every shard), deciding, writing by compare-and-swap, settling writes whose answers
//! were lost, and publishing what is committed. It never acts before it owns every document (A3), never answers before
//! what it says is durable, never deletes a replica because something is absent, and stops when another owns a document
//! in its term or a later one (A1).
//!
//! `step` takes events and time and gives effects; the shell performs them in order and reports back. There is no IO,
//! clock or randomness in here: ids are drawn by the askers, the session by the process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::BrokerConfig;
use crate::metadata::Image;
use crate::types::{BrokerId, ClusterId, ControllerEpoch};

mod claim;
mod commit;
mod configs;
pub mod document;
pub mod error;
mod lease;
mod partitions;
mod placement;
mod producer_ids;
mod registration;
mod request;
mod slot;
mod topics;

#[cfg(test)]
mod tests;

pub use crate::topic_name::{check as check_name, is_internal};
pub use document::{Document, DocumentId, Header, Member, Revision, Root, SessionId, Shard, ShardId, WriteId};
pub use error::Halt;
pub use lease::{LeaseCall, LeaseSeen};
pub use producer_ids::PRODUCER_ID_BLOCK;
pub use request::{
    Answer, ConfigChange, ConfigTarget, Growth, NewTopic, ProducerIdBlock, Registered, Registration, Request,
    RequestId, TopicRef,
};
pub use slot::Write;

use slot::{Owner, Slot};

/// After what time a read or write that did not get through is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// The most partitions that one request makes.
const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// What has to be known to be a controller.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker that this is.
    pub me: BrokerId,
    /// This run of the process, drawn at random.
    pub session: SessionId,
    /// The cluster that the data directory belongs to.
    pub cluster: ClusterId,
    /// What the broker's file says; the defaults that topics are created and checked with.
    pub broker: BrokerConfig,
    /// For how long the Lease is asked for.
    pub lease: Duration,
    /// Per document, the highest epoch and version that this broker has ever seen: anything older was rolled back.
    pub floor: BTreeMap<DocumentId, (ControllerEpoch, u64)>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The process runs.
    Start,
    /// How the Lease was found, or what came of reaching for it.
    Lease(LeaseSeen),
    /// What a read found.
    Read {
        /// Which document.
        document: DocumentId,
        /// The token of the [`Effect::Read`].
        token: u64,
        /// What it found.
        outcome: ReadOutcome,
    },
    /// What came of a write.
    Wrote {
        /// Which document.
        document: DocumentId,
        /// Which write.
        write: WriteId,
        /// What came of it.
        outcome: WriteOutcome,
    },
    /// Somebody asks.
    Ask(RequestId, Request),
    /// A time that was asked for has come.
    Tick,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The document, as every write that returned before the read left it.
    Found(Document, Revision),
    /// There is none.
    Missing,
    /// It could not be read; another try may help.
    Failed,
    /// It was read, and cannot be understood: damaged, or of a newer version.
    Unreadable(String),
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It took effect, durably.
    Done(Revision),
    /// The document was not as expected.
    Conflict,
    /// It certainly took no effect.
    NotDone,
    /// The answer was lost: it may take effect, now or later.
    Unknown,
}

/// What the shell has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something with the Lease; answered by [`Event::Lease`].
    Lease(LeaseCall),
    /// Read a document; answered by [`Event::Read`] with the same token.
    Read {
        /// Which document.
        document: DocumentId,
        /// To be given back.
        token: u64,
    },
    /// Write a document by compare-and-swap; answered by [`Event::Wrote`].
    Write(Write),
    /// Everybody may see this: it is committed.
    Publish(Image),
    /// Answers a request.
    Answer(RequestId, Answer),
    /// This process decides, in that term.
    Leading(ControllerEpoch),
    /// It does not any more; it will try again by itself while it holds the Lease.
    Deposed,
    /// It stops for good.
    Halted(Halt),
    /// Send [`Event::Tick`] at that time or later.
    WakeAt(Instant),
}

/// The effects of one step.
pub type Effects = Vec<Effect>;

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not hold the Lease.
    Waiting,
    /// It was deposed, or must be quiet; it begins again then, if it holds the Lease.
    Backoff(Instant),
    /// It reads and claims the root, which allots the epoch.
    ClaimingRoot,
    /// It reads and claims every shard.
    ClaimingShards,
    /// It owns all, and decides.
    Acting,
    /// Something is wrong that a person has to look at.
    Halted,
}

/// A request whose answer waits for writes.
#[derive(Debug)]
struct Pending {
    answer: Answer,
    /// What is answered instead if this process is deposed first.
    refused: Answer,
    waits_for: BTreeSet<DocumentId>,
}

/// The controller of one process.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    phase: Phase,
    lease: Lease,
    owner: Owner,
    root: Slot<Root>,
    shards: Vec<Slot<Shard>>,
    pending: BTreeMap<RequestId, Pending>,
    image: Image,
    /// The file's values under the run-time ones of the latest root.
    broker: BrokerConfig,
    reads: u64,
    depositions: u32,
}

use lease::Lease;

impl Machine {
    /// A controller that has not begun; send it [`Event::Start`].
    pub fn new(config: Config) -> Self {
        let owner = Owner {
            cluster: config.cluster,
            broker: config.me,
            session: config.session,
            epoch: ControllerEpoch::default(),
            writes: 0,
        };
        Self {
            phase: Phase::Waiting,
            lease: Lease::new(config.lease),
            owner,
            root: Slot::new(),
            shards: Vec::new(),
            pending: BTreeMap::new(),
            image: Image::empty(config.cluster),
            broker: config.broker.clone(),
            reads: 0,
            depositions: 0,
            config,
        }
    }

    /// How far it has come.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What it last published.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Takes one event; what has to be done is added to `out`.
    pub fn step(&mut self, now: Instant, event: Event, out: &mut Effects) {
        if self.phase == Phase::Halted {
            if let Event::Ask(id, request) = event {
                out.push(Effect::Answer(id, request.refused()));
            }
            return;
        }
        match event {
            Event::Start => Lease::on_start(out),
            Event::Lease(seen) => self.on_lease(now, seen, out),
            Event::Read { document, token, outcome } => self.on_read(now, document, token, outcome, out),
            Event::Wrote { document, write, outcome } => self.on_wrote(now, document, write, outcome, out),
            Event::Ask(id, request) => self.on_ask(id, request, out),
            Event::Tick => self.on_tick(now, out),
        }
        self.launch_staged(out);
        self.check();
    }

    fn on_lease(&mut self, now: Instant, seen: LeaseSeen, out: &mut Effects) {
        match self.lease.on_seen(now, seen, out) {
            lease::Advice::Same => {}
            lease::Advice::Gained if self.phase == Phase::Waiting => self.begin_claim(out),
            lease::Advice::Gained => {}
            lease::Advice::Lost => self.stand_down(Phase::Waiting, out),
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut Effects) {
        self.lease.on_tick(now, out);
        if matches!(self.phase, Phase::Backoff(until) if until <= now) {
            self.phase = Phase::Waiting;
            if self.lease.is_held() {
                self.begin_claim(out);
            }
        }
        self.retry_due(now, out);
    }

    fn on_ask(&mut self, id: RequestId, request: Request, out: &mut Effects) {
        if self.phase != Phase::Acting {
            out.push(Effect::Answer(id, request.refused()));
            return;
        }
        let refused = request.refused();
        let mut work = Work { id, consulted: BTreeSet::new() };
        let answer = match request {
            Request::CreateTopics { topics, validate_only } => {
                Answer::CreateTopics(self.create_topics(&mut work, topics, validate_only))
            }
            Request::DeleteTopics { topics } => Answer::DeleteTopics(self.delete_topics(&mut work, &topics)),
            Request::CreatePartitions { topics, validate_only } => {
                Answer::CreatePartitions(self.create_partitions(&mut work, &topics, validate_only))
            }
            Request::AlterConfigs { resources, validate_only } => {
                Answer::AlterConfigs(self.alter_configs(&mut work, &resources, validate_only))
            }
            Request::AllocateProducerIds => Answer::AllocateProducerIds(Ok(self.allocate_producer_ids(&mut work))),
            Request::Register(registration) => Answer::Register(self.register(&mut work, registration)),
            Request::Admit { broker, incarnation } => Answer::Admit(self.admit(&mut work, broker, incarnation)),
            Request::ReplicasDeleted { broker, topics } => {
                self.replicas_deleted(&mut work, broker, &topics);
                Answer::ReplicasDeleted(Ok(()))
            }
        };
        self.answer_when_durable(work, answer, refused, out);
    }
}

/// A request while it is worked on: whatever documents it looked at have to be durable before it is answered.
#[derive(Debug)]
struct Work {
    id: RequestId,
    consulted: BTreeSet<DocumentId>,
}
