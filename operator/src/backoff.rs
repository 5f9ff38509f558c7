//! How long somebody who failed waits before trying again.
//!
//! Owns the delays per key: doubling from one second to five minutes, spread so that those that failed together do not
//! come back together. The random number is an argument. Bounded by the number of keys that fail.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(300);

/// How often each key has failed in a row.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: HashMap<K, u32>,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Hash + Eq> Backoff<K> {
    /// It failed: when to try again. `random` is between 0 and 1.
    pub fn failed(&mut self, key: K, random: f64) -> Duration {
        let failures = self.failures.entry(key).or_default();
        let delay = FIRST.saturating_mul(1 << (*failures).min(16)).min(LAST);
        *failures = failures.saturating_add(1);
        // Between half of it and all of it.
        delay.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// It did not fail, or is gone.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_start_anew() {
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..12).map(|_| backoff.failed("a", 1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.failed("b", 1.0), FIRST, "another key is another story");
        backoff.forget(&"a");
        assert_eq!(backoff.failed("a", 0.0), FIRST / 2, "spread down to half");
    }
}
