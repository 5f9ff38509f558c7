//! How fast replicas that are out of sync may be filled (KIP-73).
//!
//! Owns one account of bytes for each direction, shared by all connections. What is in sync is never held back: only
//! the connections for replicas that are far behind ask here. It must never hold bytes itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::config::broker;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Partitions, Replica};
use crate::metadata::MetadataCell;

/// The longest that anybody waits before the rate is looked at again.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// The most that one push costs.
const DEBT_MAX: Duration = Duration::from_secs(3600);

/// Both directions of one broker.
#[derive(Debug, Default)]
pub struct Throttles {
    /// `leader.replication.throttled.rate`
    pub sending: Throttle,
    /// `follower.replication.throttled.rate`
    pub receiving: Throttle,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Account>);

#[derive(Debug, Default)]
struct Account {
    /// Bytes a second; `None` for as many as there are.
    rate: Option<u64>,
    /// Until then everything that passed is paid for.
    paid_until: Option<Instant>,
}

impl Throttle {
    /// From now on so many bytes a second; all debts are forgiven if that is another rate.
    fn set_rate(&self, rate: Option<u64>) {
        let mut account = self.0.lock();
        if account.rate != rate {
            *account = Account { rate, paid_until: None };
        }
    }

    /// How long to wait before more may pass, at most a second; `None` if it may now.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let account = self.0.lock();
        let wait = account.paid_until?.saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait.min(WAIT_MAX))
    }

    /// So much has passed: whole pushes do, and what comes after them waits.
    pub fn spend(&self, now: Instant, bytes: usize) {
        let mut account = self.0.lock();
        let Some(rate) = account.rate else { return };
        let from = account.paid_until.map_or(now, |until| until.max(now));
        let nanos = (bytes as u128).saturating_mul(1_000_000_000) / u128::from(rate.max(1));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        account.paid_until = from.checked_add(Duration::from_nanos(nanos).min(DEBT_MAX));
    }
}

impl Replica {
    /// Whether its topic wants it throttled when this broker sends it to whoever is behind.
    pub fn is_sent_throttled(&self) -> bool {
        let (id, me) = (self.log.id().partition, self.hub.host.read().me);
        self.config().throttles_sending(id, me)
    }

    /// Whether its topic wants it throttled when this broker is behind.
    pub fn is_received_throttled(&self) -> bool {
        let (id, me) = (self.log.id().partition, self.hub.host.read().me);
        self.config().throttles_receiving(id, me)
    }
}

/// Keeps the rates as the configuration says, until the broker stops.
pub async fn follow_rates(partitions: Arc<Partitions>, metadata: Arc<MetadataCell>, shutdown: CancellationToken) {
    let mut changes = metadata.changes();
    let throttles = &partitions.hub().throttles;
    loop {
        changes.borrow_and_update();
        let config = metadata.config();
        // The largest number is Kafka's way to say that there is no limit.
        let rate = |key| config.long(key).filter(|rate| *rate < i64::MAX).and_then(|rate| u64::try_from(rate).ok());
        throttles.sending.set_rate(rate(&broker::LEADER_REPLICATION_THROTTLED_RATE));
        throttles.receiving.set_rate(rate(&broker::FOLLOWER_REPLICATION_THROTTLED_RATE));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_passes_than_the_rate() {
        let (throttle, start) = (Throttle::default(), crate::clock::Clock.monotonic());
        throttle.spend(start, 1 << 30);
        assert_eq!(throttle.wait(start), None, "without a rate nobody waits");
        throttle.set_rate(Some(1000));
        let (mut now, mut passed) = (start, 0);
        while now < start + Duration::from_secs(60) {
            match throttle.wait(now) {
                Some(wait) => now += wait,
                None => {
                    throttle.spend(now, 700);
                    passed += 700;
                }
            }
        }
        assert!((59_000..=60_700).contains(&passed), "{passed}");
        throttle.set_rate(None);
        assert_eq!(throttle.wait(start), None);
    }

    #[test]
    fn whoever_waits_looks_at_the_rate_again() {
        let (throttle, now) = (Throttle::default(), crate::clock::Clock.monotonic());
        throttle.set_rate(Some(0));
        throttle.spend(now, usize::MAX);
        assert_eq!(throttle.wait(now), Some(WAIT_MAX));
        assert_eq!(throttle.wait(now + DEBT_MAX), None);
    }
}
