//! The broker configs that the coordinator obeys, with Kafka's defaults.

use std::time::Duration;

/// Settings of the group coordinator.
#[derive(Clone, Debug)]
pub struct Config {
    /// `group.min.session.timeout.ms`
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`
    pub members_max: usize,
    /// How long a new member may wait in its first join before it is taken for gone (Kafka: five minutes, fixed).
    pub new_member_join_timeout: Duration,
    /// `offset.metadata.max.bytes`, counted in UTF-16 units as Kafka counts it.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub expiry_interval: Duration,
    /// Pending members (told their id, not joined yet) of one group; more are refused as if the group were full.
    pub pending_members_max: usize,
    /// Records in one append of tombstones; a longer list becomes several appends.
    pub tombstones_per_append: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay: Duration::from_millis(3_000),
            members_max: i32::MAX as usize,
            new_member_join_timeout: Duration::from_secs(300),
            offset_metadata_max: 4_096,
            offsets_retention: Duration::from_secs(10_080 * 60),
            expiry_interval: Duration::from_secs(600),
            pending_members_max: 4_096,
            tombstones_per_append: 1_000,
        }
    }
}
