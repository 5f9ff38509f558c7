//! Produce, versions 3 to 13, by hand.
//!
//! Owns the promise that records are never opened and never copied on the way in: `records` is a slice of the frame. The
//! generated codec of the same schema is the oracle of the tests.

mod request;
mod response;

pub use request::{PartitionProduceData, ProduceRequest, TopicProduceData};
pub use response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};

/// From here on lengths are compact and structures end in tagged fields.
const FLEXIBLE: i16 = 9;
/// From here on topics are named by id instead of name.
const TOPIC_IDS: i16 = 13;
