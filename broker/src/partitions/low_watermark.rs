//! Waiting until what a leader has removed is removed everywhere, as Kafka's DelayedDeleteRecords does.
//!
//! Owns the waiting only: the machine says how far all replicas are, and followers say so by themselves.

use std::time::Instant;

use ottla_core::types::{LeaderEpoch, Offset};
use tokio::time::timeout_at;

use super::Replica;

/// Why it is not certain that everybody has removed the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// This replica does not lead any more in the epoch that was asked in.
    LeadershipEnded,
    /// The time is over; somebody keeps what lies from there on, or does not say.
    TimedOut(Option<Offset>),
}

impl Replica {
    /// Returns the lowest offset that any replica of a broker in service keeps, once that is `start` or later. Waits at
    /// most until then. A broker that is fenced meanwhile is not waited for: it removes the records when it follows again.
    ///
    /// # Errors
    /// [`Kept`].
    pub async fn removed_below(&self, start: Offset, epoch: LeaderEpoch, until: Instant) -> Result<Offset, Kept> {
        if self.is_alone() {
            return Ok(self.log.log_start());
        }
        loop {
            // Brokers that are fenced are noticed here too: the controller is heard several times a second.
            let mut heard = std::pin::pin!(self.hub.heard.notified());
            heard.as_mut().enable();
            if self.leads_in() != Some(epoch) {
                return Err(Kept::LeadershipEnded);
            }
            let low = self.low_watermark();
            if let Some(low) = low.filter(|low| *low >= start) {
                return Ok(low);
            }
            if timeout_at(until.into(), heard).await.is_err() {
                return Err(Kept::TimedOut(low));
            }
        }
    }
}
