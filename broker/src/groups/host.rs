//! One shard at home: the machine, its partition's log, and its part of the view.
//!
//! Owns the order of things: a record is in the log, then below the high watermark, then in the view, and only then the
//! machine hears that it is committed. What the view lacks is read from the log in pieces, between other work.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ottla_core::group::{
    Append, AppendError, AppendId, Applied, Birth, Config, Effects, Event, Now, Reply, Shard, Token, View, ViewError,
};
use ottla_core::limits;
use ottla_core::table::{Change, Durability, Table};
use ottla_core::types::{Lsn, Offset};
use ottla_log::partition::append::{self, AppendContext, Origin};

use super::Counters;
use super::batch::{Prepared, append_error, prepare};
use super::place::Home;

/// How long a shard whose log cannot be read is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Appends of one shard that wait for room in the log; more of them are refused.
const OUTBOX_MAX: usize = 1024;
/// How long the log is left alone before it is asked for room again.
const OUTBOX_RETRY: Duration = Duration::from_millis(2);

/// What a step needs of the outside.
pub(super) struct Around<'a> {
    pub(super) now: Now,
    pub(super) table: &'a dyn Table,
    pub(super) counters: &'a Counters,
    /// Answers to send.
    pub(super) replies: Vec<(Token, Reply)>,
    /// The latest append that somebody has to wait for.
    pub(super) appended: Option<Lsn>,
    /// The table itself failed, not just what is in it.
    pub(super) table_failed: bool,
}

/// How far the view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The first reading of the log; the machine waits for it. It ends at the log's end of the election.
    Loading { goal: Offset },
    /// Reading the log again; the machine goes on meanwhile, without offsets.
    Rebuilding,
    /// Every committed record is in the view.
    Current,
    /// The log or the view cannot be read.
    Stuck { retry_at: Instant, first: bool },
}

/// An append that the log has no room for yet, or that stands behind one.
struct Queued {
    id: AppendId,
    prepared: Prepared,
}

struct InFlight {
    id: AppendId,
    end: Offset,
    changes: Vec<Change>,
}

pub(super) struct Host {
    pub(super) home: Home,
    pub(super) progress: Progress,
    pub(super) applied: Applied,
    pub(super) birth: Birth,
    /// There was nothing to read before this.
    pub(super) idle_until: Option<Instant>,
    machine: Shard,
    outbox: VecDeque<Queued>,
    /// When the log is tried again.
    outbox_at: Option<Instant>,
    inflight: VecDeque<InFlight>,
}

impl Host {
    /// A shard that is to be loaded.
    pub(super) fn new(home: Home, config: Config) -> Self {
        let goal = home.replica.log.log_end();
        let applied = Applied { topic: home.topic, epoch: home.epoch, next: home.replica.log.log_start() };
        Self {
            home,
            progress: Progress::Loading { goal },
            applied,
            birth: Birth(0),
            idle_until: None,
            machine: Shard::new(config),
            outbox: VecDeque::new(),
            outbox_at: None,
            inflight: VecDeque::new(),
        }
    }

