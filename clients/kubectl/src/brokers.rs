//! Brokers as their Pods show them.
//!
//! Owns what a Pod says about its broker: whether it serves, what keeps it from it, and whether it runs what is declared. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use ottla_crds::{Cluster, names};

use crate::failure::{Exit, Failure, Result};

/// A broker's Pod, as far as people care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) id: i32,
    pub(crate) pod: String,
    pub(crate) pool: String,
    pub(crate) node: Option<String>,
    /// As the Pod says; before Kubernetes 1.35 it says nothing.
    pub(crate) zone: Option<String>,
    pub(crate) serves: bool,
    /// `Ready`, or what keeps it from that.
    pub(crate) state: String,
    pub(crate) version: Option<String>,
    pub(crate) restarts: i32,
    pub(crate) born: Option<Timestamp>,
    uid: String,
    /// What its Pod was made of, as far as its owner declared it.
    made_of: (Option<String>, Option<String>),
    /// This Pod alone is to be restarted.
    is_asked: bool,
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a String> {
    pod.metadata.annotations.as_ref()?.get(name)
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a String> {
    pod.metadata.labels.as_ref()?.get(name)
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|one| one.name == names::CONTAINER)
}

/// What keeps a Pod from serving, in one word where Kubernetes has one.
fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let has = |kind: &str, wanted: &str| conditions.iter().any(|one| one.type_ == kind && one.status == wanted);
    if has("Ready", "True") {
        return "Ready".to_owned();
    }
    if has("PodScheduled", "False") {
        return "Unschedulable".to_owned();
    }
    let of_container = container(pod).and_then(|one| one.state.as_ref());
    let waiting = of_container.and_then(|state| state.waiting.as_ref()?.reason.clone());
    let ended = of_container.and_then(|state| state.terminated.as_ref()?.reason.clone());
    let runs = of_container.is_some_and(|state| state.running.is_some());
    let phase = status.and_then(|status| status.phase.clone()).filter(|phase| phase != "Running");
    let otherwise = if runs { "Starting".to_owned() } else { phase.unwrap_or_else(|| "Unknown".to_owned()) };
    waiting.or(ended).unwrap_or(otherwise)
}

impl Broker {
    fn of(pod: &Pod) -> Option<Self> {
        let id = label(pod, names::BROKER_LABEL)?.parse().ok()?;
        let state = state(pod);
        let spec = pod.spec.as_ref();
        let image =
            spec.and_then(|spec| spec.containers.iter().find(|one| one.name == names::CONTAINER)?.image.as_deref());
        let tag = image.and_then(|image| image.rsplit_once(':')).map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
        Some(Self {
            id,
            pod: pod.metadata.name.clone()?,
            pool: label(pod, names::POOL_LABEL).cloned().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()),
            zone: label(pod, "topology.kubernetes.io/zone").cloned(),
            serves: state == "Ready",
            state,
            version: tag.map(str::to_owned),
            restarts: container(pod).map_or(0, |one| one.restart_count),
            born: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            made_of: (annotation(pod, names::DECLARED).cloned(), annotation(pod, names::RESTARTED).cloned()),
            is_asked: annotation(pod, names::RESTART).is_some(),
        })
    }

    /// Which Pod of that name it is.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// The restart of the whole Cluster since which this Pod is there.
    pub(crate) fn restarted(&self) -> Option<&str> {
        self.made_of.1.as_deref()
    }
}

/// The brokers that there are, by id.
pub(crate) fn all(pods: &[Pod]) -> Vec<Broker> {
    let mut brokers: Vec<Broker> = pods.iter().filter_map(Broker::of).collect();
    brokers.sort_by(|a, b| (a.id, &a.pod).cmp(&(b.id, &b.pod)));
    brokers
}

/// How many brokers `spec` declares.
pub(crate) fn declared(cluster: &Cluster) -> usize {
    cluster.spec.pools.iter().map(|pool| usize::try_from(pool.replicas).unwrap_or(0)).sum()
}

/// Whether a person has set that annotation to `true`.
pub(crate) fn is_asked(cluster: &Cluster, annotation: &str) -> bool {
    let annotations = cluster.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(annotation)).is_some_and(|value| value == "true")
}

/// The brokers that do not run what is declared. The operator counts them, and only it knows what a Pod should be made of: those
/// of a pool are told apart by what they were made of, and by their age where that does not tell.
pub(crate) fn outdated(brokers: &[Broker], cluster: &Cluster) -> BTreeSet<i32> {
    let pools = cluster.status.as_ref().map_or(&[][..], |status| &status.pools);
    let mut found = BTreeSet::new();
    for pool in pools {
        let count = pool.outdated.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let mut of_pool: Vec<&Broker> = brokers.iter().filter(|one| one.pool == pool.name).collect();
        let current = of_pool.len().saturating_sub(count);
        let same = |broker: &Broker| of_pool.iter().filter(|one| one.made_of == broker.made_of).count();
        let newest = of_pool.iter().filter(|one| !one.is_asked && same(one) == current).max_by_key(|one| one.born);
        let wanted = newest.map(|one| one.made_of.clone());
        of_pool.sort_by_key(|one| (!one.is_asked, wanted.as_ref() == Some(&one.made_of), one.born));
        found.extend(of_pool.into_iter().take(count).map(|one| one.id));
    }
    found
}

