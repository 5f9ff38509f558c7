//! Reads that may wait for a disk, kept off the threads that serve connections.
//!
//! Owns how many there are at once. What is in memory never comes here. Must never let a slow disk stop a request that
//! needs none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_core::limits;
use tokio::sync::Semaphore;

/// The way to the disk for requests.
#[derive(Debug)]
pub struct ColdReads {
    places: Arc<Semaphore>,
    waits: AtomicU64,
}

impl ColdReads {
    /// As many places as `limits` says, all of them free.
    pub fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(limits::COLD_READS_MAX)), waits: AtomicU64::new(0) }
    }

    /// Runs `read` on a thread that may block, once there is a place. A read whose asker goes away while it runs keeps
    /// its place until it ends.
    pub async fn run<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> T {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.waits.fetch_add(1, Ordering::Relaxed);
                let waited = Arc::clone(&self.places).acquire_owned().await;
                waited.expect("the semaphore of cold reads is never closed")
            }
        };
        let done = tokio::task::spawn_blocking(move || {
            let outcome = read();
            drop(place);
            outcome
        });
        done.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// How often a read found every place taken.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }
}

impl Default for ColdReads {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn so_many_reads_run_and_the_next_one_waits() {
        let reads = Arc::new(ColdReads::new());
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(parking_lot::Mutex::new(released));
        let mut running: Vec<_> = (0..limits::COLD_READS_MAX)
            .map(|_| {
                let (reads, released) = (Arc::clone(&reads), Arc::clone(&released));
                tokio::spawn(async move { reads.run(move || released.lock().recv()).await })
            })
            .collect();
        while reads.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(reads.run(|| ()).now_or_never().is_none(), "every place is taken");
        assert_eq!(reads.waits(), 1);
        release.send(()).unwrap();
        reads.run(|| ()).await;
        drop(release);
        for read in &mut running {
            let _either_way = read.await.unwrap();
        }
        assert_eq!(reads.places.available_permits(), limits::COLD_READS_MAX);
    }
}
