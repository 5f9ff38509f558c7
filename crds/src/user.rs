//! `User`: a client's identity, what it may do and how much of the cluster it may use.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{ClusterRef, Condition, SecretKeyRef, SecretRef};
use crate::value::{Duration, Quantity};

/// What the owner of a user wants it to be.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::duplicated_attributes, reason = "printer columns have types in common")]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "User",
    namespaced,
    shortname = "ous",
    category = "ottla",
    status = "UserStatus",
    derive = "PartialEq",
    doc = "A client of a Cluster: its credentials, permissions and quotas.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Authentication", type_ = "string", json_path = ".spec.authentication.type"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secret"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct UserSpec {
    /// The Cluster that the user is a client of: one of the same namespace. Immutable.
    pub cluster_ref: ClusterRef,
    /// How the user proves who it is.
    pub authentication: Authentication,
    /// What the user may do, and may not do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub acls: Vec<Acl>,
    /// How much of the cluster the user may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// The Secret that a client mounts: bootstrap.servers, username, password, ca.crt and client.properties.
    /// Absent: a Secret of the user's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

/// How a user proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// The mechanism.
    #[serde(rename = "type")]
    pub kind: AuthenticationType,
    /// Where a password that was chosen elsewhere stands. Absent: one is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_from: Option<SecretKeyRef>,
    /// How often a drawn password or certificate is replaced. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_every: Option<Duration>,
}

/// The mechanisms by which a user can prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthenticationType {
    /// A password, never sent, hashed with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A password, never sent, hashed with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// A client certificate of the cluster's own authority.
    #[serde(rename = "TLS")]
    Tls,
    /// Credentials that are managed elsewhere; only permissions and quotas are applied.
    External,
}

/// One permission or prohibition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acl {
    /// What it is about.
    pub resource: AclResource,
    /// What is allowed or denied.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub operations: Vec<AclOperation>,
    /// The address that the client connects from; `*` is any.
    #[serde(default = "any_host")]
    pub host: String,
    /// Whether it allows or denies; a denial wins.
    #[serde(default)]
    pub effect: AclEffect,
}

fn any_host() -> String {
    "*".to_owned()
}

/// What a permission is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AclResource {
    /// The kind of thing.
    #[serde(rename = "type")]
    pub kind: AclResourceType,
    /// Its name, or the beginning of its name; `*` is any. Not used for the Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether `name` is the whole name or its beginning.
    #[serde(default, rename = "match")]
    pub matching: AclMatch,
}

/// The kinds of things that permissions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AclResourceType {
    /// Topics.
    Topic,
    /// Consumer groups.
    Group,
    /// The cluster itself.
    Cluster,
    /// Transactional ids of producers.
    TransactionalId,
}

/// How the name of a permission's resource is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AclMatch {
    /// The whole name.
    #[default]
    Literal,
    /// The beginning of the name.
    Prefix,
}

/// What a permission allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AclOperation {
    /// Every operation.
    All,
    /// Fetch records, join a group, commit offsets.
    Read,
    /// Produce records.
    Write,
    /// Create topics.
    Create,
    /// Delete topics, groups or records.
    Delete,
    /// Add partitions.
    Alter,
    /// See that it exists and what it is.
    Describe,
    /// Act as a broker.
    ClusterAction,
    /// See configs.
    DescribeConfigs,
    /// Change configs.
    AlterConfigs,
    /// Produce idempotently.
    IdempotentWrite,
}

/// Whether an entry allows or denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AclEffect {
    /// It allows.
    #[default]
    Allow,
    /// It denies.
    Deny,
}

/// How much of the cluster a user may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Bytes that it may produce in a second, per broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub produce_bytes_per_second: Option<Quantity>,
    /// Bytes that it may consume in a second, per broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consume_bytes_per_second: Option<Quantity>,
    /// Share of a broker's request threads, in percent of one thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub request_percentage: Option<i32>,
}

/// What the user is, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// The generation of `spec` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The principal's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The Secret that holds the client's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When the credentials stop working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_expire_at: Option<String>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
