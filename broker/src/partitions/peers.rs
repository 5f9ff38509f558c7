//! The queues in front of the connections to other brokers.
//!
//! Owns what waits to be sent: messages, and the names of partitions that have something to push (never their bytes).
//! Every message may be lost: a queue that nobody empties is cut off rather than let grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use ottla_core::replica::{Lane, Message, Push};
use ottla_core::types::{BrokerId, TopicPartition};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

/// Messages that wait for one connection. What is asked is asked again, so that older ones can go.
const MESSAGES_MAX: usize = 65_536;

/// Messages for one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    messages: Mutex<VecDeque<(TopicPartition, Message)>>,
    /// Which connection is the one in use; 0 for none.
    open: AtomicU64,
    opened: AtomicU64,
    /// Told when there is something to do.
    pub wake: Notify,
}

impl Outbox {
    fn put(&self, id: TopicPartition, message: Message) {
        if self.open.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut messages = self.messages.lock();
        if messages.len() >= MESSAGES_MAX {
            messages.pop_front();
        }
        messages.push_back((id, message));
        drop(messages);
        self.wake.notify_one();
    }

    /// Takes what waits, oldest first.
    pub fn take(&self) -> VecDeque<(TopicPartition, Message)> {
        std::mem::take(&mut *self.messages.lock())
    }

    /// There is a connection, in place of any other; what waited for that one is dropped. Returns its number.
    pub fn open(&self) -> u64 {
        let number = self.opened.fetch_add(1, Ordering::AcqRel) + 1;
        self.messages.lock().clear();
        self.open.store(number, Ordering::Release);
        number
    }

    /// That connection is gone.
    pub fn close(&self, number: u64) {
        if self.open.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.messages.lock().clear();
        }
    }
}

/// Partitions that have something to push to one broker on one of its connections.
#[derive(Debug, Default)]
pub struct Ready {
    partitions: Mutex<VecDeque<TopicPartition>>,
    /// Told when one is added.
    pub wake: Notify,
}

impl Ready {
    /// Adds one at the end.
    pub fn put(&self, id: TopicPartition) {
        self.partitions.lock().push_back(id);
        self.wake.notify_one();
    }

    /// Takes the first one.
    pub fn take(&self) -> Option<TopicPartition> {
        self.partitions.lock().pop_front()
    }
}

/// Another broker.
#[derive(Debug, Default)]
pub struct Peer {
    /// What this broker says as a leader: on the connection that it dialled.
    pub as_leader: Outbox,
    /// What it says as a follower: on the one that the peer dialled.
    pub as_follower: Outbox,
    live: Ready,
    catch_up: Ready,
    /// Pushes without records that must stay behind what goes out on the catch-up connection.
    pub behind: Outbox,
}

impl Peer {
    /// Says something without records behind what was pushed on the catch-up connection.
    pub(super) fn say_behind(&self, id: TopicPartition, push: Push) {
        self.behind.put(id, Message::Push(push));
    }

    /// Partitions that have something to push on that connection.
    pub fn ready(&self, lane: Lane) -> &Ready {
        match lane {
            Lane::Live => &self.live,
            Lane::CatchUp => &self.catch_up,
        }
    }
}

/// All other brokers that were ever spoken to.
#[derive(Debug, Default)]
pub struct Peers {
    all: RwLock<HashMap<BrokerId, Arc<Peer>>>,
}

impl Peers {
    /// The queues of that broker.
    pub fn get(&self, id: BrokerId) -> Arc<Peer> {
        if let Some(peer) = self.all.read().get(&id) {
            return Arc::clone(peer);
        }
        Arc::clone(self.all.write().entry(id).or_default())
    }

    pub(super) fn send(&self, to: BrokerId, id: TopicPartition, message: Message) {
        let peer = self.get(to);
        match message {
            Message::Open(_) | Message::Ack(_) => peer.as_follower.put(id, message),
            Message::Answer(_) | Message::Push(_) => peer.as_leader.put(id, message),
        }
    }

    pub(super) fn ready(&self, to: BrokerId, lane: Lane, id: TopicPartition) {
        self.get(to).ready(lane).put(id);
    }
}
