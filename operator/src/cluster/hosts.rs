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

/// How labels end that say where many nodes are: a volume of a zone is not gone with the nodes that are there now.
const WIDE: [&str; 2] = ["/zone", "/region"];

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
                if let Some(labels) = homes(&serde_json::to_value(volume).unwrap_or_default()) {
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

/// The nodes that one of these selectors chooses; `None` if they may not be read.
async fn with_labels(nodes: &Api<Node>, selectors: Vec<String>, hosts: &mut Hosts) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for selector in selectors {
        let found = match nodes.list(&ListParams::default().labels(&selector)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(selector, %error, "look for the nodes of a volume");
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

/// Selectors of the only nodes that a volume can be used on; none if it can be used anywhere, in a whole zone, or where
/// a selector cannot say.
fn homes(volume: &Value) -> Option<Vec<String>> {
    let terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array()?;
    let homes: Vec<String> = terms.iter().map(selector).collect::<Option<_>>()?;
    (!homes.is_empty()).then_some(homes)
}

/// What chooses the nodes of one of several alternatives.
fn selector(term: &Value) -> Option<String> {
    let rules = term["matchExpressions"].as_array().filter(|_| term["matchFields"].is_null())?;
    let mut narrow = false;
    let requirement = |rule: &Value| {
        let key = rule["key"].as_str()?;
        let values: Vec<&str> = rule["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let values = values.join(",");
        narrow |= rule["operator"] == "In" && !WIDE.iter().any(|end| key.ends_with(end));
        match rule["operator"].as_str()? {
            "In" => Some(format!("{key} in ({values})")),
            "NotIn" => Some(format!("{key} notin ({values})")),
            "Exists" => Some(key.to_owned()),
            "DoesNotExist" => Some(format!("!{key}")),
            _ => None,
        }
    };
    let requirements: Vec<String> = rules.iter().map(requirement).collect::<Option<_>>()?;
    narrow.then(|| requirements.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_says_which_nodes_it_is_on_or_that_it_may_be_on_many() {
        let volume = |terms: Value| json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}});
        let on = |key: &str, values: Value| json!({"key": key, "operator": "In", "values": values});
        let one = |rules: Value| json!({"matchExpressions": rules});
        let host = || one(json!([on("kubernetes.io/hostname", json!(["a", "b"]))]));
        let driver = || one(json!([on("lvm.example.org/node", json!(["a"])), {"key": "ssd", "operator": "Exists"}]));
        let zone = || one(json!([on("topology.kubernetes.io/zone", json!(["z"]))]));
        let found = homes(&volume(json!([host(), driver()]))).unwrap();
        assert_eq!(found, ["kubernetes.io/hostname in (a,b)", "lvm.example.org/node in (a),ssd"]);
        assert_eq!(homes(&volume(json!([zone()]))), None, "others may come to that zone");
        assert_eq!(homes(&volume(json!([host(), zone()]))), None, "one of several");
        let greater = one(json!([{"key": "disks", "operator": "Gt", "values": ["3"]}]));
        assert_eq!(homes(&volume(json!([greater]))), None, "no selector says that");
        assert_eq!(homes(&json!({"spec": {}})), None);
    }
}
