//! What a Cluster says of itself while it is made, rolled, refused and stuck.

use serde_json::json;

use super::*;
use crate::cluster::documents::Documents;
use crate::cluster::fixture::{cluster, edit, holding, perform, planned, pool, settle, settled, three, wanted};
use crate::cluster::names::BROKER_LABEL;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The status of `cluster` as it stands, after `refusals` of the API server.
fn seen(cluster: &Cluster, observed: &Observed, mut refusals: Vec<Refusal>, now: &str) -> ClusterStatus {
    let desired = wanted(cluster, observed);
    let mut plan = Plan::default();
    match &desired {
        Ok(_) => {
            plan = planned(cluster, observed);
            refusals.append(&mut plan.refusals);
        }
        Err(refusal) => refusals.push(refusal.clone()),
    }
    let paused = cluster.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(names::PAUSE));
    let view = View { cluster, desired: desired.as_ref().ok(), observed, plan: &plan, refusals: &refusals, paused };
    status(&view, at(now))
}

fn shown(status: &ClusterStatus) -> Vec<String> {
    let line = |one: &Condition| format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message);
    status.conditions.iter().map(line).map(|line| line.trim_end_matches(": ").to_owned()).collect()
}

const NOW: &str = "2026-02-01T10:00:00Z";

#[test]
fn the_first_status_says_what_it_is_of_and_whether_it_is_ready() {
    let status = seen(&three(""), &Observed::default(), Vec::new(), NOW);
    assert_eq!(status.observed_generation, Some(3));
    insta::assert_snapshot!(serde_yaml::to_string(&status).unwrap());
}

#[test]
fn a_cluster_that_serves() {
    let cluster = three("");
    let status = seen(&cluster, &settled(&cluster), Vec::new(), NOW);
    insta::assert_snapshot!(serde_yaml::to_string(&status).unwrap());
}

#[test]
fn time_stands_still_without_a_change() {
    let mut cluster = three("");
    let observed = settled(&cluster);
    let first = seen(&cluster, &observed, Vec::new(), NOW);
    cluster.status = Some(first.clone());
    assert_eq!(seen(&cluster, &observed, Vec::new(), "2026-02-02T00:00:00Z"), first);
    let mut broken = observed.clone();
    edit(&mut broken, Kind::Pod, "c-a-0", json!({"status": {"conditions": []}}));
    let later = seen(&cluster, &broken, Vec::new(), "2026-02-02T00:00:00Z");
    let time = |status: &ClusterStatus, kind: &str| {
        status.conditions.iter().find(|one| one.type_ == kind).map(|one| one.last_transition_time.0)
    };
    assert_ne!(time(&later, "Ready"), time(&first, "Ready"));
    assert_eq!(time(&later, "Stalled"), time(&first, "Stalled"));
}

#[test]
fn a_roll_is_reconciling_and_never_degraded() {
    let mut observed = settled(&three(""));
    let cluster = three(", config: {num.partitions: 6}");
    observed.can_stop = [0, 1, 2].map(|id| (id, crate::cluster::observed::CanStop::Yes)).into();
    for _ in 0..2 {
        let plan = planned(&cluster, &observed);
        perform(&mut observed, &plan);
    }
    let status = seen(&cluster, &observed, Vec::new(), NOW);
    insta::assert_snapshot!(serde_yaml::to_string(&(shown(&status), &status.pools, &status.operation)).unwrap());
}

#[test]
fn several_brokers_of_one_zone_that_are_restarted_together_degrade_nothing() {
    let ready = |more: &str, racks: [&str; 4], away: &[&str]| {
        let cluster = cluster(&format!("{{pools: [{}]{more}}}", pool("a", 4)));
        let mut observed = settled(&cluster);
        observed.documents = crate::cluster::fixture::documents(&[(0, 12), (1, 12), (2, 12), (3, 12)]);
        let Documents::Whole(summary) = &mut observed.documents else { panic!("they are whole") };
        for (id, rack) in (0..).zip(racks) {
            summary.layout.brokers.get_mut(&id).unwrap().rack = Some(rack.to_owned()).filter(|rack| !rack.is_empty());
        }
        for pod in away {
            observed.objects.remove(&(Kind::Pod, (*pod).to_owned()));
        }
        shown(&seen(&cluster, &observed, Vec::new(), NOW)).remove(0)
    };
    let two = ", updates: {maxUnavailablePerZone: 2}";
    let restarted = "Ready=True Rolling: 2 of 4 brokers serve, 2 are being restarted";
    let away = "Ready=False BrokersNotReady: 2 of 4 brokers serve";
    let pair = ["c-a-1", "c-a-3"];
    assert_eq!(ready(two, ["x", "y", "x", "y"], &pair), restarted);
    assert_eq!(ready(two, ["", "", "", ""], &pair), restarted, "all of which nobody knows are in one zone");
    assert_eq!(ready(two, ["x", "y", "y", "x"], &pair), away, "they are of two zones");
    assert_eq!(ready("", ["x", "y", "x", "y"], &pair), away, "one at a time is all that is declared");
    let all = ["c-a-0", "c-a-1", "c-a-2", "c-a-3"];
    assert_eq!(
        ready(", updates: {maxUnavailablePerZone: 4}", ["x"; 4], &all),
        "Ready=False BrokersNotReady: 0 of 4 brokers serve"
    );
}

