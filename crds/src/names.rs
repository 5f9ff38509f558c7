//! Labels, annotations and ports of a cluster's objects that more than the operator relies on: people, scripts, dashboards,
//! `kubectl ottla`.
//!
//! Owns every such word once. None of them may change between versions.

pub use crate::metadata_shard::CLUSTER_LABEL;

/// The label that names a broker's pool.
pub const POOL_LABEL: &str = "ottla.dev/pool";
/// The label that names a broker.
pub const BROKER_LABEL: &str = "ottla.dev/broker-id";
/// On Pods: the checksum of the part of what the Pod was made from that the Cluster's owner declared.
pub const DECLARED: &str = "ottla.dev/declared";
/// By people. On a Cluster: every new value has its brokers restarted once. On a Pod: any value has that one restarted; the
/// Pod that follows it does not have it.
pub const RESTART: &str = "ottla.dev/restart";
/// On Pods: the value of [`RESTART`] that their Cluster had when they were made.
pub const RESTARTED: &str = "ottla.dev/restarted";
/// On a Cluster or a Topic, by people: while it is `true` nothing is changed.
pub const PAUSE: &str = "ottla.dev/pause";
/// On a Cluster, by people: while it is `true` no broker runs; everything else stays.
pub const HIBERNATE: &str = "ottla.dev/hibernate";

/// The container of a Pod in which the broker runs.
pub const CONTAINER: &str = "broker";
/// Where probes and scrapers ask.
pub const HTTP_PORT: u16 = 9644;
/// The listener of a cluster that declares none.
pub const DEFAULT_PORT: i32 = 9092;
