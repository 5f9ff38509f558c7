//! `SimDisk`: a data directory in memory that crashes, lies and fills up, all from one seed.
//!
//! Owns the faults that `invariants.md` promises to survive: unsynced writes dropped, torn at 512 bytes or 4 KiB, or
//! reordered; names that were not synced; ENOSPC, EIO, failed syncs that drop pages; flipped bits and cut files. It must
//! keep every promise of [`Disk`] and not one more. One seed and one sequence of calls give one result.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use self::node::{Directory, File, Node, NodeId};
pub use self::random::Random;
use super::{BLOCK_BYTES, Disk, DiskError, DiskFile, DiskLock, DiskStats, Entry, LockError, Op, Open, Space, count};

mod node;
mod random;
mod state;
#[cfg(test)]
mod tests;

use self::state::{Fate, State};

/// EIO: what an injected fault and a disk that is gone answer.
const EIO: i32 = 5;
/// EINVAL: what an unaligned direct write answers.
const EINVAL: i32 = 22;

/// One life of a simulated disk: from the start of a process to its end. Clones share it.
///
/// [`SimDisk::crash`] and [`SimDisk::kill`] end this life and return the next; whoever still holds the old one, or a
/// file of it, gets EIO for everything, as a dead process would write nothing any more.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    life: u64,
    root: PathBuf,
    stats: Arc<DiskStats>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed))),
            life: 0,
            root: PathBuf::from(format!("/sim-{seed}")),
            stats: Arc::default(),
        }
    }

    /// The power fails: what was not synced may be lost, torn or reordered. Returns the disk as the next start finds it.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.state.lock().crash();
        self.next_life()
    }

    /// The process dies (SIGKILL): nothing is lost that was written, but nothing becomes durable by it either.
    #[must_use]
    pub fn kill(&self) -> Self {
        self.state.lock().end_life();
        self.next_life()
    }

    fn next_life(&self) -> Self {
        let life = self.state.lock().life;
        Self { life, ..self.clone() }
    }

    /// How many changing operations were begun: the clock by which faults are set.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// From the `n`-th changing operation (counted from now, from 1) on nothing is done any more and everything answers
    /// EIO, until [`SimDisk::crash`] or [`SimDisk::kill`]; of the `n`-th itself a part may be done.
    pub fn stop_after(&self, n: u64) {
        let mut state = self.state.lock();
        state.stop_at = Some(state.operations + n);
    }

    /// The `n`-th changing operation (counted from now, from 1) fails with EIO; a failing sync drops pages.
    pub fn fail_after(&self, n: u64) {
        let mut state = self.state.lock();
        let at = state.operations + n;
        state.fail_at.push(at);
    }

    /// Bounds the disk; `None` lifts the bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Files opened `Direct` go through the page cache from now on, as on a file system that cannot.
    pub fn refuse_direct(&self) {
        self.state.lock().direct = false;
    }

    /// Every write and rename answers [`DiskError::ReadOnly`] from now on, or no longer.
    pub fn set_read_only(&self, read_only: bool) {
        self.state.lock().read_only = read_only;
    }

    /// Flips one bit of a file, durably. `false` if there is no such bit.
    pub fn flip_bit(&self, path: &str, bit: u64) -> bool {
        let byte = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        self.corrupt(path, byte, |value| value ^ (1 << (bit % 8)))
    }

    /// Changes one byte of a file, durably. `false` if there is no such byte.
    pub fn corrupt(&self, path: &str, byte: usize, change: impl Fn(u8) -> u8) -> bool {
        let mut state = self.state.lock();
        let Some(file) = state.find_file(path) else { return false };
        let found = byte < file.now.len();
        file.corrupt(byte, change);
        found
    }

    /// Cuts a file, durably. `false` if there is none.
    pub fn cut(&self, path: &str, length: usize) -> bool {
        let mut state = self.state.lock();
        let Some(file) = state.find_file(path) else { return false };
        file.cut(length);
        true
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        self.state.lock().files()
    }

    /// Draws from the disk's own sequence.
    pub fn random(&self, bound: u64) -> u64 {
        self.state.lock().random.below(bound)
    }

    fn whole(&self, path: &str) -> Arc<str> {
        Arc::from(self.root.join(path).to_string_lossy())
    }

    fn io(&self, errno: i32, op: Op, path: &str) -> DiskError {
        count(&self.stats.errors, 1);
        DiskError::Io { errno, op, path: self.whole(path) }
    }

    fn not_found(&self, op: Op, path: &str) -> DiskError {
        DiskError::NotFound { op, path: self.whole(path) }
    }

    /// The state, for an operation that reads.
    fn alive(&self, op: Op, path: &str) -> Result<MutexGuard<'_, State>, DiskError> {
        let state = self.state.lock();
        if state.life == self.life && !state.stopped() { Ok(state) } else { Err(self.io(EIO, op, path)) }
    }

    /// The state, for an operation that changes something; counts it, and says how it is to end.
    fn change(&self, op: Op, path: &str) -> Result<(MutexGuard<'_, State>, Fate), DiskError> {
        let mut state = self.alive(op, path)?;
        if state.read_only {
            return Err(DiskError::ReadOnly { op, path: self.whole(path) });
        }
        let fate = state.begin();
        Ok((state, fate))
    }

    /// For operations that are done as a whole or not at all.
    fn change_at_once(&self, op: Op, path: &str) -> Result<MutexGuard<'_, State>, DiskError> {
        match self.change(op, path)? {
            (state, Fate::Done) => Ok(state),
            (_, Fate::Failed | Fate::Interrupted) => Err(self.io(EIO, op, path)),
        }
    }
}

