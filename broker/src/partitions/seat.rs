//! Stepping one replica's machine and doing what it says.
//!
//! Owns the lock under which a replica is stepped and the order of effects: all of them are performed before the next
//! step. It decides nothing. What may block (reading for a follower that is far behind, waiting for a cut to be durable)
//! happens elsewhere, and comes back as an event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;
use ottla_core::producer::ProducerState;
use ottla_core::replica::{
    Acks, Assignment, Context, Effect, Effects, Event, Hold, Lane, Message, Outcome, Produce, ProduceId, Push, Refusal,
    Replica as Machine, SessionNumber,
};
use ottla_core::types::{BrokerId, LeaderEpoch, Lsn, Offset};
use ottla_log::producers;
use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use super::Replica;

/// The most bytes of one push, unless a single batch is larger.
pub const PUSH_BYTES_MAX: usize = 512 * 1024;

/// A replica's machine and what belongs to it.
#[derive(Debug)]
pub(super) struct Seat {
    machine: Machine,
    waiting: HashMap<ProduceId, oneshot::Sender<Outcome>>,
    /// Bytes that became durable and are not below the high watermark yet.
    uncommitted_bytes: u64,
    ring_at: Option<Instant>,
    /// The epoch in which it led after the last assignment.
    led: Option<LeaderEpoch>,
}

impl Seat {
    pub(super) fn new(machine: Machine) -> Self {
        Self { machine, waiting: HashMap::new(), uncommitted_bytes: 0, ring_at: None, led: None }
    }
}

/// What there is to push to a follower.
#[derive(Debug)]
pub enum Pushing {
    /// Nothing, for now.
    Nothing,
    /// These batches, on their way: the machine counts them as sent.
    Batches(Push, Vec<Bytes>, usize),
    /// What has to be read from disk first; then [`Replica::sent`].
    Cold(Push),
}

/// What comes beside a message.
#[derive(Debug, Default)]
struct Beside {
    /// The records of a push.
    records: Bytes,
    /// With an answer that says to start over: what producers did below.
    producers: Vec<ProducerState>,
}

/// What became of a message.
#[derive(Debug, Default)]
pub struct Received {
    /// Records were appended; they are durable once the journal has synced so far.
    pub lsn: Option<Lsn>,
}

impl Replica {
    /// Takes one event.
    pub fn handle(self: &Arc<Self>, event: Event) {
        let mut seat = self.seat.lock();
        self.step(&mut seat, event, Beside::default());
    }

    /// A message of another broker's replica, with the bytes that came with it.
    pub fn receive(self: &Arc<Self>, from: BrokerId, message: Message, bytes: Bytes) -> Received {
        let beside = match message {
            Message::Answer(_) => match producers::from_bytes(&bytes) {
                Ok(producers) => Beside { producers, ..Beside::default() },
                Err(error) => {
                    // The question is asked again.
                    tracing::warn!(%error, partition = %self.log.id(), broker = %from, "a leader's snapshot of producers");
                    return Received::default();
                }
            },
            Message::Open(_) | Message::Push(_) | Message::Ack(_) => Beside { records: bytes, ..Beside::default() },
        };
        let mut seat = self.seat.lock();
        let lsn = self.step(&mut seat, Event::Received { from, message }, beside);
        drop(seat);
        self.hub.heard.notify_waiters();
        Received { lsn }
    }

    /// A committed version of the partition's metadata, of which this broker has a durable copy.
    pub fn assign(self: &Arc<Self>, assignment: Assignment) {
        let mut seat = self.seat.lock();
        self.step(&mut seat, Event::Assigned(assignment), Beside::default());
        let alone = seat.machine.is_alone(&self.hub.host.read());
        self.alone.store(alone, Ordering::Release);
        let leads = seat.machine.leads_in();
        if std::mem::replace(&mut seat.led, leads) != leads {
            drop(seat);
            // Whoever waits for records is told where they are now.
            self.wake();
        }
    }

    /// The data directory takes nothing more (S2): nobody waits for it in vain, and others lead what they can.
    pub(super) fn abandon(self: &Arc<Self>) {
        let mut seat = self.seat.lock();
        if !self.is_alone() {
            self.step(&mut seat, Event::LogSuspect, Beside::default());
        }
        seat.waiting.clear();
    }

