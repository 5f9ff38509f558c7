//! Clusters for tests: as declared, and as they would be once everything that is planned was done.

use ottla_crds::Cluster;
use serde_json::{Value, json};

use super::certificates::issue;
use super::child::{Seen, merge};
use super::desired::{Desired, Settings, desired};
use super::documents::{Documents, Summary};
use super::kind::Kind;
use super::layout::{Held, Layout, Node, Spot};
use super::lost::judge;
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
        layout: Layout { brokers: held.iter().map(|(id, _)| (*id, serving())).collect(), ..Layout::default() },
        ..Summary::default()
    }))
}

/// What should be, given what is.
pub(crate) fn wanted(cluster: &Cluster, observed: &Observed) -> Result<Desired, Refusal> {
    let seen = Observed { lost: judge(cluster, observed), ..observed.clone() };
    desired(cluster, &seen.facts("c"), &settings())
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
                registers(observed, &object, true);
                observed.objects.insert(at, object);
            }
            Step::Certify { secret, order, now } => {
                let filled = issue(secret, order, *now).expect("a key that signs").stamped();
                let at = (secret.kind, secret.name.clone());
                let object = observed.objects.entry(at).or_insert(json!({}));
                merge(object, filled);
                merge(
                    object,
                    json!({"metadata": {"uid": format!("uid-Secret-{}", secret.name), "resourceVersion": "1"}}),
                );
            }
            Step::Mend { pod, metadata } => {
                let at = (Kind::Pod, pod.clone());
                merge(&mut observed.objects.get_mut(&at).expect("a Pod")["metadata"], metadata.clone());
            }
            Step::Delete { kind, name, .. } => {
                if let Some(object) = observed.objects.remove(&(*kind, name.clone())) {
                    registers(observed, &object, false);
                }
            }
            Step::Move { .. } | Step::Pace { .. } | Step::Release { .. } | Step::Unregister { .. } => {
                at_brokers(observed, step);
            }
        }
    }
}

/// A Pod that is started registers its broker; one that is stopped is noticed.
fn registers(observed: &mut Observed, object: &Value, live: bool) {
    let (Documents::Whole(summary), Some(id)) = (&mut observed.documents, object.broker()) else { return };
    if object["kind"] != "Pod" {
        return;
    }
    if live {
        summary.layout.brokers.entry(id).or_default().live = true;
        summary.registered.insert(id);
        summary.retired.remove(&id);
    } else if let Some(node) = summary.layout.brokers.get_mut(&id) {
        node.live = false;
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

/// As if its certificates had been made at that time, which is now.
pub(crate) fn certify_at(cluster: &Cluster, observed: &mut Observed, now: &str) {
    observed.now = now.parse().expect("a time");
    observed.objects.retain(|(kind, _), _| *kind != Kind::Secret);
    settle(cluster, observed);
}

/// Changes an object.
pub(crate) fn edit(observed: &mut Observed, kind: Kind, name: &str, over: Value) {
    let object = observed.objects.get_mut(&(kind, name.to_owned())).expect("an object of that name");
    merge(object, over);
}

/// What brokers do, as if everything that moves arrived at once.
fn at_brokers(observed: &mut Observed, step: &Step) {
    let Documents::Whole(summary) = &mut observed.documents else { panic!("metadata") };
    match step {
        Step::Move { moves, throttle } => {
            for one in moves {
                let held = summary.layout.topics.get_mut(&one.topic).expect("a topic");
                held.throttled |= throttle.topics.contains(&one.topic);
                let spot = &mut held.partitions[usize::try_from(one.partition).expect("an index")];
                (spot.replicas, spot.current) = (one.replicas.clone(), one.replicas.clone());
            }
            for id in &throttle.brokers {
                summary.layout.brokers.get_mut(id).expect("a broker").rate = Some(throttle.rate.clone());
            }
            count(summary);
        }
        Step::Pace { rate, brokers } => {
            brokers
                .iter()
                .for_each(|id| summary.layout.brokers.get_mut(id).expect("a broker").rate = Some(rate.clone()));
        }
        Step::Release { topics, brokers } => {
            topics.iter().for_each(|topic| summary.layout.topics.get_mut(topic).expect("a topic").throttled = false);
            brokers.iter().for_each(|id| summary.layout.brokers.get_mut(id).expect("a broker").rate = None);
        }
        Step::Unregister { broker } => {
            summary.registered.remove(broker);
            summary.layout.brokers.remove(broker);
            summary.retired.insert(*broker);
        }
        Step::CreateMetadata
        | Step::CreateShards
        | Step::Apply { .. }
        | Step::Certify { .. }
        | Step::Mend { .. }
        | Step::Delete { .. } => {}
    }
}

/// Brings what is counted in line with who holds what.
fn count(summary: &mut Summary) {
    summary.held = summary.layout.brokers.keys().map(|id| (*id, summary.layout.load(*id) as u64)).collect();
}

/// Metadata of a cluster of so many brokers that serve, and topics whose partitions have these replicas.
pub(crate) fn holding(brokers: i32, topics: &[(&str, &[&[i32]])]) -> Documents {
    let mut summary = Summary { layout: layout(brokers, topics), ..Summary::default() };
    summary.registered = (0..brokers).collect();
    (summary.shard_count, summary.controller) = (16, Some((0, 4)));
    summary.cluster_id = "MkU3OEVBNTcwNTJENDM2Qg".to_owned();
    summary.partitions = i64::try_from(summary.layout.spots().count()).expect("a number");
    count(&mut summary);
    Documents::Whole(Box::new(summary))
}

fn serving() -> Node {
    Node { rack: None, live: true, rate: None }
}

/// The same layout alone.
pub(crate) fn layout(brokers: i32, topics: &[(&str, &[&[i32]])]) -> Layout {
    let spot = |replicas: &&[i32]| Spot { replicas: replicas.to_vec(), current: replicas.to_vec(), moving: false };
    let held = |partitions: &[&[i32]]| Held { partitions: partitions.iter().map(spot).collect(), throttled: false };
    Layout {
        brokers: (0..brokers).map(|id| (id, serving())).collect(),
        topics: topics.iter().map(|(name, partitions)| ((*name).to_owned(), held(partitions))).collect(),
    }
}
