//! `Disk`: the one door through which this crate reads and writes a data directory.
//!
//! Owns the contract (ordering, durability, errors) that the real and the simulated disk both fulfil, and the
//! counters of what went through. Nothing else in the crate may touch `std::fs`; nothing in here knows what the bytes
//! mean.

use std::fmt;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub mod aligned;
pub mod real;
pub mod sim;

/// Alignment of memory, offset and length for a file opened with [`Open::Direct`] or [`Open::CreateNewDirect`].
pub const BLOCK_BYTES: usize = 4096;

/// What was being done when a disk said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Opening an existing file.
    Open,
    /// Creating a file or a directory.
    Create,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Flushing a file's data.
    Sync,
    /// Flushing a directory's entries.
    SyncDir,
    /// Flushing the whole file system.
    SyncAll,
    /// Renaming.
    Rename,
    /// Removing a file or a directory.
    Remove,
    /// Listing a directory.
    List,
    /// Asking for a size or for free space.
    Stat,
    /// Changing a file's length.
    Truncate,
    /// Reserving space.
    Allocate,
    /// Locking.
    Lock,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncDir => "sync directory",
            Self::SyncAll => "sync file system",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Stat => "stat",
            Self::Truncate => "truncate",
            Self::Allocate => "allocate",
            Self::Lock => "lock",
        })
    }
}

/// A disk said no. Cheap to clone: one error reaches every waiter.
///
/// `path` is the whole path, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// ENOSPC or EDQUOT. What the file held before is unchanged; bytes past its old end may be there.
    #[error("{op} {path}: no space left")]
    NoSpace {
        /// What was being done.
        op: Op,
        /// To which file.
        path: Arc<str>,
    },
    /// There is no such file or directory.
    #[error("{op} {path}: not found")]
    NotFound {
        /// What was being done.
        op: Op,
        /// To which file.
        path: Arc<str>,
    },
    /// The file exists already.
    #[error("{op} {path}: exists already")]
    Exists {
        /// What was being done.
        op: Op,
        /// To which file.
        path: Arc<str>,
    },
    /// The file system is mounted read-only, or this process may not write here.
    #[error("{op} {path}: not permitted, or a read-only file system")]
    ReadOnly {
        /// What was being done.
        op: Op,
        /// To which file.
        path: Arc<str>,
    },
    /// A file ended before the bytes that were asked for.
    #[error("read {path}: {got} of {wanted} bytes at {offset}, then the file ends")]
    Short {
        /// Which file.
        path: Arc<str>,
        /// Where the read began.
        offset: u64,
        /// How many bytes were asked for.
        wanted: usize,
        /// How many there were.
        got: usize,
    },
    /// Anything else: EIO and its kin. The data directory cannot be trusted by this process any more (S2).
    #[error("{op} {path}: {}", std::io::Error::from_raw_os_error(*errno))]
    Io {
        /// What the operating system called it.
        errno: i32,
        /// What was being done.
        op: Op,
        /// To which file.
        path: Arc<str>,
    },
}

impl DiskError {
    /// Whether the file or directory was just not there.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the disk is full.
    pub const fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// How a file is opened. Every mode but `Read` may also write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A file that is created if it is missing; its content is kept.
    Create,
    /// A file that must not exist yet.
    CreateNew,
    /// An existing file, past the page cache where the file system can (see [`DiskFile::is_direct`]).
    Direct,
    /// A file that must not exist yet, past the page cache where the file system can.
    CreateNewDirect,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name, without its directory. A name that is not UTF-8 is shown lossily and cannot be opened.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
}

/// How much the file system holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still allocate.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
}

/// The lock was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("data directory {directory} is in use by process {}", pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The data directory.
        directory: Arc<str>,
        /// The holder, if the lock file names it.
        pid: Option<u32>,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A lock that is held until this value is dropped, or the process ends, however it ends.
pub trait DiskLock: Send + Sync + fmt::Debug {}

