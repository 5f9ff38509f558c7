//! `Topic`: a topic of a cluster as its owner declares it.
//!
//! Owns the fields and the rules that the API server holds (immutable names, partitions that never shrink). What a
//! declaration means for a topic that exists is decided where it is applied, by the three policies here.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{ClusterRef, Condition};
use crate::value::ConfigValue;

/// What the owner of a topic wants it to be.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    shortname = "otp",
    category = "ottla",
    status = "TopicStatus",
    derive = "PartialEq",
    doc = "A topic of a Cluster.",
    validation = Rule::new("(has(self.spec.topicName) ? self.spec.topicName : self.metadata.name) == (has(oldSelf.spec.topicName) ? oldSelf.spec.topicName : oldSelf.metadata.name)")
        .message("topicName is immutable"),
    validation = Rule::new("has(self.spec.topicName) || size(self.metadata.name) <= 249")
        .message("a topic name has at most 249 characters: set spec.topicName"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".spec.partitions"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".spec.topicName", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TopicSpec {
    /// The Cluster that holds the topic: one of the same namespace. Immutable.
    pub cluster_ref: ClusterRef,
    /// The topic's name in Kafka, where it may hold characters that Kubernetes refuses. Immutable. Absent: the
    /// name of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self != '.' && self != '..'", "message": "a topic cannot be named . or .."},
    ]))]
    pub topic_name: Option<String>,
    /// How many partitions the topic has. May grow, never shrink.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self >= oldSelf", "message": "partitions may not shrink"},
    ]))]
    pub partitions: i32,
    /// How many brokers hold each record. Absent: the cluster's `default.replication.factor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32767))]
    pub replicas: Option<i32>,
    /// Kafka's topic configs, by their own names; each value a string, a number or a bool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, ConfigValue>,
    /// What happens to the topic and its records when this resource is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Whether a topic that exists already may be taken over.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// What happens when the topic was changed by other means.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
}

fn one() -> i32 {
    1
}

impl Topic {
    /// The topic's name in Kafka.
    pub fn topic_name(&self) -> &str {
        self.spec.topic_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}

/// What deleting a Topic does to the topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The topic and its records stay.
    #[default]
    Retain,
    /// The topic and its records are deleted.
    Delete,
}

/// Whether a declaration may take over a topic that it did not create.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// Never; the resource stays not Ready.
    Never,
    /// Only if partitions, replicas and configs are those that are declared.
    #[default]
    IfIdentical,
    /// Always; differences are then a matter of `driftPolicy`.
    Always,
}

/// What is done about a topic that no longer is what its resource declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// It is changed back.
    #[default]
    Correct,
    /// It is reported in `status.drift` and left alone.
    Report,
}

/// What the topic is, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The generation of `spec` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The topic's id; another one after it was deleted and created again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// How many partitions the topic has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// How many brokers hold each record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Where the topic differs from `spec`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"]))]
    pub drift: Vec<Drift>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One difference between a topic and its declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The field or config key that differs.
    pub field: String,
    /// What `spec` declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// What the topic has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}
