//! Clusters for tests: as declared, and as they would be once everything that is planned was done.

use ottla_crds::Cluster;
use serde_json::{Value, json};

use super::child::merge;
use super::desired::{Desired, Settings, desired};
use super::documents::{Documents, Summary};
use super::kind::Kind;
use super::observed::Observed;
use super::plan::{Plan, Step, plan};
use super::reason::Refusal;

/// A Cluster `c` in namespace `n` with that `spec`, in YAML flow style.
pub(crate) fn cluster(spec: &str) -> Cluster {
    let text = format!(
        "{{apiVersion: ottla.dev/v1alpha1, kind: Cluster, metadata: {{name: c, namespace: n, uid: u-1, generation: 3}}, spec: {spec}}}"
    );
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A pool of a spec.
pub(crate) fn pool(name: &str, replicas: usize) -> String {
    format!("{{name: {name}, replicas: {replicas}, storage: {{volumes: [{{name: data, size: 10Gi}}]}}}}")
}

/// A Cluster of one pool with three brokers, and more of its spec.
pub(crate) fn three(more: &str) -> Cluster {
    cluster(&format!("{{pools: [{}]{more}}}", pool("a", 3)))
}

pub(crate) fn settings() -> Settings {
    Settings { image: "example.org/ottla-broker".to_owned(), version: "0.1.0".to_owned() }
}

/// Metadata of a cluster whose brokers are registered and hold `held`.
pub(crate) fn documents(held: &[(i32, u64)]) -> Documents {
    Documents::Whole(Box::new(Summary {
        cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(),
        controller: Some((0, 4)),
        registered: held.iter().map(|(id, _)| *id).collect(),
        shard_count: 16,
        partitions: 12,
        held: held.iter().copied().collect(),
        ..Summary::default()
    }))
}

/// What should be, given what is.
pub(crate) fn wanted(cluster: &Cluster, observed: &Observed) -> Result<Desired, Refusal> {
    desired(cluster, &observed.facts("c"), &settings())
}

/// What is planned, given what is.
pub(crate) fn planned(cluster: &Cluster, observed: &Observed) -> Plan {
    plan(&wanted(cluster, observed).expect("a spec that works"), observed)
}

/// Lets a plan have its way, as the API server and kubelets would.
pub(crate) fn perform(observed: &mut Observed, plan: &Plan) {
    for step in &plan.steps {
        match step {
            Step::CreateMetadata => observed.documents = documents(&[]),
            Step::CreateShards => {}
            Step::Apply { child, .. } => {
                let at = (child.kind, child.name.clone());
                let mut object = if child.kind == Kind::Pod { child.manifest.clone() } else { child.stamped() };
                merge(&mut object, json!({"metadata": {"uid": format!("uid-{}-{}", child.kind.name(), child.name)}}));
                if child.kind == Kind::Pod {
                    merge(&mut object, running());
                }
                observed.objects.insert(at, object);
            }
            Step::Mend { pod, metadata } => {
                let at = (Kind::Pod, pod.clone());
                merge(&mut observed.objects.get_mut(&at).expect("a Pod")["metadata"], metadata.clone());
            }
            Step::Delete { kind, name, .. } => drop(observed.objects.remove(&(*kind, name.clone()))),
        }
    }
}

fn running() -> Value {
    json!({
        "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "broker", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
        },
    })
}

/// `cluster` after everything that is planned was done, again and again, until nothing is.
pub(crate) fn settled(cluster: &Cluster) -> Observed {
    let mut observed = Observed::default();
    settle(cluster, &mut observed);
    observed.documents = documents(&[(0, 12), (1, 12), (2, 12)]);
    settle(cluster, &mut observed);
    observed
}

/// The same from where it stands.
pub(crate) fn settle(cluster: &Cluster, observed: &mut Observed) {
    for _ in 0..50 {
        let plan = planned(cluster, observed);
        if plan.steps.is_empty() {
            return;
        }
        perform(observed, &plan);
    }
    panic!("it never comes to rest: {:?}", planned(cluster, observed).steps);
}

/// Changes an object.
pub(crate) fn edit(observed: &mut Observed, kind: Kind, name: &str, over: Value) {
    let object = observed.objects.get_mut(&(kind, name.to_owned())).expect("an object of that name");
    merge(object, over);
}
