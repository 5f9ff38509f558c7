//! The page and the list, word for word.

use serde_json::{Value, json};

use super::*;
use crate::brokers::tests::{cluster, pod};

fn now() -> Timestamp {
    "2026-02-01T12:00:00Z".parse().unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-02-01T11:58:00Z"})
}

fn topic(name: &str, conditions: &Value, drift: &Value) -> Topic {
    serde_json::from_value(json!({
        "apiVersion": "ottla.dev/v1alpha1", "kind": "Topic", "metadata": {"name": name},
        "spec": {"clusterRef": {"name": "events"}},
        "status": {"conditions": conditions, "drift": drift},
    }))
    .unwrap()
}

#[test]
fn a_cluster_that_is_well_takes_few_lines() {
    let status = json!({
        "observedGeneration": 3,
        "conditions": [
            condition("Ready", "True", "BrokersReady", "2 of 2 brokers serve"),
            condition("Stalled", "False", "AsDeclared", ""),
            condition("DataSafe", "True", "AllInSync", ""),
        ],
        "version": {"current": "1.2", "target": "1.2"},
        "controller": {"broker": 1, "epoch": 4},
        "listeners": [{"name": "internal", "bootstrapServers": "events-bootstrap.shop.svc:9092"}],
        "partitions": {"total": 56, "underReplicated": 0, "offline": 0},
        "pools": [{"name": "main", "replicas": 2, "ready": 2, "outdated": 0}],
    });
    let view = View {
        cluster: cluster(&json!({}), &status),
        brokers: brokers::all(&[pod(0, "x", &json!({})), pod(1, "x", &json!({}))]),
        topics: vec![topic("orders", &json!([condition("Ready", "True", "AsDeclared", "")]), &json!([]))],
    };
    let wanted = "\
Cluster events in namespace shop: Ready
  2 of 2 brokers serve

  version     1.2
  controller  broker 1, epoch 4
  listener    internal at events-bootstrap.shop.svc:9092
  partitions  56, of which 0 have no leader and 0 miss replicas

BROKER  POD            NODE     ZONE  STATE  VERSION  OUTDATED  RESTARTS  AGE
     0  events-main-0  worker0  a     Ready  1.2      -                0  2h0m
     1  events-main-1  worker1  a     Ready  1.2      -                0  1h59m

All of 1 Topic resources are as declared.";
    assert_eq!(page(&view, now()), wanted);
    assert!(is_ready(&view.cluster));
}

#[test]
fn what_is_wrong_is_told_with_its_message() {
    let status = json!({
        "observedGeneration": 2,
        "conditions": [
            condition("Ready", "False", "BrokerCrashes", "1 of 3 brokers serve"),
            condition("Reconciling", "True", "Rolling", "Roll 1/3: spec"),
            condition("UpdatePending", "True", "RollHalted", "events-main-1 does not serve"),
        ],
        "version": {"target": "1.3"},
        "operation": {"kind": "Roll", "step": "1/3", "reason": "spec has changed", "since": "2026-02-01T11:50:00Z"},
        "pools": [{"name": "main", "replicas": 2, "ready": 1, "outdated": 1}],
    });
    let waiting = json!({"status": {"conditions": [], "containerStatuses": [
        {"name": "broker", "ready": false, "restartCount": 4, "image": "", "imageID": "",
         "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
    let drift = json!([{"field": "partitions", "declared": "6", "actual": "3"}]);
    let view = View {
        cluster: cluster(&json!({"ottla.dev/pause": "true"}), &status),
        brokers: brokers::all(&[pod(0, "old", &json!({})), pod(1, "new", &waiting)]),
        topics: vec![
            topic("orders", &json!([condition("Ready", "False", "Refused", "replicas: 5 of 3\nbrokers")]), &json!([])),
            topic("clicks", &json!([condition("Ready", "True", "AsDeclared", "")]), &drift),
            topic("fine", &json!([condition("Ready", "True", "AsDeclared", "")]), &json!([])),
        ],
    };
    let wanted = "\
Cluster events in namespace shop: not Ready, BrokerCrashes
  1 of 3 brokers serve
  the operator has not looked at the newest spec yet

  version     -, on the way to 1.3
  operation   Roll 1/3 (spec has changed), since 2026-02-01T11:50:00Z
  annotated   ottla.dev/pause=true

Not as it should be:
  Ready=False BrokerCrashes, for 2m
      1 of 3 brokers serve
  Reconciling=True Rolling, for 2m
      Roll 1/3: spec
  UpdatePending=True RollHalted, for 2m
      events-main-1 does not serve

BROKER  POD            NODE     ZONE  STATE             VERSION  OUTDATED  RESTARTS  AGE
     0  events-main-0  worker0  a     Ready             1.2      yes              0  2h0m
     1  events-main-1  worker1  a     CrashLoopBackOff  1.2      -                4  1h59m

2 of 3 Topic resources have problems:
TOPIC   REASON   PROBLEM
orders  Refused  replicas: 5 of 3 brokers
clicks  Drifted  differs in partitions";
    assert_eq!(page(&view, now()), wanted);
    assert!(!is_ready(&view.cluster));
}

#[test]
fn a_cluster_that_nobody_looks_at_is_not_ready() {
    let view = View { cluster: cluster(&json!({}), &Value::Null), brokers: Vec::new(), topics: Vec::new() };
    let text = page(&view, now());
    assert!(text.starts_with("Cluster events in namespace shop: no operator has looked at it\n"), "{text}");
    assert!(text.ends_with("No broker has a Pod."), "{text}");
    assert!(!is_ready(&view.cluster));
}

#[test]
fn each_cluster_takes_one_line() {
    let status = json!({
        "conditions": [
            condition("Ready", "True", "Rolling", "2 of 3 brokers serve"),
            condition("UpdatePending", "True", "WaitsForWindow", "the next one begins\non SAT"),
        ],
        "version": {"current": "1.2"},
        "partitions": {"total": 56, "underReplicated": 4, "offline": 0},
        "operation": {"kind": "Roll", "step": "1/3"},
        "pools": [{"name": "main", "ready": 2}],
    });
    let clusters = [cluster(&json!({}), &status), cluster(&json!({}), &Value::Null)];
    let wanted = "\
CLUSTER  READY  BROKERS  VERSION  OFFLINE  UNDER-REPLICATED  OPERATION  MESSAGE
events   True   2/3      1.2            0                 4  Roll 1/3   the next one begins on SAT
events   -      0/3      -              -                 -  -";
    assert_eq!(list(&clusters, false), wanted);
    assert!(list(&clusters, true).contains("\nshop       events"));
}
