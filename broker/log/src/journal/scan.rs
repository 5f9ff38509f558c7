//! Reading one journal file: groups where they should be, and whatever can be found around damage.
//!
//! Owns the window through which a file is read. Bytes are believed only after their checksum; nothing is written.

use std::sync::Arc;

use bytes::Bytes;
use ottla_core::types::Lsn;

use super::format::{
    BLOCK, FRAME_HEADER_BYTES, FileHeader, FileStart, GROUP_HEADER_BYTES, GroupHeader, decode_frame, peek_frame,
};
use super::frame::Frame;
use crate::disk::{BLOCK_BYTES, DiskError, DiskFile};

/// How much is read at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// One file, read through a window.
#[derive(Debug)]
pub(super) struct FileScan {
    file: Arc<dyn DiskFile>,
    blocks: u64,
    window: Bytes,
    window_start: u64,
}

/// A group where it was looked for.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) header: GroupHeader,
    /// Its frames.
    pub(super) bytes: Bytes,
}

impl FileScan {
    pub(super) fn new(file: Arc<dyn DiskFile>, bytes: u64) -> Self {
        Self { file, blocks: bytes / BLOCK, window: Bytes::new(), window_start: 0 }
    }

    /// How many whole blocks the file has.
    pub(super) const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The bytes of blocks `from..upto`, fewer if the file ends before.
    fn read(&mut self, from: u64, upto: u64) -> Result<Bytes, DiskError> {
        let upto = upto.min(self.blocks);
        let (start, end) = (from * BLOCK, upto * BLOCK);
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let behind = self.window_start + self.window.len() as u64;
        if start < self.window_start || end > behind {
            if length > WINDOW_BYTES {
                return self.file.read_bytes(start, length);
            }
            self.window = self.file.read_bytes(start, WINDOW_BYTES)?;
            self.window_start = start;
        }
        let at = usize::try_from(start - self.window_start).unwrap_or(usize::MAX).min(self.window.len());
        Ok(self.window.slice(at..at.saturating_add(length).min(self.window.len())))
    }

    /// What the first block says.
    pub(super) fn start(&mut self) -> Result<FileStart, DiskError> {
        let block = self.read(0, 1)?;
        Ok(if block.is_empty() { FileStart::Zeros } else { FileHeader::decode(&block) })
    }

    /// Whether an intact group of any generation begins on this block.
    pub(super) fn has_any_group_at(&mut self, block: u64) -> Result<bool, DiskError> {
        let bytes = self.read(block, block + 1)?;
        Ok(GroupHeader::decode(&bytes).is_some())
    }

    /// An intact group header on this block, of this generation.
    fn header_at(&mut self, block: u64, generation: u64) -> Result<Option<GroupHeader>, DiskError> {
        let bytes = self.read(block, block + 1)?;
        let header = GroupHeader::decode(&bytes).filter(|header| {
            header.generation == generation
                && u64::from(header.block) == block
                && header.bytes as usize >= GROUP_HEADER_BYTES
                && block + header.blocks() <= self.blocks
        });
        Ok(header)
    }

    /// The group on this block, if there is one.
    pub(super) fn group_at(&mut self, block: u64, generation: u64) -> Result<Option<Group>, DiskError> {
        let Some(header) = self.header_at(block, generation)? else { return Ok(None) };
        let bytes = self.read(block, block + header.blocks())?;
        let end = (header.bytes as usize).min(bytes.len());
        Ok(Some(Group { header, bytes: bytes.slice(GROUP_HEADER_BYTES.min(end)..end) }))
    }

    /// Whether this block looks like a group of this generation that was not written whole.
    pub(super) fn resembles_group(&mut self, block: u64, generation: u64) -> Result<bool, DiskError> {
        let bytes = self.read(block, block + 1)?;
        Ok(GroupHeader::resembles(&bytes, generation))
    }

    /// The next intact group of this generation from `block` on for which `wanted` holds.
    pub(super) fn find_group(
        &mut self,
        mut block: u64,
        generation: u64,
        wanted: impl Fn(&GroupHeader) -> bool,
    ) -> Result<Option<GroupHeader>, DiskError> {
        while block < self.blocks {
            if let Some(header) = self.header_at(block, generation)?
                && wanted(&header)
            {
                return Ok(Some(header));
            }
            block += 1;
        }
        Ok(None)
    }

    /// The largest `released` that an intact group of this generation states.
    pub(super) fn released(&mut self, generation: u64) -> Result<Lsn, DiskError> {
        let (mut released, mut block) = (Lsn::new(0), 1);
        while let Some(header) = self.find_group(block, generation, |_| true)? {
            released = released.max(header.released);
            block = u64::from(header.block) + header.blocks();
        }
        Ok(released)
    }

    /// The header of a file whose first block is damaged, from its newest life's groups.
    pub(super) fn rescue(&mut self) -> Result<Option<FileHeader>, DiskError> {
        let mut found: Option<FileHeader> = None;
        for block in 1..self.blocks {
            let bytes = self.read(block, block + 1)?;
            let Some(group) = GroupHeader::decode(&bytes).filter(|group| u64::from(group.block) == block) else {
                continue;
            };
            if found.is_none_or(|header| header.sequence < group.sequence) {
                let GroupHeader { generation, sequence, released, .. } = group;
                let first = Lsn::new(group.first.get().saturating_sub(u64::from(group.before)));
                let synced = Lsn::new(first.get().saturating_sub(1));
                found = Some(FileHeader { generation, sequence, first, synced, released, bytes: 0 });
            }
        }
        Ok(found)
    }

    /// Every intact frame of this generation in blocks `from..upto` (starting `skip` bytes in), whatever lies between.
    pub(super) fn salvage(
        &mut self,
        (from, skip, upto): (u64, usize, u64),
        generation: u64,
        wanted: std::ops::Range<Lsn>,
    ) -> Result<Vec<(Lsn, Frame)>, DiskError> {
        // Read apart from the window, whose memory the frames before may still hold.
        let length = usize::try_from(upto.min(self.blocks).saturating_sub(from) * BLOCK).unwrap_or(0);
        let bytes = self.file.read_bytes(from * BLOCK, length)?;
        let (mut found, mut at, mut next) = (Vec::new(), skip, wanted.start);
        while at + FRAME_HEADER_BYTES <= bytes.len() {
            let claimed = peek_frame(&bytes[at..]).filter(|(lsn, _)| (next..wanted.end).contains(lsn));
            match claimed.and_then(|_| decode_frame(generation, &bytes.slice(at..))) {
                Some((lsn, frame, whole)) => {
                    found.push((lsn, frame));
                    next = lsn.next();
                    at += whole;
                }
                None => at += 1,
            }
        }
        Ok(found)
    }
}

/// Where a block begins, for people who count bytes of torn tails.
pub(super) const fn bytes_of(blocks: u64) -> u64 {
    blocks * BLOCK_BYTES as u64
}
