//! The sender's side of one connection's credits, shared by whoever writes and whoever hears.

use ottla_core::replica::Window;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many bytes may be sent now.
#[derive(Debug)]
pub(super) struct Credit {
    window: Mutex<Window>,
    /// Told when there is more.
    pub(super) wake: Notify,
}

impl Credit {
    /// Nothing yet.
    pub(super) fn none() -> Self {
        Self { window: Mutex::new(Window::new(0)), wake: Notify::new() }
    }

    pub(super) fn grant(&self, bytes: u64) {
        *self.window.lock() = Window::new(bytes);
        self.wake.notify_one();
    }

    /// How many bytes may be sent, if any.
    pub(super) fn room(&self) -> Option<usize> {
        let room = self.window.lock().room();
        (room > 0).then(|| usize::try_from(room).unwrap_or(usize::MAX))
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.window.lock().on_sent(bytes as u64);
    }

    pub(super) fn returned(&self, bytes: u64) {
        self.window.lock().on_returned(bytes);
        self.wake.notify_one();
    }
}
