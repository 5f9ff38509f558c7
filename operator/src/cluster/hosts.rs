//! Looking at the machines of brokers that do not serve: their nodes, and where their volumes can be used.
//!
//! Owns that look. It looks only for Pods that are not ready. Nodes and volumes belong to the whole Kubernetes cluster: an operator
//! that may not read them knows nothing of them. Must never write, nor take what could not be read for gone.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::lost::{Home, Host, Hosts, host, questions};
use super::observed::Observed;

/// The label that volumes name their node by.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What there is to see.
pub(super) async fn hosts(client: &Client, observed: &Observed) -> Hosts {
    let (nodes, volumes) = questions(observed);
    let (of_nodes, of_volumes): (Api<Node>, Api<PersistentVolume>) =
        (Api::all(client.clone()), Api::all(client.clone()));
    let mut hosts = Hosts::default();
    for name in nodes {
        let found = match of_nodes.get_opt(&name).await {
            Ok(node) => state(node.as_ref()),
            Err(error) => unknown(&name, &error),
        };
        hosts.nodes.insert(name, found);
    }
    for (claim, name) in volumes {
        match of_volumes.get_opt(&name).await {
            Ok(Some(volume)) => {
                let labels = homes(&serde_json::to_value(volume).unwrap_or_default());
                if !labels.is_empty() {
                    let on = with_labels(&of_nodes, labels, &mut hosts).await;
                    hosts.homes.insert(claim, on.map_or(Home::Unknown, Home::On));
                }
            }
            // Its claim says that it is lost.
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(volume = name, %error, "look at a volume");
                hosts.homes.insert(claim, Home::Unknown);
            }
        }
    }
    hosts
}

fn unknown(name: &str, error: &kube::Error) -> Host {
    tracing::debug!(node = name, %error, "look at a node");
    Host::Unknown
}

fn state(node: Option<&Node>) -> Host {
    node.map_or(Host::Gone, |node| host(&serde_json::to_value(node).unwrap_or_default()))
}

/// The nodes with one of these host names; `None` if they may not be read.
async fn with_labels(nodes: &Api<Node>, labels: BTreeSet<String>, hosts: &mut Hosts) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for label in labels {
        let selector = ListParams::default().labels(&format!("{HOSTNAME}={label}"));
        let found = match nodes.list(&selector).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(node = label, %error, "look for the node of a volume");
                return None;
            }
        };
        for node in found {
            names.insert(node.name_any());
            hosts.nodes.insert(node.name_any(), state(Some(&node)));
        }
    }
    Some(names)
}

/// The host names that a volume can only be used on, if it names them.
fn homes(volume: &Value) -> BTreeSet<String> {
    let terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array();
    let mut found = BTreeSet::new();
    // Terms are alternatives: one that names no host lets it be used on others.
    for term in terms.into_iter().flatten() {
        let mut rules = term["matchExpressions"].as_array().into_iter().flatten();
        let Some(rule) = rules.find(|rule| rule["key"] == HOSTNAME && rule["operator"] == "In") else {
            return BTreeSet::new();
        };
        let values = rule["values"].as_array().into_iter().flatten();
        found.extend(values.filter_map(Value::as_str).map(str::to_owned));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_says_which_nodes_it_is_on_or_that_it_may_be_anywhere() {
        let volume = |terms: Value| json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}});
        let on =
            |key: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
        assert_eq!(homes(&volume(json!([on(HOSTNAME, json!(["a", "b"]))]))), ["a", "b"].map(str::to_owned).into());
        let zone = on("topology.kubernetes.io/zone", json!(["z"]));
        assert_eq!(homes(&volume(json!([zone]))), [].into());
        assert_eq!(homes(&volume(json!([on(HOSTNAME, json!(["a"])), zone]))), [].into(), "one of several");
        assert_eq!(homes(&json!({"spec": {}})), [].into());
    }
}
