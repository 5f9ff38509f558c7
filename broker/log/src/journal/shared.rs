//! What the submitters, the writer and the keeper of one journal share.
//!
//! Owns the queue, the numbering, the list of files, and going offline. The lock on [`State`] is held for a few
//! instructions at a time and never across IO.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use ottla_core::types::Lsn;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::error::{Full, Offline, SubmitError};
use super::files::{JournalFile, LiveFile};
use super::format::{BLOCK, frame_bytes};
use super::frame::{Frame, Kind};
use super::gate::Gate;
use super::plan::{GROUP_COST, Plan, usable};
use super::writer::Writer;
use super::{JournalStats, Options};
use crate::disk::{Disk, count};

/// Room that appends leave to the other kinds, so that frames can be released when the journal is full.
const CONTROL_RESERVE_BYTES: u64 = 128 * 1024;

/// While the disk is full, every so many frames a new file is tried without need.
const RETRY_FRAMES: u64 = 1024;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) state: Mutex<State>,
    pub(super) writer: Mutex<Writer>,
    /// Held by [`Shared::keep`], so that one file is made at a time.
    pub(super) keeping: Mutex<()>,
    pub(super) writer_wanted: Condvar,
    pub(super) keeper_wanted: Condvar,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    /// The last synced LSN.
    pub(super) synced: Arc<Gate>,
    /// Counts the times when room may have come back.
    pub(super) room: Arc<Gate>,
    pub(super) stats: JournalStats,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Vec<(Lsn, Frame)>,
    /// The LSN of the next frame.
    pub(super) next: Lsn,
    pub(super) plan: Plan,
    /// Files that are ready to begin, in the order in which they will.
    pub(super) spares: VecDeque<JournalFile>,
    /// Files whose frames may be needed, oldest first; the one that is being written is the last of them.
    pub(super) live: VecDeque<LiveFile>,
    /// Files to remove.
    pub(super) doomed: Vec<JournalFile>,
    /// Length of all files together.
    pub(super) total_bytes: u64,
    pub(super) next_number: u64,
    /// Frames below are no longer needed, as the caller says.
    pub(super) released: Lsn,
    /// A file is free but for a group that says so.
    pub(super) statement_due: bool,
    /// Length of a file that a refused frame needs, whatever else is ready.
    pub(super) needed_file: Option<u64>,
    pub(super) grow: bool,
    pub(super) disk_full: bool,
    pub(super) closing: bool,
    pub(super) writer_parked: bool,
    pub(super) keeper_parked: bool,
    pub(super) room_changes: u64,
}

impl State {
    /// How many spare files there should be beyond those that are planned with.
    fn spares_wanted(&self) -> usize {
        (1 + self.live.len() / 2).min(4)
    }

    pub(super) fn is_short_of_spares(&self) -> bool {
        self.spares.len().saturating_sub(self.plan.ahead()) < self.spares_wanted()
    }

    pub(super) fn take_room(&mut self, bytes: u64, fresh: bool, reserve: u64) -> bool {
        let Self { plan, spares, .. } = self;
        plan.take(bytes, fresh, reserve, |n| spares.get(n).map(|spare| spare.bytes))
    }

    /// Whether a file of this length would keep the journal within its bound.
    pub(super) const fn may_grow(&self, bytes: u64, bytes_max: u64) -> bool {
        self.total_bytes.saturating_add(bytes) <= bytes_max
    }
}

impl Shared {
    /// The longest frame that may be submitted: its file, with as much again, is half of the journal.
    pub(super) fn frame_bytes_max(&self) -> u64 {
        usable(self.options.bytes_max.min(u64::from(u32::MAX)) / 4)
    }

