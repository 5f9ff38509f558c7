//! What nodes say of their addresses: outside, clients may know a node by another one than the Pods on it do.
//!
//! Owns the look at nodes. It looks only where clients connect to nodes. Nodes belong to the whole Kubernetes cluster: for an
//! operator that may not read them, the address that a Pod says its node has is the one. Must never write.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::Api;
use ottla_crds::Cluster;

use super::desired::listeners;
use super::kind::Kind;
use super::observed::Observed;
use super::outside::{by_node, node_address};

/// The address of every node that a broker of `cluster` runs on, by its name. Those that cannot be read are left out.
pub(super) async fn addresses(client: &Client, cluster: &Cluster, observed: &Observed) -> BTreeMap<String, String> {
    if !listeners(cluster).iter().any(by_node) {
        return BTreeMap::new();
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let names: BTreeSet<&str> =
        observed.of(Kind::Pod).filter_map(|(_, pod)| pod["spec"]["nodeName"].as_str()).collect();
    let read = names.into_iter().map(|name| {
        let nodes = nodes.clone();
        async move {
            let found = nodes.get_opt(name).await;
            let found = found.inspect_err(|error| tracing::debug!(node = name, %error, "look at a node's addresses"));
            let node = serde_json::to_value(found.ok()??).ok()?;
            Some((name.to_owned(), node_address(&node)?))
        }
    });
    join_all(read).await.into_iter().flatten().collect()
}
