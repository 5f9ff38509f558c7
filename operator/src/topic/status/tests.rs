//! What is said in each state, and what is not said again.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ottla_crds::topic::Drift;

use super::super::world::World;
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn topic() -> Topic {
    serde_yaml::from_str(
        "{apiVersion: ottla.dev/v1alpha1, kind: Topic, metadata: {name: orders, generation: 3}, spec: {clusterRef: {name: c}}}",
    )
    .unwrap()
}

fn seen() -> Sight {
    let found = Found { id: "one".to_owned(), partitions: [(0, vec![0, 1])].into(), ..Found::default() };
    Sight::Seen(World {
        topics: [("orders".to_owned(), found)].into(),
        brokers: BTreeMap::new(),
        moving: 0,
        declared: 0,
    })
}

fn told(status: &TopicStatus) -> Vec<String> {
    let line = |one: &Condition| format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message);
    status.conditions.iter().map(line).collect()
}

fn check(plan: Plan, failure: Option<Failure>, sight: &Sight, expected: [&str; 3]) {
    let status = status(&topic(), &plan, failure.as_ref(), sight, at(1));
    assert_eq!(told(&status), expected);
    assert_eq!(status.observed_generation, Some(3), "from the first write");
}

fn waiting(reason: Reason) -> Plan {
    Plan { state: State::Waiting(reason, "why".to_owned()), ..Plan::default() }
}

#[test]
fn every_state_has_its_three_conditions() {
    let (calm, unmoved) = ("Reconciling=False AsDeclared: ", "Stalled=False AsDeclared: ");
    check(Plan::default(), None, &seen(), ["Ready=True AsDeclared: ", calm, unmoved]);
    let drift = vec![Drift { field: "retention.ms".to_owned(), declared: None, actual: Some("5".to_owned()) }];
    let drifted = "Ready=True Drifted: retention.ms is 5, declared is the default";
    check(Plan { drift, ..Plan::default() }, None, &seen(), [drifted, calm, unmoved]);
    let lost = ["Ready=False ClusterNotFound: why", "Reconciling=True ClusterNotFound: why", unmoved];
    check(waiting(Reason::ClusterNotFound), None, &Sight::Missing, lost);
    let asleep = ["Ready=False Hibernated: why", "Reconciling=False Hibernated: why", unmoved];
    check(waiting(Reason::Hibernated), None, &Sight::Asleep, asleep);
    let moving = Plan { state: State::Moving("1 of 3".to_owned()), ..Plan::default() };
    check(
        moving,
        None,
        &seen(),
        ["Ready=True MovingReplicas: 1 of 3", "Reconciling=True MovingReplicas: 1 of 3", unmoved],
    );
    let refusal = Refusal::new(Reason::InvalidConfig, "no");
    let refused = ["Ready=False InvalidConfig: no", calm, "Stalled=True InvalidConfig: no"];
    let state = State::Refused(refusal.clone());
    check(Plan { state, ..Plan::default() }, None, &seen(), refused);
    check(waiting(Reason::Applying), Some(Failure::Refused(refusal)), &seen(), refused);
    let later = Some(Failure::Later("busy".to_owned()));
    check(
        waiting(Reason::Applying),
        later,
        &seen(),
        ["Ready=False Applying: busy", "Reconciling=True Applying: busy", unmoved],
    );
}

#[test]
fn who_is_paused_says_what_waits() {
    let plan = Plan { steps: vec![Step::AddPartitions { from: 1, to: 2 }], paused: true, ..Plan::default() };
    let waits = "Paused: 1 change(s) wait: the Topic is annotated ottla.dev/pause=true";
    let expected =
        [&format!("Ready=False {waits}"), &format!("Reconciling=True {waits}"), "Stalled=False AsDeclared: "];
    check(plan, None, &seen(), expected);
    let calm = ["Ready=True AsDeclared: ", "Reconciling=False AsDeclared: ", "Stalled=False AsDeclared: "];
    check(Plan { paused: true, ..Plan::default() }, None, &seen(), calm);
}

#[test]
fn a_second_look_says_the_same() {
    let mut topic = topic();
    let first = status(&topic, &Plan::default(), None, &seen(), at(1));
    assert_eq!((first.topic_id.as_deref(), first.partitions, first.replicas), (Some("one"), Some(1), Some(2)));
    assert!(!is_told(&topic));
    topic.status = Some(first.clone());
    assert!(is_told(&topic));
    assert_eq!(status(&topic, &Plan::default(), None, &seen(), at(9)), first, "no time but that of a change");
    // Who does not answer takes nothing back.
    let silent = status(&topic, &waiting(Reason::ClusterNotReady), None, &Sight::Silent("no".to_owned()), at(9));
    assert_eq!((silent.topic_id, silent.partitions), (first.topic_id, first.partitions));
    assert_eq!(silent.conditions[0].last_transition_time, Time(at(9)));
    assert_eq!(silent.conditions[2].last_transition_time, Time(at(1)));
    topic.metadata.generation = Some(4);
    assert!(!is_told(&topic));
}

#[test]
fn the_topic_of_another_is_not_shown_as_ones_own() {
    let state = State::Refused(Refusal::new(Reason::TopicClaimed, "first"));
    let status = status(&topic(), &Plan { state, ..Plan::default() }, None, &seen(), at(1));
    assert_eq!((status.topic_id, status.partitions), (None, None));
}
