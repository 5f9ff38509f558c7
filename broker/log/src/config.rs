//! What a partition's log needs to know of its topic's configuration, already typed and validated.
//!
//! Owns no defaults of Kafka's beyond `Default` (a topic without explicit settings) and no parsing: the broker resolves
//! a topic's configuration and hands it down.

/// Which timestamp a record keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, when it appends.
    LogAppendTime,
}

/// The settings of one topic that act in its log. Times are milliseconds; −1 means "no limit" where Kafka says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `preallocate`.
    pub preallocate: bool,
    /// Whether `cleanup.policy` names `delete`.
    pub delete: bool,
    /// Whether `cleanup.policy` names `compact`.
    pub compact: bool,
    /// `retention.ms`.
    pub retention_ms: i64,
    /// `retention.bytes`.
    pub retention_bytes: i64,
    /// `flush.messages`; above 1 the topic is opted out of durable acks.
    pub flush_messages: i64,
    /// `flush.ms`; any explicit value opts out as well, which the broker expresses through `flush_messages`.
    pub flush_ms: i64,
    /// `max.message.bytes`.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// How long a silent producer is remembered (`producer.id.expiration.ms`).
    pub producer_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: WEEK_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 * 1024 * 1024,
            index_interval_bytes: 4096,
            preallocate: false,
            delete: true,
            compact: false,
            retention_ms: WEEK_MS,
            retention_bytes: -1,
            flush_messages: 1,
            flush_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            producer_expiration_ms: 24 * 60 * 60 * 1000,
        }
    }
}

impl LogConfig {
    /// Whether acks come before the flush: the partition skips the journal.
    pub const fn opted_out(&self) -> bool {
        self.flush_messages > 1
    }
}
