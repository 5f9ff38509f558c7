//! The partitions that this broker holds replicas of, and who waits for them.
//!
//! Owns every local replica: its log, the machine that decides about it, the high watermark as consumers see it and the
//! waking of long polls. Must never show another high watermark than the machine's (R10), nor visit a partition that did not
//! change.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use ottla_core::config::TopicConfig;
use ottla_core::replica::{Event, Replica as Machine, Settings};
use ottla_core::types::{BrokerId, Offset, TopicPartition};
use ottla_log::partition::Partition;
use ottla_log::store::{Observer, SyncedEnd};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

mod confirmation;
mod hub;
mod log_config;
mod low_watermark;
mod peers;
mod seat;
mod throttle;
mod timers;

pub use hub::{Hub, Question};
pub use low_watermark::Kept;
pub use peers::{Outbox, Peer, Ready};
pub use seat::{PUSH_BYTES_MAX, Pushing, Received};
pub use throttle::{Throttles, follow_rates};
pub use timers::run as ring;

use seat::Seat;

/// A fetch that waits until enough bytes have come to any of its partitions.
#[derive(Debug)]
pub struct FetchWait {
    missing: AtomicI64,
    enough: Notify,
}

impl FetchWait {
    /// Waits for `missing` bytes.
    pub fn new(missing: i64) -> Arc<Self> {
        Arc::new(Self { missing: AtomicI64::new(missing), enough: Notify::new() })
    }

    /// Returns once enough bytes have come or a partition needs another look. Cancel-safe.
    pub async fn done(&self) {
        self.enough.notified().await;
    }

    fn add(&self, bytes: i64) {
        if self.missing.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.enough.notify_one();
        }
    }
}

/// Takes a [`FetchWait`] off a replica when dropped.
#[derive(Debug)]
pub struct Waiting {
    replica: Arc<Replica>,
    wait: Arc<FetchWait>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replica.waiters.lock().retain(|wait| !Arc::ptr_eq(wait, &self.wait));
    }
}

/// One partition on this broker.
#[derive(Debug)]
pub struct Replica {
    /// The records.
    pub log: Arc<Partition>,
    hub: Arc<Hub>,
    config: ArcSwap<TopicConfig>,
    high_watermark: AtomicI64,
    waiters: Mutex<SmallVec<[Arc<FetchWait>; 1]>>,
    /// Told whenever the high watermark moves.
    followed: OnceLock<Arc<Notify>>,
    alone: AtomicBool,
    seat: Mutex<Seat>,
}

impl Replica {
    fn new(log: Arc<Partition>, config: Arc<TopicConfig>, hub: Arc<Hub>) -> Arc<Self> {
        // What is committed is learnt from the leader; the log's start is, for certain.
        let start = log.log_start();
        let machine = Machine::new(log.id(), log.flushed_end(), start);
        log.configure(log_config::of(&config));
        Arc::new(Self {
            log,
            hub,
            config: ArcSwap::new(config),
            high_watermark: AtomicI64::new(start.get()),
            waiters: Mutex::default(),
            followed: OnceLock::new(),
            alone: AtomicBool::new(false),
            seat: Mutex::new(Seat::new(machine)),
        })
    }

    /// Whether no other broker holds a replica of it.
    pub fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// Has `notify` told whenever the high watermark moves; one at a time.
    pub fn follow(&self, notify: &Arc<Notify>) {
        let _already = self.followed.set(Arc::clone(notify));
    }

    /// The topic's configuration in force.
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// Puts a new configuration in force.
    pub fn configure(&self, config: Arc<TopicConfig>) {
        if *self.config.load_full() != *config {
            self.log.configure(log_config::of(&config));
            self.config.store(config);
        }
    }

    /// Consumers see the records before this offset.
    pub fn high_watermark(&self) -> Offset {
        Offset::new(self.high_watermark.load(Ordering::Acquire))
    }

    /// Has `wait` count what comes to this partition from now on.
    pub fn wait(self: &Arc<Self>, wait: &Arc<FetchWait>) -> Waiting {
        self.waiters.lock().push(Arc::clone(wait));
        Waiting { replica: Arc::clone(self), wait: Arc::clone(wait) }
    }

