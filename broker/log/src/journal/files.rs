//! The journal's files: their names, how they are made, and what is written to them.
//!
//! Owns the creation (zeros written once and synced before the name is) and the way of a group to the disk through an
//! aligned buffer. It must never decide which file is free.

use std::io::IoSlice;
use std::sync::Arc;

use ottla_core::types::Lsn;

use super::format::BLOCK;
use crate::disk::aligned::AlignedBuffer;
use crate::disk::{BLOCK_BYTES, Disk, DiskError, DiskFile, Open, TEMPORARY_SUFFIX};

/// Ends the name of a journal file.
const SUFFIX: &str = ".jnl";

/// Length of the buffer through which groups go; longer groups take several writes before their flush.
pub(super) const BUFFER_BYTES: usize = 1024 * 1024;

/// A file that is not being written.
#[derive(Clone, Debug)]
pub(super) struct JournalFile {
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) bytes: u64,
    /// Whether it held frames before.
    pub(super) begun: bool,
}

/// A file whose frames may still be needed; `last` is its last frame.
#[derive(Clone, Debug)]
pub(super) struct LiveFile {
    pub(super) file: JournalFile,
    pub(super) last: Lsn,
}

/// The number in a file's name; `None` if it is not one of the journal's.
pub(super) fn number_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()
}

/// Makes a file of zeros that is there, whole, after any crash.
pub(super) fn make(disk: &dyn Disk, directory: &str, number: u64, bytes: u64) -> Result<JournalFile, DiskError> {
    let name = format!("{number:08x}{SUFFIX}");
    let path = format!("{directory}/{name}");
    let temporary = format!("{path}{TEMPORARY_SUFFIX}");
    let made = fill(disk, &temporary, bytes).and_then(|file| {
        disk.rename(&temporary, &path)?;
        disk.sync_dir(directory)?;
        Ok(file)
    });
    match made {
        Ok(file) => Ok(JournalFile { name, file, bytes, begun: false }),
        Err(error) => {
            // The space is wanted back; if that fails too, the next start removes the file.
            let _ = disk.remove(&temporary);
            Err(error)
        }
    }
}

fn fill(disk: &dyn Disk, path: &str, bytes: u64) -> Result<Arc<dyn DiskFile>, DiskError> {
    let file = disk.open(path, Open::CreateNewDirect)?;
    // First, so that a full disk is noticed before zeros are written, and the blocks lie together.
    file.allocate(0, bytes)?;
    file.zero_fill(0, bytes)?;
    file.sync_data()?;
    Ok(file)
}

/// Removes what a crash left half-made.
pub(super) fn remove_unfinished(disk: &dyn Disk, directory: &str) -> Result<(), DiskError> {
    for entry in disk.list(directory)? {
        if entry.name.ends_with(TEMPORARY_SUFFIX) {
            disk.remove(&format!("{directory}/{}", entry.name))?;
        }
    }
    Ok(())
}

/// Collects the bytes of a group in an aligned buffer and writes them, whole blocks at a time.
#[derive(Debug)]
pub(super) struct GroupWriter<'a> {
    file: &'a dyn DiskFile,
    buffer: &'a mut AlignedBuffer,
    /// Where in the file the buffer begins.
    offset: u64,
    used: usize,
}

impl<'a> GroupWriter<'a> {
    /// Writes from `offset` on, a multiple of the block.
    pub(super) fn new(file: &'a dyn DiskFile, buffer: &'a mut AlignedBuffer, offset: u64) -> Self {
        debug_assert!(offset.is_multiple_of(BLOCK));
        Self { file, buffer, offset, used: 0 }
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), DiskError> {
        while !bytes.is_empty() {
            let room = &mut self.buffer.as_mut_slice()[self.used..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.used += now.len();
            bytes = later;
            if self.used == self.buffer.as_slice().len() {
                self.write()?;
            }
        }
        Ok(())
    }

    /// A whole block that `fill` writes in place. Only while nothing but whole blocks was put.
    pub(super) fn put_block(&mut self, fill: impl FnOnce(&mut [u8])) {
        fill(&mut self.buffer.as_mut_slice()[self.used..self.used + BLOCK_BYTES]);
        self.used += BLOCK_BYTES;
    }

    /// Pads to the block, writes the rest and syncs. Returns where in the file the next group begins.
    pub(super) fn finish(mut self) -> Result<u64, DiskError> {
        let end = self.used.next_multiple_of(BLOCK_BYTES);
        self.buffer.as_mut_slice()[self.used..end].fill(0);
        self.used = end;
        self.write()?;
        self.file.sync_data()?;
        Ok(self.offset)
    }

    fn write(&mut self) -> Result<(), DiskError> {
        if self.used > 0 {
            self.file.write_at(self.offset, &[IoSlice::new(&self.buffer.as_slice()[..self.used])])?;
            self.offset += self.used as u64;
            self.used = 0;
        }
        Ok(())
    }
}
