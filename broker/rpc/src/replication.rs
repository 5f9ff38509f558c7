//! What replicas of partitions say to each other, as frames of one raw HTTP/2 body each way (ADR 0003).
//!
//! Owns the messages, their framing, and the glue to tonic. The leader of partitions dials its follower, once per lane;
//! records go out and come in as they lie in memory, beside the headers. Nothing here knows credits or sessions: what a
//! message means is the replicas' business, how many bytes may be under way the caller's.

mod body;
pub mod client;
mod frame;
mod header;
pub mod server;
#[cfg(test)]
mod tests;

use ottla_core::replica::{Lane, Message, Verdict};
use ottla_core::types::{BrokerId, ClusterId, Incarnation, TopicPartition};

pub use crate::transport::{endpoint, server};
pub use body::Incoming;
pub use client::dial;
pub use frame::{Decoder, FrameError, put};
pub use server::{Handler, Outgoing, Replication};

/// The version of this protocol that a hello and a welcome name; N is understood with N and N−1.
pub const VERSION: u32 = 1;

/// One frame's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// First in a request's body: who dials, and whom it means to have reached.
    Hello {
        /// The version of the protocol that the sender speaks.
        version: u32,
        /// The cluster that both must belong to.
        cluster: ClusterId,
        /// Who dials.
        from: BrokerId,
        /// Whom it means.
        to: BrokerId,
        /// The run of who dials.
        incarnation: Incarnation,
        /// What the connection is for.
        lane: Lane,
    },
    /// First in the answer's body.
    Welcome {
        /// The version of the protocol that the sender speaks.
        version: u32,
        /// Who answers.
        from: BrokerId,
        /// Its run.
        incarnation: Incarnation,
        /// How many bytes of records may be under way towards it on this connection.
        credit_bytes: u64,
    },
    /// Instead of a welcome; nothing follows it.
    Refused {
        /// A sentence. What is longer than 4 KiB is cut.
        reason: String,
    },
    /// From one replica to another. A push with records has them behind it, and an answer that says to start over may have
    /// a snapshot of producers.
    Message {
        /// Whose replicas.
        partition: TopicPartition,
        /// What one says.
        message: Message,
    },
    /// The receiver of records has room for as many more bytes.
    Returned {
        /// How many.
        bytes: u64,
    },
}

impl Item {
    /// Whether bytes may lie behind it: a push's records, or the snapshot of producers of an answer that says to start over.
    pub fn may_have_bytes(&self) -> bool {
        let Self::Message { message, .. } = self else { return false };
        match message {
            Message::Push(_) => true,
            Message::Answer(answer) => matches!(answer.verdict, Verdict::StartOver(_)),
            Message::Open(_) | Message::Ack(_) => false,
        }
    }
}
