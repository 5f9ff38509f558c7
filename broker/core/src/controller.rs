//! The controller: the one machine that changes a cluster's metadata.
//!
//! Owns asking brokers what they have seen, claiming (root first, then every shard), deciding, writing by
//! compare-and-swap, settling writes whose answers were lost, and publishing what is committed. It never writes before
//! half of the brokers have spoken (A7), never acts before it owns every document (A3), never answers before what it
//! says is durable, never deletes a replica because something is absent, and stops when another owns a document in its
//! term or a later one (A1).
//!
//! `step` takes events and time and gives effects; the shell performs them in order and reports back. There is no IO,
//! clock or randomness in here: ids are drawn by the askers, the session by the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::BrokerConfig;
use crate::metadata::{Broker, Image};
use crate::types::{BrokerId, ClusterId, ControllerEpoch, Incarnation, Lsn};

mod alter_partition;
mod ask;
mod budget;
mod claim;
mod commit;
mod configs;
pub mod document;
mod election;
pub mod error;
mod follow;
mod gather;
mod growth;
mod hearing;
mod leaders;
mod lease;
pub mod lineage;
mod liveness;
mod membership;
mod partition_changes;
mod partition_request;
mod partitions;
mod placement;
mod preemption;
mod producer_ids;
mod reassignment;
pub mod recover;
mod registration;
mod request;
pub mod rules;
mod slot;
mod topics;
mod vectors;

#[cfg(test)]
mod tests;

pub use crate::topic_name::{check as check_name, is_internal};
pub use budget::WriteBudget;
pub use document::{
    Document, DocumentId, FeatureRange, Header, Member, Revision, Root, SessionId, Shard, ShardId, WriteId,
};
pub use error::Halt;
pub use follow::{FollowError, Follower};
pub use growth::SHARD_BYTES_MAX;
pub use hearing::{Following, most_heard};
pub use lease::{LeaseCall, LeaseSeen};
pub use lineage::{Claim, Seen};
pub use liveness::{ALONE, REFUSED_MAX, SILENCE_MAX};
pub use partition_request::{
    Elected, ElectionKind, IsrChange, Leadership, Move, Moving, NamedPartition, Reassigned, StopState,
};
pub use producer_ids::PRODUCER_ID_BLOCK;
pub use request::{
    Answer, ConfigChange, ConfigTarget, Growth, NewTopic, ProducerIdBlock, Registered, Registration, Request,
    RequestId, TopicRef,
};
pub use rules::{Rule, Rules};
pub use slot::Write;
pub use vectors::{Presentation, Vector};

use budget::{Bucket, Urgency};
use growth::Growth as ShardGrowth;
use liveness::Liveness;
use preemption::Preemption;
use slot::{Owner, Slot};
use vectors::Vectors;

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
    /// Per document, the newest state that this broker has ever seen, its own writes included: a document that does not
    /// descend from it was rolled back.
    pub floor: Vector,
    /// What most brokers leave as it is.
    pub tuning: Tuning,
}

