//! The partitions that this broker serves, and who waits for them.
//!
//! Owns the high watermark of every local replica and the waking of long polls. While a partition has one replica its
//! high watermark is the log's promised end (R4 with one member); replication adds the other members here. Must never
//! let a high watermark go back (R10), nor visit a partition that did not change.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use ottla_core::config::TopicConfig;
use ottla_core::types::{Offset, TopicPartition};
use ottla_log::partition::Partition;
use ottla_log::store::{Observer, SyncedEnd};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

mod log_config;

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
    config: ArcSwap<TopicConfig>,
    high_watermark: AtomicI64,
    waiters: Mutex<SmallVec<[Arc<FetchWait>; 1]>>,
}

impl Replica {
    fn new(log: Arc<Partition>, config: Arc<TopicConfig>) -> Arc<Self> {
        let high_watermark = AtomicI64::new(log.flushed_end().get());
        log.configure(log_config::of(&config));
        Arc::new(Self { log, config: ArcSwap::new(config), high_watermark, waiters: Mutex::default() })
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
        self.high_watermark.fetch_max(end.get(), Ordering::AcqRel);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        for wait in self.waiters.lock().iter() {
            wait.add(bytes);
        }
    }
}

/// All partitions of this broker, by topic id.
#[derive(Debug, Default)]
pub struct Partitions {
    replicas: RwLock<HashMap<TopicPartition, Arc<Replica>>>,
    offline: CancellationToken,
    offline_reason: OnceLock<String>,
}

impl Partitions {
    /// The replica of `id`, if this broker has one.
    pub fn get(&self, id: TopicPartition) -> Option<Arc<Replica>> {
        self.replicas.read().get(&id).cloned()
    }

    /// Takes a partition's log into service.
    pub fn add(&self, log: Arc<Partition>, config: Arc<TopicConfig>) -> Arc<Replica> {
        let id = log.id();
        let replica = Replica::new(log, config);
        self.replicas.write().insert(id, Arc::clone(&replica));
        // What was synced between reading the end and the insertion has told nobody.
        replica.advance(replica.log.flushed_end(), 0);
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
                replica.advance(synced.end, synced.bytes);
            }
        }
    }

    fn offline(&self, reason: &str) {
        tracing::error!(reason, "data directory is offline: no record is accepted until the broker is restarted");
        let _first_reason_stays = self.offline_reason.set(reason.to_owned());
        self.offline.cancel();
        for replica in self.replicas.read().values() {
            replica.wake();
        }
    }
}
