//! Why the journal says no.
//!
//! Owns the errors of submitting, writing and opening, and which of them may be tried again.

use std::sync::Arc;

use crate::disk::DiskError;

/// The data directory takes no writes any more in this process (S2). Terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data directory is offline: {reason}")]
pub struct Offline {
    /// The first error, or `closed`.
    pub reason: Arc<str>,
}

impl Offline {
    pub(crate) fn because(error: &DiskError) -> Self {
        Self { reason: Arc::from(error.to_string()) }
    }
}

/// Why there is no room for a frame right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Full {
    /// A file is being made; wait for [`Journal::room`].
    Growing,
    /// The journal is as long as it may be until frames are released; wait for [`Journal::room`].
    Unreleased,
    /// The disk is full; room comes back when space does.
    DiskFull,
}

/// A frame was not taken; no LSN was used and nothing will be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Retryable: there is no room for it yet.
    #[error("the journal has no room: {0:?}")]
    Full(Full),
    /// Terminal for this frame: longer than any journal file may be.
    #[error("a frame of {bytes} bytes is longer than the journal's limit of {bytes_max}")]
    TooLarge {
        /// Length of the frame.
        bytes: u64,
        /// The longest that fits.
        bytes_max: u64,
    },
    /// Terminal for this process.
    #[error(transparent)]
    Offline(#[from] Offline),
}

/// A journal could not be read or begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A newer build wrote it.
    #[error("journal file {path} has format {found}; this build reads up to {supported}: run the newer version again")]
    Newer {
        /// Which file.
        path: Arc<str>,
        /// Its version.
        found: u32,
        /// The newest this build knows.
        supported: u32,
    },
}
