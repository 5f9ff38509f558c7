//! Reading the log into the view: at the first load, and again when the view was lost.
//!
//! Owns where the reading begins, how much of it is done at a time, and when it is done.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_core::group::{Applied, Birth, Event, View, ViewError};
use ottla_core::table::Durability;
use ottla_core::types::{LeaderEpoch, Offset};

use super::batch::replay;
use super::host::{Around, Host, Progress};

/// Bytes of log read between two looks at the inbox.
const PIECE_BYTES: usize = 256 * 1024;
/// How long to wait for the high watermark to come to what was in the log at the election.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Host {
    /// Decides where the first load begins: where the view stands if the log agrees, else at the log's start.
    pub(super) fn begin_load(&mut self, around: &mut Around<'_>) {
        let log = &self.home.replica.log;
        let fits = |applied: &Applied| {
            applied.topic == self.home.topic
                && applied.next >= log.log_start()
                && applied.next <= self.home.replica.high_watermark()
                && (applied.next == log.log_start() || log.epoch_at(applied.next.plus(-1)) == Some(applied.epoch))
        };
        match View::found(around.table, self.home.index) {
            Ok(Some((birth, applied))) if fits(&applied) => (self.birth, self.applied) = (birth, applied),
            Ok(_) => self.begin_view(around),
            Err(error) => self.lose_view(around, &error),
        }
    }

    /// Empties the view and goes to the log's start.
    pub(super) fn begin_view(&mut self, around: &mut Around<'_>) {
        self.birth = Birth(uuid::Uuid::new_v4().as_u64_pair().0);
        let next = self.home.replica.log.log_start();
        self.applied = Applied { topic: self.home.topic, epoch: LeaderEpoch::NONE, next };
        self.idle_until = None;
        let begun = View::begin(self.home.index, self.birth, self.applied);
        if let Err(error) = around.table.write(begun, Durability::Lazy) {
            self.lose_view(around, &error.into());
        }
    }

    /// Goes on by one piece.
    pub(super) fn go_on(&mut self, around: &mut Around<'_>) {
        match self.progress {
            Progress::Current => {}
            Progress::Loading { goal } if self.applied.next >= goal => self.finish_load(around),
            Progress::Rebuilding if self.applied.next >= self.home.replica.high_watermark() => {
                self.progress = Progress::Current;
                self.step(around, Event::ViewRebuilt);
                self.committed(around);
            }
            Progress::Loading { .. } | Progress::Rebuilding => self.read_piece(around),
            Progress::Stuck { retry_at, .. } if retry_at <= around.now.monotonic => self.start_over(around),
            Progress::Stuck { .. } => {}
        }
    }

    fn finish_load(&mut self, around: &mut Around<'_>) {
        let view = self.view(around.table);
        let groups = view.groups().and_then(|groups| view.verify().map(|()| groups));
        match groups {
            Ok(groups) => {
                if !groups.is_empty() {
                    tracing::info!(partition = %self.home.index, groups = groups.len(), "loaded consumer groups");
                }
                self.progress = Progress::Current;
                self.step(around, Event::Loaded(groups));
            }
            Err(error) => self.lose_view(around, &error),
        }
    }

    fn read_piece(&mut self, around: &mut Around<'_>) {
        let high_watermark = self.home.replica.high_watermark();
        if self.applied.next >= high_watermark {
            self.idle_until = Some(around.now.monotonic + LOOK_AGAIN);
            return;
        }
        self.idle_until = None;
        let read = match self.home.replica.log.read(self.applied.next, high_watermark, PIECE_BYTES, true) {
            Ok(read) if read.next > self.applied.next => read,
            Ok(read) => return self.stick(around.now.monotonic, &format!("nothing to read at {}", read.next)),
            // A commit may stand in what is damaged: to go on without it would be to answer with an older one.
            Err(error) => return self.stick(around.now.monotonic, &error.to_string()),
        };
        if let Err(error) = self.apply(around, whole(read.chunks), read.next) {
            self.lose_view(around, &error);
        }
    }

    fn apply(&mut self, around: &mut Around<'_>, bytes: Bytes, next: Offset) -> Result<(), ViewError> {
        // What is written now stands on what was written before: a hole in between must not go unnoticed.
        self.view(around.table).verify()?;
        let replayed = replay(self.home.index, bytes);
        if replayed.skipped > 0 {
            around.counters.records_skipped.fetch_add(replayed.skipped, Ordering::Relaxed);
            tracing::warn!(
                partition = %self.home.index,
                skipped = replayed.skipped,
                "records of {} that are no coordinator's were passed over",
                super::OFFSETS_TOPIC
            );
        }
        let epoch = replayed.epoch.unwrap_or(self.applied.epoch);
        let applied = Applied { topic: self.home.topic, epoch, next };
        let mut changes = replayed.changes;
        changes.push(View::mark(self.home.index, applied));
        around.table.write(changes, Durability::Lazy)?;
        self.applied = applied;
        Ok(())
    }
}

/// One piece out of several; batches may be cut anywhere.
fn whole(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.swap_remove(0);
    }
    let mut bytes = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes.freeze()
}
