//! The segment threads: one writes durable batches into segments, one flushes.
//!
//! Owns when they run. Both block while there is nothing to do: an idle directory wakes nobody. What a round or a pass
//! does is in functions that a simulator calls by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::journal::Offline;
use crate::shared::{Shared, WRITE_NOW_BYTES};
use crate::store::flush::{self, Pass};

/// How long batches may gather before they are written together.
const GATHER: Duration = Duration::from_millis(5);
/// How long a round that found the disk full waits for space.
const RETRY: Duration = Duration::from_millis(100);

/// Writes everything that is durable and not in a segment yet; makes way for deleted partitions. Whether there was
/// anything to do.
pub(super) fn round(shared: &Arc<Shared>) -> Result<bool, Offline> {
    let (ready, removals, synced) = {
        let mut queue = shared.queue.lock();
        (std::mem::take(&mut queue.ready), std::mem::take(&mut queue.removals), queue.synced)
    };
    let failed = |error: crate::disk::DiskError| {
        shared.fail(&error.to_string());
        shared.journal().err().unwrap_or_else(|| Offline { reason: Arc::from(error.to_string()) })
    };
    let busy = !ready.is_empty() || !removals.is_empty();
    let leaving = !removals.is_empty();
    for partition in removals {
        let left = partition.leave().map_err(failed)?;
        shared.trash.lock().extend(left);
        shared.request_catalogue();
    }
    if leaving {
        shared.budget.purge();
    }
    let mut complete = true;
    for partition in ready {
        // Before writing: what comes from now on puts it back.
        partition.queued.store(false, Ordering::Release);
        match partition.write_out(synced) {
            Ok(()) => {}
            Err(error) if error.is_no_space() => {
                complete = false;
                shared.space.exhausted();
                shared.enqueue(&partition);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    if complete {
        shared.written.fetch_max(synced.get(), Ordering::AcqRel);
        if busy || shared.space.asked() {
            shared.space.refresh(&*shared.disk, shared.budget.pending());
        }
    }
    shared.rooms.open();
    Ok(busy && complete)
}

/// The threads of one directory.
#[derive(Debug)]
pub(super) struct Threads {
    writer: JoinHandle<()>,
    flusher: JoinHandle<()>,
}

impl Threads {
    pub(super) fn start(shared: &Arc<Shared>, boot: [u8; 16], age: Duration) -> std::io::Result<Self> {
        let own = Arc::clone(shared);
        let writer = Builder::new().name("segment-writer".to_owned()).spawn(move || write_loop(&own))?;
        let own = Arc::clone(shared);
        let flusher = Builder::new().name("segment-flusher".to_owned()).spawn(move || flush_loop(&own, boot, age))?;
        Ok(Self { writer, flusher })
    }

    /// Ends both; what is queued stays there.
    pub(super) fn stop(self, shared: &Shared) {
        shared.queue.lock().stop = true;
        shared.work.notify_all();
        shared.urgent.notify_all();
        shared.flusher.signal.lock().stop = true;
        shared.flusher.wake.notify_all();
        for thread in [self.writer, self.flusher] {
            if thread.join().is_err() {
                tracing::error!("a segment thread has panicked");
            }
        }
    }
}

fn write_loop(shared: &Arc<Shared>) {
    let mut retry = false;
    loop {
        {
            let mut queue = shared.queue.lock();
            if retry {
                shared.urgent.wait_for(&mut queue, RETRY);
            } else {
                while queue.ready.is_empty() && queue.removals.is_empty() && !queue.stop && !shared.space.asked() {
                    shared.work.wait(&mut queue);
                }
                if shared.budget.pending() < WRITE_NOW_BYTES && !queue.stop {
                    shared.urgent.wait_for(&mut queue, GATHER);
                }
            }
            if queue.stop {
                return;
            }
        }
        if round(shared).is_err() {
            return;
        }
        retry = shared.space.is_exhausted();
    }
}

fn flush_loop(shared: &Arc<Shared>, boot: [u8; 16], age: Duration) {
    loop {
        {
            let mut signal = shared.flusher.signal.lock();
            while !signal.dirty && !signal.stop {
                shared.flusher.wake.wait(&mut signal);
            }
            let mut waited = false;
            while !signal.urgent && !signal.catalogue && !signal.stop && !waited {
                waited = shared.flusher.wake.wait_for(&mut signal, age).timed_out();
            }
            if signal.stop {
                return;
            }
            (signal.dirty, signal.urgent, signal.catalogue) = (false, false, false);
        }
        if flush::pass(shared, Pass { boot, clean: false, wait: true }).is_err() {
            return;
        }
    }
}
