//! `RealDisk`: a data directory on a Linux file system.
//!
//! Owns the system calls and the translation of their errors. Every path is resolved below the directory's own
//! descriptor. It must never retry a failed sync, nor hide that a file could not go past the page cache.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{self, Advice, AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::{self, Errno, ReadWriteFlags, retry_on_intr};

use super::{Disk, DiskError, DiskFile, DiskLock, DiskStats, Entry, LockError, Op, Open, Space, count};

/// The kernel takes at most this many buffers in one call (`IOV_MAX`).
const BUFFERS_MAX: usize = 1024;

/// A directory and everything below it.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    directory: OwnedFd,
    stats: Arc<DiskStats>,
}

impl RealDisk {
    /// The data directory at `root`, which must exist.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = retry_on_intr(|| fs::open(root, flags, Mode::empty()))
            .map_err(|errno| typed(errno, Op::Open, &root.to_string_lossy()))?;
        Ok(Self { root: root.to_owned(), directory, stats: Arc::default() })
    }

    /// The data directory at `root`, created with its parents if it is missing.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(root: &Path) -> Result<Self, DiskError> {
        std::fs::create_dir_all(root).map_err(|error| from_std(&error, Op::Create, &root.to_string_lossy()))?;
        Self::open(root)
    }

    fn full(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn fail(&self, errno: Errno, op: Op, path: &str) -> DiskError {
        count(&self.stats.errors, 1);
        typed(errno, op, &self.full(path).to_string_lossy())
    }

    fn fail_std(&self, error: &std::io::Error, op: Op, path: &str) -> DiskError {
        count(&self.stats.errors, 1);
        from_std(error, op, &self.full(path).to_string_lossy())
    }

    fn open_fd(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        retry_on_intr(|| fs::openat(&self.directory, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)))
    }
}

/// Whether the modes of [`Open`] read only, create, insist on creating, go past the page cache.
fn flags_of(how: Open) -> (OFlags, Op, bool) {
    match how {
        Open::Read => (OFlags::RDONLY, Op::Open, false),
        Open::Write => (OFlags::RDWR, Op::Open, false),
        Open::Create => (OFlags::RDWR | OFlags::CREATE, Op::Create, false),
        Open::CreateNew => (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Op::Create, false),
        Open::Direct => (OFlags::RDWR, Op::Open, true),
        Open::CreateNewDirect => (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Op::Create, true),
    }
}

