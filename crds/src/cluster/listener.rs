//! Listeners: the addresses that clients connect to, and what they must show there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.type == 'Internal' || self.insecure || (has(self.tls) && has(self.authentication) && size(self.authentication) > 0)",
        "message": "a listener that is not Internal needs tls and authentication, or insecure: true",
    },
]))]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Name of the listener; part of the names of its Services.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// The port that each broker listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// How clients reach it.
    #[serde(default, rename = "type")]
    pub kind: ListenerType,
    /// Its presence encrypts the listener. With neither field set, the certificates are the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// How clients may prove who they are. Absent: they need not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub authentication: Vec<ListenerAuthentication>,
    /// The address of the whole cluster, for a client's first connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// The address of each broker, made from its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_template: Option<BrokerTemplate>,
    /// Allows a listener that is not Internal to go without TLS or without authentication. The Cluster then carries
    /// the condition Insecure.
    #[serde(default)]
    pub insecure: bool,
}

/// How clients reach a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ListenerType {
    /// Within the Kubernetes cluster.
    #[default]
    Internal,
    /// On a port of every node.
    NodePort,
    /// Through load balancers.
    LoadBalancer,
}

/// Where a listener's certificates come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.secretName) && has(self.issuerRef))", "message": "secretName and issuerRef exclude each other"},
]))]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// A Secret with tls.crt and tls.key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// An issuer of cert-manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its kind.
    #[serde(default = "issuer")]
    pub kind: String,
    /// Its API group.
    #[serde(default = "cert_manager")]
    pub group: String,
}

fn issuer() -> String {
    "Issuer".to_owned()
}

fn cert_manager() -> String {
    "cert-manager.io".to_owned()
}

/// How clients of a listener may prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ListenerAuthentication {
    /// A password, never sent, hashed with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A password, never sent, hashed with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// A password, sent as it is.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A token of an OAuth server.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
    /// A client certificate.
    #[serde(rename = "TLS")]
    Tls,
}

/// The address of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bootstrap {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
}

/// The address of each broker, made from its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerTemplate {
    /// Host name or address; `{id}` stands for the broker's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// Port that clients are told. Absent: the node port of the broker's Service, or with a load balancer the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Annotations of the broker's Service, such as those that external-dns reads; `{id}` as in `host`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
