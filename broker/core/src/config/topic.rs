//! The 36 topic keys: names, what they take, defaults, what they mean, and the broker keys that they fall back to.
//!
//! Owns Kafka's table as of 4.4 with one deviation: `flush.messages` is 1, so an acknowledged record is on disk.

use super::{Acts, Key, Kind, Scope, broker};

/// A broker key that sets the default of a topic key.
#[derive(Clone, Copy, Debug)]
pub struct Synonym {
    /// The broker key.
    pub key: &'static Key,
    /// What one unit of it is in the topic key's unit: 3,600,000 for hours.
    pub factor: i64,
}

/// One topic key.
#[derive(Debug)]
pub struct TopicKey {
    /// Name, kind, default, documentation.
    pub key: Key,
    /// The broker keys that it falls back to, strongest first.
    pub synonyms: &'static [Synonym],
}

const fn is(key: &'static Key) -> Synonym {
    Synonym { key, factor: 1 }
}

const fn times(factor: i64, key: &'static Key) -> Synonym {
    Synonym { key, factor }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;

macro_rules! topic_keys {
    ($($id:ident $name:literal $kind:expr, $default:literal, $acts:ident, [$($synonym:expr),*], $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $id: TopicKey = TopicKey {
                key: Key {
                    name: $name,
                    kind: $kind,
                    default: Some($default),
                    acts: Acts::$acts,
                    scope: Scope::ClusterWide,
                    doc: $doc,
                },
                synonyms: &[$($synonym),*],
            };
        )*
        /// Every topic key, in order of names.
        pub static ALL: &[&TopicKey] = &[$(&$id),*];
    };
}

topic_keys! {
    CLEANUP_POLICY "cleanup.policy" Kind::AnyOf(&["compact", "delete"]), "delete", Now, [is(&broker::LOG_CLEANUP_POLICY)],
        "What happens to old records: delete removes whole segments by age and size, compact keeps the newest record of each key; both, or neither (keep everything). Deleting acts now, compaction later.";
    COMPRESSION_GZIP_LEVEL "compression.gzip.level" Kind::IntOr(-1, 1, 9), "-1", Now, [is(&broker::COMPRESSION_GZIP_LEVEL)],
        "How hard gzip tries when the broker itself compresses; -1 is gzip's own default.";
    COMPRESSION_LZ4_LEVEL "compression.lz4.level" Kind::Int(1, 17), "9", Later, [is(&broker::COMPRESSION_LZ4_LEVEL)],
        "How hard lz4 tries when the broker itself compresses; there is one level so far.";
    COMPRESSION_TYPE "compression.type" Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer", Now, [is(&broker::COMPRESSION_TYPE)],
        "The codec in which batches are stored. producer keeps every batch exactly as it was sent; the broker never opens it.";
    COMPRESSION_ZSTD_LEVEL "compression.zstd.level" Kind::Int(-131_072, 22), "3", Now, [is(&broker::COMPRESSION_ZSTD_LEVEL)],
        "How hard zstd tries when the broker itself compresses.";
    DELETE_RETENTION_MS "delete.retention.ms" Kind::Long(0, LONG_MAX), "86400000", Later, [is(&broker::LOG_CLEANER_DELETE_RETENTION_MS)],
        "How long the mark of a deleted key stays in a compacted topic, so that slow readers still see it.";
    ERRORS_DEADLETTERQUEUE_GROUP_ENABLE "errors.deadletterqueue.group.enable" Kind::Boolean, "false", Later, [],
        "Whether share groups may write records that they give up on to this topic.";
    FILE_DELETE_DELAY_MS "file.delete.delay.ms" Kind::Long(0, LONG_MAX), "60000", Later, [is(&broker::LOG_SEGMENT_DELETE_DELAY_MS)],
        "How long the file of a removed segment stays before it is deleted.";
    FLUSH_MESSAGES "flush.messages" Kind::Long(1, LONG_MAX), "1", Now, [is(&broker::LOG_FLUSH_INTERVAL_MESSAGES)],
        "After how many records they are forced to disk. 1, the default here, means that an acknowledged record survives power loss; a larger value opts the topic out of that promise.";
    FLUSH_MS "flush.ms" Kind::Long(0, LONG_MAX), "9223372036854775807", Now, [is(&broker::LOG_FLUSH_INTERVAL_MS), is(&broker::LOG_FLUSH_SCHEDULER_INTERVAL_MS)],
        "After what time records are forced to disk. Setting it, without flush.messages=1, opts the topic out of durable acks.";
    FOLLOWER_REPLICATION_THROTTLED_REPLICAS "follower.replication.throttled.replicas" Kind::Replicas, "", Now, [],
        "Which replicas are throttled on the receiving side, as partition:broker pairs, or * for all.";
    INDEX_INTERVAL_BYTES "index.interval.bytes" Kind::Int(0, INT_MAX), "4096", Now, [is(&broker::LOG_INDEX_INTERVAL_BYTES)],
        "After how many bytes of a segment its index gets another entry.";
    LEADER_REPLICATION_THROTTLED_REPLICAS "leader.replication.throttled.replicas" Kind::Replicas, "", Now, [],
        "Which replicas are throttled on the sending side, as partition:broker pairs, or * for all.";
    LOCAL_RETENTION_BYTES "local.retention.bytes" Kind::Long(-2, LONG_MAX), "-2", Later, [is(&broker::LOG_LOCAL_RETENTION_BYTES)],
        "How many bytes of a tiered partition stay on the broker's disk; -2 means as retention.bytes says.";
    LOCAL_RETENTION_MS "local.retention.ms" Kind::Long(-2, LONG_MAX), "-2", Later, [is(&broker::LOG_LOCAL_RETENTION_MS)],
        "How long records of a tiered partition stay on the broker's disk; -2 means as retention.ms says.";
    MAX_COMPACTION_LAG_MS "max.compaction.lag.ms" Kind::Long(1, LONG_MAX), "9223372036854775807", Later, [is(&broker::LOG_CLEANER_MAX_COMPACTION_LAG_MS)],
        "The longest that a record may wait to be compacted.";
    MAX_MESSAGE_BYTES "max.message.bytes" Kind::Int(0, INT_MAX), "1048588", Now, [is(&broker::MESSAGE_MAX_BYTES)],
        "The largest batch that the topic takes, as sent, after compression.";
    MESSAGE_TIMESTAMP_AFTER_MAX_MS "message.timestamp.after.max.ms" Kind::Long(0, LONG_MAX), "3600000", Now, [is(&broker::LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS)],
        "How far a record's timestamp may lie ahead of the broker's clock.";
    MESSAGE_TIMESTAMP_BEFORE_MAX_MS "message.timestamp.before.max.ms" Kind::Long(0, LONG_MAX), "9223372036854775807", Now, [is(&broker::LOG_MESSAGE_TIMESTAMP_BEFORE_MAX_MS)],
        "How far a record's timestamp may lie behind the broker's clock.";
    MESSAGE_TIMESTAMP_TYPE "message.timestamp.type" Kind::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime", Now, [is(&broker::LOG_MESSAGE_TIMESTAMP_TYPE)],
        "Whose time a record carries: the producer's (CreateTime) or the broker's at append (LogAppendTime).";
    MIN_CLEANABLE_DIRTY_RATIO "min.cleanable.dirty.ratio" Kind::Double(0.0, 1.0), "0.5", Later, [is(&broker::LOG_CLEANER_MIN_CLEANABLE_RATIO)],
        "What share of a compacted log must be new before it is compacted again.";
    MIN_COMPACTION_LAG_MS "min.compaction.lag.ms" Kind::Long(0, LONG_MAX), "0", Later, [is(&broker::LOG_CLEANER_MIN_COMPACTION_LAG_MS)],
        "How long a record is safe from compaction.";
    MIN_INSYNC_REPLICAS "min.insync.replicas" Kind::Int(1, INT_MAX), "1", Now, [is(&broker::MIN_INSYNC_REPLICAS)],
        "How many in-sync replicas must hold a record before acks=all is answered; with fewer, producers are refused.";
    PREALLOCATE "preallocate" Kind::Boolean, "false", Now, [is(&broker::LOG_PREALLOCATE)],
        "Whether a new segment's file takes its full size at once.";
    REMOTE_COPY_LAG_BYTES "remote.copy.lag.bytes" Kind::Long(-1, LONG_MAX), "-1", Later, [],
        "How many bytes of a tiered partition may wait before they are copied to remote storage; -1 for no limit.";
    REMOTE_COPY_LAG_MS "remote.copy.lag.ms" Kind::Long(-1, LONG_MAX), "0", Later, [],
        "How long a rolled segment of a tiered partition may wait before it is copied to remote storage.";
    REMOTE_LOG_COPY_DISABLE "remote.log.copy.disable" Kind::Boolean, "false", Later, [],
        "Whether a tiered topic stops copying to remote storage and only reads what is there.";
    REMOTE_LOG_DELETE_ON_DISABLE "remote.log.delete.on.disable" Kind::Boolean, "false", Later, [],
        "Whether remote data is deleted when tiering is switched off for the topic.";
    REMOTE_STORAGE_ENABLE "remote.storage.enable" Kind::Boolean, "false", Later, [],
        "Whether old segments move to remote storage. Needs remote.log.storage.system.enable on the brokers.";
    RETENTION_BYTES "retention.bytes" Kind::Long(-1, LONG_MAX), "-1", Now, [is(&broker::LOG_RETENTION_BYTES)],
        "How large a partition may grow before its oldest segments are deleted; -1 for no limit.";
    RETENTION_MS "retention.ms" Kind::Long(-1, LONG_MAX), "604800000", Now, [is(&broker::LOG_RETENTION_MS), times(MINUTE_MS, &broker::LOG_RETENTION_MINUTES), times(HOUR_MS, &broker::LOG_RETENTION_HOURS)],
        "How long records are kept before their segments are deleted; -1 for ever.";
    SEGMENT_BYTES "segment.bytes" Kind::Int(1_048_576, INT_MAX), "1073741824", Now, [is(&broker::LOG_SEGMENT_BYTES)],
        "How large a segment grows before the next one begins; retention removes whole segments.";
    SEGMENT_INDEX_BYTES "segment.index.bytes" Kind::Int(4, INT_MAX), "10485760", Now, [is(&broker::LOG_INDEX_SIZE_MAX_BYTES)],
        "How large a segment's index may grow before the next segment begins.";
    SEGMENT_JITTER_MS "segment.jitter.ms" Kind::Long(0, LONG_MAX), "0", Now, [is(&broker::LOG_ROLL_JITTER_MS), times(HOUR_MS, &broker::LOG_ROLL_JITTER_HOURS)],
        "By how much at most a segment rolls earlier than segment.ms, so that not all roll at once.";
    SEGMENT_MS "segment.ms" Kind::Long(1, LONG_MAX), "604800000", Now, [is(&broker::LOG_ROLL_MS), times(HOUR_MS, &broker::LOG_ROLL_HOURS)],
        "After what time the next segment begins even when this one is not full.";
    UNCLEAN_LEADER_ELECTION_ENABLE "unclean.leader.election.enable" Kind::Boolean, "false", Now, [is(&broker::UNCLEAN_LEADER_ELECTION_ENABLE)],
        "Whether a replica that is behind may lead when no other is left. Records are lost then.";
}

/// The key of that name.
pub fn find(name: &str) -> Option<&'static TopicKey> {
    let at = ALL.binary_search_by(|known| known.key.name.cmp(name)).ok()?;
    ALL.get(at).copied()
}
