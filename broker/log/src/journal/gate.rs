//! Waiting for a number to be reached: durability by LSN, room by a count of changes.
//!
//! Owns the wakers of those who wait. Independent of any executor; a wait that is dropped leaves nothing behind.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use super::Journal;
use super::error::{Full, Offline, SubmitError};

/// A number that only grows, until it fails for good.
#[derive(Debug, Default)]
pub(super) struct Gate {
    reached: AtomicU64,
    failed: OnceLock<Offline>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next_ticket: u64,
    wakers: BTreeMap<Ticket, Waker>,
}

/// What is waited for, and a number that tells waiters apart.
type Ticket = (u64, u64);

impl Gate {
    pub(super) fn new(reached: u64) -> Self {
        Self { reached: AtomicU64::new(reached), ..Self::default() }
    }

    pub(super) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    pub(super) fn failed(&self) -> Option<&Offline> {
        self.failed.get()
    }

    /// Reaches `to` and wakes everyone up to it; not once it has failed. One caller at a time.
    pub(super) fn advance(&self, to: u64) {
        let woken = {
            let mut waiting = self.waiting.lock();
            // Under the lock that `fail` takes: when that has returned, nothing is reached any more.
            if self.failed.get().is_some() {
                return;
            }
            self.reached.store(to, Ordering::Release);
            if waiting.wakers.first_key_value().is_none_or(|(ticket, _)| ticket.0 > to) {
                return;
            }
            let later = to.checked_add(1).map_or_else(BTreeMap::new, |next| waiting.wakers.split_off(&(next, 0)));
            std::mem::replace(&mut waiting.wakers, later)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Whatever is not reached now never will be. The first reason stays.
    pub(super) fn fail(&self, reason: Offline) {
        let woken = {
            let mut waiting = self.waiting.lock();
            // A later failure changes nothing.
            let _ = self.failed.set(reason);
            std::mem::take(&mut waiting.wakers)
        };
        woken.into_values().for_each(Waker::wake);
    }

    pub(super) fn wait(self: &Arc<Self>, target: u64) -> Wait {
        Wait { gate: Arc::clone(self), target, ticket: None }
    }

    fn state(&self, target: u64) -> Poll<Result<(), Offline>> {
        if self.reached() >= target {
            return Poll::Ready(Ok(()));
        }
        self.failed().map_or(Poll::Pending, |reason| Poll::Ready(Err(reason.clone())))
    }
}

/// Ready when the gate has reached the target, or has failed before. Cancel-safe.
#[derive(Debug)]
pub(super) struct Wait {
    gate: Arc<Gate>,
    target: u64,
    ticket: Option<Ticket>,
}

impl Wait {
    /// Blocks this thread.
    pub(super) fn block(self) -> Result<(), Offline> {
        let mut wait = pin!(self);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = wait.as_mut().poll(&mut context) {
                return result;
            }
            std::thread::park();
        }
    }
}

impl Future for Wait {
    type Output = Result<(), Offline>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.gate.state(self.target);
        if state.is_ready() {
            return state;
        }
        let gate = Arc::clone(&self.gate);
        let mut waiting = gate.waiting.lock();
        // Again under the lock: who advances stores first and looks for wakers afterwards.
        let state = gate.state(self.target);
        if state.is_ready() {
            return state;
        }
        let ticket = self.ticket.unwrap_or_else(|| {
            waiting.next_ticket += 1;
            (self.target, waiting.next_ticket)
        });
        self.ticket = Some(ticket);
        waiting.wakers.insert(ticket, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.gate.waiting.lock().wakers.remove(&ticket);
        }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for durability. See [`super::Journal::durable`].
#[derive(Debug)]
pub struct Durable(pub(super) Wait);

impl Durable {
    /// Blocks this thread until then; only where another thread pumps.
    ///
    /// # Errors
    /// [`Offline`] when the journal went offline before.
    pub fn wait(self) -> Result<(), Offline> {
        self.0.block()
    }
}

impl Future for Durable {
    type Output = Result<(), Offline>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Waits for room. See [`super::Journal::room`].
#[derive(Debug)]
pub struct Room {
    pub(super) journal: Journal,
    pub(super) bytes: usize,
    pub(super) wait: Wait,
}

impl Future for Room {
    type Output = Result<(), SubmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            // First in line, then look: a change between the two wakes us.
            let changed = Pin::new(&mut self.wait).poll(cx).is_ready();
            match self.journal.has_room(self.bytes) {
                Err(SubmitError::Full(Full::Growing | Full::Unreleased)) if changed => {
                    self.wait = self.journal.next_change();
                }
                Err(SubmitError::Full(Full::Growing | Full::Unreleased)) => return Poll::Pending,
                settled => return Poll::Ready(settled),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_exactly_those_whose_number_is_reached() {
        let gate = Arc::new(Gate::new(3));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut waits: Vec<Wait> = [3, 4, 5, 9].map(|target| gate.wait(target)).into();
        let mut poll = |wait: &mut Wait| Pin::new(wait).poll(&mut cx);
        assert_eq!(poll(&mut waits[0]), Poll::Ready(Ok(())));
        for wait in &mut waits[1..] {
            assert_eq!(poll(wait), Poll::Pending);
            assert_eq!(poll(wait), Poll::Pending);
        }
        gate.advance(5);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert_eq!(poll(&mut waits[1]), Poll::Ready(Ok(())));
        assert_eq!(poll(&mut waits[3]), Poll::Pending);
        let offline = Offline { reason: "gone".into() };
        gate.fail(offline.clone());
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        assert_eq!(poll(&mut waits[3]), Poll::Ready(Err(offline)));
        assert_eq!(poll(&mut waits[2]), Poll::Ready(Ok(())), "what was reached stays reached");
        gate.advance(9);
        assert_eq!(
            (gate.reached(), poll(&mut gate.wait(9)).is_ready()),
            (5, true),
            "nothing is reached after a failure"
        );
    }

    #[test]
    fn a_dropped_wait_leaves_nothing() {
        let gate = Arc::new(Gate::new(0));
        let mut wait = gate.wait(1);
        assert_eq!(Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        drop(wait);
        assert!(gate.waiting.lock().wakers.is_empty());
    }

    #[test]
    fn a_thread_can_wait() {
        let gate = Arc::new(Gate::new(0));
        let waiter = std::thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.wait(2).block()
        });
        gate.advance(1);
        gate.advance(2);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    }
}
