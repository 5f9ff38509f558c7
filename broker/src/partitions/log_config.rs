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

#[cfg(test)]
mod tests {
    use ottla_core::config::{BrokerConfig, TopicConfig};
    use ottla_core::metadata::ExplicitConfig;

    use super::of;

    #[test]
    fn the_broker_s_producer_expiry_reaches_every_log() {
        let under = |value: &str| {
            let file = [("producer.id.expiration.ms".to_owned(), value.to_owned())].into();
            let (broker, _) = BrokerConfig::from_file(file).unwrap();
            of(&TopicConfig::resolve(&ExplicitConfig::new(), &broker, false)).producer_expiration_ms
        };
        assert_eq!(under("5000"), 5_000);
        assert_eq!(of(&TopicConfig::default()).producer_expiration_ms, 86_400_000);
    }
}
