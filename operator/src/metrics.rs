//! What the operator counts.
//!
//! Owns the names of the series. Must never have a series per object: their number is bounded by the kinds and results.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: String,
    verb: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Done {
    controller: String,
    result: String,
}

/// The series; clones count into the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    leader: Gauge,
    writes: Family<Write, Counter>,
    reconciles: Family<Done, Counter>,
    seconds: Histogram,
    lag: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ottla_operator");
        let (leader, writes, reconciles) = (Gauge::default(), Family::default(), Family::default());
        let seconds = Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0]);
        let lag = Gauge::<f64, AtomicU64>::default();
        registry.register("leader", "1 while this replica is the one that acts", leader.clone());
        registry.register("api_writes", "Writes sent to the API server", writes.clone());
        registry.register("reconciles", "Reconciles that came to an end", reconciles.clone());
        registry.register("reconcile_seconds", "How long a reconcile took", seconds.clone());
        registry.register("lease_age_seconds", "How long ago the lease was last looked at", lag.clone());
        Self { registry: Arc::new(registry), leader, writes, reconciles, seconds, lag }
    }
}

impl Metrics {
    /// Whether this replica is the one that acts.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A write was sent.
    pub fn wrote(&self, kind: &str, verb: &str) {
        self.writes.get_or_create(&Write { kind: kind.to_owned(), verb: verb.to_owned() }).inc();
    }

    /// A reconcile came to an end: `ok`, `refused` or `error`.
    pub fn reconciled(&self, controller: &str, result: &str, took: Duration) {
        self.reconciles.get_or_create(&Done { controller: controller.to_owned(), result: result.to_owned() }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// The series as a scraper reads them.
    ///
    /// # Errors
    /// When they cannot be written as text.
    pub fn encode(&self, lease_age: Duration) -> Result<String, std::fmt::Error> {
        self.lag.set(lease_age.as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
