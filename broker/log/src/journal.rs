//! The journal: one sequence of frames into which the appends of all partitions of a data directory interleave.
//!
//! Owns the order of frames ([`Lsn`]), their durability, the files they lie in, and their replay after a crash. It must
//! never look into a batch, never decide what a frame means for a partition, never assign an offset, and never
//! overwrite a synced block before its file was released.
//!
//! Invariants:
//! * LSNs are dense: frame `n + 1` is written behind frame `n`, or not at all.
//! * `synced` moves only after a flush that covers it succeeded (S1). One group is in flight at a time.
//! * After the first failed write or flush nothing is written or acknowledged any more by this process (S2).
//! * A file that begins again gets a new random generation, and every start begins a new file, so that neither recycled
//!   frames nor a torn tail can be mistaken for live ones (S8).
//! * A file begins again only after a synced group states that its frames are no longer needed; so a missing file is
//!   noticed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::types::Lsn;

use crate::disk::counters;

mod error;
mod files;
mod format;
mod frame;
mod gate;
mod keeper;
mod plan;
mod recovery;
mod scan;
mod shared;
mod start;
#[cfg(test)]
mod tests;
mod thread;
mod writer;

pub use self::error::{Full, Offline, OpenError, SubmitError};
pub use self::frame::{BATCH_HEADER_BYTES, Frame, Kind, Payload};
use self::gate::Wait;
pub use self::gate::{Durable, Room};
pub use self::recovery::Recovery;
use self::shared::Shared;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its directory, relative to the disk's root.
    pub directory: String,
    /// Length of one file. A frame that needs a longer one gets it.
    pub file_bytes: u64,
    /// Length of the file that is made at start when none is ready: short, because the first ack waits for its zeros.
    pub first_file_bytes: u64,
    /// Appends are refused when the files would come to more than this (released ones are used again before).
    pub bytes_max: u64,
    /// A group ends with the frame that reaches this length.
    pub group_bytes: usize,
    /// Free space that growing must leave.
    pub reserve_bytes: u64,
    /// After this long without frames a closing frame is written.
    pub idle: Duration,
    /// The caller knows that frames up to this one were synced once (from the catalogue); if the journal ends before,
    /// what lies between is reported as damage and never numbered again.
    pub known_synced: Lsn,
}

impl Default for Options {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            directory: "journal".to_owned(),
            file_bytes: 16 * MIB,
            first_file_bytes: MIB,
            bytes_max: 320 * MIB,
            group_bytes: 4 * 1024 * 1024,
            reserve_bytes: 32 * MIB,
            idle: Duration::from_millis(50),
            known_synced: Lsn::new(0),
        }
    }
}

/// Frames that were synced once and cannot be read: `first..=last`.
///
/// Every partition that may have been in it is suspect (R12, S3): one whose next append in the replay begins where its
/// last one before the hole ended lost no append in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First missing frame.
    pub first: Lsn,
    /// Last missing frame.
    pub last: Lsn,
}

/// One step of the replay, in LSN order.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// A frame.
    Frame {
        /// Its number.
        lsn: Lsn,
        /// What it says. Its payload shares memory with its neighbours: copy what is kept for long.
        frame: Frame,
    },
    /// Damage.
    Hole(Hole),
}

/// What is told about groups of frames, on the writer's thread. Never blocks, never calls [`Journal::pump`].
pub trait GroupObserver: Send + Sync {
    /// The frames of one group are durable. Called once per group, in LSN order, before anyone who waits for one of
    /// them is woken: flushed ends are updated here. `frames` may be drained; their payloads are the submitted memory.
    fn synced(&self, frames: &mut Vec<(Lsn, Frame)>);

    /// Nothing is written or synced any more. Called once, after the last `synced`, whoever took the journal offline.
    fn offline(&self, reason: &Offline);
}

/// Draws one random number; the generation of a file. A recycled file's old frames are told from new ones by it, and
/// no client can guess it.
pub type Entropy = Box<dyn FnMut() -> u64 + Send>;

/// The journal, open for writing. Clones share it.
///
/// Life: [`Recovery::open`] → replay → [`Recovery::start`] → this. Somebody must call [`Journal::pump`] and
/// [`Journal::keep`] in turn: [`Journal::spawn`] makes threads that do, a simulator does it itself.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// What [`Journal::pump`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// A group was written and synced; there may be more.
    Wrote {
        /// How many frames it held.
        frames: usize,
    },
    /// There was nothing to write. Call again when a frame was submitted, or at this time.
    Idle {
        /// When the closing frame is due.
        wake_at: Option<Instant>,
    },
}

impl Journal {
    /// Takes a frame and numbers it. No IO, no waiting beyond a short lock: called under the partition's own lock, so
    /// that LSN order is offset order. On error nothing was taken.
    ///
    /// # Errors
    /// [`SubmitError::Full`] when the files that are ready could not hold it, however it is packed; kinds other than
    /// appends have a reserve of 128 KiB.
    pub fn submit(&self, frame: Frame) -> Result<Lsn, SubmitError> {
        self.shared.submit(frame)
    }

