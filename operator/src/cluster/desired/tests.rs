//! What a Cluster should be made of, as YAML.

use ottla_crds::{Cluster, sorted};

use super::*;
use crate::cluster::child::Seen;
use crate::cluster::fixture::{cluster, pool, settings, three};

fn children(cluster: &Cluster, facts: &Facts) -> Vec<Child> {
    desired(cluster, facts, &settings()).unwrap().children
}

fn yaml(children: &[Child]) -> String {
    let text = |child: &Child| serde_yaml::to_string(&sorted(child.manifest.clone())).unwrap();
    children.iter().map(text).collect::<Vec<_>>().join("---\n")
}

fn find<'a>(children: &'a [Child], kind: Kind, name: &str) -> &'a Child {
    children.iter().find(|child| child.kind == kind && child.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_cluster_of_one_broker() {
    let cluster = cluster(&format!("{{pools: [{}]}}", pool("a", 1)));
    insta::assert_snapshot!(yaml(&children(&cluster, &Facts::default())));
}

#[test]
fn everything_that_a_pool_may_declare_reaches_its_pods() {
    let spec = "{
        version: 0.2.0,
        pools: [{name: big, replicas: 1, rack: topology.kubernetes.io/zone,
            storage: {volumes: [{name: disk, size: 1Ti, class: fast}]},
            resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {memory: 1Gi}},
            template: {labels: {team: x, ottla.dev/cluster: other}, annotations: {a: b}, priorityClassName: high,
                tolerations: [{key: k, operator: Exists}], securityContext: {fsGroup: 7},
                affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}}],
        listeners: [{name: plain, port: 9092}, {name: other, port: 9093}],
        config: {num.partitions: 6, log.retention.hours: -1}, volumes: {onDelete: Delete}}";
    let children = children(&cluster(spec), &Facts::default());
    let shown = [
        find(&children, Kind::Pod, "c-big-0").clone(),
        find(&children, Kind::PersistentVolumeClaim, "disk-c-big-0").clone(),
        children.iter().find(|child| child.name.starts_with("c-broker-")).unwrap().clone(),
        find(&children, Kind::ConfigMap, "c-client").clone(),
        find(&children, Kind::Service, "c-bootstrap").clone(),
    ];
    insta::assert_snapshot!(yaml(&shown));
}

