//! When which replica wants to be looked at.
//!
//! Owns one heap for all replicas; an entry that is no longer wanted is passed over when it comes up. It must never ring
//! early, nor keep an entry for a replica at rest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::types::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Partitions;

/// A loop that comes later than this was kept from running: what others said before proves nothing any more.
const LATE: Duration = Duration::from_millis(200);

/// The heap of deadlines.
#[derive(Debug, Default)]
pub struct Timers {
    heap: Mutex<BinaryHeap<Reverse<(Instant, TopicPartition)>>>,
    sooner: Notify,
}

impl Timers {
    /// Rings for `id` at `at` or soon after.
    pub(super) fn set(&self, at: Instant, id: TopicPartition) {
        let mut heap = self.heap.lock();
        let sooner = heap.peek().is_none_or(|Reverse((first, _))| at < *first);
        heap.push(Reverse((at, id)));
        drop(heap);
        if sooner {
            self.sooner.notify_one();
        }
    }

    fn next(&self) -> Option<Instant> {
        self.heap.lock().peek().map(|Reverse((at, _))| *at)
    }

    fn due(&self, now: Instant) -> Option<(Instant, TopicPartition)> {
        let mut heap = self.heap.lock();
        let due = heap.peek().is_some_and(|Reverse((at, _))| *at <= now);
        if due { heap.pop().map(|Reverse(entry)| entry) } else { None }
    }
}

/// Rings until the broker stops.
pub async fn run(partitions: Arc<Partitions>, shutdown: CancellationToken) {
    let hub = Arc::clone(partitions.hub());
    loop {
        let next = hub.timers.next();
        let expected = next.unwrap_or_else(|| hub.clock.monotonic() + Duration::from_secs(60));
        tokio::select! {
            () = tokio::time::sleep_until(expected.into()) => {
                let now = hub.clock.monotonic();
                if now.saturating_duration_since(expected) > LATE {
                    hub.host.write().on_late_loop(now);
                }
            }
            () = hub.timers.sooner.notified() => {}
            () = shutdown.cancelled() => return,
        }
        let now = hub.clock.monotonic();
        while let Some((at, id)) = hub.timers.due(now) {
            if let Some(replica) = partitions.get(id) {
                replica.ring(at);
            }
        }
    }
}
