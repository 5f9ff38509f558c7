//! From a topic's configuration to what its log needs of it.
//!
//! Owns the translation, nothing else.

use ottla_core::config::{TimestampType, TopicConfig};
use ottla_log::config::{LogConfig, TimestampType as LogTimestampType};

/// What the log of a topic with `config` works with.
pub(super) fn of(config: &TopicConfig) -> LogConfig {
    let unsigned = |number: i32| u32::try_from(number).unwrap_or(0);
    LogConfig {
        segment_bytes: unsigned(config.segment_bytes),
        segment_ms: config.segment_ms,
        segment_jitter_ms: config.segment_jitter_ms,
        segment_index_bytes: unsigned(config.segment_index_bytes),
        index_interval_bytes: unsigned(config.index_interval_bytes),
        preallocate: config.preallocate,
        delete: config.cleanup_policy.delete,
        compact: config.cleanup_policy.compact,
        retention_ms: config.retention_ms.unwrap_or(-1),
        retention_bytes: config.retention_bytes.unwrap_or(-1),
        // Whatever opted the topic out, the log knows one switch.
        flush_messages: if config.durable_acks { 1 } else { config.flush_messages.max(2) },
        flush_ms: config.flush_ms.unwrap_or(i64::MAX),
        max_message_bytes: unsigned(config.max_message_bytes),
        timestamp_type: match config.message_timestamp_type {
            TimestampType::CreateTime => LogTimestampType::CreateTime,
            TimestampType::LogAppendTime => LogTimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        producer_expiration_ms: config.producer_id_expiration_ms,
    }
}
