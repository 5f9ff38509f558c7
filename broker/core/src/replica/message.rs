//! What replicas of one partition say to each other and to the controller.
//!
//! Owns the content of the messages; bytes of records travel beside a [`Push`], never inside. Every message names the
//! epoch that it belongs to, so that it can be lost, repeated or late without harm (R6).

use super::assignment::Assignment;
use super::host::Stamp;
use crate::types::{BrokerId, Incarnation, LeaderEpoch, Offset, PartitionEpoch};

/// Number of a session among those of one follower; every new one has the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u32);

/// Follower to leader: this is where I stand; answered by [`Answer`]. Sent again until it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The epoch in which the receiver leads, as the sender knows it.
    pub epoch: LeaderEpoch,
    /// Which run of the sender.
    pub incarnation: Incarnation,
    /// The session that begins.
    pub session: SessionNumber,
    /// First offset that its log keeps.
    pub start: Offset,
    /// Epoch of the last batch of its log.
    pub last_epoch: Option<LeaderEpoch>,
    /// End of its log, all of it durable.
    pub end: Offset,
}

/// What the leader answers to [`Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pushes begin at the follower's end.
    PushFrom(Offset),
    /// Cut what is newer than `epoch` or beyond `end`, then open another session.
    TruncateTo {
        /// The largest epoch of the leader's log not above the follower's last.
        epoch: LeaderEpoch,
        /// Where that ends.
        end: Offset,
    },
    /// Drop the log, begin there, then open another session.
    StartOver(Offset),
    /// Not in this epoch, or not from this run; a newer assignment is on its way to one of the two.
    Refused,
}

/// Leader to follower: the answer to [`Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// Which run of the receiver asked: session numbers of another run begin at the same number.
    pub incarnation: Incarnation,
    /// The session that it answers.
    pub session: SessionNumber,
    /// What to do.
    pub verdict: Verdict,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// First offset that the leader keeps: what lies below was removed, by retention or DeleteRecords.
    pub log_start: Offset,
    /// To be given back.
    pub stamp: Stamp,
}

/// Leader to follower: batches from `base` to `end`, or none if both are equal; then it says how far was pushed, carries
/// the high watermark, and asks for an [`Ack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// Which run of the receiver it is for.
    pub incarnation: Incarnation,
    /// The session that it belongs to.
    pub session: SessionNumber,
    /// Offset of the first record.
    pub base: Offset,
    /// Offset behind the last record.
    pub end: Offset,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// First offset that the leader keeps: what lies below was removed, by retention or DeleteRecords.
    pub log_start: Offset,
    /// To be given back.
    pub stamp: Stamp,
}

/// Follower to leader: everything below `end` is durable here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The epoch that the sender follows in.
    pub epoch: LeaderEpoch,
    /// Which run of the sender.
    pub incarnation: Incarnation,
    /// The session that it belongs to.
    pub session: SessionNumber,
    /// Its durable end.
    pub end: Offset,
    /// First offset that its log keeps. It may not be durable yet: who forgets it in a crash is told again.
    pub log_start: Offset,
    /// The newest stamp that it has received in this session.
    pub stamp: Stamp,
}

/// What one replica sends to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Follower to leader.
    Open(Open),
    /// Leader to follower.
    Answer(Answer),
    /// Leader to follower.
    Push(Push),
    /// Follower to leader.
    Ack(Ack),
}

impl Message {
    /// The epoch that it belongs to.
    pub fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Open(open) => open.epoch,
            Self::Answer(answer) => answer.epoch,
            Self::Push(push) => push.epoch,
            Self::Ack(ack) => ack.epoch,
        }
    }
}

/// A leader wants another ISR: compare-and-swap on both epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alter {
    /// The epoch that it leads in.
    pub leader_epoch: LeaderEpoch,
    /// The version that it changes.
    pub partition_epoch: PartitionEpoch,
    /// The whole new ISR.
    pub isr: Vec<BrokerId>,
    /// Who of it is new, and which run of it acknowledged: refused unless that run is registered, unfenced, not draining.
    pub joining: Vec<(BrokerId, Incarnation)>,
}

/// Why a replica wants to be rid of its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// A write failed after its offset had left: nothing more may be assigned in this epoch (R7).
    WriteFailed,
    /// Its log is missing, quarantined, suspect, or went back (R12).
    LogSuspect,
    /// Its disk is much slower than those of its followers.
    SlowDisk,
}

/// What a replica asks the controller for; each in a given leader epoch, refused in any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Another ISR; answered by [`super::Event::Altered`].
    Alter(Alter),
    /// A new leader epoch, preferably led by someone else. `WriteFailed`: the sender may lead on. `LogSuspect`: the sender
    /// leaves leadership, ISR and ELR, with a new epoch in any case. `SlowDisk`: another in-sync replica leads. No answer
    /// but a new assignment; asked again until that comes.
    NewEpoch {
        /// The epoch that has to end.
        leader_epoch: LeaderEpoch,
        /// Why.
        complaint: Complaint,
    },
}

/// What came of an [`Alter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Altered {
    /// It is committed; this is what the metadata says now.
    Done(Assignment),
    /// Another change came first; its assignment is on the way.
    Outdated,
    /// A member is fenced, draining, or of another run: nothing has changed.
    Ineligible,
}