    /// Has every waiting fetch look again: the partition's start moved, or it is gone.
    pub fn wake(&self) {
        for wait in self.waiters.lock().iter() {
            wait.enough.notify_one();
        }
    }

    fn advance(&self, end: Offset, bytes: u64) {
        // It goes back only where an unclean election was allowed, and only at a follower: the machine sees to it.
        self.high_watermark.store(end.get(), Ordering::Release);
        if let Some(followed) = self.followed.get() {
            followed.notify_one();
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        for wait in self.waiters.lock().iter() {
            wait.add(bytes);
        }
    }
}

/// All partitions of this broker, by topic id.
#[derive(Debug)]
pub struct Partitions {
    hub: Arc<Hub>,
    replicas: RwLock<HashMap<TopicPartition, Arc<Replica>>>,
    offline: CancellationToken,
    offline_reason: OnceLock<String>,
    damaged: mpsc::UnboundedSender<TopicPartition>,
    damaged_taken: Mutex<Option<mpsc::UnboundedReceiver<TopicPartition>>>,
}

impl Partitions {
    /// None yet, on broker `me`.
    pub fn new(me: BrokerId, settings: Settings) -> Self {
        // Each range is said once.
        let (damaged, taken) = mpsc::unbounded_channel();
        Self {
            hub: Arc::new(Hub::new(me, settings)),
            replicas: RwLock::default(),
            offline: CancellationToken::new(),
            offline_reason: OnceLock::new(),
            damaged,
            damaged_taken: Mutex::new(Some(taken)),
        }
    }

    /// What they share.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The replica of `id`, if this broker has one.
    pub fn get(&self, id: TopicPartition) -> Option<Arc<Replica>> {
        self.replicas.read().get(&id).cloned()
    }

    /// Takes a partition's log into service.
    pub fn add(&self, log: Arc<Partition>, config: Arc<TopicConfig>) -> Arc<Replica> {
        let id = log.id();
        let replica = Replica::new(log, config, Arc::clone(&self.hub));
        self.replicas.write().insert(id, Arc::clone(&replica));
        // What was synced between reading the end and the insertion has told nobody.
        replica.handle(Event::Flushed(replica.log.flushed_end()));
        replica
    }

    /// Takes a partition out of service; its waiting fetches look again and find it gone.
    pub fn remove(&self, id: TopicPartition) -> Option<Arc<Replica>> {
        let replica = self.replicas.write().remove(&id)?;
        replica.wake();
        Some(replica)
    }

    /// Every replica, in no particular order.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.replicas.read().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.replicas.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.replicas.read().is_empty()
    }

    /// Cancelled once the data directory is offline (S2).
    pub fn offline(&self) -> &CancellationToken {
        &self.offline
    }

    /// Partitions whose logs turned out to be damaged; taken once.
    pub fn take_damaged(&self) -> Option<mpsc::UnboundedReceiver<TopicPartition>> {
        self.damaged_taken.lock().take()
    }

    /// Why the data directory is offline, if it is.
    pub fn offline_reason(&self) -> Option<&str> {
        self.offline_reason.get().map(String::as_str)
    }
}

impl Observer for Partitions {
    fn synced(&self, ends: &[SyncedEnd]) {
        let replicas = self.replicas.read();
        for synced in ends {
            if let Some(replica) = replicas.get(&synced.partition) {
                replica.on_synced(synced.bytes);
            }
        }
    }

    fn damaged(&self, partition: TopicPartition) {
        // Nobody is left to repair it when the broker stops.
        let _stopped = self.damaged.send(partition);
    }

    fn offline(&self, reason: &str) {
        tracing::error!(reason, "data directory is offline: no record is accepted until the broker is restarted");
        let _first_reason_stays = self.offline_reason.set(reason.to_owned());
        self.offline.cancel();
        for replica in self.all() {
            replica.wake();
            replica.abandon();
        }
    }
}