#[test]
fn a_roll_that_waits_until_a_broker_may_stop_is_not_over() {
    let mut observed = settled(&three(""));
    observed.can_stop.insert(1, crate::cluster::observed::CanStop::No);
    let cluster = three(", config: {num.partitions: 6}");
    let first = planned(&cluster, &observed);
    perform(&mut observed, &first);
    let lines = shown(&seen(&cluster, &observed, Vec::new(), NOW));
    assert!(lines[1].starts_with("Reconciling=True Rolling"), "{lines:?}");
    assert!(lines[3].starts_with("UpdatePending=True StopRefused"), "{lines:?}");
}

#[test]
fn a_roll_is_one_until_its_last_broker_serves_and_a_killed_pod_is_none() {
    let mut observed = settled(&three(""));
    let mut cluster = three(", config: {num.partitions: 6}");
    observed.can_stop = [0, 1, 2].map(|id| (id, crate::cluster::observed::CanStop::Yes)).into();
    let mut kinds = Vec::new();
    for _ in 0..8 {
        let status = seen(&cluster, &observed, Vec::new(), NOW);
        kinds.push(status.operation.as_ref().and_then(|operation| operation.kind.clone()));
        cluster.status = Some(status);
        let plan = planned(&cluster, &observed);
        perform(&mut observed, &plan);
    }
    let roll = Some("Roll".to_owned());
    assert_eq!(kinds[..6], [roll.clone(), roll.clone(), roll.clone(), roll.clone(), roll.clone(), roll.clone()]);
    assert_eq!(kinds[6..], [None, None]);
    observed.objects.remove(&(Kind::Pod, "c-a-1".to_owned()));
    let killed = seen(&cluster, &observed, Vec::new(), NOW).operation.unwrap();
    assert_eq!(killed.kind.as_deref(), Some("StartBrokers"));
}

#[test]
fn what_is_refused_is_stalled_with_the_way_out() {
    let status = seen(&three(", config: {num.partitons: 6}"), &Observed::default(), Vec::new(), NOW);
    insta::assert_snapshot!("refused_spec", shown(&status).join("\n"));
    let cluster = three("");
    let quota = Refusal::new(Reason::QuotaExceeded, "apply Pod c-a-2: exceeded quota; raise the quota");
    let mut observed = settled(&cluster);
    observed.objects.remove(&(Kind::Pod, "c-a-2".to_owned()));
    let status = seen(&cluster, &observed, vec![quota], NOW);
    insta::assert_snapshot!("refused_by_quota", shown(&status).join("\n"));
}

#[test]
fn pods_that_do_not_run_say_why() {
    let cluster = three("");
    let check = |over: serde_json::Value| {
        let mut observed = settled(&cluster);
        edit(&mut observed, Kind::Pod, "c-a-1", over);
        shown(&seen(&cluster, &observed, Vec::new(), NOW))[..3].join("\n")
    };
    let waiting = |reason: &str| json!({"status": {"conditions": [], "containerStatuses": [{"image": "x:y", "state": {"waiting": {"reason": reason}}}]}});
    insta::assert_snapshot!("image", check(waiting("ErrImagePull")));
    insta::assert_snapshot!("crash", check(waiting("CrashLoopBackOff")));
    let unscheduled = json!({"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"});
    insta::assert_snapshot!("unscheduled", check(json!({"status": {"conditions": [unscheduled]}})));
    let held = json!({"deletionTimestamp": "2026-02-01T09:58:00Z", "finalizers": ["example.org/backup"]});
    insta::assert_snapshot!("held", check(json!({"metadata": held, "status": {"conditions": []}})));
}

#[test]
fn a_paused_cluster_says_what_waits() {
    let mut cluster = three("");
    cluster.metadata.annotations = Some([(names::PAUSE.to_owned(), "true".to_owned())].into());
    let status = seen(&cluster, &Observed::default(), Vec::new(), NOW);
    let reconciling = shown(&status).into_iter().find(|line| line.starts_with("Reconciling")).unwrap();
    assert!(
        reconciling.starts_with("Reconciling=True Paused") && reconciling.contains("ottla.dev/pause=true"),
        "{reconciling}"
    );
    assert_eq!(status.operation, None);
}

