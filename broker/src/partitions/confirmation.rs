//! Waiting until it is certain that a leader still leads (R13).
//!
//! Owns the asking: followers and the controller are asked at once, so that nobody waits for the next sign of life. It
//! judges nothing; the machine says up to which moment it is certain.

use std::sync::Arc;
use std::time::Duration;

use ottla_core::replica::Event;
use tokio::time::{Instant, timeout_at};

use super::Replica;

impl Replica {
    /// Returns once somebody has confirmed, on a message sent after this call, that this replica leads: what it says
    /// then is no older than the call. False if it does not lead, or nobody says so within `patience`.
    pub async fn still_leads(self: &Arc<Self>, patience: Duration) -> bool {
        if self.is_alone() {
            return true;
        }
        let Some(epoch) = self.leads_in() else { return false };
        let (asked, deadline) = (self.hub.clock.monotonic(), Instant::now() + patience);
        self.handle(Event::Solicit);
        self.hub.beat_now.notify_one();
        loop {
            let mut heard = std::pin::pin!(self.hub.heard.notified());
            heard.as_mut().enable();
            if self.leads_in() != Some(epoch) {
                return false;
            }
            if self.confirmed_since().is_some_and(|since| since >= asked) {
                return true;
            }
            if timeout_at(deadline, heard).await.is_err() {
                return false;
            }
        }
    }
}
