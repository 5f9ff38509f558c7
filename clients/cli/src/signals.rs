//! Being asked to stop: Ctrl-C, or SIGTERM from whoever runs us.
//!
//! Owns nothing but the waiting; each command decides what it finishes first.

use tokio::signal::unix::{SignalKind, signal};

/// Waits until somebody wants us to stop.
pub(crate) async fn stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the system ends us; there is nothing to wait for.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
