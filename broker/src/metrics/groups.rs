//! The series of consumer groups: how far behind each is, and what happened to their view.
//!
//! Owns their names and labels. A group always has its total; its partitions are shown where partitions are.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::groups::{Handle, Lag};

/// Committed offsets that one scrape looks at; of more the rest is left out.
const OFFSETS_MAX: usize = 50_000;

/// Writes everything about groups; `by_partition` as far as partitions are shown at all.
pub(super) fn encode(
    out: &mut DescriptorEncoder<'_>,
    groups: &Handle,
    by_partition: bool,
) -> Result<(), std::fmt::Error> {
    let lags = groups.lags(OFFSETS_MAX);
    let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
    for lag in &lags.entries {
        let total = totals.entry(lag.group.as_str()).or_default();
        *total = total.saturating_add(lag.records.unwrap_or_default());
    }
    let help = "Records that a group has not committed yet, over all partitions led by this broker";
    let mut family = out.encode_descriptor("group_lag", help, None, ConstGauge::new(0i64).metric_type())?;
    for (group, total) in totals {
        EncodeMetric::encode(&ConstGauge::new(total), family.encode_family(&[("group", group)])?)?;
    }
    if by_partition {
        let lag = "Records of a partition that a group has not committed yet";
        series(out, "group_partition_lag", lag, &lags.entries, |lag| lag.records)?;
        let committed = "Offset that a group has committed in a partition";
        series(out, "group_partition_committed_offset", committed, &lags.entries, |lag| Some(lag.committed.get()))?;
    }
    let counters = groups.counters();
    let bytes = ConstGauge::new(i64::try_from(counters.bytes.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
    let help = "Memory of the members of all groups that this broker coordinates";
    EncodeMetric::encode(
        &bytes,
        out.encode_descriptor("group_memory", help, Some(&Unit::Bytes), bytes.metric_type())?,
    )?;
    for (name, help, count) in [
        (
            "group_views_rebuilt",
            "Times that a shard's view of its groups was lost and built anew",
            &counters.views_rebuilt,
        ),
        (
            "group_records_skipped",
            "Records of __consumer_offsets that could not be understood",
            &counters.records_skipped,
        ),
        (
            "group_requests_without_room",
            "Members and groups that were refused because the memory for groups is used up",
            &counters.no_room,
        ),
        ("group_inbox_waits", "Group requests that found their owner's inbox full", &counters.inbox_full),
    ] {
        let counter = ConstCounter::new(count.load(Ordering::Relaxed));
        let encoder = out.encode_descriptor(name, help, None, counter.metric_type())?;
        EncodeMetric::encode(&counter, encoder)?;
    }
    Ok(())
}

fn series(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    lags: &[Lag],
    read: fn(&Lag) -> Option<i64>,
) -> Result<(), std::fmt::Error> {
    let mut family = out.encode_descriptor(name, help, None, ConstGauge::new(0i64).metric_type())?;
    for lag in lags {
        let Some(value) = read(lag) else { continue };
        let partition = lag.partition.to_string();
        let labels = [("group", lag.group.as_str()), ("topic", lag.topic.as_str()), ("partition", partition.as_str())];
        EncodeMetric::encode(&ConstGauge::new(value), family.encode_family(&labels)?)?;
    }
    Ok(())
}
