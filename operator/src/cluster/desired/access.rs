//! What brokers may do at the API server: read and write their own metadata, by name, and nothing else.
//!
//! Owns the ServiceAccount, its Role and their binding, and the Lease that brokers may not create. Must never let a
//! broker read a Secret, create an object, or touch another cluster's.

use ottla_core::controller::document::SHARD_COUNT;
use serde_json::json;

use super::super::child::{Child, Owner};
use super::super::documents::Summary;
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::Facts;

/// The account that brokers run under, and its role.
pub(super) fn account(cluster: &str) -> String {
    format!("{cluster}-broker")
}

pub(super) fn children(owner: &Owner, facts: &Facts) -> Vec<Child> {
    let name = account(&owner.name);
    let documents: Vec<String> = Summary::document_names(facts.shard_count.unwrap_or(SHARD_COUNT))
        .iter()
        .map(|document| names::document(&owner.name, document))
        .collect();
    let lease = names::lease(&owner.name);
    let rules = json!([
        // A lease is renewed by a patch, a document is replaced.
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [lease],
         "verbs": ["get", "watch", "update", "patch"]},
        {"apiGroups": [ottla_crds::GROUP], "resources": ["metadatashards"], "resourceNames": documents,
         "verbs": ["get", "watch", "update"]},
    ]);
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
    let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": owner.namespace}]);
    vec![
        // Only a broker's Pod asks for the token.
        owner.child(Kind::ServiceAccount, name.clone(), json!({"automountServiceAccountToken": false})),
        owner.child(Kind::Role, name.clone(), json!({"rules": rules})),
        owner.child(Kind::RoleBinding, name, json!({"roleRef": reference, "subjects": subjects})),
        owner.child(Kind::Lease, names::lease(&owner.name), json!({})),
    ]
}
