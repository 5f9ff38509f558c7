//! What all replicas of this broker share: who it is, its peers, its timers, its questions to the controller.
//!
//! Owns the [`Host`] that every step is given, and the roads that effects leave by. It decides nothing, and must never
//! hold a lock of its own while a replica is stepped, the reading lock of the host excepted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use ottla_core::replica::{Ask, Host, Note, ProduceId, Rules, Settings, View};
use ottla_core::types::{BrokerId, Incarnation, TopicPartition};
use ottla_log::store::LogDir;
use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc};

use super::peers::Peers;
use super::throttle::Throttles;
use super::timers::Timers;
use crate::clock::Clock;

/// A question of a replica to the controller.
pub type Question = (TopicPartition, Ask);

/// What was worth counting.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages of other epochs, runs or sessions that were ignored.
    pub stale: AtomicU64,
    /// Pushes that did not follow the log's end.
    pub gaps: AtomicU64,
    /// Answers that waited until somebody confirmed the leader (R13).
    pub unconfirmed: AtomicU64,
    /// Leaderships that were handed over because the disk was slow.
    pub handed_over: AtomicU64,
    /// Cuts below the high watermark that were refused (R8).
    pub cuts_refused: AtomicU64,
    /// Logs that were cut.
    pub truncations: AtomicU64,
    /// Pushes to replicas out of sync that a throttle held back.
    pub throttled: AtomicU64,
}

/// Shared by all replicas of a broker.
#[derive(Debug)]
pub struct Hub {
    /// Who this broker is and what it knows of the others.
    pub host: RwLock<Host>,
    /// The way to other brokers.
    pub peers: Peers,
    /// When which replica wants to be looked at.
    pub timers: Timers,
    /// Counters.
    pub counters: Counters,
    /// How fast replicas that are far behind are filled.
    pub throttles: Throttles,
    /// Told whenever somebody may have confirmed a leader.
    pub(super) heard: Notify,
    /// The controller is to be asked at once whether this broker's leaders still lead.
    pub beat_now: Notify,
    pub(super) clock: Clock,
    questions: mpsc::UnboundedSender<Question>,
    asked: parking_lot::Mutex<Option<mpsc::UnboundedReceiver<Question>>>,
    produces: AtomicU64,
    draining: AtomicBool,
    log: OnceLock<Weak<LogDir>>,
    runtime: OnceLock<tokio::runtime::Handle>,
}

impl Hub {
    /// For broker `me`, which has no run yet.
    pub fn new(me: BrokerId, settings: Settings) -> Self {
        let clock = Clock;
        // A replica asks once, and again after a while: there are never more questions than replicas.
        let (questions, asked) = mpsc::unbounded_channel();
        let host = Host::new(me, Incarnation::default(), settings, Rules::default(), clock.monotonic());
        Self {
            host: RwLock::new(host),
            peers: Peers::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            throttles: Throttles::default(),
            heard: Notify::new(),
            beat_now: Notify::new(),
            clock,
            questions,
            asked: parking_lot::Mutex::new(Some(asked)),
            produces: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            log: OnceLock::new(),
            runtime: OnceLock::new(),
        }
    }

    /// The log and the runtime are there.
    pub fn ready(&self, log: &Arc<LogDir>, runtime: tokio::runtime::Handle) {
        let _first_stays = self.log.set(Arc::downgrade(log));
        let _first_stays = self.runtime.set(runtime);
    }

    /// The broker was allotted a run; nothing was assigned to a replica before.
    pub fn begin_run(&self, run: Incarnation) {
        let mut host = self.host.write();
        let (me, settings, rules) = (host.me, host.settings, host.rules);
        *host = Host::new(me, run, settings, rules, self.clock.monotonic());
    }

    /// The run that this broker was allotted; 0 before.
    pub fn run(&self) -> Incarnation {
        self.host.read().incarnation
    }

    /// The controller answered what left at `sent`; it had published up to `newest` by then.
    pub fn confirmed(&self, sent: Instant, newest: View) {
        self.host.write().on_controller_answer(sent, newest);
        self.heard.notify_waiters();
    }

    /// The broker is about to stop, and should lead nothing any more.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.host.write().on_stopping(self.clock.monotonic());
    }

    /// Whether it is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The questions of replicas; taken once.
    pub fn take_questions(&self) -> Option<mpsc::UnboundedReceiver<Question>> {
        self.asked.lock().take()
    }

    pub(super) fn ask(&self, id: TopicPartition, ask: Ask) {
        // Nobody is left to ask when the broker stops.
        let _stopped = self.questions.send((id, ask));
    }

    pub(super) fn next_produce(&self) -> ProduceId {
        ProduceId(self.produces.fetch_add(1, Ordering::Relaxed))
    }

    /// The log, while it is open.
    pub fn log(&self) -> Option<Arc<LogDir>> {
        self.log.get()?.upgrade()
    }

    pub(super) fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        self.runtime.get()
    }

    pub(super) fn note(&self, note: Note) {
        let counter = match note {
            Note::StaleIgnored | Note::StaleAckIgnored | Note::StaleAssignment => &self.counters.stale,
            Note::Gap => &self.counters.gaps,
            Note::Unconfirmed => &self.counters.unconfirmed,
            Note::HandedOver => &self.counters.handed_over,
            Note::CutRefused => &self.counters.cuts_refused,
            Note::Settling | Note::Held => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