    /// When the shard next wants to be looked at; now if there is log to read.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let timer = self.machine.next_deadline();
        let work = match self.progress {
            Progress::Loading { .. } | Progress::Rebuilding => Some(self.idle_until.unwrap_or(now)),
            Progress::Stuck { retry_at, .. } => Some(retry_at),
            Progress::Current => None,
        };
        timer.into_iter().chain(work).chain(self.outbox_at).min()
    }

    /// Whether what it waits for is not this disk alone.
    pub(super) fn waits_for_others(&self) -> bool {
        !self.home.replica.is_alone() && (!self.inflight.is_empty() || self.progress != Progress::Current)
    }

    pub(super) fn is_waiting_for_log(&self) -> bool {
        !self.inflight.is_empty()
    }

    pub(super) fn view<'a>(&self, table: &'a dyn Table) -> View<'a> {
        View::new(table, self.home.index, self.birth, self.applied)
    }

    /// Takes in one event, and everything that follows from it at once.
    pub(super) fn step(&mut self, around: &mut Around<'_>, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut out = Effects::default();
            let view = self.view(around.table);
            let used = around.counters.bytes.load(Ordering::Relaxed);
            self.machine.set_room(limits::GROUPS_BYTES.saturating_sub(used));
            let before = self.machine.bytes();
            self.machine.step(around.now, event, &view, &mut out);
            // Two owners count at once: what one lets in while the other does is the most that it is over.
            around.counters.bytes.fetch_add(self.machine.bytes().wrapping_sub(before), Ordering::Relaxed);
            around.counters.no_room.fetch_add(out.no_room as u64, Ordering::Relaxed);
            for (id, error) in self.append(around, out.appends) {
                events.push_back(Event::AppendFailed(id, error));
            }
            around.replies.append(&mut out.replies);
            if let Some(error) = out.view_lost {
                self.lose_view(around, &error);
            }
        }
    }

    /// Rings what is due, reads on where there is log to read, and tries again what found no room.
    pub(super) fn on_time(&mut self, around: &mut Around<'_>) {
        let now = around.now.monotonic;
        self.go_on(around);
        if self.outbox_at.is_some_and(|at| at <= now) {
            for (id, error) in self.send_outbox(around) {
                self.step(around, Event::AppendFailed(id, error));
            }
        }
        if self.machine.next_deadline().is_some_and(|at| at <= now) {
            self.step(around, Event::Tick);
        }
    }

    /// Appends in order, and returns what failed. What comes after a failed append of the same step counts on it, so it
    /// fails too.
    fn append(&mut self, around: &mut Around<'_>, appends: Vec<Append>) -> Vec<(AppendId, AppendError)> {
        let bytes_max = u64::try_from(self.home.replica.config().max_message_bytes).unwrap_or(0);
        let mut failed: Option<AppendError> = None;
        let mut failures = Vec::new();
        for append in appends {
            let room = if self.outbox.len() < OUTBOX_MAX { Ok(()) } else { Err(AppendError::Unavailable) };
            let prepared = failed.map_or(room, Err);
            let prepared =
                prepared.and_then(|()| prepare(self.home.index, &append.records, around.now.wall, bytes_max));
            match prepared {
                Ok(prepared) => self.outbox.push_back(Queued { id: append.id, prepared }),
                Err(error) => {
                    failed = Some(error);
                    failures.push((append.id, error));
                }
            }
        }
        failures.extend(self.send_outbox(around));
        failures
    }

    /// Hands the log what it has room for. Any other refusal concerns the whole partition, so everything fails with it.
    fn send_outbox(&mut self, around: &mut Around<'_>) -> Vec<(AppendId, AppendError)> {
        let context = AppendContext { epoch: self.home.epoch, now: around.now.wall, origin: Origin::Coordinator };
        self.outbox_at = None;
        while let Some(queued) = self.outbox.pop_front() {
            match self.home.replica.log.append(queued.prepared.batch.clone(), context) {
                Ok(appended) => {
                    around.appended = around.appended.max(Some(appended.lsn));
                    let (end, changes) = (appended.last.plus(1), queued.prepared.changes);
                    self.inflight.push_back(InFlight { id: queued.id, end, changes });
                    self.home.replica.appended_unasked();
                }
                Err(append::AppendError::Full) => {
                    self.outbox.push_front(queued);
                    self.outbox_at = Some(around.now.monotonic + OUTBOX_RETRY);
                    return Vec::new();
                }
                Err(error) => {
                    tracing::debug!(%error, partition = %self.home.index, "append to {}", super::OFFSETS_TOPIC);
                    self.outbox.push_front(queued);
                    let error = append_error(&error);
                    return self.outbox.drain(..).map(|queued| (queued.id, error)).collect();
                }
            }
        }
        Vec::new()
    }

    /// Puts what has passed the high watermark into the view and tells the machine.
    pub(super) fn settle(&mut self, around: &mut Around<'_>) {
        if self.progress != Progress::Current {
            return;
        }
        let high_watermark = self.home.replica.high_watermark();
        let passed = self.inflight.iter().take_while(|inflight| inflight.end <= high_watermark).count();
        let Some(last) = passed.checked_sub(1).and_then(|last| self.inflight.get(last)) else { return };
        let applied = Applied { topic: self.home.topic, epoch: self.home.epoch, next: last.end };
        let mut changes: Vec<_> =
            self.inflight.iter().take(passed).flat_map(|one| one.changes.iter().cloned()).collect();
        changes.push(View::mark(self.home.index, applied));
        match around.table.write(changes, Durability::Lazy) {
            Ok(()) => {
                self.applied = applied;
                self.committed(around);
            }
            Err(error) => {
                around.table_failed = true;
                self.lose_view(around, &error.into());
            }
        }
    }

    /// Tells the machine of every append that the view has.
    pub(super) fn committed(&mut self, around: &mut Around<'_>) {
        let mut upto = None;
        while self.inflight.front().is_some_and(|inflight| inflight.end <= self.applied.next) {
            upto = self.inflight.pop_front().map(|inflight| inflight.id);
        }
        if let Some(upto) = upto {
            self.step(around, Event::Committed(upto));
        }
    }

    /// The data directory is offline: nothing on its way will ever arrive.
    pub(super) fn fail_all(&mut self, around: &mut Around<'_>, error: AppendError) {
        let inflight = std::mem::take(&mut self.inflight).into_iter().map(|inflight| inflight.id);
        let queued = std::mem::take(&mut self.outbox).into_iter().map(|queued| queued.id);
        for id in inflight.chain(queued).collect::<Vec<_>>() {
            self.step(around, Event::AppendFailed(id, error));
        }
    }

    /// The view is of no use any more: read the log again, beside everything else.
    pub(super) fn lose_view(&mut self, around: &mut Around<'_>, reason: &ViewError) {
        if let ViewError::Table(_) = reason {
            around.table_failed = true;
        }
        match self.progress {
            Progress::Current => {
                tracing::warn!(%reason, partition = %self.home.index, "the view of consumer groups is built anew");
                around.counters.views_rebuilt.fetch_add(1, Ordering::Relaxed);
                self.progress = Progress::Rebuilding;
                self.step(around, Event::ViewLost);
                self.begin_view(around);
            }
            Progress::Rebuilding | Progress::Loading { .. } => self.stick(around.now.monotonic, &reason.to_string()),
            Progress::Stuck { .. } => {}
        }
    }

    /// Begins the view anew: in another table, or after some time in which it could not be read.
    pub(super) fn start_over(&mut self, around: &mut Around<'_>) {
        match self.progress {
            Progress::Current => {
                around.counters.views_rebuilt.fetch_add(1, Ordering::Relaxed);
                self.progress = Progress::Rebuilding;
                self.step(around, Event::ViewLost);
            }
            Progress::Stuck { first: true, .. } => {
                self.progress = Progress::Loading { goal: self.home.replica.log.log_end() };
            }
            Progress::Stuck { first: false, .. } => self.progress = Progress::Rebuilding,
            Progress::Loading { .. } | Progress::Rebuilding => {}
        }
        self.begin_view(around);
    }

    pub(super) fn stick(&mut self, now: Instant, reason: &str) {
        tracing::error!(reason, partition = %self.home.index, "consumer groups cannot be read, trying again later");
        let first = matches!(self.progress, Progress::Loading { .. } | Progress::Stuck { first: true, .. });
        self.progress = Progress::Stuck { retry_at: now + RETRY, first };
    }
}
