//! The writer: from the queue to the disk, one group and one flush at a time.
//!
//! Owns the file that is being written and the order: write, flush, observers, waiters. It must never acknowledge what
//! its flush does not cover (S1), and never write again after an error (S2).

use std::sync::Arc;
use std::time::Instant;

use ottla_core::types::Lsn;

use super::error::Offline;
use super::files::{self, GroupWriter, JournalFile, LiveFile};
use super::format::{BLOCK, FileHeader, GROUP_HEADER_BYTES, GroupHeader, encode_frame, frame_bytes};
use super::frame::{Frame, Kind};
use super::plan::Plan;
use super::shared::{Shared, State};
use super::{Entropy, GroupObserver, Pumped};
use crate::disk::aligned::AlignedBuffer;
use crate::disk::{DiskError, count};
use crate::phase::{self, Phase};

/// The writer's own part of the journal; whoever holds its lock pumps.
pub(super) struct Writer {
    /// Numbered frames that wait for their group.
    pub(super) batch: Vec<(Lsn, Frame)>,
    pub(super) current: Option<Current>,
    pub(super) buffer: AlignedBuffer,
    pub(super) entropy: Entropy,
    pub(super) observer: Option<Arc<dyn GroupObserver>>,
    /// The next file's place in the order.
    pub(super) sequence: u64,
    /// When the last group was synced; `None` once a closing frame says so on disk.
    pub(super) unclosed_since: Option<Instant>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("batch", &self.batch.len()).field("current", &self.current).finish()
    }
}

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Current {
    file: JournalFile,
    header: FileHeader,
    /// Where the next group begins; 0 while the file header is not written either.
    offset: u64,
    /// Until the first group in a file that was used before is durable.
    recycling: Option<Phase>,
}

impl Current {
    fn left(&self) -> u64 {
        (self.file.bytes / BLOCK * BLOCK).saturating_sub(self.offset.max(BLOCK))
    }
}

impl Shared {
    /// See [`super::Journal::pump`].
    pub(super) fn pump(&self, now: Instant) -> Result<Pumped, Offline> {
        let writer = &mut *self.writer.lock();
        self.check_writer(writer)?;
        if writer.batch.is_empty() {
            let due = writer.unclosed_since.map(|since| since + self.options.idle);
            self.take_batch(writer, due.is_some_and(|due| due <= now));
            if writer.batch.is_empty() {
                return Ok(Pumped::Idle { wake_at: due });
            }
        }
        self.write_group(writer, now)
    }

    /// Writes a closing frame now if the last group needs one.
    pub(super) fn pump_close(&self, now: Instant) -> Result<(), Offline> {
        let writer = &mut *self.writer.lock();
        self.check_writer(writer)?;
        self.take_batch(writer, writer.unclosed_since.is_some());
        if writer.batch.is_empty() { Ok(()) } else { self.write_group(writer, now).map(drop) }
    }

    /// Takes all that was submitted, or a frame of our own if that is due, and plans anew from where we stand.
    fn take_batch(&self, writer: &mut Writer, close: bool) {
        let mut state = self.state.lock();
        std::mem::swap(&mut writer.batch, &mut state.queue);
        if writer.batch.is_empty() && (close || state.statement_due) {
            writer.batch.push((state.next, Frame::close()));
            state.next = state.next.next();
            count(&self.stats.closing_frames, 1);
        }
        let left = writer.current.as_ref().map_or(0, Current::left);
        state.plan = Plan::at(left, self.options.group_bytes as u64);
        for (index, (_, frame)) in writer.batch.iter().enumerate() {
            state.take_room(frame_bytes(frame) as u64, index == 0, 0);
        }
    }

    fn write_group(&self, writer: &mut Writer, now: Instant) -> Result<Pumped, Offline> {
        let (count, bytes) = match self.next_group(writer) {
            Ok(group) => group,
            Err(error) => return Err(self.fail(writer, &error)),
        };
        let rest = writer.batch.split_off(count);
        let mut group = std::mem::replace(&mut writer.batch, rest);
        let released = self.state.lock().released;
        if let Err(error) = self.write(writer, &group, bytes, released) {
            return Err(self.fail(writer, &error));
        }
        // The directory may have gone offline for another reason meanwhile: no ack then.
        self.check_writer(writer)?;
        let closes = group.len() == 1 && group.first().is_some_and(|(_, frame)| frame.kind == Kind::Close);
        writer.unclosed_since = if closes { None } else { Some(now) };
        self.complete(writer, &mut group, released);
        if writer.batch.is_empty() {
            group.clear();
            writer.batch = group;
        }
        Ok(Pumped::Wrote { frames: count })
    }

    /// How many frames the next group takes and its length, beginning another file if none fits.
    fn next_group(&self, writer: &mut Writer) -> Result<(usize, usize), DiskError> {
        let fitting = |writer: &Writer| {
            let left = writer.current.as_ref().map_or(0, Current::left);
            let (mut frames, mut bytes) = (0, GROUP_HEADER_BYTES);
            for (_, frame) in &writer.batch {
                let longer = bytes + frame_bytes(frame);
                if longer as u64 > left || (frames > 0 && bytes >= self.options.group_bytes) {
                    break;
                }
                (frames, bytes) = (frames + 1, longer);
            }
            (frames, bytes)
        };
        let mut group = fitting(writer);
        while group.0 == 0 {
            self.rotate(writer)?;
            group = fitting(writer);
        }
        Ok(group)
    }

