//! What is looked up in the broker when somebody scrapes.
//!
//! Owns the series of the data directory, the budgets, partitions and groups. Visits every partition only where
//! `ottla.metrics.partitions` allows it. Must never hold a lock across a series.

use std::sync::Weak;

use ottla_core::config::broker;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{groups, replication};
use crate::node::Node;
use crate::server::admission::Budget;

/// Up to so many partitions have series of their own unless the configuration says otherwise.
const PARTITION_SERIES_MAX: usize = 1000;

/// Looks things up in a node that may be gone.
#[derive(Debug)]
pub(super) struct NodeCollector {
    node: Weak<Node>,
}

impl NodeCollector {
    /// Looks at `node`.
    pub(super) fn new(node: Weak<Node>) -> Self {
        Self { node }
    }
}

impl Collector for NodeCollector {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(node) = self.node.upgrade() else { return Ok(()) };
        gauge(&mut out, "connections", "Open client connections", node.connections.len())?;
        gauge(&mut out, "fetch_sessions", "Incremental fetch sessions in use", node.fetch_sessions.len())?;
        budgets(&mut out, &[("request", &node.request_budget), ("fetch", &node.fetch_budget)])?;
        let waits = ConstCounter::new(node.cold_reads.waits());
        let help = "Requests that waited for others to finish reading from disk";
        EncodeMetric::encode(&waits, out.encode_descriptor("cold_read_waits", help, None, waits.metric_type())?)?;
        certificate(&mut out, &node)?;
        directory(&mut out, &node)?;
        let by_partition = shows_partitions(&node);
        if by_partition {
            partitions(&mut out, &node)?;
        }
        replication::encode(&mut out, &node)?;
        groups::encode(&mut out, &node.groups, by_partition)
    }
}

fn shows_partitions(node: &Node) -> bool {
    match node.config.values().text(&broker::OTTLA_METRICS_PARTITIONS) {
        Some("true") => true,
        Some("false") => false,
        Some(_) | None => node.partitions.len() <= PARTITION_SERIES_MAX,
    }
}

fn budgets(out: &mut DescriptorEncoder<'_>, budgets: &[(&str, &Budget)]) -> Result<(), std::fmt::Error> {
    type Gauge = fn(&Budget) -> usize;
    let gauges: [(&str, &str, Gauge); 2] = [
        ("memory_budget_used", "Bytes of a memory budget in use", Budget::used),
        ("memory_budget_total", "Bytes of a memory budget", Budget::total),
    ];
    for (name, help, read) in gauges {
        let mut family = out.encode_descriptor(name, help, Some(&Unit::Bytes), ConstGauge::new(0i64).metric_type())?;
        for (budget, of) in budgets {
            let value = ConstGauge::new(i64::try_from(read(of)).unwrap_or(i64::MAX));
            EncodeMetric::encode(&value, family.encode_family(&[("budget", *budget)])?)?;
        }
    }
    type Count = fn(&Budget) -> u64;
    let counters: [(&str, &str, Count); 2] = [
        ("memory_budget_waits", "Requests that had to wait for a memory budget", Budget::hits),
        ("memory_budget_oversized", "Requests admitted alone, above a memory budget", Budget::oversized),
    ];
    for (name, help, read) in counters {
        let mut family = out.encode_descriptor(name, help, None, ConstCounter::new(0u64).metric_type())?;
        for (budget, of) in budgets {
            EncodeMetric::encode(&ConstCounter::new(read(of)), family.encode_family(&[("budget", *budget)])?)?;
        }
    }
    Ok(())
}

/// A broker without a certificate has the metric and no series of it, so that whoever reads learns that there is such a thing.
fn certificate(out: &mut DescriptorEncoder<'_>, node: &Node) -> Result<(), std::fmt::Error> {
    let help = "When the certificate that is shown to other brokers expires, in seconds since the Unix epoch";
    let kind = ConstGauge::new(0i64).metric_type();
    let family = out.encode_descriptor("certificate_expiry", help, Some(&Unit::Seconds), kind)?;
    match node.credentials.newest() {
        Some(material) => EncodeMetric::encode(&ConstGauge::new(material.leaf_expires), family),
        None => Ok(()),
    }
}

fn directory(out: &mut DescriptorEncoder<'_>, node: &Node) -> Result<(), std::fmt::Error> {
    let status = node.log.status();
    gauge(out, "partitions", "Partitions in the data directory", status.partitions)?;
    gauge(out, "log_open_files", "Open segment files", status.open_files)?;
    bytes(out, "log_tail_cache", "Recent batches in memory", status.tail_bytes as u64)?;
    bytes(out, "log_pending", "Batches in memory that no segment has yet", status.pending_bytes as u64)?;
    bytes(out, "log_unflushed", "Bytes in segments that only the journal keeps from a crash", status.unflushed_bytes)?;
    gauge(out, "log_damaged_ranges", "Ranges of offsets that are damaged on disk", status.damaged_ranges)?;
    // Not what the log says of itself: the copies of the metadata may be the first that cannot be written.
    let offline = usize::from(node.partitions.offline_reason().is_some());
    gauge(out, "log_offline", "1 once the data directory takes no writes any more", offline)?;
    if let Some(space) = node.log.space() {
        bytes(out, "disk_free", "Free bytes of the data directory's file system", space.free)?;
        bytes(out, "disk_total", "Bytes of the data directory's file system", space.total)?;
    }
    let counters = |out: &mut DescriptorEncoder<'_>, group: &str, values: Vec<(&'static str, u64)>| {
        for (name, value) in values {
            let full = format!("{group}_{name}");
            let help = format!("Counter {name} of the {group} since the start");
            let counter = ConstCounter::new(value);
            let encoder = out.encode_descriptor(&full, &help, None, counter.metric_type())?;
            EncodeMetric::encode(&counter, encoder)?;
        }
        Ok::<(), std::fmt::Error>(())
    };
    if let Some(journal) = node.log.journal_stats() {
        counters(out, "journal", journal.read())?;
    }
    counters(out, "store", node.log.stats().read())?;
    counters(out, "disk", node.log.disk().stats().read())
}

fn partitions(out: &mut DescriptorEncoder<'_>, node: &Node) -> Result<(), std::fmt::Error> {
    let replicas = node.partitions.all();
    type Read = fn(&crate::partitions::Replica) -> i64;
    let series: [(&str, &str, Option<&Unit>, Read); 4] = [
        ("partition_log_start_offset", "First offset of a partition", None, |r| r.log.log_start().get()),
        ("partition_log_end_offset", "Offset after the last record of a partition", None, |r| r.log.log_end().get()),
        ("partition_high_watermark", "Consumers see the records before this offset", None, |r| {
            r.high_watermark().get()
        }),
        ("partition_size", "Bytes of a partition", Some(&Unit::Bytes), |r| signed(r.log.size_bytes())),
    ];
    for (name, help, unit, read) in series {
        let mut family = out.encode_descriptor(name, help, unit, ConstGauge::new(0i64).metric_type())?;
        for replica in &replicas {
            let index = replica.log.id().partition.to_string();
            let labels = [("topic", replica.log.name()), ("partition", index.as_str())];
            EncodeMetric::encode(&ConstGauge::new(read(replica)), family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

pub(super) fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: usize,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let encoder = out.encode_descriptor(name, help, None, gauge.metric_type())?;
    EncodeMetric::encode(&gauge, encoder)
}

fn bytes(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(signed(value));
    let encoder = out.encode_descriptor(name, help, Some(&Unit::Bytes), gauge.metric_type())?;
    EncodeMetric::encode(&gauge, encoder)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