impl Disk for RealDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self, path: &str, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        let (flags, op, direct) = flags_of(how);
        let (fd, direct) = if direct {
            match self.open_fd(path, flags | OFlags::DIRECT) {
                Ok(fd) => (fd, true),
                Err(Errno::INVAL) => {
                    // A file system without O_DIRECT may have created the file all the same.
                    count(&self.stats.buffered_fallbacks, 1);
                    let fd = self.open_fd(path, flags.difference(OFlags::EXCL));
                    (fd.map_err(|errno| self.fail(errno, op, path))?, false)
                }
                Err(errno) => return Err(self.fail(errno, op, path)),
            }
        } else {
            (self.open_fd(path, flags).map_err(|errno| self.fail(errno, op, path))?, false)
        };
        count(&self.stats.opens, 1);
        let path = Arc::from(self.full(path).to_string_lossy());
        Ok(Arc::new(RealFile { fd, path, direct: AtomicBool::new(direct), stats: Arc::clone(&self.stats) }))
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        std::fs::create_dir_all(self.full(path)).map_err(|error| self.fail_std(&error, Op::Create, path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        retry_on_intr(|| fs::renameat(&self.directory, from, &self.directory, to))
            .map_err(|errno| self.fail(errno, Op::Rename, from))
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        retry_on_intr(|| fs::unlinkat(&self.directory, path, AtFlags::empty()))
            .map_err(|errno| self.fail(errno, Op::Remove, path))
    }

    fn remove_dir(&self, path: &str) -> Result<(), DiskError> {
        std::fs::remove_dir_all(self.full(path)).map_err(|error| self.fail_std(&error, Op::Remove, path))
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, DiskError> {
        let fail = |error: std::io::Error| self.fail_std(&error, Op::List, path);
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(self.full(path)).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let directory = entry.file_type().map_err(fail)?.is_dir();
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), directory });
        }
        entries.sort();
        Ok(entries)
    }

    fn size(&self, path: &str) -> Result<Option<u64>, DiskError> {
        match retry_on_intr(|| fs::statat(&self.directory, path, AtFlags::empty())) {
            Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fail(errno, Op::Stat, path)),
        }
    }

    fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        let fail = |errno| self.fail(errno, Op::SyncDir, path);
        let fd = self.open_fd(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(fail)?;
        fs::fsync(&fd).map_err(fail)?;
        count(&self.stats.dir_syncs, 1);
        Ok(())
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        fs::syncfs(&self.directory).map_err(|errno| self.fail(errno, Op::SyncAll, ""))?;
        count(&self.stats.full_syncs, 1);
        Ok(())
    }

    fn space(&self) -> Result<Space, DiskError> {
        let stat = retry_on_intr(|| fs::fstatvfs(&self.directory)).map_err(|errno| self.fail(errno, Op::Stat, ""))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }

    fn lock(&self, path: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let fail = |errno| LockError::Disk(self.fail(errno, Op::Lock, path));
        let fd = self.open_fd(path, OFlags::RDWR | OFlags::CREATE).map_err(fail)?;
        match retry_on_intr(|| fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = [0; 32];
                let length = retry_on_intr(|| io::pread(&fd, &mut text, 0)).unwrap_or(0);
                let pid = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok());
                return Err(LockError::Held { directory: Arc::from(self.root.to_string_lossy()), pid });
            }
            Err(errno) => return Err(fail(errno)),
        }
        retry_on_intr(|| fs::ftruncate(&fd, 0)).map_err(fail)?;
        let text = format!("{}\n", std::process::id());
        retry_on_intr(|| io::pwrite(&fd, text.as_bytes(), 0)).map_err(fail)?;
        Ok(Box::new(RealLock { _fd: fd }))
    }

    fn stats(&self) -> &DiskStats {
        &self.stats
    }
}

/// Holds the lock as long as the descriptor is open.
#[derive(Debug)]
struct RealLock {
    _fd: OwnedFd,
}

impl DiskLock for RealLock {}

#[derive(Debug)]
struct RealFile {
    fd: OwnedFd,
    path: Arc<str>,
    direct: AtomicBool,
    stats: Arc<DiskStats>,
}

impl RealFile {
    fn fail(&self, errno: Errno, op: Op) -> DiskError {
        count(&self.stats.errors, 1);
        typed(errno, op, &self.path)
    }

    fn count_read(&self, bytes: usize) {
        count(&self.stats.reads, 1);
        count(&self.stats.read_bytes, bytes as u64);
    }

    /// The kernel refused the alignment after all: this file goes through the page cache from now on.
    fn give_up_direct(&self) -> Result<(), DiskError> {
        let flags = fs::fcntl_getfl(&self.fd).map_err(|errno| self.fail(errno, Op::Write))?;
        fs::fcntl_setfl(&self.fd, flags.difference(OFlags::DIRECT)).map_err(|errno| self.fail(errno, Op::Write))?;
        self.direct.store(false, Ordering::Relaxed);
        count(&self.stats.buffered_fallbacks, 1);
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn path(&self) -> &Arc<str> {
        &self.path
    }

    fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    fn len(&self) -> Result<u64, DiskError> {
        let stat = retry_on_intr(|| fs::fstat(&self.fd)).map_err(|errno| self.fail(errno, Op::Stat))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset.saturating_add(done as u64);
            let got = retry_on_intr(|| io::pread(&self.fd, &mut buffer[done..], at))
                .map_err(|errno| self.fail(errno, Op::Read))?;
            if got == 0 {
                break;
            }
            done += got;
        }
        self.count_read(done);
        Ok(done)
    }

