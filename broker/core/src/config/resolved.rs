//! A topic's configuration with every value read: what the log and the handlers work with.
//!
//! Owns the meaning of the special numbers (−1 and −2) and of the durability opt-out. Values were checked when they
//! were set; one that cannot be read any more counts as not set.

use super::value::{self, parse_boolean, parse_double, parse_list, parse_long};
use super::{BrokerConfig, Source, TopicKey, broker as broker_keys, topic};
use crate::metadata::ExplicitConfig;
use crate::types::{BrokerId, PartitionIndex};

/// What happens to old records. Neither: everything is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments are removed by age and size.
    pub delete: bool,
    /// Only the newest record of each key is kept.
    pub compact: bool,
}

/// The codec in which batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's at append.
    LogAppendTime,
}

/// Every topic config, read.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.gzip.level`
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`
    pub compression_lz4_level: i32,
    /// `compression.type`
    pub compression_type: CompressionType,
    /// `compression.zstd.level`
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `errors.deadletterqueue.group.enable`
    pub errors_deadletterqueue_group_enable: bool,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `flush.messages`
    pub flush_messages: i64,
    /// `flush.ms`; `None` for never by time
    pub flush_ms: Option<i64>,
    /// Whether an ack waits until the record is on disk: no larger `flush.messages` and no `flush.ms` opted out.
    pub durable_acks: bool,
    /// `follower.replication.throttled.replicas`
    pub follower_replication_throttled_replicas: String,
    /// `index.interval.bytes`
    pub index_interval_bytes: i32,
    /// `leader.replication.throttled.replicas`
    pub leader_replication_throttled_replicas: String,
    /// `local.retention.bytes`, −2 read as `retention.bytes`; `None` for no limit
    pub local_retention_bytes: Option<i64>,
    /// `local.retention.ms`, −2 read as `retention.ms`; `None` for ever
    pub local_retention_ms: Option<i64>,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `preallocate`
    pub preallocate: bool,
    /// The broker's `producer.id.expiration.ms`: the log of every topic obeys it
    pub producer_id_expiration_ms: i64,
    /// `remote.copy.lag.bytes`
    pub remote_copy_lag_bytes: i64,
    /// `remote.copy.lag.ms`
    pub remote_copy_lag_ms: i64,
    /// `remote.log.copy.disable`
    pub remote_log_copy_disable: bool,
    /// `remote.log.delete.on.disable`
    pub remote_log_delete_on_disable: bool,
    /// `remote.storage.enable`
    pub remote_storage_enable: bool,
    /// `retention.bytes`; `None` for no limit
    pub retention_bytes: Option<i64>,
    /// `retention.ms`; `None` for ever
    pub retention_ms: Option<i64>,
    /// `segment.bytes`
    pub segment_bytes: i32,
    /// `segment.index.bytes`
    pub segment_index_bytes: i32,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election_enable: bool,
}

impl TopicConfig {
    /// Whether `broker` sends the partition to replicas out of sync no faster than its throttle allows (KIP-73).
    pub fn throttles_sending(&self, partition: PartitionIndex, broker: BrokerId) -> bool {
        value::names_replica(&self.leader_replication_throttled_replicas, partition, broker)
    }

    /// Whether `broker`, out of sync, receives the partition no faster than its throttle allows (KIP-73).
    pub fn throttles_receiving(&self, partition: PartitionIndex, broker: BrokerId) -> bool {
        value::names_replica(&self.follower_replication_throttled_replicas, partition, broker)
    }

    /// What `explicit`, set on a topic, comes to on a broker that runs with `broker`. `internal` topics always keep
    /// durable acks.
    pub fn resolve(explicit: &ExplicitConfig, broker: &BrokerConfig, internal: bool) -> Self {
        let read = Reader { explicit, broker };
        let retention_bytes = unlimited(read.long(&topic::RETENTION_BYTES));
        let retention_ms = unlimited(read.long(&topic::RETENTION_MS));
        Self {
            cleanup_policy: read.cleanup_policy(),
            compression_gzip_level: read.int(&topic::COMPRESSION_GZIP_LEVEL),
            compression_lz4_level: read.int(&topic::COMPRESSION_LZ4_LEVEL),
            compression_type: read.compression_type(),
            compression_zstd_level: read.int(&topic::COMPRESSION_ZSTD_LEVEL),
            delete_retention_ms: read.long(&topic::DELETE_RETENTION_MS),
            errors_deadletterqueue_group_enable: read.boolean(&topic::ERRORS_DEADLETTERQUEUE_GROUP_ENABLE),
            file_delete_delay_ms: read.long(&topic::FILE_DELETE_DELAY_MS),
            flush_messages: read.long(&topic::FLUSH_MESSAGES),
            flush_ms: Some(read.long(&topic::FLUSH_MS)).filter(|&ms| ms < i64::MAX),
            durable_acks: internal || read.durable_acks(),
            follower_replication_throttled_replicas: read.text(&topic::FOLLOWER_REPLICATION_THROTTLED_REPLICAS),
            index_interval_bytes: read.int(&topic::INDEX_INTERVAL_BYTES),
            leader_replication_throttled_replicas: read.text(&topic::LEADER_REPLICATION_THROTTLED_REPLICAS),
            local_retention_bytes: local(read.long(&topic::LOCAL_RETENTION_BYTES), retention_bytes),
            local_retention_ms: local(read.long(&topic::LOCAL_RETENTION_MS), retention_ms),
            max_compaction_lag_ms: read.long(&topic::MAX_COMPACTION_LAG_MS),
            max_message_bytes: read.int(&topic::MAX_MESSAGE_BYTES),
            message_timestamp_after_max_ms: read.long(&topic::MESSAGE_TIMESTAMP_AFTER_MAX_MS),
            message_timestamp_before_max_ms: read.long(&topic::MESSAGE_TIMESTAMP_BEFORE_MAX_MS),
            message_timestamp_type: read.timestamp_type(),
            min_cleanable_dirty_ratio: parse_double(&read.text(&topic::MIN_CLEANABLE_DIRTY_RATIO)).unwrap_or(0.5),
            min_compaction_lag_ms: read.long(&topic::MIN_COMPACTION_LAG_MS),
            min_insync_replicas: read.int(&topic::MIN_INSYNC_REPLICAS),
            preallocate: read.boolean(&topic::PREALLOCATE),
            producer_id_expiration_ms: broker.long(&broker_keys::PRODUCER_ID_EXPIRATION_MS).unwrap_or_default(),
            remote_copy_lag_bytes: read.long(&topic::REMOTE_COPY_LAG_BYTES),
            remote_copy_lag_ms: read.long(&topic::REMOTE_COPY_LAG_MS),
            remote_log_copy_disable: read.boolean(&topic::REMOTE_LOG_COPY_DISABLE),
            remote_log_delete_on_disable: read.boolean(&topic::REMOTE_LOG_DELETE_ON_DISABLE),
            remote_storage_enable: read.boolean(&topic::REMOTE_STORAGE_ENABLE),
            retention_bytes,
            retention_ms,
            segment_bytes: read.int(&topic::SEGMENT_BYTES),
            segment_index_bytes: read.int(&topic::SEGMENT_INDEX_BYTES),
            segment_jitter_ms: read.long(&topic::SEGMENT_JITTER_MS),
            segment_ms: read.long(&topic::SEGMENT_MS),
            unclean_leader_election_enable: read.boolean(&topic::UNCLEAN_LEADER_ELECTION_ENABLE),
        }
    }
}

/// The few configs by which the controller judges a topic's replicas, read without reading the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election_enable: bool,
}

impl ReplicaConfig {
    /// What `explicit`, set on a topic, comes to on a broker that runs with `broker`.
    pub fn resolve(explicit: &ExplicitConfig, broker: &BrokerConfig) -> Self {
        let read = Reader { explicit, broker };
        Self {
            min_insync_replicas: read.int(&topic::MIN_INSYNC_REPLICAS),
            unclean_leader_election_enable: read.boolean(&topic::UNCLEAN_LEADER_ELECTION_ENABLE),
        }
    }
}

impl Default for TopicConfig {
    /// A topic on which nothing is set, on a broker on which nothing is set.
    fn default() -> Self {
        Self::resolve(&ExplicitConfig::new(), &BrokerConfig::default(), false)
    }
}

struct Reader<'a> {
    explicit: &'a ExplicitConfig,
    broker: &'a BrokerConfig,
}

impl Reader<'_> {
    fn text(&self, key: &'static TopicKey) -> String {
        key.effective(self.explicit, self.broker).effective
    }

    fn long(&self, key: &'static TopicKey) -> i64 {
        parse_long(&self.text(key)).unwrap_or_default()
    }

    fn int(&self, key: &'static TopicKey) -> i32 {
        i32::try_from(self.long(key)).unwrap_or_default()
    }

    fn boolean(&self, key: &'static TopicKey) -> bool {
        parse_boolean(&self.text(key)).unwrap_or_default()
    }

    fn cleanup_policy(&self) -> CleanupPolicy {
        let text = self.text(&topic::CLEANUP_POLICY);
        let has = |policy| parse_list(&text).any(|word| word == policy);
        CleanupPolicy { delete: has("delete"), compact: has("compact") }
    }

    fn compression_type(&self) -> CompressionType {
        match self.text(&topic::COMPRESSION_TYPE).trim() {
            "uncompressed" => CompressionType::Uncompressed,
            "gzip" => CompressionType::Gzip,
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd,
            _ => CompressionType::Producer,
        }
    }

    fn timestamp_type(&self) -> TimestampType {
        match self.text(&topic::MESSAGE_TIMESTAMP_TYPE).trim() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }

    /// A larger `flush.messages` opts out, and so does a `flush.ms` unless somebody also asked for every message.
    fn durable_acks(&self) -> bool {
        let messages = topic::FLUSH_MESSAGES.effective(self.explicit, self.broker);
        let every_message = parse_long(&messages.effective) == Some(1);
        let by_time = self.long(&topic::FLUSH_MS) < i64::MAX;
        every_message && (!by_time || messages.source != Source::Default)
    }
}

fn unlimited(value: i64) -> Option<i64> {
    (value >= 0).then_some(value)
}

fn local(value: i64, retention: Option<i64>) -> Option<i64> {
    if value == -2 { retention } else { unlimited(value) }
}
