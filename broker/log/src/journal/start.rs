//! From the replay to writing again.
//!
//! Owns what must be durable before anything new is promised: the frames that were read (they may be in the device's
//! memory only), and that what lies behind them is cut off, which a new file with a new generation does.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_core::types::Lsn;
use parking_lot::{Condvar, Mutex};

use super::error::OpenError;
use super::files::{self, BUFFER_BYTES, JournalFile, LiveFile};
use super::format::BLOCK;
use super::gate::Gate;
use super::plan::Plan;
use super::recovery::{LENGTH_MIN, Recovery};
use super::shared::{Shared, State};
use super::writer::Writer;
use super::{Entropy, GroupObserver, Journal, JournalStats};
use crate::disk::aligned::AlignedBuffer;
use crate::disk::{DiskError, Op, count, parent};

impl Recovery {
    /// Ends the replay (running through what is left of it) and begins behind it. Without a ready file one is made; on
    /// a full disk the journal starts without room.
    ///
    /// # Errors
    /// [`OpenError::Disk`].
    pub fn start(mut self, entropy: Entropy, observer: Arc<dyn GroupObserver>) -> Result<Journal, OpenError> {
        while self.step()?.is_some() {}
        self.options.file_bytes = self.options.file_bytes.next_multiple_of(BLOCK).max(LENGTH_MIN);
        self.options.first_file_bytes =
            self.options.first_file_bytes.next_multiple_of(BLOCK).clamp(LENGTH_MIN, self.options.file_bytes);
        self.disk.create_dir(&self.options.directory)?;
        self.disk.sync_dir(parent(&self.options.directory))?;
        files::remove_unfinished(&*self.disk, &self.options.directory)?;
        self.disk.sync_dir(&self.options.directory)?;
        let live = self.sync_live()?;
        let (mut spares, doomed) = self.sort_free()?;
        let every_file = || self.live.iter().chain(&self.free);
        let mut next_number = every_file().filter_map(|file| files::number_of(&file.name)).max().unwrap_or(0);
        let mut total_bytes = every_file().map(|file| file.bytes).sum::<u64>();
        let stats = JournalStats::default();
        let mut disk_full = false;
        if spares.is_empty() {
            next_number += 1;
            match self.make_first(next_number) {
                Ok(file) => {
                    count(&stats.files_made, 1);
                    total_bytes += file.bytes;
                    spares.push_back(file);
                }
                Err(DiskError::NoSpace { .. }) => disk_full = true,
                Err(error) => return Err(error.into()),
            }
        }
        let state = State {
            queue: Vec::new(),
            next: self.expected,
            plan: Plan::at(0, self.options.group_bytes as u64),
            spares,
            live,
            doomed,
            total_bytes,
            next_number,
            released: self.report.released.max(Lsn::new(1)),
            statement_due: false,
            needed_file: None,
            grow: true,
            disk_full,
            closing: false,
            writer_parked: false,
            keeper_parked: false,
            room_changes: 0,
        };
        let sequences = self.live.iter().chain(&self.free).filter_map(|file| file.header.map(|header| header.sequence));
        let writer = Writer {
            batch: Vec::new(),
            current: None,
            buffer: AlignedBuffer::zeroed(BUFFER_BYTES),
            entropy,
            observer: Some(observer),
            sequence: sequences.max().map_or(1, |sequence| sequence.saturating_add(1)),
            unclosed_since: None,
        };
        Ok(Journal { shared: Arc::new(self.shared(state, writer, stats)) })
    }

    fn shared(self, state: State, writer: Writer, stats: JournalStats) -> Shared {
        Shared {
            synced: Arc::new(Gate::new(self.expected.get().saturating_sub(1))),
            room: Arc::new(Gate::new(0)),
            disk: self.disk,
            options: self.options,
            state: Mutex::new(state),
            writer: Mutex::new(writer),
            keeping: Mutex::new(()),
            writer_wanted: Condvar::new(),
            keeper_wanted: Condvar::new(),
            threads: Mutex::new(Vec::new()),
            stats,
        }
    }

    /// The files with frames, flushed: what was read after a kill may not have reached the device.
    fn sync_live(&self) -> Result<VecDeque<LiveFile>, OpenError> {
        let live = self.live.iter().map(|found| {
            let file = self.reopen(found)?;
            file.file.sync_data()?;
            Ok(LiveFile { file, last: found.last })
        });
        live.collect()
    }

    /// Files that may begin again, and those that have another length.
    fn sort_free(&self) -> Result<(VecDeque<JournalFile>, Vec<JournalFile>), OpenError> {
        let (mut spares, mut doomed) = (VecDeque::new(), Vec::new());
        for found in &self.free {
            let file = self.reopen(found)?;
            if found.bytes == self.options.file_bytes {
                spares.push_back(file);
            } else {
                doomed.push(file);
            }
        }
        Ok((spares, doomed))
    }

    fn make_first(&self, number: u64) -> Result<JournalFile, DiskError> {
        let bytes = self.options.first_file_bytes;
        if self.disk.space()?.free < bytes.saturating_add(self.options.reserve_bytes) {
            let path = Arc::from(self.disk.root().to_string_lossy());
            return Err(DiskError::NoSpace { op: Op::Allocate, path });
        }
        files::make(&*self.disk, &self.options.directory, number, bytes)
    }
}
