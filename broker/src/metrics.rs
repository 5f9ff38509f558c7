//! What the broker counts, and /metrics.
//!
//! Owns the registry: every series, its name, unit and help text. `docs/metrics.md` is generated from it.
//! Counting costs an atomic addition; everything that can be looked up is looked up when somebody asks.

mod collector;
mod groups;
mod replication;

use std::sync::Weak;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::node::Node;
use crate::server::connection::End;
use crate::server::table::TABLE;

/// Seconds; from a fetch that finds its records in memory to one that waits.
const LATENCY_BUCKETS: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Every metric of a broker.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    latencies: Vec<Histogram>,
    connection_ends: Family<ReasonLabel, Counter>,
}

impl Metrics {
    /// A registry with everything that is counted from the start.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ottla");
        let by_api = Family::<ApiLabel, Histogram>::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS));
        let latencies = TABLE.iter().map(|row| by_api.get_or_create_owned(&ApiLabel { api: row.key.name() })).collect();
        registry.register_with_unit(
            "request_duration",
            "Time from reading a request to its answer being ready, by API; its count is the number of requests",
            Unit::Seconds,
            by_api,
        );
        let connection_ends = Family::<ReasonLabel, Counter>::default();
        registry.register("connections_closed", "Connections that ended, by reason", connection_ends.clone());
        Self { registry: Mutex::new(registry), latencies, connection_ends }
    }

    /// Adds what is looked up in `node` when somebody asks.
    pub fn observe(&self, node: Weak<Node>) {
        self.registry.lock().register_collector(Box::new(collector::NodeCollector::new(node)));
    }

    /// Counts a request of the API at `index` of the table.
    pub fn served(&self, index: usize, took: Duration) {
        if let Some(latency) = self.latencies.get(index) {
            latency.observe(took.as_secs_f64());
        }
    }

    /// Counts the end of a connection.
    pub fn connection_ended(&self, end: &End) {
        let reason = match end {
            End::Peer => "peer",
            End::Shutdown => "shutdown",
            End::Idle(_) => "idle",
            End::Frame(_) => "frame",
            End::Refused(_) => "refused",
            End::Stalled { .. } => "stalled",
            End::Unread(_) => "unread",
            End::Write(_) => "write",
        };
        self.connection_ends.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Everything, in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a collector fails to write itself; none does on a string.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
