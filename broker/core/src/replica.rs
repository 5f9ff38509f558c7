//! One partition's replica on one broker: leader, follower, or neither.
//!
//! Owns the way from an appended record to an acknowledged one: sessions, divergence, what is pushed, what counts as
//! durable, the high watermark, the ISR, who may be answered. It must never count an end that is not proven identical and
//! durable (R4, R11), cut below the high watermark (R8), join a replica to the ISR that lacks a committed record (R5), or
//! act in an epoch that is not its own (R6). Invariants, asserted after every step: the high watermark is within what is
//! durable here; a session's end is within what was pushed; a change of the ISR belongs to the newest committed version.
//!
//! `step` takes an event, the time, what the broker shares and a view of the log, and gives effects; the shell performs
//! them in order before the next step. There is no timer: [`Replica::deadline`] says when to come back with
//! [`Event::Tick`], and is `None` for a partition at rest.

use std::time::Instant;

use crate::types::{BrokerId, LeaderEpoch, Offset, TopicPartition};

mod ack;
mod admission;
mod assignment;
mod complaint;
mod confirm;
mod credits;
mod follower;
mod handover;
mod high_watermark;
mod hold;
mod host;
mod isr;
mod leader;
mod log_view;
mod message;
mod produce;
mod push;
mod queries;
mod roles;
mod rules;
mod session;

#[cfg(test)]
mod tests;

pub use admission::Refusal;
pub use assignment::Assignment;
pub use credits::{Budget, Window};
pub use hold::Hold;
pub use host::{Host, Peer, Settings, Stamp, View};
pub use log_view::{Comparison, LogView, compare, cut};
pub use message::{Ack, Alter, Altered, Answer, Ask, Complaint, Message, Open, Push, SessionNumber, Verdict};
pub use produce::{Acks, Outcome, Produce, ProduceId};
pub use push::Lane;
pub use rules::{Rule, Rules};

use follower::Follower;
use leader::Leader;

/// What a step is given besides the event.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time, by the broker's monotonic clock.
    pub now: Instant,
    /// What all replicas of the broker share.
    pub host: &'a Host,
    /// The log, with every effect of earlier steps performed.
    pub log: &'a dyn LogView,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A committed version of the partition's metadata, already fsynced here.
    Assigned(Assignment),
    /// A peer's incarnation, fencing or draining changed in the [`Host`].
    PeersChanged,
    /// A message of the same topic id and partition arrived.
    Received {
        /// Who sent it.
        from: BrokerId,
        /// What it says.
        message: Message,
    },
    /// The leader's log has more records, appended in the epoch that admission gave; with whoever waits for them. Also for
    /// a batch that was appended before (T1): then nothing is new but who waits.
    Appended(Option<Produce>),
    /// A produce request came that was refused with [`Refusal::EpochEnds`]: it waits for the next epoch.
    Held(Hold),
    /// Everything below is durable. Never comes for records that were cut off.
    Flushed(Offset),
    /// What [`Effect::Truncate`] or [`Effect::StartOver`] asked for is durable; the log ends there.
    Truncated(Offset),
    /// Records were removed: the log begins later. A leader's followers remove them too; a follower's leader hears of it.
    StartMoved,
    /// A write failed: the log ends there now, all of it durable. Nothing that was beyond will ever be reported flushed.
    WriteFailed(Offset),
    /// The log is missing, quarantined, suspect, or went back (R12). Said again in each run, before the first assignment,
    /// until an [`Effect::StartOver`] is durable: a restart makes no log whole.
    LogSuspect,
    /// There is room to push to this follower; answered by [`Effect::Push`] if there is anything to push.
    Room(BrokerId),
    /// An [`Effect::Push`] was sent, up to there.
    Sent {
        /// To whom.
        to: BrokerId,
        /// In which session.
        session: SessionNumber,
        /// How far.
        upto: Offset,
        /// Whether what follows is in memory.
        cached: bool,
    },
    /// The connection to a peer was reset, and connecting again was refused: it does not run.
    PeerRefused(BrokerId),
    /// What came of an [`Ask::Alter`] in these epochs. An assignment that comes with it is fsynced here first, as one of
    /// [`Event::Assigned`] is.
    Altered {
        /// The leader epoch that was asked in.
        leader_epoch: LeaderEpoch,
        /// The version that it was to change.
        partition_epoch: crate::types::PartitionEpoch,
        /// What came of it.
        outcome: Altered,
    },
    /// The controller is silent: ask the followers who leads ([`Host::should_solicit`]).
    Solicit,
    /// The [`Replica::deadline`] has come.
    Tick,
}

