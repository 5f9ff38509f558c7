//! What is told of steps and of statuses, and what is not told again.

use serde_json::json;

use super::*;
use crate::cluster::fixture::{cluster, edit, perform, planned, pool, settled, three, wanted};
use crate::cluster::observed::CanStop;
use ottla_crds::Cluster;

/// What is told of the next steps for `cluster`.
fn told(cluster: &Cluster, observed: &mut Observed) -> Vec<String> {
    let plan = planned(cluster, observed);
    let news = of_steps(&plan.steps.iter().collect::<Vec<_>>(), &wanted(cluster, observed).unwrap(), observed);
    perform(observed, &plan);
    news.iter().map(|one| format!("{}: {}", one.reason, one.note)).collect()
}

#[test]
fn a_cluster_begins_with_its_brokers() {
    let (cluster, mut observed) = (three(""), Observed::default());
    assert_eq!(told(&cluster, &mut observed), ["ClusterCreated: cluster c begins: its metadata is created"]);
    assert_eq!(told(&cluster, &mut observed), [""; 0], "its authority");
    let second = told(&cluster, &mut observed);
    assert_eq!(second.len(), 6, "{second:?}");
    assert!(second.contains(&"BrokerAdded: broker 2 joins pool a, with volume data-c-a-2".to_owned()), "{second:?}");
    assert!(second.contains(&"BrokerStarted: Pod c-a-2 is made".to_owned()), "{second:?}");
    assert_eq!(told(&cluster, &mut observed), [""; 0]);
}

#[test]
fn a_restart_says_why() {
    let check = |more: &str, over: Value, why: &str| {
        let mut observed = settled(&three(""));
        observed.can_stop = [0, 1, 2].map(|id| (id, CanStop::Yes)).into();
        edit(&mut observed, Kind::Pod, "c-a-1", json!({"metadata": {"annotations": over}}));
        let told = told(&three(more), &mut observed);
        let expected = format!("BrokerRestarted: Pod c-a-1 is restarted: {why}");
        assert!(told.contains(&expected), "{told:?}");
    };
    check(", config: {num.partitions: 6}", json!({}), "its declaration has changed");
    check(", version: 0.2.0", json!({}), "image example.org/ottla-broker:0.1.0 becomes example.org/ottla-broker:0.2.0");
    check("", json!({names::RESTART: "x"}), "it is annotated ottla.dev/restart=x");
}

#[test]
fn a_volume_that_grows_is_told_and_one_that_is_edited_is_not() {
    let mut observed = settled(&three(""));
    let grown = cluster(&format!("{{pools: [{}]}}", pool("a", 3).replace("10Gi", "20Gi")));
    let first = told(&grown, &mut observed);
    assert_eq!(first[0], "VolumeGrown: volume data-c-a-0 grows from 10Gi to 20Gi");
    assert_eq!(told(&three(", version: 0.2.0"), &mut settled(&three(""))).len(), 0, "the image is noted on volumes");
}

fn status(conditions: &[(&str, &str, &str)], operation: Option<&str>, outdated: i32) -> ClusterStatus {
    let condition = |(kind, status, reason): &(&str, &str, &str)| json!({"type": kind, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let conditions: Vec<Value> = conditions.iter().map(condition).collect();
    let pools = json!([{"name": "a", "outdated": outdated}]);
    let operation = operation.map_or(json!(null), |kind| json!({"kind": kind, "reason": "r"}));
    serde_json::from_value(json!({"conditions": conditions, "pools": pools, "operation": operation})).unwrap()
}

fn check(before: Option<&ClusterStatus>, after: &ClusterStatus, expected: &[&str]) {
    let line = |one: &News| format!("{} {}", if one.warning { "Warning" } else { "Normal" }, one.reason);
    let told: Vec<String> = of_status(before, after).iter().map(line).collect();
    assert_eq!(told, expected);
    assert!(of_status(Some(after), after).is_empty(), "what stays is not told again");
}

#[test]
fn conditions_are_told_when_their_reason_changes() {
    let serves = status(&[("Ready", "True", "BrokersReady"), ("Stalled", "False", "AsDeclared")], None, 0);
    check(None, &serves, &["Normal Ready"]);
    let refused = status(&[("Ready", "True", "BrokersReady"), ("Stalled", "True", "InvalidConfig")], None, 0);
    check(Some(&serves), &refused, &["Warning InvalidConfig"]);
    let other = status(&[("Ready", "True", "BrokersReady"), ("Stalled", "True", "NameTaken")], None, 0);
    check(Some(&refused), &other, &["Warning NameTaken"]);
    check(Some(&refused), &serves, &[]);
    let down = status(&[("Ready", "False", "BrokersNotReady"), ("DataSafe", "False", "PartitionsOffline")], None, 0);
    check(Some(&serves), &down, &["Warning BrokersNotReady", "Warning PartitionsOffline"]);
    let waits = status(&[("Ready", "True", "BrokersReady"), ("UpdatePending", "True", "WaitsForPerson")], None, 3);
    check(Some(&serves), &waits, &["Normal WaitsForPerson"]);
}

#[test]
fn a_roll_begins_halts_and_is_done() {
    let ready = ("Ready", "True", "Rolling");
    let before = status(&[ready], None, 0);
    let rolls = status(&[ready], Some("Roll"), 2);
    check(Some(&before), &rolls, &["Normal RollBegun"]);
    let halted = status(&[ready, ("UpdatePending", "True", "RollHalted")], Some("Roll"), 2);
    check(Some(&rolls), &halted, &["Warning RollHalted"]);
    check(Some(&rolls), &before, &["Normal RollDone"]);
    check(Some(&rolls), &status(&[ready], None, 2), &[]);
}

#[test]
fn a_rebalance_begins_and_is_done() {
    let even = status(&[("Ready", "True", "BrokersReady"), ("Balanced", "True", "EvenlySpread")], None, 0);
    let moves = [("Ready", "True", "BrokersReady"), ("Balanced", "False", "Rebalancing")];
    let moves = status(&moves, Some("Rebalance"), 0);
    check(Some(&even), &moves, &["Normal RebalanceBegun"]);
    check(Some(&moves), &even, &["Normal RebalanceDone"]);
    let given_up = status(&[("Ready", "True", "BrokersReady"), ("Balanced", "False", "Uneven")], None, 0);
    check(Some(&moves), &given_up, &[]);
}

#[test]
fn what_people_ask_for_is_told_when_it_is_so() {
    let awake = status(&[("Ready", "True", "BrokersReady"), ("Reconciling", "False", "AsDeclared")], None, 0);
    let paused = status(&[("Ready", "True", "BrokersReady"), ("Reconciling", "False", "Paused")], None, 0);
    check(Some(&awake), &paused, &["Normal Paused"]);
    check(Some(&paused), &awake, &["Normal Resumed"]);
    let stopping = status(&[("Ready", "False", "Hibernated")], Some("Hibernate"), 0);
    let asleep = status(&[("Ready", "False", "Hibernated")], None, 0);
    check(Some(&awake), &stopping, &[]);
    check(Some(&stopping), &asleep, &["Normal Hibernated"]);
    let waking = status(&[("Ready", "False", "BrokersNotReady")], Some("Create"), 0);
    check(Some(&asleep), &waking, &["Normal Woken"]);
    let refused = status(&[("Ready", "False", "InvalidConfig"), ("Stalled", "True", "InvalidConfig")], None, 0);
    check(Some(&asleep), &refused, &["Warning InvalidConfig"]);
}
