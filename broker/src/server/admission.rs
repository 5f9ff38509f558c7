//! Memory budgets of the server: bytes are paid for before they are buffered.
//!
//! Owns the counting. Must never let a peer that announces bytes without sending them hold anything: a connection
//! pays for what it is about to read and returns at once what did not come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The least that [`Charge::grow_share`] takes where more is wanted.
const SHARE_MIN: usize = 64 * 1024;

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
    waiting: AtomicUsize,
    hits: AtomicU64,
    oversized: AtomicU64,
}

/// Somebody who waits, counted while it lives.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn on(budget: &'a Budget) -> Self {
        budget.waiting.fetch_add(1, Ordering::Relaxed);
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    /// A budget of `total` bytes, nothing of it in use.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: Semaphore::new(total),
            overflow: Arc::new(Semaphore::new(1)),
            total,
            waiting: AtomicUsize::new(0),
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

    /// How many wait for bytes at this moment.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
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
        let budget = Arc::clone(&self.budget);
        let _waiting = Waiting::on(&budget);
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

    /// Takes up to `wanted` bytes, waiting until some are free, and says how many its owner may use: at most half of
    /// what is left, so that those who hold bytes for long never have all of them, but at least 64 KiB; all that is
    /// wanted for whoever has the overflow place. Cancel-safe: a dropped wait has taken nothing.
    pub async fn grow_share(&mut self, wanted: usize) -> usize {
        let least = wanted.min(SHARE_MIN);
        let share = wanted.min((self.budget.bytes.available_permits() / 2).max(least));
        if self.try_grow(share) {
            return if self.is_oversized() { wanted } else { share };
        }
        self.grow(least).await;
        if self.is_oversized() { wanted } else { least }
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

    /// Whether others wait while this charge holds something.
    pub fn keeps_others_waiting(&self) -> bool {
        (self.held > 0 || self.is_oversized()) && self.budget.waiting() > 0
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
    async fn shares_shrink_so_that_something_is_left_for_the_next() {
        const MIB: usize = 1024 * 1024;
        let budget = Budget::new(8 * MIB);
        let mut charges: Vec<Charge> = Vec::new();
        let mut shares = Vec::new();
        while budget.used() + SHARE_MIN <= budget.total() {
            let mut charge = budget.charge();
            shares.push(charge.grow_share(2 * MIB).now_or_never().expect("64 KiB are free"));
            charges.push(charge);
        }
        assert_eq!(shares[..5], [2 * MIB, 2 * MIB, 2 * MIB, MIB, MIB / 2]);
        assert_eq!((shares.len(), shares.iter().sum::<usize>(), budget.waiting()), (9, 8 * MIB, 0));
        let mut overflow = budget.charge();
        assert_eq!(overflow.grow_share(2 * MIB).await, 2 * MIB, "the overflow place is not counted");
        assert!(!overflow.keeps_others_waiting());
        let mut last = budget.charge();
        {
            let mut waits = Box::pin(last.grow_share(2 * MIB));
            assert!(futures::poll!(&mut waits).is_pending());
            assert!(overflow.keeps_others_waiting() && charges[0].keeps_others_waiting());
            drop(charges.pop());
            assert_eq!(waits.await, SHARE_MIN);
        }
        assert_eq!((last.held(), budget.waiting()), (SHARE_MIN, 0));
        assert!(budget.charge().grow_share(0).now_or_never().is_some(), "nothing is always to be had");
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
