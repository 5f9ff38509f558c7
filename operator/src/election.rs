//! Which replica of the operator acts.
//!
//! Owns the lease of the operators. It is advice: two replicas that act at once only do the same thing twice, because every
//! step names the object that it is about. Expiry is judged by this process's own clock since the lease last changed, as
//! `ottla_coordination::Coordination` asks for.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordination::{Coordination, Holder, Lease, LeaseError, Revision};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// For how long the lease holds.
const HOLDS: Duration = Duration::from_secs(15);
/// How often it is renewed, and looked at by those who wait.
const TURN: Duration = Duration::from_secs(2);
/// After how long without a renewal who holds it stops acting: well before anybody takes it.
const GIVES_UP: Duration = Duration::from_secs(10);
/// After how long without a turn the process is not alive.
const DEAD: Duration = Duration::from_secs(60);
/// After how long without an answer of the API server it is not ready.
const STALE: Duration = Duration::from_secs(30);
/// The lease, under the name that `Kubernetes` builds from this and the word below: `ottla-operator`.
pub const LEASE_OF: &str = "ottla";
const LEASE: &str = "operator";

/// Signs of life of the election.
#[derive(Clone)]
pub struct Pulse(Arc<Mutex<Times>>);

struct Times {
    turned: Instant,
    answered: Option<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Times { turned: Instant::now(), answered: None })))
    }
}

impl Pulse {
    fn turn(&self, answered: bool) {
        let mut times = self.0.lock();
        times.turned = Instant::now();
        if answered {
            times.answered = Some(times.turned);
        }
    }

    /// Whether the election still turns over.
    pub fn is_alive(&self) -> bool {
        self.0.lock().turned.elapsed() < DEAD
    }

    /// Whether the API server has answered lately.
    pub fn is_ready(&self) -> bool {
        self.0.lock().answered.is_some_and(|at| at.elapsed() < STALE)
    }

    /// How long ago the election turned over last.
    pub fn age(&self) -> Duration {
        self.0.lock().turned.elapsed()
    }
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    /// Keep it.
    Renew(Revision),
    /// Take it as it was seen.
    Acquire(Option<Revision>),
    /// Wait.
    Wait,
}

/// The lease as it was first seen in its present state.
#[derive(Debug, Default)]
struct Sight {
    lease: Option<Lease>,
    since: Option<Instant>,
}

impl Sight {
    /// It was seen like this, `now`.
    fn see(&mut self, lease: Option<Lease>, now: Instant) {
        let revision = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.revision.clone());
        if self.since.is_none() || revision(&self.lease) != revision(&lease) {
            self.since = Some(now);
        }
        self.lease = lease;
    }

    /// What follows for `holder`.
    fn call(&self, holder: &Holder, now: Instant) -> Call {
        match (&self.lease, self.since) {
            (None, _) => Call::Acquire(None),
            (Some(lease), _) if lease.holder == *holder => Call::Renew(lease.revision.clone()),
            (Some(lease), Some(since)) if now.duration_since(since) >= lease.duration => {
                Call::Acquire(Some(lease.revision.clone()))
            }
            (Some(_), _) => Call::Wait,
        }
    }
}

/// One replica's part in the election.
pub struct Election {
    /// Where the lease is.
    pub store: Arc<dyn Coordination>,
    /// Who this is.
    pub holder: Holder,
    /// Signs of life.
    pub pulse: Pulse,
    /// Where it is shown who acts.
    pub metrics: Metrics,
}

