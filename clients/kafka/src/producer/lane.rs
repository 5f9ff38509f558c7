//! The batches of one partition, in order.
//!
//! Owns that at most one of them is away: order and sequence numbers follow from that alone. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use ottla_core::types::Sequence;
use tokio::time::Instant;

use super::batch::Batch;
use super::sender::Pending;
use crate::config::ProducerConfig;

#[derive(Default)]
pub(super) struct Lane {
    batches: VecDeque<Batch>,
    /// Whether the front batch was taken out and is away.
    pub(super) away: bool,
    /// The sequence of the next batch: what is acknowledged counts, what is away does not yet.
    pub(super) sequence: Sequence,
    pause: Option<Pause>,
}

struct Pause {
    until: Instant,
    next: Duration,
}

impl Lane {
    /// Adds a record to the last batch, or begins a new one.
    pub(super) fn push(&mut self, record: Pending, bytes: usize, config: &ProducerConfig, now: Instant) {
        let fits = |batch: &Batch| batch.attempts == 0 && batch.bytes() + bytes <= config.request_bytes_max;
        // While a batch is away the next one may grow as far as a request can carry: there is no use in being small.
        let grows = |batch: &Batch| self.away || batch.bytes() + bytes <= config.batch_bytes;
        if !self.batches.back().is_some_and(|last| fits(last) && grows(last)) {
            self.batches.push_back(Batch::new(config.compression, now));
        }
        if let Some(last) = self.batches.back_mut() {
            last.push(record);
        }
    }

    /// Whether the front batch should leave now.
    pub(super) fn is_ready(&self, config: &ProducerConfig, hurry: bool, now: Instant) -> bool {
        let Some(front) = self.batches.front() else { return false };
        let rested = self.pause.as_ref().is_none_or(|pause| pause.until <= now);
        let due = hurry
            || front.attempts > 0
            || self.batches.len() > 1
            || front.bytes() >= config.batch_bytes
            || now >= front.created + config.linger;
        !self.away && rested && due
    }

    /// When it has to be looked at again, if it waits for time to pass.
    pub(super) fn wake(&self, config: &ProducerConfig, now: Instant) -> Option<Instant> {
        let front = self.batches.front().filter(|_| !self.away)?;
        let pause = self.pause.as_ref().map(|pause| pause.until).filter(|until| *until > now);
        Some(pause.unwrap_or(front.created + config.linger))
    }

    /// Takes the front batch out to be sent.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let front = self.batches.pop_front()?;
        self.away = true;
        Some(front)
    }

    /// How large the front batch is.
    pub(super) fn front_bytes(&self) -> usize {
        self.batches.front().map_or(0, Batch::bytes)
    }

    /// Whether the front batch has left before and its fate is open.
    pub(super) fn is_uncertain(&self) -> bool {
        self.away || self.batches.front().is_some_and(|front| front.attempts > 0)
    }

    /// Puts a batch that came back to the front again, to rest a while before it leaves.
    pub(super) fn put_back(&mut self, batch: Batch, rest: Option<(Duration, Duration)>, now: Instant) {
        self.away = false;
        self.batches.push_front(batch);
        if let Some((first, longest)) = rest {
            let this = self.pause.as_ref().map_or(first, |pause| pause.next);
            self.pause = Some(Pause { until: now + this, next: (this * 2).min(longest) });
        }
    }

    /// The batch that was away has met its fate.
    pub(super) fn settled(&mut self) {
        self.away = false;
        self.pause = None;
    }

    /// Takes out what was here longer than it may be.
    pub(super) fn expired(&mut self, config: &ProducerConfig, now: Instant) -> Vec<Batch> {
        let mut old = Vec::new();
        while self.batches.front().is_some_and(|front| now >= front.created + config.delivery_timeout) {
            old.extend(self.batches.pop_front());
        }
        old
    }

    /// Takes out everything.
    pub(super) fn drain(&mut self) -> Vec<Batch> {
        self.batches.drain(..).collect()
    }

    /// Whether nothing is here or away.
    pub(super) fn is_idle(&self) -> bool {
        !self.away && self.batches.is_empty()
    }

    /// Whether something that came at `time` or before is still here or away.
    pub(super) fn has_older(&self, time: Instant) -> bool {
        self.away || self.batches.front().is_some_and(|front| front.created <= time)
    }
}

#[cfg(test)]
mod tests;
