//! The pauses between the attempts of one call, up to its deadline.
//!
//! Owns when to give up: a terminal error ends a call at once, a retriable one at the deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::ClientConfig;
use crate::error::{Error, Result, Terminal};

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Retry {
    what: String,
    deadline: Instant,
    patience: Duration,
    pause: Duration,
    pause_max: Duration,
    attempts: u32,
}

impl Retry {
    pub(super) fn new(what: String, config: &ClientConfig) -> Self {
        Self {
            what,
            deadline: Instant::now() + config.call_timeout,
            patience: config.call_timeout,
            pause: config.backoff,
            pause_max: config.backoff_max,
            attempts: 0,
        }
    }

    /// When the call ends.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How many attempts have failed.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Waits before the next attempt after `error`, or returns what the call ends with.
    pub(crate) async fn pause(&mut self, error: Error) -> Result<()> {
        let last = match error {
            Error::Terminal(terminal) => return Err(terminal.into()),
            Error::Retriable(retriable) => retriable,
        };
        self.attempts += 1;
        if Instant::now() + self.pause >= self.deadline {
            let what = std::mem::take(&mut self.what);
            return Err(Terminal::DeadlinePassed { what, after: self.patience, last: Box::new(last) }.into());
        }
        tracing::debug!(what = self.what, attempt = self.attempts, error = %last, "trying again");
        sleep(self.pause.mul_f64(0.8 + 0.4 * rand::random::<f64>())).await;
        self.pause = (self.pause * 2).min(self.pause_max);
        Ok(())
    }
}