/// Settings of a controller that have good defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tuning {
    /// How much may be written; without it, as much as there is to write.
    pub writes: Option<WriteBudget>,
    /// Which rules are kept: all of them, but in tests.
    pub rules: Rules,
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
    /// The stream of whoever asked is closed: a registration that still waits is dropped, for the next process of that
    /// broker may have registered since. Everything else stands.
    AskerGone(RequestId),
    /// A broker's sign of life, also while this process does not decide: it may soon.
    Heartbeat {
        /// The broker.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
        /// It is about to stop, and should lead nothing.
        draining: bool,
        /// How far its journal is on disk.
        synced: Lsn,
    },
    /// A broker's stream is closed.
    StreamClosed {
        /// The broker.
        broker: BrokerId,
        /// The run whose stream it was.
        incarnation: Incarnation,
        /// Another connection to it was refused.
        refused: bool,
    },
    /// A broker stops, in good order: nothing need be waited for.
    Left {
        /// The broker.
        broker: BrokerId,
        /// Its run.
        incarnation: Incarnation,
    },
    /// A broker connected, and says what it stands on and which metadata it has seen.
    Presented(Presentation),
    /// What a silent controller had told others: how long ago it heard each broker.
    HandedOver(BTreeMap<BrokerId, Duration>),
    /// This broker has seen the root of the controller of that epoch, which counts these brokers.
    Followed {
        /// The controller's epoch.
        epoch: ControllerEpoch,
        /// The registered brokers.
        registered: BTreeSet<BrokerId>,
        /// The newest metadata that its data directory holds by now (A7).
        seen: Vector,
    },
    /// A broker, this one perhaps, has not heard the controller of that epoch for as long as makes a broker dead.
    ControllerSilent {
        /// Who says so.
        broker: BrokerId,
        /// Which controller.
        epoch: ControllerEpoch,
        /// How long ago each broker was heard, the controller's broker included, as far as it was told and knows.
        ages: BTreeMap<BrokerId, Duration>,
    },
    /// A broker that said so has heard it since.
    ControllerHeard {
        /// Who says so.
        broker: BrokerId,
    },
    /// A time that was asked for has come. Whatever arrived before it is to be delivered before it.
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
    /// Have each of these brokers say, from now on, what it stands on and has seen: [`Event::Presented`]. What they said
    /// before does not count any more. Whoever cannot be reached yet is asked as soon as it can be.
    Gather(BTreeMap<BrokerId, Broker>),
    /// Everybody may see this: it is committed.
    Publish(Image),
    /// Answers a request.
    Answer(RequestId, Answer),
    /// This process decides, in that term.
    Leading(ControllerEpoch),
    /// It does not any more; it will try again by itself while it holds the Lease.
    Deposed(Deposed),
    /// It stops for good.
    Halted(Halt),
    /// Send [`Event::Tick`] at that time or later.
    WakeAt(Instant),
}

/// Why a controller stopped deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deposed {
    /// It does not hold the Lease any more.
    LeaseLost,
    /// It could not renew the Lease, and hears too few brokers: another may decide by now.
    Alone,
    /// Another owns a document in its term or a later one.
    Claimed,
    /// Something is wrong that a person has to look at.
    Halted,
}

