//! The journal as it was found: its files in order, its frames in order, and what is missing between them.
//!
//! Owns the difference between a torn tail, which was never acknowledged and is cut off, and damage, which is reported.
//! It must never write before [`Recovery::start`], never yield a frame twice or out of order, and never yield one that
//! was released, recycled or cut off (S8).
//!
//! The files' lives are ordered by their sequence; each covers the LSNs from its first frame to the next file's. What a
//! file holds beyond that was cut off. Where the next frame is missing, the rule is: if something behind it (a group of
//! this generation, or the next file) states that it was synced, it is damage, else the log ends there. A file that is
//! shorter than it was made has lost at least one frame, wherever its last one lies.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::types::Lsn;

use super::error::OpenError;
use super::files::{self, JournalFile};
use super::format::{self, FileHeader, FileStart, decode_frame};
use super::frame::{Frame, Kind};
use super::scan::{FileScan, bytes_of};
use super::{Hole, Options, Replayed, Report};
use crate::disk::{Disk, Open};

/// No file was made shorter than this.
pub(super) const LENGTH_MIN: u64 = 4 * format::BLOCK;

/// The journal as it was found, on its way back. Nothing is written before [`Recovery::start`], so that an offline
/// check can stop before it.
#[derive(Debug)]
pub struct Recovery {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    /// Files with frames that may be needed, in order.
    pub(super) live: Vec<Found>,
    /// Files without.
    pub(super) free: Vec<Found>,
    /// The next frame.
    pub(super) expected: Lsn,
    pub(super) report: Report,
    /// A file has lost its end, and nothing behind it tells what was there.
    cut: bool,
    ready: VecDeque<Replayed>,
    at: Place,
    done: bool,
}

/// A file of the journal.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) header: Option<FileHeader>,
    /// Its last frame, once it was read.
    pub(super) last: Lsn,
    /// It is shorter than it was made.
    cut: bool,
}

/// Where the replay stands.
#[derive(Debug)]
struct Place {
    /// Index of the live file.
    file: usize,
    scan: Option<FileScan>,
    /// The next group.
    block: u64,
    group: Option<OpenGroup>,
}

/// A group that is being read.
#[derive(Debug)]
struct OpenGroup {
    rest: Bytes,
    frames: u32,
    start: u64,
    /// Bytes of the group that were read, from its first block on.
    read: usize,
}

