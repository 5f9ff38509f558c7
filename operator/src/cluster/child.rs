//! One object that a cluster is made of, as it should be and as it is.
//!
//! Owns the shape of a manifest, its checksum, and what is read from objects as the API server shows them. Pure.

use ottla_crds::sorted;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::names;

/// An object as it should be: only the fields that the operator owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is applied.
    pub manifest: Value,
}

/// Whose children are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the Cluster.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid: a Cluster that is created again has another one.
    pub uid: String,
}

impl Owner {
    /// Labels of everything that belongs to the cluster. There is no `app.kubernetes.io/instance` among them: it is what GitOps
    /// tools track by, and what they do not find in their repository they remove.
    pub fn labels(&self) -> Map<String, Value> {
        let labels = [
            ("app.kubernetes.io/name", "ottla"),
            ("app.kubernetes.io/component", "broker"),
            ("app.kubernetes.io/managed-by", names::MANAGER),
            (names::CLUSTER_LABEL, &self.name),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
    }

    /// What selects the cluster's brokers.
    pub fn selector(&self) -> Value {
        json!({names::CLUSTER_LABEL: self.name, "app.kubernetes.io/component": "broker"})
    }

    /// The reference by which Kubernetes removes a child with its Cluster.
    pub fn reference(&self) -> Value {
        json!([{
            "apiVersion": ottla_crds::API_VERSION,
            "kind": "Cluster",
            "name": self.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }])
    }

    /// A child of that name with `body` beside its metadata; it goes when the Cluster goes.
    pub fn child(&self, kind: Kind, name: String, body: Value) -> Child {
        self.labelled(kind, name, Map::new(), body)
    }

    /// The same with more labels.
    pub fn labelled(&self, kind: Kind, name: String, labels: Map<String, Value>, body: Value) -> Child {
        let mut manifest = self.orphan(kind, &name, labels, body);
        manifest["metadata"]["ownerReferences"] = self.reference();
        Child { kind, name, manifest }
    }

    /// The manifest of an object that stays when the Cluster goes.
    pub fn orphan(&self, kind: Kind, name: &str, labels: Map<String, Value>, body: Value) -> Value {
        let mut all = self.labels();
        all.extend(labels);
        let mut manifest = json!({
            "apiVersion": kind.resource().api_version,
            "kind": kind.name(),
            "metadata": {"name": name, "namespace": self.namespace, "labels": all},
        });
        merge(&mut manifest, body);
        manifest
    }
}

/// Lays `over` on top of `under`: maps are merged, everything else is replaced.
pub fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// A checksum of what `value` says; the order in which its fields were written does not matter.
pub fn checksum(value: &Value) -> String {
    let text = sorted(value.clone()).to_string();
    format!("{:016x}", crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, text.as_bytes()))
}

impl Child {
    /// The manifest with its own checksum, as it is sent.
    pub fn stamped(&self) -> Value {
        let mut manifest = self.manifest.clone();
        let sum = checksum(&manifest);
        merge(&mut manifest, json!({"metadata": {"annotations": {names::APPLIED: sum}}}));
        manifest
    }
}

/// What is read from an object as the API server shows it.
pub trait Seen {
    /// A label.
    fn label(&self, key: &str) -> Option<&str>;
    /// An annotation.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// Its uid.
    fn uid(&self) -> &str;
    /// The uid and name of the Cluster that it goes with, if it goes with one.
    fn owner(&self) -> Option<(&str, &str)>;
    /// Whether somebody has asked for its deletion.
    fn is_going(&self) -> bool;
    /// The broker that it belongs to, by label.
    fn broker(&self) -> Option<i32>;
}

impl Seen for Value {
    fn label(&self, key: &str) -> Option<&str> {
        self["metadata"]["labels"][key].as_str()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self["metadata"]["annotations"][key].as_str()
    }

    fn uid(&self) -> &str {
        self["metadata"]["uid"].as_str().unwrap_or_default()
    }

    fn owner(&self) -> Option<(&str, &str)> {
        let owners = self["metadata"]["ownerReferences"].as_array()?;
        let ours =
            owners.iter().find(|owner| owner["kind"] == "Cluster" && owner["apiVersion"] == ottla_crds::API_VERSION)?;
        Some((ours["uid"].as_str()?, ours["name"].as_str()?))
    }

    fn is_going(&self) -> bool {
        !self["metadata"]["deletionTimestamp"].is_null()
    }

    fn broker(&self) -> Option<i32> {
        self.label(names::BROKER_LABEL)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_merged_and_the_rest_is_replaced() {
        let mut under = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        merge(&mut under, json!({"a": {"c": [3], "e": true}, "d": {"f": 1}}));
        assert_eq!(under, json!({"a": {"b": 1, "c": [3], "e": true}, "d": {"f": 1}}));
    }

    #[test]
    fn a_checksum_knows_content_and_not_order() {
        let first: Value = serde_json::from_str(r#"{"a": 1, "b": 2}"#).unwrap();
        let second: Value = serde_json::from_str(r#"{"b": 2, "a": 1}"#).unwrap();
        assert_eq!(checksum(&first), checksum(&second));
        assert_ne!(checksum(&first), checksum(&json!({"a": 1, "b": 3})));
    }
}
