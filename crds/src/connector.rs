//! `Connector`: a job that moves records between a cluster and another system.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{ClusterRef, Condition, SecretRef};

/// What the owner of a connector wants it to do.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::duplicated_attributes, reason = "printer columns have types in common")]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "Connector",
    namespaced,
    shortname = "ocn",
    category = "ottla",
    status = "ConnectorStatus",
    derive = "PartialEq",
    doc = "A job that moves records between a Cluster and another system.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.restarts"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorSpec {
    /// The Cluster that the connector reads or writes: one of the same namespace. Immutable.
    pub cluster_ref: ClusterRef,
    /// Which connector it is, such as `postgres-source`.
    #[schemars(length(min = 1))]
    pub class: String,
    /// How many tasks may share the work.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub tasks_max: i32,
    /// The connector's own configuration, checked against the connector's own schema.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Secrets that `config` may take values from, written `${secret:NAME/KEY}`. There is no other way to a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secrets_from: Vec<SecretRef>,
    /// The User that the connector acts as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ref: Option<UserRef>,
    /// Whether the connector should work.
    #[serde(default)]
    pub state: DesiredState,
    /// What happens when a task fails.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// What happens to records that cannot be handled.
    #[serde(default)]
    pub errors: Errors,
    /// Where the connector goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Offsets>,
}

fn one() -> i32 {
    1
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A User of the same namespace, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRef {
    /// Name of the User.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whether a connector should work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    /// It works.
    #[default]
    Running,
    /// Its tasks stay assigned and do nothing.
    Paused,
    /// It has no tasks.
    Stopped,
}

/// What happens when a task fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartPolicy {
    /// When a task is started again.
    #[serde(default)]
    pub mode: RestartMode,
    /// How many failures in a row are one too many.
    #[serde(default = "ten")]
    #[schemars(range(min = 0))]
    pub backoff_limit: i32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { mode: RestartMode::default(), backoff_limit: ten() }
    }
}

fn ten() -> i32 {
    10
}

/// When a failed task is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartMode {
    /// After each failure, each time later.
    #[default]
    OnFailure,
    /// Never.
    Never,
}

/// What happens to records that cannot be handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Errors {
    /// How many of them are tolerated.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// The topic that takes those that are tolerated. Absent or empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dead_letter_topic: String,
}

/// How many records that cannot be handled are tolerated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Tolerance {
    /// None: the task fails.
    #[default]
    None,
    /// All: they are skipped, or sent to `deadLetterTopic`.
    All,
}

/// Where a connector goes on from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Offsets {
    /// The position to go back to or ahead to, in the connector's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_to: Option<String>,
    /// A new value moves the connector to `resetTo`, once.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reset_token: String,
}

/// What the connector does, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorStatus {
    /// The generation of `spec` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the connector does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub tasks: Vec<Task>,
    /// How often tasks were started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<i32>,
    /// How many records went to the dead-letter topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One task of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its number, counted from 0.
    pub id: i32,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Records that it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_in: Option<i64>,
    /// Records that it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_out: Option<i64>,
    /// How many records it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Why it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