    fn read_bytes(&self, offset: u64, length: usize) -> Result<Bytes, DiskError> {
        let mut memory = Vec::with_capacity(length);
        while memory.len() < length {
            let at = offset.saturating_add(memory.len() as u64);
            let got = retry_on_intr(|| io::pread(&self.fd, spare_capacity(&mut memory), at))
                .map_err(|errno| self.fail(errno, Op::Read))?;
            if got == 0 {
                break;
            }
        }
        memory.truncate(length);
        self.count_read(memory.len());
        Ok(Bytes::from(memory))
    }

    fn try_read_cached(&self, offset: u64, length: usize) -> Result<Option<Bytes>, DiskError> {
        let mut memory = vec![0; length];
        let mut done = 0;
        while done < length {
            let buffers = &mut [IoSliceMut::new(&mut memory[done..])];
            let at = offset.saturating_add(done as u64);
            match retry_on_intr(|| io::preadv2(&self.fd, buffers, at, ReadWriteFlags::NOWAIT)) {
                Ok(0) => break,
                Ok(got) => done += got,
                // Some file systems cannot tell; the caller's blocking read will.
                Err(Errno::AGAIN | Errno::OPNOTSUPP) => {
                    count(&self.stats.reads_uncached, 1);
                    return Ok(None);
                }
                Err(errno) => return Err(self.fail(errno, Op::Read)),
            }
        }
        memory.truncate(done);
        self.count_read(done);
        Ok(Some(Bytes::from(memory)))
    }

    fn write_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<(), DiskError> {
        let (mut index, mut skip, mut at) = (0, 0, offset);
        while let Some(first) = buffers.get(index) {
            if skip == first.len() {
                (index, skip) = (index + 1, 0);
                continue;
            }
            let written = retry_on_intr(|| {
                if skip == 0 {
                    io::pwritev(&self.fd, &buffers[index..buffers.len().min(index + BUFFERS_MAX)], at)
                } else {
                    io::pwrite(&self.fd, &first[skip..], at)
                }
            });
            let mut written = match written {
                Ok(0) => return Err(self.fail(Errno::IO, Op::Write)),
                Ok(written) => written,
                Err(Errno::INVAL) if self.is_direct() => {
                    self.give_up_direct()?;
                    continue;
                }
                Err(errno) => return Err(self.fail(errno, Op::Write)),
            };
            count(&self.stats.writes, 1);
            count(&self.stats.written_bytes, written as u64);
            at = at.saturating_add(written as u64);
            while written > 0 {
                let step = written.min(buffers[index].len() - skip);
                (written, skip) = (written - step, skip + step);
                if skip == buffers[index].len() {
                    (index, skip) = (index + 1, 0);
                }
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        // Not repeated on EINTR either: after any error nobody knows what is durable.
        fs::fdatasync(&self.fd).map_err(|errno| self.fail(errno, Op::Sync))?;
        count(&self.stats.syncs, 1);
        Ok(())
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        retry_on_intr(|| fs::ftruncate(&self.fd, length)).map_err(|errno| self.fail(errno, Op::Truncate))
    }

    fn allocate(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        if length == 0 {
            return Ok(());
        }
        match retry_on_intr(|| fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, offset, length)) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(self.fail(errno, Op::Allocate)),
        }
    }

    fn forget_cached(&self, offset: u64, length: u64) {
        // A hint: that it fails changes nothing.
        let _ = fs::fadvise(&self.fd, offset, std::num::NonZeroU64::new(length), Advice::DontNeed);
    }
}

fn typed(errno: Errno, op: Op, path: &str) -> DiskError {
    let path = Arc::from(path);
    match errno {
        Errno::NOSPC | Errno::DQUOT => DiskError::NoSpace { op, path },
        Errno::NOENT => DiskError::NotFound { op, path },
        Errno::EXIST => DiskError::Exists { op, path },
        Errno::ROFS | Errno::ACCESS | Errno::PERM => DiskError::ReadOnly { op, path },
        other => DiskError::Io { errno: other.raw_os_error(), op, path },
    }
}

fn from_std(error: &std::io::Error, op: Op, path: &str) -> DiskError {
    typed(Errno::from_io_error(error).unwrap_or(Errno::IO), op, path)
}