/// What the shell has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message without records. An answer that says to start over takes along the producers below that offset, as
    /// the leader knows them (T1).
    Send {
        /// To whom.
        to: BrokerId,
        /// What.
        message: Message,
    },
    /// There is something to push to this follower: queue the partition, and come with [`Event::Room`].
    Ready(BrokerId),
    /// Read batches from `push.base` on, at most to `push.end` and at most what the credits allow; send them with that
    /// header, its `end` set to what was read; then report [`Event::Sent`].
    Push {
        /// To whom.
        to: BrokerId,
        /// The header.
        push: Push,
        /// On which connection.
        lane: Lane,
    },
    /// From now on only this epoch appends. Durable metadata says so.
    BeginEpoch(LeaderEpoch),
    /// Append the records that came with the push of this step, verbatim.
    Append {
        /// Offset of the first record.
        base: Offset,
        /// Offset behind the last one.
        end: Offset,
    },
    /// Cut the log there, durably; then [`Event::Truncated`].
    Truncate(Offset),
    /// Drop the log, durably, and begin there, with the producers that came with the answer of this step (T1); then
    /// [`Event::Truncated`]. Without an answer there are none: it begins at 0.
    StartOver(Offset),
    /// The leader has removed everything below: remove it too. Committed, and durable here. Asked for again by the next
    /// message of the leader as long as the log begins earlier; else [`Event::StartMoved`] follows.
    RemoveBelow(Offset),
    /// Ask the controller.
    Ask(Ask),
    /// Answer a produce request.
    Answer(ProduceId, Outcome),
    /// The high watermark moved: wake who waits for it. Down only at a follower, after an unclean election: then a higher
    /// one that was written down is replaced, durably, before what follows is done.
    HighWatermark(Offset),
    /// Something happened that is worth counting.
    Noted(Note),
}

/// Things worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// A message of another epoch, run or session was ignored.
    StaleIgnored,
    /// An acknowledgement of an older session was ignored (R11).
    StaleAckIgnored,
    /// An assignment was older than the one that is known.
    StaleAssignment,
    /// A push did not follow the log's end.
    Gap,
    /// A change of the ISR was refused after more than one copy had left.
    Settling,
    /// An answer waits for a confirmation (R13).
    Unconfirmed,
    /// Leadership is handed over because the disk is slow.
    HandedOver,
    /// A request waits for the next epoch.
    Held,
    /// A leader's answer would have cut below the high watermark (R8).
    CutRefused,
}

/// The effects of one step.
pub type Effects = Vec<Effect>;

#[derive(Debug)]
enum Role {
    Idle,
    Leader(Box<Leader>),
    Follower(Follower),
}

/// Why it takes no part, if it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Sound,
    /// It complains in this epoch, again at that time unless it was heard; a later epoch ends it.
    Complaining {
        what: Complaint,
        epoch: LeaderEpoch,
        again_at: Option<Instant>,
    },
}

/// The replica of one partition on one broker.
#[derive(Debug)]
pub struct Replica {
    id: TopicPartition,
    assignment: Assignment,
    role: Role,
    health: Health,
    high_watermark: Offset,
    /// End of what is durable here: dLEO.
    flushed: Offset,
    /// A cut is on its way to the disk; no role is taken before it is there.
    cutting: bool,
    sessions: SessionNumber,
    handed_over_at: Option<Instant>,
}

impl Replica {
    /// A replica that has been given no role. Its log ends at `flushed`, all of it durable; `high_watermark` is the last
    /// one that is known of, or the log's start.
    pub fn new(id: TopicPartition, flushed: Offset, high_watermark: Offset) -> Self {
        Self {
            id,
            assignment: Assignment::unknown(),
            role: Role::Idle,
            health: Health::Sound,
            high_watermark: high_watermark.min(flushed),
            flushed,
            cutting: false,
            sessions: SessionNumber::default(),
            handed_over_at: None,
        }
    }

    /// Which partition this is.
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    /// What it knows of the partition's metadata.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The last high watermark that it knows of: everything below is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// End of what is durable here.
    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    /// Whether it leads, in the newest epoch that it knows of.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The end that a follower has proven in this epoch, and in which run.
    pub fn follower_end(&self, id: BrokerId) -> Option<(crate::types::Incarnation, Offset)> {
        let session = self.leader()?.get(id)?.session.as_ref()?;
        Some((session.incarnation, session.acked))
    }

