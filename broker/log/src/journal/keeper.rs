//! The keeper: makes and removes files beside the writer's path.
//!
//! Owns when the journal grows and that a full disk is not an error. It must never touch a file that is live.

use super::error::Offline;
use super::files;
use super::shared::{Shared, State};
use crate::disk::{DiskError, count};

/// What there is to do.
enum Job {
    Make { number: u64, bytes: u64 },
    Remove(files::JournalFile),
}

impl Shared {
    /// See [`super::Journal::keep`].
    pub(super) fn keep(&self) -> Result<bool, Offline> {
        let _one_at_a_time = self.keeping.lock();
        self.check_online()?;
        let Some(job) = self.next_job(&mut self.state.lock()) else { return Ok(false) };
        let done = match job {
            Job::Make { number, bytes } => self.make_spare(number, bytes),
            Job::Remove(file) => self.remove(&file),
        };
        match done {
            Ok(()) => Ok(true),
            Err(error) => {
                let offline = self.go_offline(Offline::because(&error));
                self.tell_offline(&mut self.writer.lock(), &offline);
                Err(offline)
            }
        }
    }

    fn next_job(&self, state: &mut State) -> Option<Job> {
        if let Some(file) = state.doomed.pop() {
            return Some(Job::Remove(file));
        }
        if !std::mem::take(&mut state.grow) {
            return None;
        }
        let needed = state.needed_file.take();
        if needed.is_none() && !state.is_short_of_spares() {
            return None;
        }
        let bytes = needed.unwrap_or(self.options.file_bytes);
        if !state.may_grow(bytes, self.options.bytes_max) {
            return None;
        }
        state.next_number += 1;
        Some(Job::Make { number: state.next_number, bytes })
    }

    fn make_spare(&self, number: u64, bytes: u64) -> Result<(), DiskError> {
        let free = self.disk.space()?.free;
        let made = if free < bytes.saturating_add(self.options.reserve_bytes) {
            None
        } else {
            match files::make(&*self.disk, &self.options.directory, number, bytes) {
                Ok(file) => Some(file),
                Err(DiskError::NoSpace { .. }) => None,
                Err(error) => return Err(error),
            }
        };
        let mut state = self.state.lock();
        state.disk_full = made.is_none();
        if let Some(file) = made {
            count(&self.stats.files_made, 1);
            state.total_bytes += bytes;
            if bytes == self.options.file_bytes {
                state.spares.push_back(file);
                state.grow = state.is_short_of_spares();
            } else {
                // A long one is next, so that the frame that needs it finds it.
                let next = state.plan.ahead().min(state.spares.len());
                state.spares.insert(next, file);
            }
        }
        drop(state);
        self.room_changed();
        Ok(())
    }

    fn remove(&self, file: &files::JournalFile) -> Result<(), DiskError> {
        let directory = &self.options.directory;
        self.disk.remove(&format!("{directory}/{}", file.name))?;
        self.disk.sync_dir(directory)?;
        count(&self.stats.files_removed, 1);
        let mut state = self.state.lock();
        state.total_bytes = state.total_bytes.saturating_sub(file.bytes);
        drop(state);
        self.room_changed();
        Ok(())
    }
}