/// The files of one data directory.
///
/// Paths are relative to [`Disk::root`], `/`-separated, without `.` and `..`; the root itself is `""`.
///
/// # Durability
/// * A write is durable once a [`DiskFile::sync_data`] (or [`Disk::sync_all`]) that began after the write returned has
///   returned `Ok`. Until then a crash may keep it, drop it, or keep any 512-byte pieces of it, in any order with other
///   writes. Nothing else may be assumed: not even that an older write survives because a younger one did.
/// * A created, renamed or removed name is durable once [`Disk::sync_dir`] of its directory has returned `Ok` after it.
///   A rename within one directory is atomic: after a crash either the old or the new state is there.
/// * A file's durable content is worth nothing without its durable name: sync the file first, then the directory.
/// * After a failed sync it is unknown what is durable, and a later successful one proves nothing: pages may have been
///   dropped (S2). The caller takes the directory offline.
///
/// # Concurrency
/// All methods may be called from any thread and may block. Reads and writes of disjoint ranges of a file do not
/// disturb each other; a read that overlaps a running write may see any mixture.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Where the data directory lies, for people.
    fn root(&self) -> &Path;

    /// Opens or creates a file. The handle works after the file is renamed or removed.
    ///
    /// # Errors
    /// `NotFound` if it or its directory is missing, `Exists` for the `CreateNew` modes, else what the system said.
    fn open(&self, path: &str, how: Open) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Creates a directory and its missing parents; one that exists already is no error.
    ///
    /// # Errors
    /// What the system said.
    fn create_dir(&self, path: &str) -> Result<(), DiskError>;

    /// Renames a file or directory, replacing a file at `to`.
    ///
    /// # Errors
    /// `NotFound` if `from` is missing.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` if it is missing.
    fn remove(&self, path: &str) -> Result<(), DiskError>;

    /// Removes a directory and everything in it.
    ///
    /// # Errors
    /// `NotFound` if it is missing.
    fn remove_dir(&self, path: &str) -> Result<(), DiskError>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound` if it is missing.
    fn list(&self, path: &str) -> Result<Vec<Entry>, DiskError>;

    /// Length of the file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// What the system said.
    fn size(&self, path: &str) -> Result<Option<u64>, DiskError>;

    /// Makes every earlier create, rename and remove in this directory durable.
    ///
    /// # Errors
    /// What the system said; the directory's state is unknown then.
    fn sync_dir(&self, path: &str) -> Result<(), DiskError>;

    /// Makes everything that was written or renamed before durable (`syncfs`).
    ///
    /// # Errors
    /// What the system said; nothing is known to be durable then.
    fn sync_all(&self) -> Result<(), DiskError>;

    /// How much room there is.
    ///
    /// # Errors
    /// What the system said.
    fn space(&self) -> Result<Space, DiskError>;

    /// Locks the data directory for this process through a lock file that names it.
    ///
    /// # Errors
    /// `Held` names the process that has it.
    fn lock(&self, path: &str) -> Result<Box<dyn DiskLock>, LockError>;

    /// What went through this disk since it was made.
    fn stats(&self) -> &DiskStats;

    /// The whole content of a small file; `None` if it is missing.
    ///
    /// # Errors
    /// `Short` is never returned; a file longer than `bytes_max` is cut there.
    fn read_file(&self, path: &str, bytes_max: usize) -> Result<Option<Bytes>, DiskError> {
        match self.open(path, Open::Read) {
            Ok(file) => {
                let bytes = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(bytes_max);
                file.read_bytes(0, bytes).map(Some)
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a small file as a whole, durably: temporary file, sync, rename, directory sync. After a crash at any
    /// moment the old or the new content is there.
    ///
    /// # Errors
    /// What the system said; the old content is still there unless the last step, the directory sync, failed.
    fn replace_file(&self, path: &str, content: &[u8]) -> Result<(), DiskError> {
        let temporary = format!("{path}{TEMPORARY_SUFFIX}");
        let file = self.open(&temporary, Open::Create)?;
        file.truncate(0)?;
        file.write_at(0, &[IoSlice::new(content)])?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        self.sync_dir(parent(path))
    }
}

/// Ends the name of a file that [`Disk::replace_file`] has not finished; safe to remove at start.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// The directory part of a relative path; `""` for a name in the root.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// An open file. See [`Disk`] for durability and concurrency.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// The whole path it was opened under, for people.
    fn path(&self) -> &Arc<str>;

    /// Whether writes go past the page cache: memory, offset and length must then be multiples of [`BLOCK_BYTES`]. A
    /// file that was opened `Direct` where the file system cannot is buffered, says so here, and is counted.
    fn is_direct(&self) -> bool;

    /// The file's length.
    ///
    /// # Errors
    /// What the system said.
    fn len(&self) -> Result<u64, DiskError>;

    /// Whether the file is empty.
    ///
    /// # Errors
    /// What the system said.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }

    /// Reads until `buffer` is full or the file ends; returns how much was read.
    ///
    /// # Errors
    /// What the system said.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Reads up to `length` bytes into memory of their own; fewer only where the file ends.
    ///
    /// # Errors
    /// What the system said.
    fn read_bytes(&self, offset: u64, length: usize) -> Result<Bytes, DiskError>;

    /// Like [`DiskFile::read_bytes`], but never waits for the device: `None` if any of it is not in memory.
    ///
    /// # Errors
    /// What the system said.
    fn try_read_cached(&self, offset: u64, length: usize) -> Result<Option<Bytes>, DiskError>;

    /// Fills `buffer`.
    ///
    /// # Errors
    /// `Short` if the file ends before.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let got = self.read_at(offset, buffer)?;
        if got < buffer.len() {
            return Err(DiskError::Short { path: Arc::clone(self.path()), offset, wanted: buffer.len(), got });
        }
        Ok(())
    }

    /// Writes all of `buffers`, one behind the other, from `offset` on; the file grows as needed.
    ///
    /// # Errors
    /// After an error any part of the range may hold the new bytes; outside of it nothing changed.
    fn write_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<(), DiskError>;

    /// Writes behind the end and returns where that was. One appender at a time.
    ///
    /// # Errors
    /// As [`DiskFile::write_at`].
    fn append(&self, buffers: &[IoSlice<'_>]) -> Result<u64, DiskError> {
        let end = self.len()?;
        self.write_at(end, buffers)?;
        Ok(end)
    }

    /// Makes what was written before, and the length needed to read it, durable (`fdatasync`).
    ///
    /// # Errors
    /// What the system said; see [`Disk`] for what that means.
    fn sync_data(&self) -> Result<(), DiskError>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    /// What the system said.
    fn truncate(&self, length: u64) -> Result<(), DiskError>;

    /// Reserves space for a range without changing the length, so that writing there needs none. Where the file system
    /// cannot, nothing happens.
    ///
    /// # Errors
    /// `NoSpace` if there is not enough.
    fn allocate(&self, offset: u64, length: u64) -> Result<(), DiskError>;

    /// Writes zeros (real ones, no hole and no unwritten extent). For direct files both numbers are multiples of
    /// [`BLOCK_BYTES`].
    ///
    /// # Errors
    /// As [`DiskFile::write_at`].
    fn zero_fill(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        const CHUNK_BYTES: usize = 1024 * 1024;
        let chunk = usize::try_from(length).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let zeros = aligned::AlignedBuffer::zeroed(chunk.next_multiple_of(BLOCK_BYTES));
        let mut done = 0;
        while done < length {
            let now = usize::try_from(length - done).unwrap_or(chunk).min(chunk);
            self.write_at(offset + done, &[IoSlice::new(&zeros.as_slice()[..now])])?;
            done += now as u64;
        }
        Ok(())
    }

    /// A hint that this range will not be read soon; its memory may go to others.
    fn forget_cached(&self, _offset: u64, _length: u64) {}
}

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: std::sync::atomic::AtomicU64,)*
        }

        impl $name {
            /// Every counter with its name, for metrics.
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.load(std::sync::atomic::Ordering::Relaxed)),)*]
            }
        }
    };
}
pub(crate) use counters;

counters! {
    /// Plain counters of a disk; they only grow.
    DiskStats {
        /// Files opened or created.
        opens,
        /// Read calls.
        reads,
        /// Bytes read.
        read_bytes,
        /// Reads that would have waited for the device and were refused.
        reads_uncached,
        /// Write calls.
        writes,
        /// Bytes written.
        written_bytes,
        /// Successful flushes of one file.
        syncs,
        /// Successful flushes of a directory.
        dir_syncs,
        /// Successful flushes of the file system.
        full_syncs,
        /// Files that were asked to go past the page cache and could not.
        buffered_fallbacks,
        /// Operations that failed.
        errors,
    }
}

/// Adds to a counter that orders nothing.
pub(crate) fn count(counter: &std::sync::atomic::AtomicU64, by: u64) {
    counter.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
}
