//! `MetadataShard`: one document of a cluster's metadata, as brokers keep it in Kubernetes.
//!
//! Owns the object around the document, nothing of what is in it: brokers read and write `content` whole, by
//! compare-and-swap on the object's resource version. People look at it, and never edit it; no manifest declares one.

use k8s_openapi::ByteString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps a document when somebody deletes it: brokers alone take it off, when the whole cluster goes.
pub const FINALIZER: &str = "ottla.dev/metadata";
/// The label that names the cluster of a document.
pub const CLUSTER_LABEL: &str = "ottla.dev/cluster";

/// A document of a cluster's metadata.
#[expect(clippy::duplicated_attributes, reason = "printer columns have types in common")]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "MetadataShard",
    namespaced,
    shortname = "oms",
    category = "ottla",
    derive = "PartialEq",
    doc = "A document of a Cluster's metadata, written by its brokers only.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Document", type_ = "string", json_path = ".spec.document"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MetadataShardSpec {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the document within the cluster's metadata.
    pub document: String,
    /// The document: a checksummed envelope around compressed protobuf.
    #[schemars(with = "String")]
    pub content: ByteString,
}
