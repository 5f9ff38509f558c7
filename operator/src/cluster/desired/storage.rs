//! Disks, and how many brokers a drain may take from them at a time.
//!
//! Owns the volume claims and the PodDisruptionBudget. A claim has an owner only if it is to go with the Cluster: what
//! has one is deleted by Kubernetes, at once if somebody asks for the Cluster's deletion in the foreground.

use ottla_crds::Cluster;
use ottla_crds::cluster::{OnDelete, Pool};
use serde_json::{Map, Value, json};

use super::super::child::{Child, Owner, merge};
use super::super::kind::Kind;
use super::super::names;
use super::super::observed::Facts;
use super::Seat;

/// Labels of what belongs to one broker.
pub(super) fn labels(seat: &Seat) -> Map<String, Value> {
    let labels = [(names::POOL_LABEL, seat.pool.clone()), (names::BROKER_LABEL, seat.id.to_string())];
    labels.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
}

/// What the claim of a broker's volume is made from.
pub(super) struct Disk<'a> {
    pub(super) owner: &'a Owner,
    pub(super) cluster: &'a Cluster,
    pub(super) pool: &'a Pool,
    pub(super) facts: &'a Facts,
    pub(super) image: &'a str,
}

/// How a claim of that name may be used: as it is used if it is there, for that never changes; else by one Pod alone, which
/// Kubernetes then sees to, where the class can do that.
fn access(facts: &Facts, claim: &str, class: Option<&String>) -> Value {
    if let Some(modes) = facts.modes.get(claim).filter(|modes| modes.is_array()) {
        return modes.clone();
    }
    json!([if facts.exclusive.contains(&class.cloned()) { "ReadWriteOncePod" } else { "ReadWriteOnce" }])
}

/// What a claim has once its broker has had its share of replicas.
pub fn filled() -> Value {
    json!({"metadata": {"annotations": {names::FILLED: "true"}}})
}

/// The claim of a broker's volume. It notes which image runs on it: while no broker does, nothing else knows.
pub(super) fn claim(disk: &Disk<'_>, seat: &Seat) -> Child {
    let Disk { owner, cluster, pool, facts, image } = disk;
    let volume = pool.storage.volumes.first();
    let size = volume.map_or("1Gi", |volume| volume.size.as_str());
    let modes = access(facts, &seat.claim, volume.and_then(|volume| volume.class.as_ref()));
    let mut spec = json!({"accessModes": modes, "resources": {"requests": {"storage": size}}});
    if let Some(class) = volume.and_then(|volume| volume.class.as_ref()) {
        spec["storageClassName"] = json!(class);
    }
    let mut body = json!({"metadata": {"annotations": {names::IMAGE: image}}, "spec": spec});
    if facts.filled.contains(&seat.claim) {
        merge(&mut body, filled());
    }
    let (kind, name) = (Kind::PersistentVolumeClaim, seat.claim.clone());
    match cluster.spec.volumes.on_delete {
        OnDelete::Delete => owner.labelled(kind, name, labels(seat), body),
        OnDelete::Retain => {
            let manifest = owner.orphan(kind, &name, labels(seat), body);
            Child { kind, name, manifest }
        }
    }
}

/// One of `brokers` at a time while every replica is in sync, none while some are not. One that serves nothing may always
/// go. As a number of those that must stay: Kubernetes counts for itself how many there are only where the owner of Pods
/// has the subresource `scale`, and allows no eviction at all where it cannot count.
pub(super) fn disruption_budget(owner: &Owner, brokers: usize, steady: bool) -> Child {
    let spec = json!({
        "minAvailable": brokers.saturating_sub(usize::from(steady)),
        "selector": {"matchLabels": owner.selector()},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    });
    owner.child(Kind::PodDisruptionBudget, format!("{}-brokers", owner.name), json!({"spec": spec}))
}