    /// The deadline `at` has come, if it is still wanted.
    pub(super) fn ring(self: &Arc<Self>, at: Instant) {
        let mut seat = self.seat.lock();
        if seat.ring_at == Some(at) {
            seat.ring_at = None;
            self.step(&mut seat, Event::Tick, Beside::default());
        }
    }

    /// The journal has synced more of it.
    pub(super) fn on_synced(self: &Arc<Self>, bytes: u64) {
        let mut seat = self.seat.lock();
        seat.uncommitted_bytes = seat.uncommitted_bytes.saturating_add(bytes);
        // The log knows what was cut off meanwhile; who reported the sync may not.
        self.step(&mut seat, Event::Flushed(self.log.flushed_end()), Beside::default());
    }

    /// Whether records may be appended, and in which epoch.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit_produce(&self, acks: Acks) -> Result<LeaderEpoch, Refusal> {
        let seat = self.seat.lock();
        let host = self.hub.host.read();
        seat.machine.admit_produce(&self.context(&host), acks)
    }

    /// Whether records may be read from this leader.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit_fetch(&self) -> Result<Offset, Refusal> {
        let seat = self.seat.lock();
        let host = self.hub.host.read();
        seat.machine.admit_fetch(&self.context(&host))
    }

    /// The high watermark as clients may see it; `None` while a new leader does not know it yet (R10).
    pub fn shown_watermark(&self) -> Option<Offset> {
        if self.is_alone() {
            return Some(self.high_watermark());
        }
        let seat = self.seat.lock();
        let host = self.hub.host.read();
        seat.machine.shown_watermark(&self.context(&host))
    }

    /// The lowest offset that anybody keeps, as the machine's `low_watermark`.
    pub(super) fn low_watermark(&self) -> Option<Offset> {
        let seat = self.seat.lock();
        let host = self.hub.host.read();
        seat.machine.low_watermark(&self.context(&host))
    }

    /// Up to which moment it is certain that this replica led, if that is not too long ago.
    pub(super) fn confirmed_since(&self) -> Option<Instant> {
        let seat = self.seat.lock();
        let host = self.hub.host.read();
        seat.machine.confirmed_since(&self.context(&host))
    }

    /// The epoch in which this replica leads, if it does.
    pub fn leads_in(&self) -> Option<LeaderEpoch> {
        self.seat.lock().machine.leads_in()
    }

    /// The epoch in which this replica stands in its leader's log, if it follows.
    pub fn follows_in(&self) -> Option<LeaderEpoch> {
        self.seat.lock().machine.follows_in()
    }

    /// Up to where a follower has proven to this leader that it holds the same.
    pub fn follower_end(&self, id: BrokerId) -> Option<Offset> {
        self.seat.lock().machine.follower_end(id).map(|(_, end)| end)
    }

    /// Records were appended by this leader; followers are pushed what they lack. Resolves to what the producer is told.
    pub fn appended(self: &Arc<Self>, end: Offset, acks: Acks, patience: Duration) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let id = self.hub.next_produce();
        let mut seat = self.seat.lock();
        seat.waiting.insert(id, sender);
        let deadline = self.hub.clock.monotonic() + patience;
        self.step(&mut seat, Event::Appended(Some(Produce { id, end, acks, deadline })), Beside::default());
        receiver
    }

    /// A request that was refused because the epoch ends waits for the next one. Resolves to [`Outcome::LookAgain`], or when
    /// `patience` is over.
    pub fn hold(self: &Arc<Self>, patience: Duration) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let id = self.hub.next_produce();
        let mut seat = self.seat.lock();
        seat.waiting.insert(id, sender);
        let deadline = self.hub.clock.monotonic() + patience;
        self.step(&mut seat, Event::Held(Hold { id, deadline }), Beside::default());
        receiver
    }

    /// Records were removed here: waiting fetches look again, and followers remove them too.
    pub fn start_moved(self: &Arc<Self>) {
        self.wake();
        if !self.is_alone() {
            self.handle(Event::StartMoved);
        }
    }

    /// As [`Self::appended`], for records whose sender looks for itself.
    pub fn appended_unasked(self: &Arc<Self>) {
        if !self.is_alone() {
            self.handle(Event::Appended(None));
        }
    }

    /// What there is to push to `to` on this connection; it had been queued for it.
    pub fn push(self: &Arc<Self>, to: BrokerId, lane: Lane, bytes_max: usize) -> Pushing {
        let mut seat = self.seat.lock();
        let mut pushes = Vec::new();
        self.step_with(&mut seat, Event::Room(to), Beside::default(), &mut pushes);
        let Some((push, wanted)) = pushes.pop() else { return Pushing::Nothing };
        if wanted != lane {
            self.hub.peers.ready(to, wanted, self.log.id());
            return Pushing::Nothing;
        }
        if lane == Lane::CatchUp {
            return Pushing::Cold(push);
        }
        if !self.log.in_memory(push.base) {
            // It goes on where reading from disk disturbs nobody.
            let sent = Event::Sent { to, session: push.session, upto: push.base, cached: false };
            self.step(&mut seat, sent, Beside::default());
            return Pushing::Nothing;
        }
        match self.log.read(push.base, push.end, bytes_max.min(PUSH_BYTES_MAX), true) {
            Ok(read) if read.bytes > 0 => self.count_sent(&mut seat, to, push, read.next, (read.chunks, read.bytes)),
            Ok(_) => Pushing::Nothing,
            Err(error) => {
                tracing::error!(%error, partition = %self.log.id(), offset = %push.base, "read for a follower");
                Pushing::Nothing
            }
        }
    }

    /// What [`Pushing::Cold`] asked for was read up to `upto`: whether it may still be sent.
    pub fn sent(self: &Arc<Self>, to: BrokerId, push: Push, upto: Offset, batches: (Vec<Bytes>, usize)) -> Pushing {
        let mut seat = self.seat.lock();
        // What was read under an older epoch may have been cut since.
        if seat.machine.leads_in() != Some(push.epoch) {
            return Pushing::Nothing;
        }
        self.count_sent(&mut seat, to, push, upto, batches)
    }

    fn count_sent(
        self: &Arc<Self>,
        seat: &mut MutexGuard<'_, Seat>,
        to: BrokerId,
        push: Push,
        upto: Offset,
        (chunks, bytes): (Vec<Bytes>, usize),
    ) -> Pushing {
        let session: SessionNumber = push.session;
        let cached = self.log.in_memory(upto);
        self.step(seat, Event::Sent { to, session, upto, cached }, Beside::default());
        Pushing::Batches(Push { end: upto, ..push }, chunks, bytes)
    }

    fn context<'a>(&'a self, host: &'a ottla_core::replica::Host) -> Context<'a> {
        Context { now: self.hub.clock.monotonic(), host, log: &*self.log }
    }

    fn step(self: &Arc<Self>, seat: &mut MutexGuard<'_, Seat>, event: Event, beside: Beside) -> Option<Lsn> {
        self.step_with(seat, event, beside, &mut Vec::new())
    }

    /// Steps, and performs what follows; pushes are left to the caller.
    fn step_with(
        self: &Arc<Self>,
        seat: &mut MutexGuard<'_, Seat>,
        event: Event,
        mut beside: Beside,
        pushes: &mut Vec<(Push, Lane)>,
    ) -> Option<Lsn> {
        let (mut events, mut lsn) = (VecDeque::from([event]), None);
        while let Some(event) = events.pop_front() {
            let mut effects = Effects::new();
            {
                let host = self.hub.host.read();
                seat.machine.step(&self.context(&host), event, &mut effects);
            }
            for effect in effects {
                if let Effect::Push { push, lane, .. } = effect {
                    pushes.push((push, lane));
                } else if let Effect::Append { .. } = effect {
                    lsn = lsn.max(self.append_pushed(std::mem::take(&mut beside.records), &mut events));
                } else if let Effect::RemoveBelow(start) = effect {
                    self.remove_below(start, &mut events);
                } else if let Effect::StartOver(start) = effect {
                    self.cut(start, Some(std::mem::take(&mut beside.producers)));
                } else {
                    self.perform(seat, effect);
                }
            }
        }
        self.set_timer(seat);
        lsn
    }

    fn perform(self: &Arc<Self>, seat: &mut Seat, effect: Effect) {
        let id = self.log.id();
        match effect {
            Effect::Send { to, message: Message::Push(push) } if seat.machine.lane_of(to) == Some(Lane::CatchUp) => {
                // What was pushed on the other connection may still be on its way there: this must not overtake it.
                self.hub.peers.get(to).say_behind(id, push);
            }
            Effect::Send { to, message } => self.hub.peers.send(to, id, message),
            Effect::Ready(to) => {
                let lane = seat.machine.next_lane_of(to).unwrap_or(Lane::Live);
                self.hub.peers.ready(to, lane, id);
            }
            Effect::BeginEpoch(epoch) => {
                if let Err(error) = self.log.begin_epoch(epoch) {
                    tracing::error!(%error, partition = %id, "begin a leader epoch");
                }
            }
            Effect::Truncate(end) => self.cut(end, None),
            Effect::Ask(ask) => self.hub.ask(id, ask),
            Effect::Answer(produce, outcome) => {
                if let Some(waiting) = seat.waiting.remove(&produce) {
                    // The connection may be gone.
                    let _nobody_waits = waiting.send(outcome);
                }
            }
            Effect::HighWatermark(end) => {
                let bytes = std::mem::take(&mut seat.uncommitted_bytes);
                self.advance(end, bytes);
            }
            Effect::Noted(note) => self.hub.note(note),
            Effect::Push { .. } | Effect::Append { .. } | Effect::RemoveBelow(_) | Effect::StartOver(_) => {}
        }
    }

    /// Removes what the leader has removed, and tells it so. What finds no room is asked for again by its next message.
    fn remove_below(self: &Arc<Self>, start: Offset, events: &mut VecDeque<Event>) {
        match self.log.delete_records(start) {
            Ok(_) => {
                self.wake();
                events.push_back(Event::StartMoved);
            }
            Err(error) => {
                tracing::warn!(%error, partition = %self.log.id(), %start, "remove what the leader has removed");
            }
        }
    }

    /// Appends what the leader has pushed. What cannot be appended now is pushed again: the log's end says so.
    fn append_pushed(self: &Arc<Self>, records: Bytes, events: &mut VecDeque<Event>) -> Option<Lsn> {
        match self.log.append_replica(records, self.hub.clock.wall()) {
            Ok(appended) => {
                if appended.flushed {
                    events.push_back(Event::Flushed(appended.end));
                }
                Some(appended.lsn)
            }
            Err(error) => {
                tracing::warn!(%error, partition = %self.log.id(), "append what the leader has pushed");
                None
            }
        }
    }

    /// Cuts the log, or drops it and begins with these producers; comes back when that is durable.
    fn cut(self: &Arc<Self>, at: Offset, over: Option<Vec<ProducerState>>) {
        self.hub.counters.truncations.fetch_add(1, Ordering::Relaxed);
        let id = self.log.id();
        tracing::info!(partition = %id, %at, end = %self.log.log_end(), start_over = over.is_some(), "cut the log");
        let cut = match &over {
            Some(producers) => self.log.start_over(at, producers).map(|lsn| (at, lsn)),
            None => self.log.truncate(at).map(|cut| (cut.end, cut.lsn)),
        };
        let (Some(log), Some(runtime)) = (self.hub.log(), self.hub.runtime()) else { return };
        let replica = Arc::clone(self);
        match cut {
            Ok((end, lsn)) => {
                runtime.spawn(async move {
                    if log.durable(lsn).await.is_ok() {
                        replica.handle(Event::Truncated(end));
                    }
                });
            }
            Err(error) => {
                // There is no room in the journal: a moment later there is. An offline directory stays as it is.
                tracing::warn!(%error, partition = %id, "cut the log");
                runtime.spawn(async move {
                    tokio::time::sleep(CUT_RETRY).await;
                    if log.status().offline.is_none() {
                        replica.cut(at, over);
                    }
                });
            }
        }
    }

    fn set_timer(&self, seat: &mut Seat) {
        let wanted = seat.machine.deadline(&self.hub.host.read());
        let Some(at) = wanted else { return };
        if seat.ring_at.is_none_or(|known| at < known) {
            seat.ring_at = Some(at);
            self.hub.timers.set(at, self.log.id());
        }
    }
}

/// After what time a cut that found no room is tried again.
const CUT_RETRY: Duration = Duration::from_millis(50);
