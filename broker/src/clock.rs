//! The broker's clock.
//!
//! Owns every reading of the machine's clocks; all other code takes time as an argument or asks here, so that a test
//! can say what time it is by saying what arrives.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_core::types::Timestamp;

/// Reads the machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Milliseconds since the Unix epoch; may jump when somebody sets the machine's clock.
    pub fn wall(self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the place that reads the wall clock")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::new(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// The monotonic clock.
    pub fn monotonic(self) -> Instant {
        #[expect(clippy::disallowed_methods, reason = "this is the place that reads the monotonic clock")]
        Instant::now()
    }
}