#[test]
fn a_cluster_that_sleeps_is_neither_stalled_nor_at_work() {
    let mut cluster = three("");
    let mut observed = settled(&cluster);
    cluster.metadata.annotations = Some([(names::HIBERNATE.to_owned(), "true".to_owned())].into());
    let waiting = json!({"status": {"conditions": [], "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}});
    edit(&mut observed, Kind::Pod, "c-a-1", waiting);
    let stopping = seen(&cluster, &observed, Vec::new(), NOW);
    settle(&cluster, &mut observed);
    let status = seen(&cluster, &observed, Vec::new(), NOW);
    let story = [&stopping, &status].map(|one| (shown(one), one.operation.clone(), one.pools.clone()));
    insta::assert_snapshot!(serde_yaml::to_string(&story).unwrap());
    // What is wrong with it is told all the same.
    let quota = Refusal::new(Reason::Forbidden, "apply Service c-bootstrap: forbidden");
    let lines = shown(&seen(&cluster, &observed, vec![quota], NOW));
    assert!(
        lines[0].starts_with("Ready=False Hibernated") && lines[2].starts_with("Stalled=True Forbidden"),
        "{lines:?}"
    );
}

#[test]
fn data_is_as_safe_as_the_metadata_says() {
    let cluster = three("");
    let check = |under_replicated: i64, offline: i64| {
        let mut observed = settled(&cluster);
        if let crate::cluster::documents::Documents::Whole(summary) = &mut observed.documents {
            (summary.under_replicated, summary.offline) = (under_replicated, offline);
        }
        shown(&seen(&cluster, &observed, Vec::new(), NOW))
            .into_iter()
            .find(|line| line.starts_with("DataSafe"))
            .unwrap()
    };
    assert_eq!(check(0, 0), "DataSafe=True AllInSync");
    assert!(check(4, 0).starts_with("DataSafe=False UnderReplicated: 4 of 12"));
    assert!(check(4, 1).starts_with("DataSafe=False PartitionsOffline: 1 of 12"));
}

#[test]
fn a_cluster_without_brokers_is_not_ready() {
    let none = cluster("{pools: [{name: a, replicas: 0, storage: {volumes: [{name: data, size: 1Gi}]}}]}");
    let status = seen(&none, &settled(&none), Vec::new(), NOW);
    assert!(shown(&status)[0].starts_with("Ready=False NoBrokers"), "{:?}", shown(&status));
    assert!(status.pools[0].replicas == Some(0) && BROKER_LABEL.ends_with("broker-id"));
}

#[test]
fn what_moves_is_told_and_what_is_left_uneven() {
    let four = |more: &str| cluster(&format!("{{pools: [{}]{more}}}", pool("a", 4)));
    let orders: &[&[i32]] = &[&[0, 1], &[1, 2], &[2, 0], &[0, 1], &[1, 2], &[2, 0]];
    let mut observed = settled(&three(""));
    observed.documents = holding(3, &[("orders", orders)]);
    // Its Pod is made, and its broker joins.
    let joins = planned(&four(""), &observed);
    perform(&mut observed, &joins);
    let mut story = Vec::new();
    let mut tell = |cluster: &Cluster, observed: &Observed| {
        let status = seen(cluster, observed, Vec::new(), NOW);
        story.push((shown(&status), status.operation));
    };
    tell(&four(""), &observed);
    tell(&four(", rebalance: {mode: Off}"), &observed);
    settle(&four(""), &mut observed);
    tell(&four(""), &observed);
    // What people have moved since is their affair.
    observed.documents = holding(4, &[("orders", orders)]);
    tell(&four(""), &observed);
    tell(&three(", rebalance: {mode: Off}"), &observed);
    insta::assert_snapshot!(serde_yaml::to_string(&story).unwrap());
}

#[test]
fn a_listener_without_an_address_keeps_nobody_from_serving() {
    let cluster =
        three(", listeners: [{name: in, port: 9092}, {name: out, port: 9094, type: LoadBalancer, insecure: true}]");
    let mut observed = settled(&cluster);
    for name in ["c-out", "c-out-0", "c-out-1", "c-out-2"] {
        let born = json!({"metadata": {"creationTimestamp": "2026-02-01T09:58:00Z"}});
        edit(&mut observed, Kind::Service, name, born);
    }
    let ingress = |ip: &str| json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
    edit(&mut observed, Kind::Service, "c-out", ingress("192.0.2.1"));
    edit(&mut observed, Kind::Service, "c-out-0", ingress("192.0.2.2"));
    settle(&cluster, &mut observed);
    let soon = seen(&cluster, &observed, Vec::new(), NOW);
    insta::assert_snapshot!("listener_pending", serde_yaml::to_string(&(&soon.listeners, shown(&soon))).unwrap());
    let late = shown(&seen(&cluster, &observed, Vec::new(), "2026-02-01T10:04:00Z"));
    assert!(late[0].starts_with("Ready=True"), "{late:?}");
    assert_eq!(late[1], "Reconciling=False AsDeclared");
    assert!(
        late[2].starts_with("Stalled=True ListenerPending: no address yet for Service c-out-1, c-out-2:"),
        "{late:?}"
    );
}
