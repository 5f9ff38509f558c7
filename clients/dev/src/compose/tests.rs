//! What manifests mean on one machine, and what is said about the rest.

use ottla_crds::manifest;

use super::*;

const CLUSTER: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec:
  pools:
  - {name: a, replicas: 1, storage: {volumes: [{name: data, size: 1Gi}]}}
";

fn topic(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\nspec:\n  clusterRef: {{name: c}}\n{rest}"
    )
}

fn composed(text: &str) -> Result<Composition, Problems> {
    compose(&manifest::parse("c.yaml", text)?, &[])
}

fn check_refused(text: &str, expected: &str) {
    assert_eq!(composed(text).expect_err(expected).to_string(), expected);
}

#[test]
fn nothing_is_one_broker_with_one_replica_of_everything() {
    let composition = compose(&Manifest::default(), &[]).unwrap();
    assert!(composition.topics.is_empty() && composition.notes.is_empty());
    assert!(composition.config.values().all(|value| value == "1"), "{:?}", composition.config);
}

#[test]
fn configs_and_topics_are_taken_over() {
    let text = format!(
        "{CLUSTER}  config: {{num.partitions: 3, auto.create.topics.enable: false}}\n{}",
        topic(
            "orders",
            "  topicName: orders_v1\n  partitions: 12\n  config: {retention.ms: 604800000, cleanup.policy: delete}\n"
        )
    );
    let composition = composed(&text).unwrap();
    assert_eq!(composition.config["num.partitions"], "3");
    assert_eq!(composition.config["auto.create.topics.enable"], "false");
    assert_eq!(composition.topics.len(), 1);
    assert_eq!((composition.topics[0].name.as_str(), composition.topics[0].partitions), ("orders_v1", 12));
    assert_eq!(composition.topics[0].config["retention.ms"], "604800000");
    assert_eq!(composition.notes, ["ignored on one machine: pools[].storage (records are in --data-dir)"]);
}

#[test]
fn a_flag_wins_over_a_file() {
    let manifest = manifest::parse("c.yaml", &format!("{CLUSTER}  config: {{num.partitions: 3}}\n")).unwrap();
    let composition = compose(&manifest, &[("num.partitions".to_owned(), "5".to_owned())]).unwrap();
    assert_eq!(composition.config["num.partitions"], "5");
}

#[test]
fn what_makes_no_sense_here_is_named_once() {
    let text = "\
apiVersion: ottla.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec:
  version: \"9\"
  pools:
  - {name: a, replicas: 2, rack: zone, storage: {volumes: [{name: data, size: 1Gi}]}}
  - {name: b, replicas: 1, rack: zone, storage: {volumes: [{name: data, size: 1Gi}]}, resources: {limits: {cpu: 1}}}
  listeners:
  - {name: internal, port: 9093}
  - {name: external, port: 9094, type: NodePort, insecure: true}
  config: {min.insync.replicas: 2}
";
    let text = format!("{text}{}", topic("t", "  replicas: 4\n  config: {min.insync.replicas: 2}\n"));
    let composition = composed(&text).unwrap();
    assert_eq!(
        composition.notes,
        [
            "3 brokers can keep 3 replicas: replication factors and min.insync.replicas are at most 3",
            "ignored on one machine: listeners of type NodePort and LoadBalancer; listeners[].port (the port is \
             --kafka-port); pools[].rack; pools[].resources; pools[].storage (records are in --data-dir); version \
             (this build runs)",
        ]
    );
    assert_eq!(composition.brokers, 3);
    assert_eq!(composition.config["min.insync.replicas"], "2");
    assert_eq!(composition.topics[0].config["min.insync.replicas"], "2");
    assert_eq!(composition.topics[0].replicas, Some(3));
    assert_eq!(composition.config["default.replication.factor"], "1");
}

#[test]
fn what_comes_later_is_named_and_what_is_not_ours_is_skipped() {
    let text = "\
apiVersion: ottla.dev/v1alpha1
kind: User
metadata: {name: shop}
spec: {clusterRef: {name: c}, authentication: {type: TLS}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
    assert_eq!(
        composed(text).unwrap().notes,
        ["not supported yet, and left out: User shop", "c.yaml:7: skipped, Namespace of v1 is not a resource of Ottla"]
    );
}

#[test]
fn mistakes_in_configs_are_named_with_their_line() {
    check_refused(
        &topic("t", "  config:\n    retention.mss: 1\n"),
        "c.yaml:8: spec.config[\"retention.mss\"]: unknown configuration retention.mss (did you mean retention.ms?)",
    );
    check_refused(
        &format!("{CLUSTER}  config: {{num.partition: 1}}\n"),
        "c.yaml:7: spec.config[\"num.partition\"]: unknown configuration num.partition (did you mean num.partitions?)",
    );
    check_refused(
        &format!("{CLUSTER}  config: {{log.dirs: /tmp}}\n"),
        "c.yaml:7: spec.config[\"log.dirs\"]: log.dirs cannot be set by spec.config; it is set by --data-dir",
    );
    let error = composed(&topic("t", "  config: {retention.ms: soon}\n")).unwrap_err().to_string();
    assert!(error.starts_with("c.yaml:7: spec.config[\"retention.ms\"]: invalid value \"soon\""), "{error}");
}

#[test]
fn a_topic_belongs_to_the_cluster_that_is_declared() {
    let other = topic("t", "").replace("clusterRef: {name: c}", "clusterRef: {name: d}");
    check_refused(
        &format!("{CLUSTER}{other}"),
        "c.yaml:12: spec.clusterRef.name: no Cluster \"d\" is declared; did you mean \"c\"?",
    );
    assert_eq!(composed(&other).unwrap().topics.len(), 1, "a file of topics alone is fine");
    check_refused(
        &format!("{CLUSTER}---\n{}", CLUSTER.replace("name: c}", "name: d}")),
        "c.yaml:10: metadata.name: ottla dev runs one Cluster, and c.yaml:3 declares one",
    );
}
