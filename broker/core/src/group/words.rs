//! The words of the group coordinator: ids, generations, states, time, and what a committed offset is.
//!
//! Owns their meaning only. Text ids share their bytes, because one id stands in many maps.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the wire's string.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The wire's string.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    };
}

text! {
    /// Name of a group; the empty one is legal for offsets only.
    GroupId
}
text! {
    /// Name of a member, given by the coordinator. Empty in a request: "I have none yet".
    MemberId
}
text! {
    /// Name that a static member keeps over restarts (`group.instance.id`, KIP-345).
    InstanceId
}
text! {
    /// Name of a topic as a commit states it.
    TopicName
}

impl MemberId {
    /// Whether the request came without a member id.
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }
}

/// Number of a group's assignment: every completed join phase adds one. −1 in a request means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(i32);

impl Generation {
    /// What a request without group membership states.
    pub const NONE: Self = Self(-1);

    /// Wraps the wire's integer.
    pub const fn new(value: i32) -> Self {
        Self(value)
    }

    /// The wire's integer.
    pub const fn get(self) -> i32 {
        self.0
    }

    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No members; offsets may still be kept.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Everyone has joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member has, or can fetch, its assignment.
    Stable,
    /// Unloaded or removed.
    Dead,
}

impl State {
    /// Kafka's name of the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// The moment of a step: timers run on the monotonic clock, records carry wall time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers.
    pub monotonic: Instant,
    /// For what is written down.
    pub wall: Timestamp,
}

/// Which request a reply belongs to; chosen by the shell, never reused while unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Number of an append of one shard, dense, in the order in which the shell must perform them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// A partition as a commit names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommittedPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition within it.
    pub partition: PartitionIndex,
}

/// A position that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read. Clients may commit negative numbers and expect them back.
    pub offset: Offset,
    /// The leader epoch of the last record read, or −1.
    pub leader_epoch: LeaderEpoch,
    /// The client's note.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it expires, stated by the client itself (request versions 2 to 4); −1 means by the broker's retention.
    pub expires_at: Timestamp,
    /// The topic that its name meant at the time; zero in records that do not say.
    pub topic_id: TopicId,
}