impl Recovery {
    /// Finds the journal's files and their order. A missing directory is an empty journal.
    ///
    /// # Errors
    /// [`OpenError`]; damaged content is none.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let mut found = Vec::new();
        let entries = match disk.list(&options.directory) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            if !entry.directory && files::number_of(&entry.name).is_some() {
                found.push(find(&*disk, &options.directory, entry.name)?);
            }
        }
        let (mut live, mut free): (Vec<_>, Vec<_>) = found.into_iter().partition(|file| file.header.is_some());
        live.sort_by_key(|file| file.header.map(|header| header.sequence));
        let cut = live.last().is_some_and(|file: &Found| file.cut) || free.iter().any(|file| file.cut);
        let released = find_released(&*disk, &options.directory, &live)?;
        // A file whose successor begins at or before that point holds nothing that is needed.
        let successors = live.iter().skip(1).map(Found::first);
        let free_count = successors.take_while(|&first| first <= released).count();
        free.extend(live.drain(..free_count));
        let first = live.first().map_or(released, Found::first);
        let mut recovery = Self {
            disk,
            options,
            live,
            free,
            expected: released.max(Lsn::new(1)),
            report: Report { released, ..Report::default() },
            cut,
            ready: VecDeque::new(),
            at: Place { file: 0, scan: None, block: 1, group: None },
            done: false,
        };
        if first > recovery.expected {
            recovery.lose_up_to(first);
        }
        recovery.expected = first.max(Lsn::new(1));
        Ok(recovery)
    }

    /// The next step of the replay; `None` at the end. Reads one group at a time.
    ///
    /// # Errors
    /// [`OpenError::Disk`] when a file cannot be read.
    pub fn step(&mut self) -> Result<Option<Replayed>, OpenError> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(Some(ready));
            }
            if self.done {
                return Ok(None);
            }
            self.advance()?;
        }
    }

    /// What was found until now; complete once [`Recovery::step`] has returned `None`.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The first LSN that the file at `index` does not cover.
    fn limit(&self, index: usize) -> Lsn {
        self.live.get(index + 1).map_or(Lsn::new(u64::MAX), Found::first)
    }

    fn advance(&mut self) -> Result<(), OpenError> {
        let Some(header) = self.live.get(self.at.file).and_then(|file| file.header) else {
            self.finish();
            return Ok(());
        };
        if self.expected >= self.limit(self.at.file) {
            self.next_file();
            return Ok(());
        }
        if let Some(group) = self.at.group.take() {
            return self.advance_group(header, group);
        }
        let block = self.at.block;
        match self.scan()?.group_at(block, header.generation)? {
            // A group that begins later than expected has a hole before it; one that begins earlier is not one of ours.
            Some(group) if group.header.first == self.expected => {
                self.at.block += group.header.blocks();
                let read = format::GROUP_HEADER_BYTES;
                let open = OpenGroup { rest: group.bytes, frames: group.header.frames, start: block, read };
                self.at.group = Some(open);
                Ok(())
            }
            Some(_) | None => self.break_at(header, (block, 0), block),
        }
    }

    /// The next frame of an open group.
    fn advance_group(&mut self, header: FileHeader, mut group: OpenGroup) -> Result<(), OpenError> {
        if group.frames == 0 {
            return Ok(());
        }
        match decode_frame(header.generation, &group.rest) {
            Some((lsn, frame, bytes)) if lsn == self.expected => {
                group.rest = group.rest.slice(bytes..);
                group.frames -= 1;
                group.read += bytes;
                self.at.group = Some(group);
                self.take(lsn, frame);
                Ok(())
            }
            Some(_) | None => {
                let place = (group.start + group.read as u64 / format::BLOCK, group.read % format::BLOCK as usize);
                self.break_at(header, place, self.at.block)
            }
        }
    }

    /// Frame `expected` is not at `place` (block, byte within it): damage, or the end. `behind` is the first block
    /// that may begin another group.
    fn break_at(&mut self, header: FileHeader, place: (u64, usize), behind: u64) -> Result<(), OpenError> {
        let (expected, limit) = (self.expected, self.limit(self.at.file));
        let is_last = self.at.file + 1 == self.live.len();
        let successor = self.live.get(self.at.file + 1).and_then(|file| file.header);
        let successor_missing = successor.is_some_and(|next| next.sequence > header.sequence.saturating_add(1));
        let generation = header.generation;
        let states_it =
            |group: &format::GroupHeader| group.synced >= expected && group.first >= expected && group.first < limit;
        let scan = self.scan()?;
        let blocks = scan.blocks();
        let next = scan.find_group(behind, generation, states_it)?;
        if next.is_none() && is_last {
            let torn = place.1 > 0 || scan.resembles_group(place.0, generation)?;
            self.report.torn_bytes = if torn { bytes_of(behind.max(place.0 + 1) - place.0) } else { 0 };
            self.finish();
            return Ok(());
        }
        let (upto, first_behind) = next.map_or((blocks, limit), |group| (u64::from(group.block), group.first));
        // With a file missing behind this one nobody knows where this one was cut: what lies there may be cut off (S8).
        let salvaged = if next.is_some() || !successor_missing {
            scan.salvage((place.0, place.1, upto), generation, expected..first_behind)?
        } else {
            Vec::new()
        };
        for (lsn, frame) in salvaged {
            self.lose_up_to(lsn);
            self.take(lsn, frame);
        }
        self.lose_up_to(first_behind);
        self.at.block = upto;
        Ok(())
    }

    /// A frame was read. Those that are not needed any more, and the journal's own, are not told.
    fn take(&mut self, lsn: Lsn, frame: Frame) {
        self.expected = lsn.next();
        if let Some(file) = self.live.get_mut(self.at.file) {
            file.last = lsn;
        }
        if lsn >= self.report.released && frame.kind != Kind::Close {
            self.report.frames += 1;
            self.ready.push_back(Replayed::Frame { lsn, frame });
        }
    }

    /// The frames from the expected one to before `next` are lost; those that were released are no loss.
    fn lose_up_to(&mut self, next: Lsn) {
        let first = self.expected.max(self.report.released);
        if first < next {
            let hole = Hole { first, last: Lsn::new(next.get() - 1) };
            self.report.holes.push(hole);
            self.ready.push_back(Replayed::Hole(hole));
        }
        self.expected = self.expected.max(next);
    }

    fn next_file(&mut self) {
        self.at = Place { file: self.at.file + 1, scan: None, block: 1, group: None };
    }

    fn finish(&mut self) {
        self.report.last = Lsn::new(self.expected.get().saturating_sub(1));
        if self.options.known_synced > self.report.last {
            self.lose_up_to(self.options.known_synced.next());
        } else if self.cut {
            // How many frames were there nobody knows: one stands for all.
            self.lose_up_to(self.expected.next());
        }
        self.done = true;
    }

    fn scan(&mut self) -> Result<&mut FileScan, OpenError> {
        let scan = match self.at.scan.take() {
            Some(scan) => scan,
            None => {
                let Found { name, bytes, .. } = &self.live[self.at.file];
                let path = format!("{}/{name}", self.options.directory);
                FileScan::new(self.disk.open(&path, Open::Read)?, *bytes)
            }
        };
        Ok(self.at.scan.insert(scan))
    }

    /// Opens a file for writing.
    pub(super) fn reopen(&self, found: &Found) -> Result<JournalFile, OpenError> {
        let file = self.disk.open(&format!("{}/{}", self.options.directory, found.name), Open::Direct)?;
        Ok(JournalFile { name: found.name.clone(), file, bytes: found.bytes, begun: found.header.is_some() })
    }
}