/// A broker in whose Pod something can be run: the one of that id, or the first that serves.
pub(crate) fn choose<'a>(brokers: &'a [Broker], id: Option<i32>, cluster: &Cluster, place: &str) -> Result<&'a Broker> {
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let known = || brokers.iter().map(|one| one.id.to_string()).collect::<Vec<_>>().join(", ");
    if let Some(id) = id {
        let missing = || {
            let known = if brokers.is_empty() { "none".to_owned() } else { known() };
            Failure::new(Exit::NotFound, format!("Cluster {name} has no Pod of broker {id}, in {place}"))
                .way_out(format!("There are Pods of these brokers: {known}."))
        };
        return brokers.iter().find(|one| one.id == id).ok_or_else(missing);
    }
    let serving = brokers.iter().find(|one| one.serves);
    serving.ok_or_else(|| {
        if is_asked(cluster, names::HIBERNATE) {
            return Failure::new(Exit::Refused, format!("Cluster {name} hibernates, in {place}"))
                .way_out(format!("`kubectl ottla wake {name} --wait` starts its brokers."));
        }
        let states: Vec<String> = brokers.iter().map(|one| format!("{} is {}", one.pod, one.state)).collect();
        let states = if states.is_empty() { "it has no Pods".to_owned() } else { states.join(", ") };
        Failure::new(Exit::Late, format!("no broker of Cluster {name} serves, in {place}: {states}"))
            .way_out(format!("`kubectl ottla status {name}` says what is wrong."))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn cluster(annotations: &Value, status: &Value) -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": "ottla.dev/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "events", "namespace": "shop", "generation": 3, "annotations": annotations},
            "spec": {"pools": [{"name": "main", "replicas": 3, "storage": {"volumes": [{"name": "data", "size": "1Gi"}]}}]},
            "status": status,
        }))
        .unwrap()
    }

    /// A Pod that serves; `changes` are merged into it.
    pub(crate) fn pod(id: i32, declared: &str, changes: &Value) -> Pod {
        let mut pod = json!({
            "metadata": {
                "name": format!("events-main-{id}"),
                "uid": format!("u-{id}"),
                "creationTimestamp": format!("2026-02-01T10:0{id}:00Z"),
                "labels": {"ottla.dev/cluster": "events", "ottla.dev/pool": "main", "ottla.dev/broker-id": id.to_string(),
                           "topology.kubernetes.io/zone": "a"},
                "annotations": {"ottla.dev/declared": declared},
            },
            "spec": {"nodeName": format!("worker{id}"), "containers": [{"name": "broker", "image": "host:5000/broker:1.2"}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "broker", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                                       "state": {"running": {}}}],
            },
        });
        merge(&mut pod, changes);
        serde_json::from_value(pod).unwrap()
    }

    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }

    #[test]
    fn a_pod_says_what_keeps_its_broker() {
        let not_ready = json!([{"type": "Ready", "status": "False"}]);
        let waits = json!([{"name": "broker", "ready": false, "restartCount": 4, "image": "", "imageID": "",
                            "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]);
        let cases = [
            (json!({}), "Ready"),
            (json!({"metadata": {"deletionTimestamp": "2026-02-01T10:00:00Z"}}), "Terminating"),
            (json!({"status": {"conditions": not_ready}}), "Starting"),
            (json!({"status": {"conditions": not_ready, "containerStatuses": waits}}), "CrashLoopBackOff"),
            (json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}}), "Unschedulable"),
            (json!({"status": {"conditions": [], "containerStatuses": [], "phase": "Pending"}}), "Pending"),
        ];
        for (changes, state) in cases {
            let broker = &all(&[pod(1, "x", &changes)])[0];
            assert_eq!((broker.state.as_str(), broker.serves), (state, state == "Ready"));
            assert_eq!(broker.version.as_deref(), Some("1.2"), "the port of a registry is no version");
        }
    }

    fn outdated_of(count: i32, pods: &[Pod]) -> Vec<i32> {
        let status = json!({"pools": [{"name": "main", "replicas": 3, "ready": 3, "outdated": count}]});
        outdated(&all(pods), &cluster(&json!({}), &status)).into_iter().collect()
    }

    #[test]
    fn outdated_brokers_are_told_apart() {
        let none = json!({});
        let roll = [pod(0, "new", &none), pod(1, "old", &none), pod(2, "old", &none)];
        assert_eq!(outdated_of(0, &roll), [0; 0]);
        assert_eq!(outdated_of(2, &roll), [1, 2], "by what they were made of");
        assert_eq!(outdated_of(3, &roll), [0, 1, 2]);
        let same = [pod(0, "x", &none), pod(1, "x", &none), pod(2, "x", &none)];
        assert_eq!(outdated_of(1, &same), [0], "by age");
        let asked = json!({"metadata": {"annotations": {"ottla.dev/restart": "now"}}});
        assert_eq!(outdated_of(1, &[pod(0, "x", &none), pod(1, "x", &asked)]), [1]);
    }

    #[test]
    fn who_cannot_be_chosen_is_named() {
        let place = "namespace shop of context c";
        let awake = cluster(&json!({}), &json!({}));
        let asleep = cluster(&json!({"ottla.dev/hibernate": "true"}), &json!({}));
        let starting = json!({"status": {"conditions": []}});
        let brokers = all(&[pod(1, "x", &starting), pod(0, "x", &starting)]);
        let chosen = |id, cluster| choose(&brokers, id, cluster, place).map(|one| one.id).map_err(|why| why.words());
        assert_eq!(chosen(Some(1), &awake), Ok(1), "who names one gets it");
        assert!(chosen(Some(7), &awake).unwrap_err().contains("these brokers: 0, 1"));
        assert!(chosen(None, &awake).unwrap_err().contains("events-main-0 is Starting"));
        assert!(chosen(None, &asleep).unwrap_err().contains("kubectl ottla wake events"));
        let brokers = all(&[pod(1, "x", &json!({})), pod(0, "x", &starting)]);
        assert_eq!(choose(&brokers, None, &awake, place).unwrap().id, 1);
    }
}
