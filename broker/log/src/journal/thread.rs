//! The journal's two threads, and their end.
//!
//! Owns parking and the clock; every decision is the writer's and the keeper's. A thread sleeps only when there is
//! nothing to do, and an idle journal wakes nobody.

use std::sync::Arc;
use std::time::Instant;

use super::Pumped;
use super::error::Offline;
use super::shared::{Shared, closed};

#[expect(clippy::disallowed_methods, reason = "this is the shell that reads the clock for the writer")]
fn now() -> Instant {
    Instant::now()
}

impl Shared {
    pub(super) fn spawn(self: &Arc<Self>) -> std::io::Result<()> {
        let mut threads = self.threads.lock();
        let (writer, keeper) = (Arc::clone(self), Arc::clone(self));
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        threads.push(named("ottla-journal").spawn(move || writer.run_writer())?);
        threads.push(named("ottla-journal-keep").spawn(move || keeper.run_keeper())?);
        Ok(())
    }

    fn run_writer(&self) {
        loop {
            match self.pump(now()) {
                Ok(Pumped::Wrote { .. }) => {}
                Ok(Pumped::Idle { wake_at }) => {
                    let mut state = self.state.lock();
                    if state.closing {
                        return;
                    }
                    if !state.queue.is_empty() || state.statement_due {
                        continue;
                    }
                    state.writer_parked = true;
                    if let Some(at) = wake_at {
                        // Late or early, the next round looks again.
                        let _ = self.writer_wanted.wait_until(&mut state, at);
                    } else {
                        self.writer_wanted.wait(&mut state);
                    }
                    state.writer_parked = false;
                }
                Err(Offline { .. }) => return,
            }
        }
    }

    fn run_keeper(&self) {
        loop {
            match self.keep() {
                Ok(true) => {}
                Ok(false) => {
                    let mut state = self.state.lock();
                    if state.closing {
                        return;
                    }
                    if state.grow || !state.doomed.is_empty() {
                        continue;
                    }
                    state.keeper_parked = true;
                    self.keeper_wanted.wait(&mut state);
                    state.keeper_parked = false;
                }
                Err(Offline { .. }) => return,
            }
        }
    }

    /// Ends the threads without writing what is still to come.
    pub(super) fn abandon(&self) {
        let offline = self.go_offline(closed());
        self.join();
        self.tell_offline(&mut self.writer.lock(), &offline);
    }

    fn join(&self) {
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A thread that panicked has no more to say than the caller will find out now.
            let _ = thread.join();
        }
    }

    pub(super) fn close(&self) -> Result<(), Offline> {
        {
            let mut state = self.state.lock();
            state.closing = true;
            state.writer_parked = false;
            state.keeper_parked = false;
        }
        self.writer_wanted.notify_all();
        self.keeper_wanted.notify_all();
        self.join();
        let done = loop {
            match self.pump(now()) {
                Ok(Pumped::Wrote { .. }) => {}
                Ok(Pumped::Idle { .. }) => break self.pump_close(now()),
                Err(offline) => break Err(offline),
            }
        };
        self.end(closed());
        self.writer.lock().observer = None;
        done
    }
}