impl Election {
    /// Takes part until `stop`, then gives the lease back. `leads` is true while this replica may act; it becomes false once
    /// at most, and the process must end then.
    pub async fn run(self, leads: watch::Sender<bool>, stop: CancellationToken) {
        let mut sight = Sight::default();
        let mut renewed: Option<Instant> = None;
        loop {
            let turn = self.turn(&mut sight);
            let held = tokio::select! {
                held = turn => held,
                () = stop.cancelled() => break,
            };
            let now = Instant::now();
            self.pulse.turn(held.is_ok());
            match held {
                Ok(true) => renewed = Some(now),
                // Somebody else has it.
                Ok(false) if renewed.is_some() => break,
                Ok(false) => {}
                Err(LeaseError::Taken) => tracing::debug!("somebody was faster"),
                Err(error) => tracing::warn!(%error, "look after the operators' lease"),
            }
            if renewed.is_some_and(|at| now.duration_since(at) > GIVES_UP) {
                break;
            }
            self.show(&leads, renewed.is_some());
            tokio::select! {
                () = sleep(TURN) => {}
                () = stop.cancelled() => break,
            }
        }
        if stop.is_cancelled() {
            self.release().await;
        } else {
            tracing::error!("the operators' lease is lost");
        }
        self.show(&leads, false);
    }

    fn show(&self, leads: &watch::Sender<bool>, now: bool) {
        self.metrics.set_leader(now);
        let changed = leads.send_if_modified(|leads| std::mem::replace(leads, now) != now);
        if changed {
            tracing::info!(holder = self.holder.0, leads = now, "the operators' lease");
        }
    }

    /// Whether this replica holds the lease after one turn.
    async fn turn(&self, sight: &mut Sight) -> Result<bool, LeaseError> {
        let seen = self.ask(|store, _| store.observe(LEASE).map_err(LeaseError::Unavailable)).await?;
        sight.see(seen, Instant::now());
        let had = match sight.call(&self.holder, Instant::now()) {
            Call::Wait => return Ok(false),
            // Somebody may have edited the object: the next look tells whose it is.
            Call::Renew(held) => self.ask(move |store, holder| store.renew(LEASE, holder, HOLDS, &held)).await?,
            Call::Acquire(seen) => {
                self.ask(move |store, holder| store.acquire(LEASE, holder, HOLDS, seen.as_ref())).await?
            }
        };
        sight.see(Some(had), Instant::now());
        Ok(true)
    }

    async fn release(&self) {
        let released = self.ask(|store, holder| match store.observe(LEASE)? {
            Some(lease) if lease.holder == *holder => store.release(LEASE, holder, &lease.revision),
            Some(_) | None => Ok(()),
        });
        if let Err(error) = released.await {
            tracing::debug!(%error, "release the operators' lease");
        }
    }

    /// Asks the store where it may block.
    async fn ask<T, F>(&self, question: F) -> Result<T, LeaseError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Coordination, &Holder) -> Result<T, LeaseError> + Send + 'static,
    {
        let (store, holder) = (Arc::clone(&self.store), self.holder.clone());
        let asked = tokio::task::spawn_blocking(move || question(&*store, &holder)).await;
        asked.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, revision: &str) -> Option<Lease> {
        let (holder, revision) = (Holder(holder.to_owned()), Revision(revision.to_owned()));
        Some(Lease { holder, duration: HOLDS, revision })
    }

    #[test]
    fn a_lease_is_taken_only_after_it_stood_still() {
        let (me, began) = (Holder("me".to_owned()), Instant::now());
        let mut sight = Sight::default();
        sight.see(None, began);
        assert_eq!(sight.call(&me, began), Call::Acquire(None));
        sight.see(lease("you", "1"), began);
        let later = began + HOLDS;
        sight.see(lease("you", "2"), began + TURN);
        assert_eq!(sight.call(&me, later), Call::Wait, "it was renewed meanwhile");
        assert_eq!(sight.call(&me, later + TURN), Call::Acquire(Some(Revision("2".to_owned()))));
        sight.see(lease("me", "3"), later);
        assert_eq!(sight.call(&me, later + HOLDS * 9), Call::Renew(Revision("3".to_owned())));
    }

    #[test]
    fn whoever_holds_it_stops_before_anybody_takes_it() {
        assert!(GIVES_UP + TURN < HOLDS);
    }
}
