//! Changes of `spec.config`: which of them restart brokers, and how the others reach them.

use super::*;
use crate::cluster::child::Child;
use crate::cluster::desired::Desired;
use crate::cluster::fixture::wanted;
use ottla_crds::Cluster;

const DYNAMIC: &str = ", config: {message.max.bytes: 2000000, log.retention.ms: 5, num.io.threads: 4}";
const BOTH: &str = ", config: {message.max.bytes: 2000000, log.retention.ms: 5, num.io.threads: 4, num.partitions: 6}";

/// What brokers are told while they run, without the comment.
fn told_to(observed: &Observed) -> Vec<String> {
    let of = |id: i32| {
        let pod = observed.get(Kind::Pod, &format!("c-a-{id}")).unwrap();
        pod.annotation(names::CONFIG)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join(" ")
    };
    (0..3).map(of).collect()
}

/// The steps without the ConfigMap of Pods that are made later.
fn at_pods(plan: &Plan) -> Vec<String> {
    steps(plan).into_iter().filter(|step| !step.starts_with("apply ConfigMap c-broker-")).collect()
}

fn ready_to_roll(cluster: &Cluster) -> Observed {
    let mut observed = settled(cluster);
    allow(&mut observed, &[0, 1, 2]);
    observed
}

const MENDED: [&str; 3] = ["mend Pod c-a-0", "mend Pod c-a-1", "mend Pod c-a-2"];

#[test]
fn what_changes_at_run_time_is_told_and_restarts_nobody() {
    let mut observed = ready_to_roll(&three(""));
    let first = observed.get(Kind::Pod, "c-a-0").unwrap()["spec"].clone();
    assert_eq!(told_to(&observed), [""; 3]);
    let plan = planned(&three(DYNAMIC), &observed);
    assert_eq!(at_pods(&plan), MENDED);
    assert_eq!((&plan.operation, &plan.pending, plan.waits), (&None, &None, false), "nothing is under way");
    settle(&three(DYNAMIC), &mut observed);
    assert_eq!(told_to(&observed), ["log.retention.ms=5 message.max.bytes=2000000 num.io.threads=4"; 3]);
    assert_eq!(steps(&planned(&three(DYNAMIC), &observed)), [""; 0]);
    // A key that is not declared any more is not in the file any more.
    let plan = planned(&three(", config: {log.retention.ms: 5}"), &observed);
    assert_eq!(at_pods(&plan)[..3], MENDED);
    settle(&three(", config: {log.retention.ms: 5}"), &mut observed);
    assert_eq!(told_to(&observed), ["log.retention.ms=5"; 3]);
    assert_eq!(observed.get(Kind::Pod, "c-a-0").unwrap()["spec"], first, "the Pods are the same");
    let maps = observed.of(Kind::ConfigMap).filter(|(name, _)| name.starts_with("c-broker-")).count();
    assert_eq!(maps, 2, "the one that Pods have mounted, and the one that the next Pod mounts");
}

#[test]
fn what_is_read_at_start_restarts_brokers_one_by_one() {
    for key in [
        "num.partitions: 6",
        "unclean.leader.election.enable: true",
        "log.flush.interval.messages: 5",
        "min.insync.replicas: 2",
        "ssl.keystore.password: x",
        "queued.max.requests: 9",
    ] {
        let plan = planned(&three(&format!(", config: {{{key}}}")), &ready_to_roll(&three("")));
        assert_eq!(at_pods(&plan), ["delete Pod c-a-1: Outdated"], "{key}");
    }
}

#[test]
fn of_both_what_changes_at_run_time_does_not_wait() {
    let mut observed = ready_to_roll(&three(""));
    let plan = planned(&three(BOTH), &observed);
    let mut expected = MENDED.to_vec();
    expected.push("delete Pod c-a-1: Outdated");
    assert_eq!(at_pods(&plan), expected);
    let manual = three(&format!("{BOTH}, updates: {{policy: Manual}}"));
    let plan = planned(&manual, &observed);
    assert_eq!(at_pods(&plan), MENDED);
    assert_eq!(plan.pending.as_ref().map(|one| one.reason), Some(Reason::WaitsForPerson));
    perform(&mut observed, &plan);
    let plan = planned(&manual, &observed);
    assert_eq!(at_pods(&plan), [""; 0], "they are told once, and still wait");
    assert_eq!(plan.pending.map(|one| one.reason), Some(Reason::WaitsForPerson));
}

#[test]
fn a_password_is_in_no_annotation() {
    let observed = settled(&three(", config: {ssl.keystore.password: hunter2, log.roll.ms: 7}"));
    for (_, pod) in observed.of(Kind::Pod) {
        assert!(!pod["metadata"].to_string().contains("hunter2"), "{}", pod["metadata"]);
    }
}

/// Pods as the operator before made them: they know one checksum of all that is declared, and no file that changes.
fn made_before(cluster: &Cluster) -> Observed {
    let mut observed = ready_to_roll(cluster);
    for id in 0..3 {
        let gone = json!({names::REVISION: "of-before", names::DECLARED_AT_START: null, names::CONFIG: null});
        edit(&mut observed, Kind::Pod, &format!("c-a-{id}"), json!({"metadata": {"annotations": gone}}));
    }
    observed
}

#[test]
fn a_newer_operator_restarts_nobody_and_pods_of_before_are_restarted_for_every_change() {
    for spec in ["", DYNAMIC, BOTH] {
        let observed = made_before(&three(spec));
        let plan = planned(&three(spec), &observed);
        assert_eq!(at_pods(&plan), [""; 0], "{spec}");
        assert_eq!(plan.pending.map(|one| one.reason), Some(Reason::OperatorChanged), "{spec}");
    }
    let plan = planned(&three(DYNAMIC), &made_before(&three("")));
    assert_eq!(at_pods(&plan), ["delete Pod c-a-1: Outdated"], "nothing else brings it to them");
}

#[test]
fn an_operator_of_before_finds_what_it_compares() {
    let stamp = |spec: &str, key: &str| {
        let all: Desired = wanted(&three(spec), &settled(&three(spec))).unwrap();
        let pod: &Child = all.children.iter().find(|child| child.kind == Kind::Pod).unwrap();
        pod.manifest.annotation(key).unwrap().to_owned()
    };
    assert_ne!(stamp("", names::DECLARED), stamp(DYNAMIC, names::DECLARED));
    assert_eq!(stamp("", names::DECLARED_AT_START), stamp(DYNAMIC, names::DECLARED_AT_START));
    assert_ne!(stamp(BOTH, names::DECLARED_AT_START), stamp(DYNAMIC, names::DECLARED_AT_START));
}
