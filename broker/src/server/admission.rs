//! Memory budgets of the server: bytes are paid for before they are buffered.
//!
//! Owns the counting. Must never let a peer that announces bytes without sending them hold anything: a connection
//! pays for what it is about to read and returns at once what did not come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes that may be held at once, and one place for a request that is larger than what is left.
///
/// Requests that are read side by side could fill the budget with halves and wait for each other for ever; whoever
/// finds it full therefore also stands in line for the single overflow place, whose holder is admitted alone and
/// without counting until its request is done.
#[derive(Debug)]
pub struct Budget {
    bytes: Semaphore,
    overflow: Arc<Semaphore>,
    total: usize,
    hits: AtomicU64,
    oversized: AtomicU64,
}

impl Budget {
    /// A budget of `total` bytes, nothing of it in use.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: Semaphore::new(total),
            overflow: Arc::new(Semaphore::new(1)),
            total,
            hits: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
        })
    }

    /// A charge of nothing, to be grown.
    pub fn charge(self: &Arc<Self>) -> Charge {
        Charge { budget: Arc::clone(self), held: 0, overflow: None }
    }

    /// Bytes in use, the overflow place not counted.
    pub fn used(&self) -> usize {
        self.total - self.bytes.available_permits()
    }

    /// How often somebody found the budget full and had to wait.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How often the overflow place was taken.
    pub fn oversized(&self) -> u64 {
        self.oversized.load(Ordering::Relaxed)
    }

    /// All of it, in bytes.
    pub fn total(&self) -> usize {
        self.total
    }
}

/// Bytes of a [`Budget`] in use by one owner; dropping it returns them.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    held: usize,
    overflow: Option<OwnedSemaphorePermit>,
}

impl Charge {
    /// Takes `bytes` more, waiting until they are free, and says how many of them count: none for whoever has the
    /// overflow place. Cancel-safe: a dropped wait has taken nothing.
    pub async fn grow(&mut self, bytes: usize) -> usize {
        if self.overflow.is_some() {
            return 0;
        }
        if self.try_grow(bytes) {
            return bytes;
        }
        self.budget.hits.fetch_add(1, Ordering::Relaxed);
        let fits = u32::try_from(bytes).ok().filter(|_| bytes <= self.budget.total);
        let regular = async {
            match fits {
                Some(bytes) => self.budget.bytes.acquire_many(bytes).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            permit = regular => {
                permit.expect("a budget's semaphore is never closed").forget();
                self.held += bytes;
                bytes
            }
            permit = Arc::clone(&self.budget.overflow).acquire_owned() => {
                self.overflow = Some(permit.expect("a budget's semaphore is never closed"));
                self.budget.oversized.fetch_add(1, Ordering::Relaxed);
                0
            }
        }
    }

    /// Takes `bytes` more if that needs no waiting.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        if self.overflow.is_some() {
            return true;
        }
        let Ok(permits) = u32::try_from(bytes) else { return false };
        let Ok(permit) = self.budget.bytes.try_acquire_many(permits) else { return false };
        permit.forget();
        self.held += bytes;
        true
    }

    /// Returns `bytes`, or all where fewer are held.
    pub fn release(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held);
        self.budget.bytes.add_permits(bytes);
        self.held -= bytes;
    }

    /// Hands up to `bytes` of this charge to a new owner, the overflow place with them if this charge has it.
    pub fn split(&mut self, bytes: usize) -> Self {
        let held = self.held.min(bytes);
        self.held -= held;
        Self { budget: Arc::clone(&self.budget), held, overflow: self.overflow.take() }
    }

    /// Bytes held, the overflow place not counted.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether this charge has the overflow place.
    pub fn is_oversized(&self) -> bool {
        self.overflow.is_some()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release(self.held);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn dropped_charges_return_their_bytes() {
        let budget = Budget::new(100);
        let mut first = budget.charge();
        first.grow(60).await;
        let second = first.split(20);
        assert_eq!((budget.used(), first.held(), second.held()), (60, 40, 20));
        drop(second);
        first.release(30);
        assert_eq!(budget.used(), 10);
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_full_budget_admits_one_more_and_makes_the_next_wait() {
        let budget = Budget::new(100);
        let (mut first, mut second, mut third) = (budget.charge(), budget.charge(), budget.charge());
        first.grow(80).await;
        second.grow(50).await;
        assert!(second.is_oversized());
        assert!(third.grow(50).now_or_never().is_none(), "the overflow place is taken");
        drop(second);
        third.grow(50).await;
        assert!(third.is_oversized());
        assert_eq!((budget.hits(), budget.oversized()), (3, 2));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_budget_is_admitted_alone() {
        let budget = Budget::new(100);
        let mut huge = budget.charge();
        huge.grow(1_000).await;
        assert!(huge.is_oversized());
        let mut small = budget.charge();
        small.grow(100).await;
        assert!(!small.is_oversized(), "small requests go on beside it");
    }
}
