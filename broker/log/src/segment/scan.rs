//! Going through a segment's bytes from front to back, without trusting any of them.
//!
//! Owns finding the batches, telling damage from the end, and finding the next sound batch behind damage. Reads a window
//! at a time. Never repairs and never decides what damage means.

use bytes::Bytes;
use ottla_core::types::Offset;

use crate::batch::{HEADER_BYTES, Header};
use crate::disk::{DiskError, DiskFile};

const WINDOW_BYTES: usize = 256 * 1024;

/// What comes next in a segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// A batch that is whole.
    Batch {
        /// Where it begins.
        position: u32,
        /// Its header.
        header: Header,
        /// All of it.
        bytes: Bytes,
    },
    /// Bytes that are no batch; `until` is where the next sound batch begins, or where the bytes end.
    Damage {
        /// Where they begin.
        position: u32,
        /// Where they end.
        until: u32,
        /// Whether a sound batch follows.
        followed: bool,
    },
}

/// A walk through the first `limit` bytes of a segment's log.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    limit: u32,
    position: u32,
    /// No batch may begin below this offset.
    expected: Offset,
    /// The batch before was sound, or the segment begins here: the next one follows on without a gap.
    exact: bool,
    window: Bytes,
    window_at: u32,
}

impl<'a> Scanner<'a> {
    /// Begins at `position`, where a batch at or past `expected` should begin.
    pub(crate) fn new(file: &'a dyn DiskFile, limit: u32, position: u32, expected: Offset) -> Self {
        Self { file, limit, position, expected, exact: false, window: Bytes::new(), window_at: 0 }
    }

    /// The first batch must begin at `expected`.
    pub(crate) fn exact(self) -> Self {
        Self { exact: true, ..self }
    }

    /// The next batch or damage; `None` at the end.
    ///
    /// # Errors
    /// What the disk said.
    pub(crate) fn step(&mut self) -> Result<Option<Found>, DiskError> {
        if self.position >= self.limit {
            return Ok(None);
        }
        let position = self.position;
        if let Some((header, bytes)) = self.batch_at(position)?
            && self.follows(position, &header)?
        {
            self.exact = true;
            self.position = position + header.bytes;
            self.expected = header.end();
            return Ok(Some(Found::Batch { position, header, bytes }));
        }
        let next = self.search(position + 1)?;
        let until = next.unwrap_or(self.limit);
        self.exact = false;
        self.position = until;
        Ok(Some(Found::Damage { position, until, followed: next.is_some() }))
    }

    /// The batch at `position`, if a whole one is there.
    fn batch_at(&mut self, position: u32) -> Result<Option<(Header, Bytes)>, DiskError> {
        let head = self.bytes_at(position, HEADER_BYTES as u32)?;
        let Some(header) = Header::parse(&head) else { return Ok(None) };
        if header.base < self.expected || header.bytes > self.limit - position {
            return Ok(None);
        }
        let bytes = self.bytes_at(position, header.bytes)?;
        Ok(header.check(&bytes).then_some((header, bytes)))
    }

    /// A base offset is under no checksum of the batch: it is believed where it follows on from the batch before, or,
    /// behind damage, where the batch behind follows on from it.
    fn follows(&mut self, position: u32, header: &Header) -> Result<bool, DiskError> {
        if header.base == self.expected || self.exact {
            return Ok(header.base == self.expected);
        }
        let behind = position + header.bytes;
        let next = self.bytes_at(behind, (HEADER_BYTES as u32).min(self.limit.saturating_sub(behind)))?;
        Ok(Header::parse(&next).is_none_or(|next| next.base == header.end()))
    }

    /// Where the next sound batch begins, at `from` or behind.
    fn search(&mut self, from: u32) -> Result<Option<u32>, DiskError> {
        let mut position = from;
        while self.limit.saturating_sub(position) >= HEADER_BYTES as u32 {
            let window = self.bytes_at(position, (WINDOW_BYTES as u32).min(self.limit - position))?;
            if window.len() < HEADER_BYTES {
                return Ok(None); // the file is shorter than it should be
            }
            let candidates = window.len() - HEADER_BYTES + 1;
            for at in 0..candidates {
                // The magic alone rules out nearly every place.
                if window.get(at + 16) != Some(&2) || Header::parse(&window[at..]).is_none() {
                    continue;
                }
                let candidate = position + at as u32;
                if self.batch_at(candidate)?.is_some() {
                    return Ok(Some(candidate));
                }
            }
            position += candidates as u32;
        }
        Ok(None)
    }

    /// Up to `length` bytes from `position` on; fewer where the file ends.
    fn bytes_at(&mut self, position: u32, length: u32) -> Result<Bytes, DiskError> {
        let inside = position.checked_sub(self.window_at).map(|at| at as usize);
        if let Some(at) = inside
            && self.window.len() >= at + length as usize
        {
            return Ok(self.window.slice(at..at + length as usize));
        }
        let wanted = (length as usize).max(WINDOW_BYTES).min((self.limit - position) as usize);
        self.window = self.file.read_bytes(u64::from(position), wanted)?;
        self.window_at = position;
        Ok(self.window.slice(..self.window.len().min(length as usize)))
    }
}

#[cfg(test)]
mod tests;