    /// Where the log ended when this leader's epoch began; a coordinator answers once the high watermark is there.
    pub fn epoch_start(&self) -> Option<Offset> {
        self.leader().map(|leader| leader.epoch_start)
    }

    /// Takes one event; what has to be done is added to `out`.
    pub fn step(&mut self, cx: &Context<'_>, event: Event, out: &mut Effects) {
        match event {
            Event::Assigned(assignment) => self.on_assigned(cx, assignment, out),
            Event::PeersChanged => self.on_peers_changed(cx, out),
            Event::Received { from, message } => self.on_received(cx, from, message, out),
            Event::Appended(produce) => self.on_appended(cx, produce, out),
            Event::Held(hold) => self.on_hold(cx, hold, out),
            Event::Flushed(end) => self.on_flushed(cx, end, out),
            Event::Truncated(end) => self.on_truncated(cx, end, out),
            Event::StartMoved => self.on_start_moved(cx, out),
            Event::WriteFailed(end) => self.on_write_failed(cx, end, out),
            Event::LogSuspect => self.on_log_suspect(cx, out),
            Event::Room(peer) => self.on_room(cx, peer, out),
            Event::Sent { to, session, upto, cached } => self.on_sent(cx, to, session, upto, cached, out),
            Event::PeerRefused(peer) => self.on_peer_refused(cx, peer, out),
            Event::Altered { leader_epoch, partition_epoch, outcome } => {
                self.on_altered(cx, leader_epoch, partition_epoch, outcome, out);
            }
            Event::Solicit => self.on_solicit(cx, out),
            Event::Tick => self.on_tick(cx, out),
        }
        self.check();
    }

    fn on_received(&mut self, cx: &Context<'_>, from: BrokerId, message: Message, out: &mut Effects) {
        if message.epoch() != self.assignment.leader_epoch {
            // R6. An opener is told, so that it asks again later; anything else simply does not count.
            out.push(Effect::Noted(Note::StaleIgnored));
            if let Message::Open(open) = message {
                self.send_refusal(cx, from, open, out);
            }
            return;
        }
        match message {
            Message::Open(open) => self.on_open(cx, from, open, out),
            Message::Answer(answer) => self.on_answer(cx, from, answer, out),
            Message::Push(push) => self.on_push(cx, from, push, out),
            Message::Ack(ack) => self.on_ack(cx, from, ack, out),
        }
    }

    fn on_flushed(&mut self, cx: &Context<'_>, end: Offset, out: &mut Effects) {
        self.flushed = self.flushed.max(end);
        match self.role {
            Role::Leader(_) => self.on_leader_flushed(cx, out),
            Role::Follower(_) => self.on_follower_flushed(cx, out),
            Role::Idle => {}
        }
    }

    fn on_start_moved(&mut self, cx: &Context<'_>, out: &mut Effects) {
        match self.role {
            Role::Leader(_) => self.on_leader_start_moved(cx, out),
            Role::Follower(_) => self.on_follower_start_moved(cx, out),
            Role::Idle => {}
        }
    }

    fn on_tick(&mut self, cx: &Context<'_>, out: &mut Effects) {
        self.complain_again(cx, out);
        match self.role {
            Role::Leader(_) => self.on_leader_tick(cx, out),
            Role::Follower(_) => self.on_follower_tick(cx, out),
            Role::Idle => {}
        }
    }

    /// When [`Event::Tick`] is due; `None` while nothing is.
    pub fn deadline(&self, host: &Host) -> Option<Instant> {
        let role = match &self.role {
            Role::Leader(leader) => leader.deadline(host, &self.assignment),
            Role::Follower(follower) => follower.deadline(host),
            Role::Idle => None,
        };
        let complaint = match self.health {
            Health::Complaining { again_at, .. } => again_at,
            Health::Sound => None,
        };
        [role, complaint].into_iter().flatten().min()
    }

    fn check(&self) {
        assert!(
            self.high_watermark <= self.flushed || matches!(self.health, Health::Complaining { .. }),
            "{}: high watermark {} is past the durable end {}",
            self.id,
            self.high_watermark,
            self.flushed
        );
        assert!(!(self.cutting && self.is_leader()), "{}: a leader cuts its log (R8)", self.id);
        if let Role::Leader(leader) = &self.role {
            leader.check(&self.assignment);
        }
    }
}