impl std::fmt::Display for Deposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LeaseLost => "it does not hold the Lease any more",
            Self::Alone => "its Lease could not be renewed, and half of the brokers or more are not heard",
            Self::Claimed => "another broker has claimed the metadata",
            Self::Halted => "it halted",
        })
    }
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
    /// It reads the root, and waits to hear from half of its brokers what they have seen. It has written nothing.
    GatheringVectors,
    /// It claims the root, which allots the epoch.
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
    /// The root as it was read, while it waits to be claimed.
    unclaimed: Option<(Arc<Root>, Revision)>,
    pending: BTreeMap<RequestId, Pending>,
    image: Image,
    /// The file's values under the run-time ones of the latest root.
    broker: BrokerConfig,
    liveness: Liveness,
    vectors: Vectors,
    bucket: Bucket,
    preemption: Preemption,
    growth: ShardGrowth,
    rebalance_at: Option<Instant>,
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
            unclaimed: None,
            pending: BTreeMap::new(),
            image: Image::empty(config.cluster),
            broker: config.broker.clone(),
            liveness: Liveness::default(),
            vectors: Vectors::new(config.floor.clone()),
            bucket: Bucket::new(config.tuning.writes),
            preemption: Preemption::default(),
            growth: ShardGrowth::default(),
            rebalance_at: None,
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

    /// Bytes of documents written so far, before compression, and how often a write was held back by the budget.
    pub fn write_counts(&self) -> (u64, u64) {
        self.bucket.counts()
    }

    /// How long ago each broker was heard. Brokers are told, so that a successor can be handed it.
    pub fn ages(&self, now: Instant) -> BTreeMap<BrokerId, Duration> {
        self.liveness.ages(now)
    }

    /// The documents as they are committed, once this process decides: what other brokers are sent.
    pub fn documents(&self) -> impl Iterator<Item = Document> {
        let acting = self.phase == Phase::Acting;
        let root = self.root.committed().filter(|_| acting).cloned().map(Document::Root);
        let shards = self.shards.iter().filter(move |_| acting).filter_map(|slot| slot.committed().cloned());
        root.into_iter().chain(shards.map(Document::Shard))
    }

    /// Another file of this broker counts from now on. It differs in nothing that decides what is committed or who leads
    /// (`Key::follows_file`), so that nothing has to follow from it.
    pub fn configure(&mut self, file: BrokerConfig) {
        self.broker = file.clone();
        self.config.broker = file;
        self.read_broker_config();
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
            Event::Ask(id, request) => self.on_ask(now, id, request, out),
            Event::AskerGone(id) => self.on_asker_gone(id, out),
            Event::Heartbeat { broker, incarnation, draining, synced } => {
                self.on_heartbeat(now, broker, incarnation, draining, synced);
            }
            Event::StreamClosed { broker, incarnation, refused } => {
                self.liveness.on_closed(now, broker, incarnation, refused);
            }
            Event::Left { broker, incarnation } => self.on_left(now, broker, incarnation),
            Event::Presented(presentation) => self.on_presented(presentation, out),
            Event::HandedOver(ages) => self.on_handed_over(now, &ages),
            Event::Followed { epoch, registered, seen } => {
                self.preemption.follow(epoch, registered);
                self.on_own_seen(seen, out);
            }
            Event::ControllerSilent { broker, epoch, ages } => {
                self.on_controller_silent(now, broker, epoch, &ages, out);
            }
            Event::ControllerHeard { broker } => self.on_controller_heard(broker),
            Event::Tick => self.on_tick(now, out),
        }
        self.verify_seen(out);
        self.grow(now, out);
        self.launch_staged(now, out);
        self.check();
    }

    fn on_lease(&mut self, now: Instant, seen: LeaseSeen, out: &mut Effects) {
        match self.lease.on_seen(now, seen, out) {
            lease::Advice::Same => {}
            lease::Advice::Gained if self.phase == Phase::Waiting => self.gather(out),
            lease::Advice::Gained => {}
            lease::Advice::Lost => self.stand_down(Phase::Waiting, Deposed::LeaseLost, out),
            lease::Advice::Lapsed => self.step_back_if_alone(now, out),
        }
    }

    /// A controller whose Lease has run out unrenewed may have a successor, but none that acts while most brokers follow
    /// this one: whoever claims has to hear from half of them first (A7), and a broker follows one controller at a time.
    fn step_back_if_alone(&mut self, now: Instant, out: &mut Effects) {
        let follows = self.phase == Phase::Acting && self.liveness.hears_most(now, self.config.me);
        if self.lease.has_lapsed(now) && !follows {
            self.lease.give_up();
            self.stand_down(Phase::Waiting, Deposed::Alone, out);
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut Effects) {
        self.lease.on_tick(now, out);
        self.preempt_when_due(now, out);
        if matches!(self.phase, Phase::Backoff(until) if until <= now) {
            self.phase = Phase::Waiting;
            if self.lease.is_held() {
                self.gather(out);
            }
        }
        self.retry_due(now, out);
        self.look_at_clocks(now, out);
        self.rebalance_when_due(now);
    }
}

/// A request while it is worked on: whatever documents it looked at have to be durable before it is answered.
#[derive(Debug)]
struct Work {
    /// Whom to answer; nobody, when the controller acts by itself.
    id: Option<RequestId>,
    consulted: BTreeSet<DocumentId>,
    urgency: Urgency,
}

impl Work {
    fn of(id: RequestId, urgency: Urgency) -> Self {
        Self { id: Some(id), consulted: BTreeSet::new(), urgency }
    }

    /// Something that the controller does by itself.
    fn internal(urgency: Urgency) -> Self {
        Self { id: None, consulted: BTreeSet::new(), urgency }
    }
}