    /// Takes frames that belong together, all or none, and numbers them one behind the other: the first number and the
    /// last. Of no frames: the last that was given out.
    ///
    /// # Errors
    /// As [`Journal::submit`].
    pub fn submit_all(&self, frames: Vec<Frame>) -> Result<(Lsn, Lsn), SubmitError> {
        self.shared.submit_all(frames)
    }

    /// Whether an append of this many bytes would be taken now.
    ///
    /// # Errors
    /// As [`Journal::submit`].
    pub fn has_room(&self, bytes: usize) -> Result<(), SubmitError> {
        self.shared.has_room(bytes)
    }

    /// Ready with `Ok` when an append of this many bytes would be taken, and with the error when waiting does not help:
    /// the disk is full, the frame is too large, the journal is offline. Cancel-safe. Others may be faster: submit
    /// again, and wait again.
    pub fn room(&self, bytes: usize) -> Room {
        Room { journal: self.clone(), bytes, wait: self.next_change() }
    }

    fn next_change(&self) -> Wait {
        self.shared.room.wait(self.shared.room.reached() + 1)
    }

    /// The last LSN that was given out.
    pub fn submitted(&self) -> Lsn {
        Lsn::new(self.shared.state.lock().next.get().saturating_sub(1))
    }

    /// Every frame up to this one is durable and its observer has been told.
    pub fn synced(&self) -> Lsn {
        Lsn::new(self.shared.synced.reached())
    }

    /// Ready when `synced() >= lsn`, or with the error when the journal went offline before. Cancel-safe.
    pub fn durable(&self, lsn: Lsn) -> Durable {
        Durable(self.shared.synced.wait(lsn.get()))
    }

    /// Frames below `lsn` are no longer needed: their effects are durable elsewhere. Never goes back.
    pub fn release(&self, lsn: Lsn) {
        self.shared.release(lsn);
    }

    /// Writes and syncs one group, if there is something to write: the submitted frames, or the closing frame after
    /// [`Options::idle`]. One caller at a time; others wait.
    ///
    /// # Errors
    /// [`Offline`], from the first failed write or sync on.
    pub fn pump(&self, now: Instant) -> Result<Pumped, Offline> {
        self.shared.pump(now)
    }

    /// Makes and removes files if that is due, off the writer's path. Returns whether it did something.
    ///
    /// # Errors
    /// [`Offline`] when the disk failed in another way than being full.
    pub fn keep(&self) -> Result<bool, Offline> {
        self.shared.keep()
    }

    /// Starts the two threads that call [`Journal::pump`] and [`Journal::keep`] until [`Journal::close`].
    ///
    /// # Errors
    /// What the system said.
    pub fn spawn(&self) -> std::io::Result<()> {
        self.shared.spawn()
    }

    /// Takes the journal offline because another part of the data directory failed (S2): a segment's write or flush.
    /// When this returns, nobody is told any more that a frame is durable, not even those of a group that is being
    /// written. Does not wait for the writer, so it may be called under a partition's lock or from within the observer;
    /// the observer hears of it by the next [`Journal::pump`]. Returns the reason that stays: the first one.
    pub fn take_offline(&self, offline: Offline) -> Offline {
        self.shared.go_offline(offline)
    }

    /// Ends the journal as a crash would: what was submitted and not written never will be, and the threads are gone
    /// when this returns. Lets go of the observer. Not from one of the journal's threads.
    pub fn abandon(&self) {
        self.shared.abandon();
    }

    /// Why the journal takes no more frames, if it does not.
    pub fn offline(&self) -> Option<Offline> {
        self.shared.check_online().err()
    }

    /// Counters, for metrics.
    pub fn stats(&self) -> &JournalStats {
        &self.shared.stats
    }

    /// Writes what was submitted and a closing frame, ends the threads, lets go of the observer. Later frames are
    /// refused with [`Offline`] (`closed`).
    ///
    /// # Errors
    /// [`Offline`] if it was before, or now.
    pub fn close(&self) -> Result<(), Offline> {
        self.shared.close()
    }
}

/// What a replay came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// First frame that was still needed, as the journal states.
    pub released: Lsn,
    /// Last frame.
    pub last: Lsn,
    /// Frames that were replayed.
    pub frames: u64,
    /// Bytes behind the last frame that look like a torn write, and were cut off.
    pub torn_bytes: u64,
    /// Damage, in LSN order.
    pub holes: Vec<Hole>,
}

counters! {
    /// Plain counters of a journal; they only grow.
    JournalStats {
        /// Groups written and synced.
        groups,
        /// Frames in them.
        frames,
        /// Bytes written, with padding.
        bytes,
        /// Bytes of padding and of unused file ends.
        padding_bytes,
        /// Closing frames.
        closing_frames,
        /// Files made.
        files_made,
        /// Files that began again.
        files_recycled,
        /// Files removed.
        files_removed,
        /// Files that are written through the page cache because the file system cannot do without.
        buffered_files,
        /// Appends refused because there was no room.
        refused,
        /// Files made on the writer's path because none was ready.
        files_made_late,
    }
}
