//! Why a database does not open: sentences for people, with the folder's name.

use std::path::PathBuf;

/// A database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the database {path} is in use by another process")]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// It was written by a newer Ottla.
    #[error(
        "the database {path} has format {found}, which is newer than {known}, the newest that this Ottla reads; run \
         the newer Ottla, or restore the folder from before its first start"
    )]
    Newer {
        /// Its folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// What is on disk is not what was written.
    #[error("the database {path} is damaged: {reason}")]
    Damaged {
        /// Its folder.
        path: PathBuf,
        /// What RocksDB said.
        reason: String,
    },
    /// The folder cannot be read or written.
    #[error("the database {path} cannot be opened: {reason}")]
    Io {
        /// Its folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}