    /// Begins the next spare file with a new generation.
    fn rotate(&self, writer: &mut Writer) -> Result<(), DiskError> {
        let first = writer.batch.first().map_or(Lsn::new(0), |(lsn, _)| *lsn);
        let needed = writer.batch.first().map_or(0, |(_, frame)| frame_bytes(frame)) as u64 + 4 * BLOCK;
        let mut state = self.state.lock();
        state.plan.rotated();
        let spare = state.spares.pop_front();
        let late = spare.is_none().then(|| {
            state.next_number += 1;
            state.next_number
        });
        let released = state.released;
        if state.is_short_of_spares() {
            self.want_file(&mut state);
        }
        drop(state);
        let file = match (spare, late) {
            (Some(spare), _) => spare,
            (None, number) => {
                count(&self.stats.files_made_late, 1);
                let bytes = self.options.file_bytes.max(needed.next_multiple_of(BLOCK));
                let number = number.unwrap_or_default();
                let made = files::make(&*self.disk, &self.options.directory, number, bytes)?;
                self.state.lock().total_bytes += bytes;
                made
            }
        };
        let recycling = file.begun.then(|| phase::enter(phase::JOURNAL_RECYCLE));
        if file.begun {
            count(&self.stats.files_recycled, 1);
        }
        if !file.file.is_direct() {
            count(&self.stats.buffered_files, 1);
        }
        if let Some(old) = &writer.current {
            count(&self.stats.padding_bytes, old.left());
        }
        let synced = Lsn::new(first.get().saturating_sub(1));
        let (generation, sequence, bytes) = ((writer.entropy)(), writer.sequence, file.bytes);
        let header = FileHeader { generation, sequence, first, synced, released, bytes };
        writer.sequence += 1;
        self.state.lock().live.push_back(LiveFile { file: file.clone(), last: synced });
        writer.current = Some(Current { file, header, offset: 0, recycling });
        Ok(())
    }

    /// The group's bytes, then the flush.
    fn write(&self, writer: &mut Writer, group: &[(Lsn, Frame)], bytes: usize, released: Lsn) -> Result<(), DiskError> {
        let Writer { current: Some(current), buffer, .. } = writer else { return Ok(()) };
        let FileHeader { generation, sequence, .. } = current.header;
        let first = group.first().map_or(Lsn::new(0), |(lsn, _)| *lsn);
        let block = current.offset.max(BLOCK);
        let header = GroupHeader {
            generation,
            sequence,
            first,
            synced: Lsn::new(self.synced.reached()),
            released,
            // A file has fewer than 2^32 bytes, and what is counted here fits in its file.
            block: (block / BLOCK) as u32,
            frames: group.len() as u32,
            bytes: bytes as u32,
            before: (first.get() - current.header.first.get()) as u32,
        };
        let mut out = GroupWriter::new(&*current.file.file, buffer, current.offset);
        if current.offset == 0 {
            out.put_block(|block| current.header.encode(block));
        }
        out.put(&header.encode())?;
        for (lsn, frame) in group {
            out.put(&encode_frame(generation, *lsn, frame))?;
            out.put(frame.payload.head())?;
            out.put(frame.payload.tail())?;
        }
        let end = out.finish()?;
        count(&self.stats.groups, 1);
        count(&self.stats.frames, group.len() as u64);
        count(&self.stats.bytes, end - current.offset);
        count(&self.stats.padding_bytes, end - block - bytes as u64);
        current.offset = end;
        current.recycling = None;
        Ok(())
    }

    /// The group is durable: files that it declared free may begin again, everyone is told.
    fn complete(&self, writer: &Writer, group: &mut Vec<(Lsn, Frame)>, stated: Lsn) {
        let last = group.last().map_or(Lsn::new(0), |(lsn, _)| *lsn);
        let freed = self.free_files(&mut self.state.lock(), last, stated);
        if group.last().is_some_and(|(_, frame)| frame.kind == Kind::Close) {
            group.pop();
        }
        if let Some(observer) = writer.observer.as_ref().filter(|_| !group.is_empty()) {
            observer.synced(group);
        }
        self.synced.advance(last.get());
        if freed {
            self.room_changed();
        }
    }

    fn free_files(&self, state: &mut State, last: Lsn, stated: Lsn) -> bool {
        if let Some(current) = state.live.back_mut() {
            current.last = last;
        }
        let mut freed = false;
        while state.live.len() > 1 && state.live.front().is_some_and(|oldest| oldest.last < stated) {
            let Some(LiveFile { file, .. }) = state.live.pop_front() else { break };
            if file.bytes == self.options.file_bytes {
                state.spares.push_back(JournalFile { begun: true, ..file });
            } else {
                state.doomed.push(file);
                self.wake_keeper(state);
            }
            freed = true;
        }
        state.statement_due =
            state.live.len() > 1 && state.live.front().is_some_and(|oldest| oldest.last < state.released);
        freed
    }

    fn fail(&self, writer: &mut Writer, error: &DiskError) -> Offline {
        let offline = self.go_offline(Offline::because(error));
        self.tell_offline(writer, &offline);
        offline
    }

    /// Whether the writer may go on; if not, the observer hears of it, and nothing after it.
    fn check_writer(&self, writer: &mut Writer) -> Result<(), Offline> {
        self.check_online().inspect_err(|offline| self.tell_offline(writer, offline))
    }

    /// Lets go of everything that would have been written, and of the observer.
    pub(super) fn tell_offline(&self, writer: &mut Writer, offline: &Offline) {
        writer.batch = Vec::new();
        if let Some(observer) = writer.observer.take() {
            observer.offline(offline);
        }
    }
}