impl Disk for SimDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self, path: &str, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        let (op, create, new, direct) = match how {
            Open::Read | Open::Write => (Op::Open, false, false, false),
            Open::Create => (Op::Create, true, false, false),
            Open::CreateNew => (Op::Create, true, true, false),
            Open::Direct => (Op::Open, false, false, true),
            Open::CreateNewDirect => (Op::Create, true, true, true),
        };
        let found = self.alive(op, path)?.find(path);
        let node = match found {
            Some(_) if new => return Err(DiskError::Exists { op, path: self.whole(path) }),
            Some(node) => node,
            None if !create => return Err(self.not_found(op, path)),
            None => {
                let mut state = self.change_at_once(op, path)?;
                if state.space().free == 0 {
                    return Err(DiskError::NoSpace { op, path: self.whole(path) });
                }
                state.add(path, Node::File(File::default())).ok_or_else(|| self.not_found(op, path))?
            }
        };
        let mut state = self.alive(op, path)?;
        if state.file(node).is_none() {
            return Err(self.io(EINVAL, op, path));
        }
        if direct && !state.direct {
            count(&self.stats.buffered_fallbacks, 1);
        }
        count(&self.stats.opens, 1);
        let direct = direct && state.direct;
        drop(state);
        Ok(Arc::new(SimFile { disk: self.clone(), node, name: path.to_owned(), path: self.whole(path), direct }))
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        let mut end = 0;
        while end < path.len() {
            end = path[end..].find('/').map_or(path.len(), |at| end + at);
            if self.alive(Op::Create, path)?.find(&path[..end]).is_none() {
                let mut state = self.change_at_once(Op::Create, path)?;
                state.add(&path[..end], Node::Directory(Directory::default()));
            }
            end += 1;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut state = self.change_at_once(Op::Rename, from)?;
        if state.rename(from, to) { Ok(()) } else { Err(self.not_found(Op::Rename, from)) }
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        let mut state = self.change_at_once(Op::Remove, path)?;
        if state.find_file(path).is_none() {
            return Err(self.not_found(Op::Remove, path));
        }
        state.unlink(path);
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<(), DiskError> {
        for entry in self.list(path)? {
            let inner = format!("{path}/{}", entry.name);
            if entry.directory { self.remove_dir(&inner)? } else { self.remove(&inner)? }
        }
        self.change_at_once(Op::Remove, path)?.unlink(path);
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>, DiskError> {
        let state = self.alive(Op::List, path)?;
        let found = state.find(path).and_then(|node| state.directory(node));
        let directory = found.ok_or_else(|| self.not_found(Op::List, path))?;
        let entry = |(name, node): (&String, &NodeId)| Entry {
            name: name.clone(),
            directory: state.directory(*node).is_some(),
        };
        Ok(directory.now.iter().map(entry).collect())
    }

    fn size(&self, path: &str) -> Result<Option<u64>, DiskError> {
        Ok(self.alive(Op::Stat, path)?.find_file(path).map(|file| file.now.len() as u64))
    }

    fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        let mut state = self.change_at_once(Op::SyncDir, path)?;
        let found = state.find(path).and_then(|node| state.directory_mut(node));
        found.ok_or_else(|| self.not_found(Op::SyncDir, path))?.sync();
        count(&self.stats.dir_syncs, 1);
        Ok(())
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        let (mut state, fate) = self.change(Op::SyncAll, "")?;
        state.sync_all(fate);
        if fate != Fate::Done {
            return Err(self.io(EIO, Op::SyncAll, ""));
        }
        count(&self.stats.full_syncs, 1);
        Ok(())
    }

    fn space(&self) -> Result<Space, DiskError> {
        Ok(self.alive(Op::Stat, "")?.space())
    }

    fn lock(&self, path: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.change_at_once(Op::Lock, path)?;
        if state.locked {
            let directory = Arc::from(self.root.to_string_lossy());
            return Err(LockError::Held { directory, pid: Some(std::process::id()) });
        }
        state.locked = true;
        if state.find(path).is_none() {
            state.add(path, Node::File(File::default()));
        }
        Ok(Box::new(SimLock { disk: self.clone() }))
    }

    fn stats(&self) -> &DiskStats {
        &self.stats
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.disk.life {
            state.locked = false;
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: NodeId,
    name: String,
    path: Arc<str>,
    direct: bool,
}

impl SimFile {
    fn read(&self, offset: u64, length: usize) -> Result<Bytes, DiskError> {
        let mut state = self.disk.alive(Op::Read, &self.name)?;
        let content = state.file(self.node).map_or(&[][..], |file| &file.now);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let bytes = &content[start..start.saturating_add(length).min(content.len())];
        count(&self.disk.stats.reads, 1);
        count(&self.disk.stats.read_bytes, bytes.len() as u64);
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn check_aligned(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<(), DiskError> {
        let aligned = |buffer: &IoSlice<'_>| {
            buffer.len().is_multiple_of(BLOCK_BYTES) && buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
        };
        if self.direct && !(offset.is_multiple_of(BLOCK_BYTES as u64) && buffers.iter().all(aligned)) {
            return Err(self.disk.io(EINVAL, Op::Write, &self.name));
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn path(&self) -> &Arc<str> {
        &self.path
    }

    fn is_direct(&self) -> bool {
        self.direct
    }

    fn len(&self) -> Result<u64, DiskError> {
        let mut state = self.disk.alive(Op::Stat, &self.name)?;
        Ok(state.file(self.node).map_or(0, |file| file.now.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let bytes = self.read(offset, buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn read_bytes(&self, offset: u64, length: usize) -> Result<Bytes, DiskError> {
        self.read(offset, length)
    }

    fn try_read_cached(&self, offset: u64, length: usize) -> Result<Option<Bytes>, DiskError> {
        if self.disk.random(4) == 0 {
            count(&self.disk.stats.reads_uncached, 1);
            return Ok(None);
        }
        self.read(offset, length).map(Some)
    }

    fn write_at(&self, offset: u64, buffers: &[IoSlice<'_>]) -> Result<(), DiskError> {
        self.check_aligned(offset, buffers)?;
        let mut bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let (mut state, fate) = self.disk.change(Op::Write, &self.name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX / 2);
        let (old_space, old_length) = state.file(self.node).map_or((0, 0), |file| (file.space(), file.now.len()));
        let new_space = ((start + bytes.len()) as u64).next_multiple_of(BLOCK_BYTES as u64);
        let full = state.is_full_for(new_space.saturating_sub(old_space));
        if full {
            // What lies within the old length needs no space; behind it an arbitrary part got written.
            let inside = old_length.saturating_sub(start).min(bytes.len());
            bytes.truncate(inside);
        } else if fate != Fate::Done {
            let keep = state.random.index(bytes.len() + 1);
            bytes.truncate(keep);
        }
        if let Some(file) = state.file(self.node)
            && !bytes.is_empty()
        {
            file.write(start, &bytes);
        }
        drop(state);
        if full {
            return Err(DiskError::NoSpace { op: Op::Write, path: Arc::clone(&self.path) });
        }
        if fate != Fate::Done {
            return Err(self.disk.io(EIO, Op::Write, &self.name));
        }
        count(&self.disk.stats.writes, 1);
        count(&self.disk.stats.written_bytes, bytes.len() as u64);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let (mut state, fate) = self.disk.change(Op::Sync, &self.name)?;
        state.sync(self.node, fate);
        drop(state);
        if fate != Fate::Done {
            return Err(self.disk.io(EIO, Op::Sync, &self.name));
        }
        count(&self.disk.stats.syncs, 1);
        Ok(())
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        let mut state = self.disk.change_at_once(Op::Truncate, &self.name)?;
        if let Some(file) = state.file(self.node) {
            file.set_length(usize::try_from(length).unwrap_or(usize::MAX / 2));
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        let mut state = self.disk.change_at_once(Op::Allocate, &self.name)?;
        let old_space = state.file(self.node).map_or(0, |file| file.space());
        let end = offset.saturating_add(length).next_multiple_of(BLOCK_BYTES as u64);
        if state.is_full_for(end.saturating_sub(old_space)) {
            return Err(DiskError::NoSpace { op: Op::Allocate, path: Arc::clone(&self.path) });
        }
        if let Some(file) = state.file(self.node) {
            file.allocated = file.allocated.max(usize::try_from(end).unwrap_or(usize::MAX / 2));
        }
        Ok(())
    }
}
