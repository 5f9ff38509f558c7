//! A partition's log as the replica machine sees it.
//!
//! Owns nothing and changes nothing. Each answer is of one moment; several belong together only while nobody appends or
//! cuts, which is the shell's care.

use ottla_core::replica::LogView;
use ottla_core::types::{LeaderEpoch, Offset};

use crate::partition::Partition;

impl LogView for Partition {
    fn log_start(&self) -> Offset {
        self.state.lock().log_start
    }

    fn log_end(&self) -> Offset {
        self.state.lock().log_end
    }

    fn first_epoch(&self) -> Option<LeaderEpoch> {
        self.state.lock().epochs.entries().first().map(|entry| entry.epoch)
    }

    /// Of a log whose batches were all deleted: the last one's, so that its end still says whose it is.
    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.state.lock().epochs.latest()
    }

    fn end_of_epoch(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.state.lock();
        state.epochs.end_of(asked, state.log_end)
    }
}
