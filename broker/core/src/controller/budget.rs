//! How fast documents may be written, so that the store behind them (etcd, of a whole Kubernetes) stays well.
//!
//! A token bucket of bytes. Fencing and elections may use all of it, requests leave an eighth of it to them, and growth
//! of in-sync sets leaves half of it to everybody else: what is urgent always finds tokens. What is held back is
//! counted.

use std::time::{Duration, Instant};

/// How much may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteBudget {
    /// At once, in bytes.
    pub burst_bytes: u32,
    /// For ever, in bytes a second.
    pub bytes_per_second: u32,
}

impl WriteBudget {
    /// What is kind to etcd.
    pub const KUBERNETES: Self = Self { burst_bytes: 8 << 20, bytes_per_second: 256 << 10 };
}

/// Why something is written; the first is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Brokers come or go, leaders change, in-sync sets shrink.
    Election,
    /// Somebody asked.
    Request,
    /// In-sync sets grow, leaderships go home.
    Growth,
}

#[derive(Debug)]
pub(super) struct Bucket {
    budget: Option<WriteBudget>,
    /// May be negative: a write is let through whole.
    tokens: i64,
    filled_at: Option<Instant>,
    written: u64,
    held: u64,
}

impl Bucket {
    /// A full bucket; without a budget, one that is never empty.
    pub(super) fn new(budget: Option<WriteBudget>) -> Self {
        let tokens = budget.map_or(0, |budget| i64::from(budget.burst_bytes));
        Self { budget, tokens, filled_at: None, written: 0, held: 0 }
    }

    /// A write that has to happen.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
        self.tokens = self.tokens.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Whether something of that urgency may be written now; if not, when.
    pub(super) fn check(&mut self, now: Instant, urgency: Urgency) -> Result<(), Instant> {
        let Some(budget) = self.budget else { return Ok(()) };
        self.fill(now, budget);
        let burst = i64::from(budget.burst_bytes);
        let reserve = match urgency {
            Urgency::Election => 0,
            Urgency::Request => burst / 8,
            Urgency::Growth => burst / 2,
        };
        if self.tokens > reserve {
            return Ok(());
        }
        self.held += 1;
        let missing = u64::try_from(reserve - self.tokens + 1).unwrap_or_default();
        let rate = u64::from(budget.bytes_per_second.max(1));
        Err(now + Duration::from_millis((missing.saturating_mul(1000) / rate).clamp(1, 60_000)))
    }

    fn fill(&mut self, now: Instant, budget: WriteBudget) {
        let passed = self.filled_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let fresh = passed.as_millis().saturating_mul(u128::from(budget.bytes_per_second)) / 1000;
        // A moment too short for a whole byte is kept for later.
        if fresh > 0 || self.filled_at.is_none() {
            self.filled_at = Some(now);
            let fresh = i64::try_from(fresh).unwrap_or(i64::MAX);
            self.tokens = self.tokens.saturating_add(fresh).min(i64::from(budget.burst_bytes));
        }
    }

    /// Bytes written, and how often something was held back.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.written, self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_urgent_finds_tokens_after_everything_else_has_stopped() {
        let start = crate::controller::tests::epoch();
        let mut bucket = Bucket::new(Some(WriteBudget { burst_bytes: 8000, bytes_per_second: 1000 }));
        let mut drain = |urgency| {
            let mut writes = 0;
            while bucket.check(start, urgency).is_ok() {
                bucket.spend(500);
                writes += 1;
            }
            writes
        };
        assert_eq!(drain(Urgency::Growth), 8);
        assert_eq!(drain(Urgency::Request), 6);
        assert_eq!(drain(Urgency::Election), 2);
        assert_eq!(bucket.check(start, Urgency::Election), Err(start + Duration::from_millis(1)));
        assert_eq!(bucket.check(start, Urgency::Growth), Err(start + Duration::from_millis(4001)));
        assert_eq!(bucket.counts(), (8000, 5));
    }

    #[test]
    fn over_time_no_more_is_written_than_the_rate_and_the_burst() {
        let mut now = crate::controller::tests::epoch();
        let budget = WriteBudget { burst_bytes: 10_000, bytes_per_second: 1000 };
        let mut bucket = Bucket::new(Some(budget));
        for _ in 0..60_000 {
            now += Duration::from_millis(10);
            if bucket.check(now, Urgency::Growth).is_ok() {
                bucket.spend(700);
            }
        }
        let (written, held) = bucket.counts();
        assert!((600_000..=605_700).contains(&written) && held > 0, "{written}");
    }

    #[test]
    fn without_a_budget_nothing_is_held() {
        let mut bucket = Bucket::new(None);
        bucket.spend(u64::MAX);
        assert_eq!(bucket.check(crate::controller::tests::epoch(), Urgency::Growth), Ok(()));
    }
}
