//! `Cluster`: brokers that share topics, as their owner declares them.
//!
//! Owns the whole of `spec`; pools, listeners and status have files of their own. Defaults stand here and nowhere else,
//! so that the API server, the operator and `ottla dev` agree on them.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{ConfigValue, Duration, Quantity};

mod listener;
mod pool;
mod status;

pub use listener::{Bootstrap, BrokerTemplate, IssuerRef, Listener, ListenerAuthentication, ListenerTls, ListenerType};
pub use pool::{PodTemplate, Pool, Storage, Volume};
pub use status::{
    ClusterStatus, ControllerStatus, ListenerStatus, OperationStatus, PartitionsStatus, PoolStatus, VersionStatus,
};

/// What the owner of a cluster wants it to be.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    shortname = "ocl",
    category = "ottla",
    status = "ClusterStatus",
    derive = "PartialEq",
    doc = "A cluster of Ottla brokers.",
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("a Cluster's name has at most 40 characters: names of Pods and Services begin with it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version.current"),
    printcolumn(name = "Offline", type_ = "integer", json_path = ".status.partitions.offline", description = "Partitions without a leader"),
    printcolumn(name = "Under-replicated", type_ = "integer", json_path = ".status.partitions.underReplicated"),
    printcolumn(name = "Operation", type_ = "string", json_path = ".status.operation.kind"),
    printcolumn(name = "Controller", type_ = "integer", json_path = ".status.controller.broker", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Version of the broker image. Absent: stay on what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub version: Option<String>,
    /// Groups of equal brokers; the sum of their replicas is the cluster's size.
    #[schemars(length(min = 1, max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pools: Vec<Pool>,
    /// Where clients connect. Absent: one internal plaintext listener on port 9092.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"], "x-kubernetes-validations" = [
        {"rule": "self.all(a, self.exists_one(b, b.port == a.port))", "message": "two listeners have the same port"},
    ]))]
    pub listeners: Vec<Listener>,
    /// Kafka's broker configs, by their own names; each value a string, a number or a bool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, ConfigValue>,
    /// Whether permissions are checked, and who stands above them.
    #[serde(default)]
    pub authorization: Authorization,
    /// How a new version or a new spec reaches the brokers.
    #[serde(default)]
    pub updates: Updates,
    /// When replicas are moved so that brokers carry equal load.
    #[serde(default)]
    pub rebalance: Rebalance,
    /// What is done about a broker that does not come back.
    #[serde(default)]
    pub repair: Repair,
    /// What happens to the volumes when this resource is deleted.
    #[serde(default)]
    pub volumes: Volumes,
    /// Who may reach the brokers' ports.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
}

/// Whether permissions are checked, and who stands above them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Whether a client may only do what its User's acls allow.
    #[serde(default)]
    pub enabled: bool,
    /// Principals that may do everything, such as `User:admin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub super_users: Vec<String>,
}

/// How a new version or a new spec reaches the brokers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Updates {
    /// When brokers may be restarted.
    #[serde(default)]
    pub policy: UpdatePolicy,
    /// When brokers may be restarted, if the policy is `InWindow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<UpdateWindow>,
    /// How many brokers get a change first and are watched before the others follow.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub canary: i32,
    /// How many brokers of one zone may be down for an update at a time.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub max_unavailable_per_zone: i32,
}

impl Default for Updates {
    fn default() -> Self {
        Self { policy: UpdatePolicy::default(), windows: Vec::new(), canary: one(), max_unavailable_per_zone: one() }
    }
}

fn one() -> i32 {
    1
}

/// When brokers may be restarted for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdatePolicy {
    /// At any time.
    #[default]
    Automatic,
    /// Within `windows`.
    InWindow,
    /// When a person asks, by the annotation `ottla.dev/restart`.
    Manual,
}

/// A span of time in which brokers may be restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateWindow {
    /// When it begins, as a CronJob's schedule: minute, hour, day, month, weekday.
    #[schemars(length(min = 1))]
    pub schedule: String,
    /// How long it lasts.
    pub duration: Duration,
    /// The time zone of `schedule`, such as `Europe/Prague`. Absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// When replicas are moved so that brokers carry equal load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rebalance {
    /// When.
    #[serde(default)]
    pub mode: RebalanceMode,
    /// How many bytes per second a broker may spend on it.
    #[serde(default = "default_throttle")]
    pub throttle: Quantity,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self { mode: RebalanceMode::default(), throttle: default_throttle() }
    }
}

fn default_throttle() -> Quantity {
    Quantity::parse("50Mi").expect("a quantity")
}

/// When replicas are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RebalanceMode {
    /// Never.
    Off,
    /// When brokers come or go.
    #[default]
    OnScale,
    /// Whenever the load is uneven.
    Continuous,
}

/// What is done about a broker that does not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// How long a broker may be gone before its replicas are built again elsewhere.
    #[serde(default = "default_replace_after")]
    pub replace_lost_after: Duration,
}

impl Default for Repair {
    fn default() -> Self {
        Self { replace_lost_after: default_replace_after() }
    }
}

fn default_replace_after() -> Duration {
    Duration::parse("30m").expect("a duration")
}

/// What happens to the volumes when the Cluster is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volumes {
    /// Whether the volumes stay or go.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// Whether volumes stay or go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// They stay, with every record.
    #[default]
    Retain,
    /// They go.
    Delete,
}

/// Who may reach the brokers' ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkPolicy {
    /// Whether ports that no client needs are closed to everyone but the cluster's own Pods.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { enabled: yes() }
    }
}

fn yes() -> bool {
    true
}