#[test]
fn a_listener_for_clients_outside_has_a_service_for_each_broker() {
    let spec = format!(
        "{{pools: [{}], listeners: [
            {{name: internal, port: 9092}},
            {{name: nodes, port: 9094, type: NodePort, insecure: true}},
            {{name: balanced, port: 9095, type: LoadBalancer, insecure: true, brokerTemplate: {{host: \"b{{id}}.example.org\",
                annotations: {{external-dns.alpha.kubernetes.io/hostname: \"b{{id}}.example.org\"}}}}}}]}}",
        pool("a", 1)
    );
    let children = children(&cluster(&spec), &Facts::default());
    let services =
        ["c-nodes", "c-nodes-0", "c-balanced", "c-balanced-0"].map(|name| find(&children, Kind::Service, name));
    let shown: Vec<Child> = services.into_iter().chain([find(&children, Kind::Pod, "c-a-0")]).cloned().collect();
    insta::assert_snapshot!(yaml(&shown));
}

#[test]
fn a_disk_has_an_owner_only_if_it_goes_with_its_cluster() {
    let owners = |spec: &str| {
        let children = children(&three(spec), &Facts::default());
        let claim = find(&children, Kind::PersistentVolumeClaim, "data-c-a-0").manifest.clone();
        claim.owner().is_some()
    };
    assert!(!owners(""));
    assert!(!owners(", volumes: {onDelete: Retain}"));
    assert!(owners(", volumes: {onDelete: Delete}"));
    let instance = "app.kubernetes.io/instance";
    let all = children(&three(""), &Facts::default());
    assert!(all.iter().all(|child| child.manifest.label(instance).is_none()), "GitOps tools prune by it");
}

#[test]
fn a_drain_may_take_one_broker_and_none_while_a_replica_is_out_of_sync() {
    let stay = |present: &[i32], held: Option<&[(i32, u64)]>, steady: bool| {
        let facts = Facts { steady, ..facts(present, 9, held) };
        let children = children(&three(""), &facts);
        find(&children, Kind::PodDisruptionBudget, "c-brokers").manifest["spec"]["minAvailable"].clone()
    };
    assert_eq!(stay(&[0, 1, 2], None, true), 2);
    assert_eq!(stay(&[0, 1, 2], None, false), 3);
    assert_eq!(stay(&[0], None, true), 2, "those that are to come count");
    assert_eq!(stay(&[0, 1, 2, 3], Some(&[]), true), 3, "and those that are to go");
}

fn ids(cluster: &Cluster, facts: &Facts) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
    let desired = desired(cluster, facts, &settings()).unwrap();
    let leaving = desired.brokers.values().filter(|seat| seat.leaves).map(|seat| seat.id).collect();
    (desired.brokers.keys().copied().collect(), leaving, desired.dismissed)
}

fn facts(a: &[i32], next_id: i32, held: Option<&[(i32, u64)]>) -> Facts {
    Facts {
        seats: [("a".to_owned(), a.iter().copied().collect())].into(),
        next_id,
        held: held.map(|held| held.iter().copied().collect()),
        ..Facts::default()
    }
}

#[test]
fn ids_are_never_given_twice() {
    let three = three("");
    assert_eq!(ids(&three, &facts(&[], 0, None)).0, [0, 1, 2]);
    assert_eq!(ids(&three, &facts(&[0, 2], 5, None)).0, [0, 2, 5], "3 and 4 were others");
    let two_pools = cluster(&format!("{{pools: [{}, {}]}}", pool("a", 2), pool("b", 2)));
    assert_eq!(ids(&two_pools, &facts(&[0], 1, None)).0, [0, 1, 2, 3]);
}

#[test]
fn a_broker_leaves_only_when_it_is_proven_empty() {
    let one = cluster(&format!("{{pools: [{}]}}", pool("a", 1)));
    assert_eq!(ids(&one, &facts(&[0, 1], 2, None)), (vec![0, 1], vec![1], vec![]), "unknown is not empty");
    assert_eq!(ids(&one, &facts(&[0, 1], 2, Some(&[(0, 4), (1, 1)]))), (vec![0, 1], vec![1], vec![]));
    assert_eq!(ids(&one, &facts(&[0, 1], 2, Some(&[(0, 4)]))), (vec![0], vec![], vec![1]));
    let other = cluster(&format!("{{pools: [{}]}}", pool("b", 1)));
    let kept = desired(&other, &facts(&[0], 1, Some(&[(0, 4)])), &settings()).unwrap();
    assert_eq!((kept.kept, kept.dismissed), (vec![0], vec![]), "a pool that is gone keeps its brokers until then");
}

#[test]
fn a_cluster_without_a_version_stays_on_what_runs() {
    let image = |spec: &str, running: Option<&str>| {
        let facts = Facts { image: running.map(str::to_owned), ..Facts::default() };
        desired(&three(spec), &facts, &settings()).unwrap().image
    };
    assert_eq!(image("", None), "example.org/ottla-broker:0.1.0");
    assert_eq!(image("", Some("old:0.0.9")), "old:0.0.9");
    assert_eq!(image(", version: 0.3.0", Some("old:0.0.9")), "example.org/ottla-broker:0.3.0");
}

#[test]
fn a_change_of_config_is_another_revision_and_a_size_is_none() {
    let stamps = |spec: String| {
        let children = children(&cluster(&spec), &Facts::default());
        let pod = &find(&children, Kind::Pod, "c-a-0").manifest;
        let stamp = |key| pod.annotation(key).unwrap().to_owned();
        (stamp(names::REVISION), stamp(names::DECLARED))
    };
    let plain = stamps(format!("{{pools: [{}]}}", pool("a", 1)));
    let changed = stamps(format!("{{pools: [{}], config: {{num.partitions: 2}}}}", pool("a", 1)));
    assert!(plain.0 != changed.0 && plain.1 != changed.1);
    let larger = stamps(format!("{{pools: [{}]}}", pool("a", 2).replace("10Gi", "20Gi")));
    assert_eq!(plain, larger, "neither size nor count restarts a broker");
}

#[test]
fn a_volume_is_one_pods_alone_where_its_class_can_do_that() {
    let modes = |pool: &str, facts: &Facts| {
        let children = children(&cluster(&format!("{{pools: [{pool}]}}")), facts);
        find(&children, Kind::PersistentVolumeClaim, "data-c-a-0").manifest["spec"]["accessModes"][0].clone()
    };
    let (plain, fast) = (pool("a", 1), pool("a", 1).replace("size: 10Gi", "size: 10Gi, class: fast"));
    assert_eq!(modes(&plain, &Facts::default()), "ReadWriteOnce", "unknown is no");
    let mut facts = Facts { exclusive: [Some("fast".to_owned())].into(), ..Facts::default() };
    assert_eq!(modes(&plain, &facts), "ReadWriteOnce");
    assert_eq!(modes(&fast, &facts), "ReadWriteOncePod");
    facts.modes.insert("data-c-a-0".to_owned(), serde_json::json!(["ReadWriteOnce"]));
    assert_eq!(modes(&fast, &facts), "ReadWriteOnce", "one that is there stays as it is");
    let default = Facts { exclusive: [None].into(), ..Facts::default() };
    assert_eq!(modes(&plain, &default), "ReadWriteOncePod");
}

#[test]
fn a_volume_keeps_its_name() {
    let mut facts = facts(&[0], 1, None);
    facts.volumes.insert(0, "old-c-a-0".to_owned());
    let refusal = desired(&three(""), &facts, &settings()).unwrap_err();
    assert_eq!(refusal.reason, Reason::VolumeImmutable);
    assert!(refusal.message.contains("old-c-a-0"), "{}", refusal.message);
}
