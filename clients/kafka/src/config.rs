//! How a client behaves: addresses, names and time limits, and how Kafka's client properties set them.
//!
//! Owns defaults and their meaning. What is not set here has Kafka's own default where there is one.

use std::time::Duration;

use ottla_core::types::PartitionIndex;
use ottla_wire::record::Compression;

mod properties;

pub use properties::{Properties, PropertiesError};

/// Where the cluster is and how patient the client is.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `host:port`, at least one.
    pub bootstrap: Vec<String>,
    /// The name that the broker logs; `client.id`.
    pub client_id: String,
    /// How long one attempt at one broker may take; `request.timeout.ms`.
    pub request_timeout: Duration,
    /// How long a whole call with its retries may take; `default.api.timeout.ms`.
    pub call_timeout: Duration,
    /// How long a connection may take to be made; `socket.connection.setup.timeout.ms`.
    pub connect_timeout: Duration,
    /// First pause before a retry; doubles up to [`ClientConfig::backoff_max`]; `retry.backoff.ms`.
    pub backoff: Duration,
    /// Longest pause before a retry; `retry.backoff.max.ms`.
    pub backoff_max: Duration,
    /// Metadata older than this is asked for again; `metadata.max.age.ms`.
    pub metadata_age_max: Duration,
    /// Where this client stands, for reads from the nearest replica; `client.rack`.
    pub rack: String,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap: vec!["127.0.0.1:9092".to_owned()],
            client_id: "ottla".to_owned(),
            request_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            metadata_age_max: Duration::from_secs(300),
            rack: String::new(),
        }
    }
}

/// Who must have a record before it counts as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody answers; offsets stay unknown.
    None,
    /// The leader.
    Leader,
    /// Every in-sync replica.
    All,
}

impl Acks {
    /// The wire's number.
    pub const fn get(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How records are gathered and sent.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// `acks`.
    pub acks: Acks,
    /// Each record is stored once even when a request is repeated; `enable.idempotence`. Needs [`Acks::All`].
    pub idempotent: bool,
    /// How long a record waits for company; `linger.ms`.
    pub linger: Duration,
    /// A batch of this size is sent at once; `batch.size`.
    pub batch_bytes: usize,
    /// Largest request; `max.request.size`.
    pub request_bytes_max: usize,
    /// Memory for records that are not acknowledged yet; `buffer.memory`.
    pub buffer_bytes: usize,
    /// `compression.type`.
    pub compression: Compression,
    /// From `send` to the last attempt; `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            linger: Duration::from_millis(5),
            batch_bytes: 16 * 1024,
            request_bytes_max: 1024 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            compression: Compression::None,
            delivery_timeout: Duration::from_secs(120),
        }
    }
}

/// Where to begin on a partition without a (valid) position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// Nowhere: say so.
    Fail,
}

/// How records are fetched.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// `fetch.min.bytes`.
    pub fetch_bytes_min: usize,
    /// `fetch.max.wait.ms`.
    pub fetch_wait_max: Duration,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: usize,
    /// `max.partition.fetch.bytes`.
    pub partition_bytes_max: usize,
    /// `isolation.level=read_committed`.
    pub read_committed: bool,
    /// `auto.offset.reset`.
    pub reset: Reset,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            fetch_bytes_min: 1,
            fetch_wait_max: Duration::from_millis(500),
            fetch_bytes_max: 16 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            read_committed: false,
            reset: Reset::Latest,
        }
    }
}

/// How partitions are shared out among the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Contiguous ranges of each topic; everybody stops while the group rebalances.
    Range,
    /// Stays as it is where it can; only partitions that move stop.
    CooperativeSticky,
}

impl Strategy {
    /// The name that members agree on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }
}

/// Membership in a group.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.id`.
    pub group: String,
    /// `group.instance.id`: a static member keeps its partitions over a restart.
    pub instance: Option<String>,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: how long a rebalance waits for this member.
    pub rebalance_timeout: Duration,
    /// `partition.assignment.strategy`, most wanted first.
    pub strategies: Vec<Strategy>,
}

impl GroupConfig {
    /// Kafka's defaults for `group`.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            instance: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(300),
            strategies: vec![Strategy::Range],
        }
    }
}

/// A partition by name, as clients know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition within it.
    pub partition: PartitionIndex,
}

impl NamedPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: PartitionIndex) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for NamedPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
