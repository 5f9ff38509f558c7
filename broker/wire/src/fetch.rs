//! Fetch, versions 4 to 18, by hand.
//!
//! Owns the promise that records are never opened and never copied on the way out: a response holds the pieces that the
//! log handed out and is written as pieces. The generated codec of the same schema is the oracle of the tests.

mod request;
mod response;

pub use crate::produce::{LeaderIdAndEpoch, NodeEndpoint};
pub use request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState};
pub use response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData, SnapshotId,
};

/// From here on there are fetch sessions.
const SESSIONS: i16 = 7;
/// From here on a follower may be preferred to the leader.
const RACKS: i16 = 11;
/// From here on lengths are compact and structures end in tagged fields.
const FLEXIBLE: i16 = 12;
/// From here on topics are named by id instead of name.
const TOPIC_IDS: i16 = 13;