impl Found {
    fn first(&self) -> Lsn {
        self.header.map_or(Lsn::new(u64::MAX), |header| header.first)
    }
}

fn find(disk: &dyn Disk, directory: &str, name: String) -> Result<Found, OpenError> {
    let file = disk.open(&format!("{directory}/{name}"), Open::Read)?;
    let (path, bytes) = (Arc::clone(file.path()), file.len()?);
    let mut scan = FileScan::new(file, bytes);
    let header = match scan.start()? {
        FileStart::Header(header) => Some(header),
        FileStart::OtherVersion(found) => {
            return Err(OpenError::Newer { path, found, supported: format::VERSION });
        }
        // Even zeros may be damage: the groups tell.
        FileStart::Zeros if !scan.has_any_group_at(1)? => None,
        FileStart::Zeros | FileStart::Bad => scan.rescue()?,
    };
    let last = header.map_or(Lsn::new(0), |header| Lsn::new(header.first.get().saturating_sub(1)));
    // A file is whole before it has its name, and keeps its length.
    let cut = bytes < header.map_or(0, |header| header.bytes).max(LENGTH_MIN);
    Ok(Found { name, bytes, header, last, cut })
}

/// The first frame that is still needed: the largest that a file header, or a group of the newest file, states.
fn find_released(disk: &dyn Disk, directory: &str, live: &[Found]) -> Result<Lsn, OpenError> {
    let headers = live.iter().filter_map(|file| file.header);
    let mut released = headers.map(|header| header.released).max().unwrap_or_default();
    if let Some(Found { name, bytes, header: Some(header), .. }) = live.last() {
        let file = disk.open(&format!("{directory}/{name}"), Open::Read)?;
        released = released.max(FileScan::new(file, *bytes).released(header.generation)?);
    }
    Ok(released)
}