    fn reserve_of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Append => CONTROL_RESERVE_BYTES.min(self.options.file_bytes / 8) + 2 * GROUP_COST,
            // Left for the journal's own frames.
            Kind::Create | Kind::Delete | Kind::Truncate | Kind::LogStart | Kind::FlushedEnd => 2 * GROUP_COST,
            Kind::Close => 0,
        }
    }

    pub(super) fn submit(&self, frame: Frame) -> Result<Lsn, SubmitError> {
        let bytes = frame_bytes(&frame) as u64;
        let reserve = self.reserve_of(frame.kind);
        let mut state = self.state.lock();
        let fresh = state.queue.is_empty();
        self.admit(&mut state, bytes, fresh, reserve).inspect_err(|_| count(&self.stats.refused, 1))?;
        let lsn = self.enqueue(&mut state, frame);
        self.wake_writer(state);
        Ok(lsn)
    }

    pub(super) fn submit_all(&self, frames: Vec<Frame>) -> Result<(Lsn, Lsn), SubmitError> {
        let mut state = self.state.lock();
        let (plan, mut fresh) = (state.plan, state.queue.is_empty());
        for frame in &frames {
            let taken = self.admit(&mut state, frame_bytes(frame) as u64, fresh, self.reserve_of(frame.kind));
            if let Err(error) = taken {
                state.plan = plan;
                count(&self.stats.refused, 1);
                return Err(error);
            }
            fresh = false;
        }
        let first = state.next;
        for frame in frames {
            self.enqueue(&mut state, frame);
        }
        let last = Lsn::new(state.next.get().saturating_sub(1));
        self.wake_writer(state);
        Ok((first, last))
    }

    /// Numbers a frame for which room was taken.
    fn enqueue(&self, state: &mut State, frame: Frame) -> Lsn {
        let lsn = state.next;
        state.next = lsn.next();
        state.queue.push((lsn, frame));
        if state.is_short_of_spares() && (!state.disk_full || lsn.get().is_multiple_of(RETRY_FRAMES)) {
            self.want_file(state);
        }
        lsn
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let wake = std::mem::take(&mut state.writer_parked);
        drop(state);
        if wake {
            self.writer_wanted.notify_one();
        }
    }

    /// Whether there is room; takes it. `fresh`: nothing is queued before it.
    fn admit(&self, state: &mut State, bytes: u64, fresh: bool, reserve: u64) -> Result<(), SubmitError> {
        self.check_open(state)?;
        if bytes > self.frame_bytes_max() {
            return Err(SubmitError::TooLarge { bytes, bytes_max: self.frame_bytes_max() });
        }
        if state.take_room(bytes, fresh, reserve) {
            return Ok(());
        }
        Err(SubmitError::Full(self.refuse(state, bytes, reserve)))
    }

    /// Says why there is no room, and has some made.
    fn refuse(&self, state: &mut State, bytes: u64, reserve: u64) -> Full {
        let needed = bytes + reserve + GROUP_COST;
        let length = if needed > usable(self.options.file_bytes) {
            // Twice the length, so that the frame still fits when others went first.
            (2 * needed + BLOCK).next_multiple_of(BLOCK)
        } else {
            self.options.file_bytes
        };
        if !state.may_grow(length, self.options.bytes_max) {
            return Full::Unreleased;
        }
        state.needed_file = state.needed_file.max(Some(length));
        self.want_file(state);
        if state.disk_full { Full::DiskFull } else { Full::Growing }
    }

    fn check_open(&self, state: &State) -> Result<(), Offline> {
        self.check_online()?;
        if state.closing { Err(closed()) } else { Ok(()) }
    }

    pub(super) fn check_online(&self) -> Result<(), Offline> {
        self.synced.failed().map_or(Ok(()), |reason| Err(reason.clone()))
    }

    pub(super) fn has_room(&self, bytes: usize) -> Result<(), SubmitError> {
        let mut state = self.state.lock();
        let plan = state.plan;
        let bytes = bytes as u64 + super::format::FRAME_HEADER_BYTES as u64;
        let fresh = state.queue.is_empty();
        let admitted = self.admit(&mut state, bytes, fresh, self.reserve_of(Kind::Append));
        if admitted.is_ok() {
            state.plan = plan;
        }
        admitted
    }

    pub(super) fn want_file(&self, state: &mut State) {
        state.grow = true;
        self.wake_keeper(state);
    }

    pub(super) fn wake_keeper(&self, state: &mut State) {
        if std::mem::take(&mut state.keeper_parked) {
            self.keeper_wanted.notify_one();
        }
    }

    pub(super) fn release(&self, lsn: Lsn) {
        let mut state = self.state.lock();
        // Nobody can release what was not numbered yet.
        let lsn = lsn.min(state.next);
        if lsn <= state.released {
            return;
        }
        state.released = lsn;
        let frees = state.live.len() > 1 && state.live.front().is_some_and(|file| file.last < lsn);
        if frees && !state.statement_due {
            state.statement_due = true;
            if std::mem::take(&mut state.writer_parked) {
                self.writer_wanted.notify_one();
            }
        }
    }

    /// Tells those who wait for room to look again.
    pub(super) fn room_changed(&self) {
        let changes = {
            let mut state = self.state.lock();
            state.room_changes += 1;
            state.room_changes
        };
        self.room.advance(changes);
    }

    /// The data directory is offline from now on (S2): when this returns, nothing is acknowledged any more. Returns the
    /// reason that stays: the first one. Takes no lock that is held across IO or while the observer is told.
    pub(super) fn go_offline(&self, offline: Offline) -> Offline {
        let mut state = self.state.lock();
        state.closing = true;
        drop(state);
        self.end(offline)
    }

    /// Fails everyone who still waits, and ends the threads.
    pub(super) fn end(&self, offline: Offline) -> Offline {
        self.synced.fail(offline.clone());
        self.room.fail(offline.clone());
        let mut state = self.state.lock();
        state.queue = Vec::new();
        state.writer_parked = false;
        state.keeper_parked = false;
        drop(state);
        self.writer_wanted.notify_all();
        self.keeper_wanted.notify_all();
        self.synced.failed().cloned().unwrap_or(offline)
    }
}

pub(super) fn closed() -> Offline {
    Offline { reason: Arc::from("closed") }
}
