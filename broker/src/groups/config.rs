//! From the broker's configuration to the machine's.

use std::time::Duration;

use ottla_core::config::{BrokerConfig, Key, broker};
use ottla_core::group::Config;

/// What the keys of `config` say to the coordinator.
pub(super) fn coordinator(config: &BrokerConfig) -> Config {
    let long = |key: &'static Key| config.long(key).and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
    let size = |key: &'static Key| usize::try_from(config.int(key)).unwrap_or_default();
    Config {
        session_timeout_ms_min: config.int(&broker::GROUP_MIN_SESSION_TIMEOUT_MS),
        session_timeout_ms_max: config.int(&broker::GROUP_MAX_SESSION_TIMEOUT_MS),
        initial_rebalance_delay: Duration::from_millis(long(&broker::GROUP_INITIAL_REBALANCE_DELAY_MS)),
        members_max: size(&broker::GROUP_MAX_SIZE),
        offset_metadata_max: size(&broker::OFFSET_METADATA_MAX_BYTES),
        offsets_retention: Duration::from_secs(long(&broker::OFFSETS_RETENTION_MINUTES).saturating_mul(60)),
        expiry_interval: Duration::from_millis(long(&broker::OFFSETS_RETENTION_CHECK_INTERVAL_MS).max(1)),
        ..Config::default()
    }
}
