//! Plans for clusters that are new, half done, edited, outdated and on their way out.

use serde_json::json;

use super::*;
use crate::cluster::documents::Summary;
use crate::cluster::fixture::{cluster, documents, edit, perform, planned, pool, settle, settled, three};
use crate::cluster::observed::CanStop;

mod config;
mod moves;
mod people;
mod rolls;

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

/// Everything that a plan says.
fn told(plan: &Plan) -> String {
    let mut lines = steps(plan);
    let refusals = plan.refusals.iter().map(|one| format!("refused {}: {}", one.reason, one.message));
    lines.extend(refusals);
    lines.extend(plan.pending.iter().map(|one| format!("pending {}: {}", one.reason, one.message)));
    lines.extend(plan.operation.iter().map(|one| format!("operation {} {}: {}", one.kind, one.step, one.reason)));
    lines.push(format!("waits: {}", plan.waits));
    lines.join("\n")
}

fn allow(observed: &mut Observed, ids: &[i32]) {
    observed.can_stop = ids.iter().map(|id| (*id, CanStop::Yes)).collect();
}

#[test]
fn a_new_cluster_gets_its_metadata_and_its_authority_before_its_disks() {
    let (cluster, mut observed) = (three(""), Observed::default());
    let first = planned(&cluster, &observed);
    insta::assert_snapshot!("new_first", told(&first));
    perform(&mut observed, &first);
    let second = planned(&cluster, &observed);
    insta::assert_snapshot!("new_second", told(&second));
    perform(&mut observed, &second);
    let third = planned(&cluster, &observed);
    insta::assert_snapshot!("new_third", told(&third));
    perform(&mut observed, &third);
    let fourth = planned(&cluster, &observed);
    assert_eq!(
        steps(&fourth),
        [0, 1, 2].map(|id| format!("apply PersistentVolumeClaim data-c-a-{id}: Changed")),
        "every broker is there, and holds its share"
    );
    perform(&mut observed, &fourth);
    assert_eq!(steps(&planned(&cluster, &observed)), [""; 0]);
}

#[test]
fn nothing_is_written_without_a_change() {
    for spec in
        ["", ", config: {num.partitions: 6}", ", volumes: {onDelete: Delete}", ", networkPolicy: {enabled: false}"]
    {
        let cluster = three(spec);
        let observed = settled(&cluster);
        let plan = planned(&cluster, &observed);
        assert_eq!((steps(&plan), plan.waits, &plan.operation), (vec![], false, &None), "{spec}");
    }
}

#[test]
fn whatever_is_missing_is_made_again() {
    let cluster = three("");
    let whole = settled(&cluster);
    for (kind, name) in whole.objects.keys() {
        let mut observed = whole.clone();
        observed.objects.remove(&(*kind, name.clone()));
        let plan = steps(&planned(&cluster, &observed));
        // What holds a key is made anew; all others are applied as they were.
        let made = *kind == Kind::Secret && name != "c-ca-cert";
        let expected =
            if made { format!("certify Secret {name}: ") } else { format!("apply {} {name}: Missing", kind.name()) };
        assert!(plan.len() == 1 && plan[0].starts_with(&expected), "{plan:?}");
    }
}

#[test]
fn whatever_is_edited_is_put_back() {
    let cluster = three("");
    let whole = settled(&cluster);
    for (kind, name) in whole.objects.keys() {
        let mut observed = whole.clone();
        edit(&mut observed, *kind, name, json!({"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}}));
        let expected = if *kind == Kind::Pod {
            format!("mend Pod {name}")
        } else {
            format!("apply {} {name}: Edited", kind.name())
        };
        let plan = planned(&cluster, &observed);
        assert_eq!(steps(&plan), [expected]);
        perform(&mut observed, &plan);
        assert_eq!(steps(&planned(&cluster, &observed)), [""; 0]);
    }
    let mut observed = whole.clone();
    edit(&mut observed, Kind::Service, "c-bootstrap", json!({"spec": {"ports": [], "sessionAffinity": "ClientIP"}}));
    assert_eq!(steps(&planned(&cluster, &observed)), ["apply Service c-bootstrap: Edited"]);
}

#[test]
fn a_broker_without_its_labels_is_still_that_broker() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    let bare = json!({"metadata": {"labels": {names::CLUSTER_LABEL: null, names::POOL_LABEL: null, names::BROKER_LABEL: null}}});
    edit(&mut observed, Kind::Pod, "c-a-1", bare.clone());
    edit(
        &mut observed,
        Kind::PersistentVolumeClaim,
        "data-c-a-1",
        json!({"metadata": {"labels": {names::POOL_LABEL: null}}}),
    );
    assert_eq!(
        steps(&planned(&cluster, &observed)),
        ["apply PersistentVolumeClaim data-c-a-1: Edited", "mend Pod c-a-1"]
    );
    let mut stripped = observed.clone();
    stripped.objects.remove(&(Kind::Pod, "c-a-1".to_owned()));
    stripped.objects.remove(&(Kind::PersistentVolumeClaim, "data-c-a-1".to_owned()));
    assert_eq!(stripped.unseen("c"), [1], "it is looked for by name");
    edit(&mut observed, Kind::PersistentVolumeClaim, "data-c-a-1", bare);
    let plan = planned(&cluster, &observed);
    assert_eq!(steps(&plan), ["mend Pod c-a-1"]);
    assert_eq!(plan.refusals[0].reason, Reason::NameTaken, "only a person can say whose disk it is");
}

#[test]
fn what_the_api_server_adds_is_left_alone() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    edit(
        &mut observed,
        Kind::Service,
        "c-bootstrap",
        json!({"spec": {"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"]}}),
    );
    edit(
        &mut observed,
        Kind::PersistentVolumeClaim,
        "data-c-a-0",
        json!({"spec": {"volumeName": "pv", "storageClassName": "std"}}),
    );
    edit(&mut observed, Kind::Pod, "c-a-0", json!({"spec": {"nodeName": "x", "tolerations": [{"key": "y"}]}}));
    assert_eq!(steps(&planned(&cluster, &observed)), [""; 0]);
}

#[test]
fn orphans_are_swept_and_strangers_are_not() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    let service = observed.get(Kind::Service, "c-bootstrap").unwrap().clone();
    let mut put = |name: &str, over: Value| {
        let mut object = service.clone();
        super::super::child::merge(&mut object, over);
        observed.objects.insert((Kind::Service, name.to_owned()), object);
    };
    put("c-old", json!({}));
    put(
        "c-older",
        json!({"metadata": {"ownerReferences": [{"apiVersion": "ottla.dev/v1alpha1", "kind": "Cluster", "name": "c", "uid": "u-0"}]}}),
    );
    put("person", json!({"metadata": {"ownerReferences": null, "annotations": null}}));
    put(
        "stranger",
        json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d"}]}}),
    );
    put("going", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    let plan = planned(&cluster, &observed);
    assert_eq!(steps(&plan), ["delete Service c-old: Orphaned", "delete Service c-older: Predecessor"]);
    assert!(plan.waits, "one is still going");
}

#[test]
fn a_name_that_somebody_else_has_is_not_taken() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    edit(
        &mut observed,
        Kind::Service,
        "c-bootstrap",
        json!({"metadata": {"ownerReferences": null, "annotations": null}}),
    );
    edit(
        &mut observed,
        Kind::PersistentVolumeClaim,
        "data-c-a-0",
        json!({"metadata": {"labels": {"ottla.dev/cluster": null}}}),
    );
    insta::assert_snapshot!(told(&planned(&cluster, &observed)));
}

/// `cluster` of three, declared again while what the first one had is there, but for its Pods.
fn declared_again() -> (ottla_crds::Cluster, Observed) {
    let mut cluster = three("");
    let mut observed = settled(&cluster);
    observed.objects.retain(|(kind, _), _| *kind != Kind::Pod);
    cluster.metadata.uid = Some("u-2".to_owned());
    (cluster, observed)
}

#[test]
fn no_pod_is_made_while_what_it_needs_is_a_predecessors() {
    let (cluster, observed) = declared_again();
    let pods = |plan: &Plan| steps(plan).into_iter().filter(|step| step.starts_with("apply Pod")).count();
    assert!(steps(&planned(&cluster, &observed)).contains(&"delete ServiceAccount c-broker: Predecessor".to_owned()));
    let needed: Vec<(Kind, String)> = observed.objects.keys().filter(|(kind, _)| kind.serves_pods()).cloned().collect();
    assert!(needed.len() > 8, "{needed:?}");
    for (kind, name) in &needed {
        for gone in ["2026-02-01T10:00:00Z", ""] {
            let mut observed = observed.clone();
            let left = |(one, other): &(Kind, String)| {
                !needed.contains(&(*one, other.clone())) || (one, other) == (kind, name)
            };
            observed.objects.retain(|at, _| left(at));
            if !gone.is_empty() {
                edit(&mut observed, *kind, name, json!({"metadata": {"deletionTimestamp": gone}}));
            }
            let plan = planned(&cluster, &observed);
            assert!(pods(&plan) == 0 && plan.waits, "{} {name}: {:?}", kind.name(), steps(&plan));
        }
    }
    let mut observed = observed.clone();
    observed.objects.retain(|at, _| !needed.contains(at));
    settle(&cluster, &mut observed);
    assert_eq!(observed.of(Kind::Pod).count(), 3, "they are made once all of that is gone");
}

#[test]
fn nobody_is_stopped_who_could_not_start_again() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    allow(&mut observed, &[0, 1, 2]);
    let newer = three(", config: {num.partitions: 5}");
    assert!(steps(&planned(&newer, &observed)).iter().any(|step| step.starts_with("delete Pod")));
    let going = json!({"metadata": {"deletionTimestamp": "2026-02-01T10:00:00Z", "finalizers": ["example.org/audit"]}});
    edit(&mut observed, Kind::ServiceAccount, "c-broker", going);
    let plan = planned(&newer, &observed);
    assert!(plan.waits && !steps(&plan).iter().any(|step| step.starts_with("delete Pod")), "{:?}", steps(&plan));
}

#[test]
fn kept_disks_are_taken_over_by_the_next_cluster_of_the_name() {
    let mut before = three("");
    let old = settled(&before);
    before.metadata.uid = Some("u-2".to_owned());
    let mut observed = Observed { documents: old.documents.clone(), ..Observed::default() };
    observed.objects = old.objects.into_iter().filter(|((kind, _), _)| *kind == Kind::PersistentVolumeClaim).collect();
    let plan = planned(&before, &observed);
    let disks: Vec<String> = steps(&plan).into_iter().filter(|step| step.contains("PersistentVolumeClaim")).collect();
    assert_eq!(disks, [""; 0], "they are what they should be");
    perform(&mut observed, &plan);
    let plan = planned(&before, &observed);
    assert!(steps(&plan).contains(&"apply Pod c-a-2: Missing".to_owned()));
    assert!(!plan.steps.contains(&Step::CreateMetadata));
}

#[test]
fn metadata_that_is_gone_is_not_made_up() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    observed.objects.remove(&(Kind::Pod, "c-a-1".to_owned()));
    observed.documents = Documents::Absent;
    insta::assert_snapshot!("metadata_absent", told(&planned(&cluster, &observed)));
    observed.documents = Documents::Damaged("topics-0003 is missing".to_owned());
    insta::assert_snapshot!("metadata_damaged", told(&planned(&cluster, &observed)));
}

#[test]
fn shards_are_made_before_a_controller_needs_them() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    summary.grows = true;
    assert_eq!(steps(&planned(&cluster, &observed)), ["create shards"]);
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    **summary = Summary { has_room: true, ..(**summary).clone() };
    assert_eq!(steps(&planned(&cluster, &observed)), [""; 0]);
}

#[test]
fn a_roll_stops_one_broker_at_a_time_and_the_controller_last() {
    let mut observed = settled(&three(""));
    let cluster = three(", config: {num.partitions: 6}");
    allow(&mut observed, &[0, 1, 2]);
    let mut story = Vec::new();
    for _ in 0..12 {
        let plan = planned(&cluster, &observed);
        if plan.steps.is_empty() {
            break;
        }
        story.push(told(&plan));
        perform(&mut observed, &plan);
    }
    insta::assert_snapshot!(story.join("\n--\n"));
}

#[test]
fn nothing_follows_a_canary_that_does_not_serve() {
    let mut observed = settled(&three(""));
    let cluster = three(", config: {num.partitions: 6}");
    allow(&mut observed, &[0, 1, 2]);
    for _ in 0..3 {
        let plan = planned(&cluster, &observed);
        perform(&mut observed, &plan);
    }
    edit(&mut observed, Kind::Pod, "c-a-1", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    insta::assert_snapshot!(told(&planned(&cluster, &observed)));
}

#[test]
fn unknown_is_no() {
    let mut observed = settled(&three(""));
    let cluster = three(", config: {num.partitions: 6}");
    insta::assert_snapshot!("stop_unknown", told(&planned(&cluster, &observed)));
    observed.can_stop.insert(1, CanStop::No);
    insta::assert_snapshot!("stop_refused", told(&planned(&cluster, &observed)));
}

#[test]
fn what_does_not_run_is_replaced_without_asking() {
    let mut observed = settled(&three(", version: broken"));
    settle(&three(", version: broken"), &mut observed);
    let waiting = json!({"status": {"conditions": [], "containerStatuses": [
        {"name": "broker", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}});
    for pod in ["c-a-0", "c-a-1", "c-a-2"] {
        edit(&mut observed, Kind::Pod, pod, waiting.clone());
    }
    let plan = planned(&three(", version: 0.1.0"), &observed);
    let idle: Vec<String> = steps(&plan).into_iter().filter(|step| step.contains("Idle")).collect();
    assert_eq!(idle, ["delete Pod c-a-0: Idle", "delete Pod c-a-1: Idle", "delete Pod c-a-2: Idle"]);
}

#[test]
fn a_pod_that_has_ended_is_made_again() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    edit(&mut observed, Kind::Pod, "c-a-1", json!({"status": {"phase": "Failed"}}));
    assert_eq!(steps(&planned(&cluster, &observed)), ["delete Pod c-a-1: Ended"]);
}

#[test]
fn a_policy_waits_for_a_person() {
    let manual = ", updates: {policy: Manual}";
    let mut observed = settled(&three(manual));
    allow(&mut observed, &[0, 1, 2]);
    let mut cluster = three(&format!("{manual}, config: {{num.partitions: 6}}"));
    insta::assert_snapshot!("manual", told(&planned(&cluster, &observed)));
    cluster.metadata.annotations = Some([(names::RESTART.to_owned(), "now".to_owned())].into());
    let plan = planned(&cluster, &observed);
    assert!(steps(&plan).contains(&"delete Pod c-a-1: Outdated".to_owned()), "{:?}", steps(&plan));
    let windows = ", updates: {policy: InWindow, windows: [{schedule: \"0 2 * * *\", duration: 1h}]}, config: {num.partitions: 6}";
    assert_eq!(planned(&three(windows), &observed).pending.map(|one| one.reason), Some(Reason::WaitsForWindow));
}

#[test]
fn a_new_operator_restarts_nothing() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    allow(&mut observed, &[0, 1, 2]);
    for pod in ["c-a-0", "c-a-1", "c-a-2"] {
        edit(
            &mut observed,
            Kind::Pod,
            pod,
            json!({"metadata": {"annotations": {names::REVISION: "of another operator"}}}),
        );
    }
    insta::assert_snapshot!(told(&planned(&cluster, &observed)));
}

#[test]
fn scaling_out_never_reuses_an_id() {
    let mut observed = settled(&three(""));
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    summary.retired.insert(7);
    let four = cluster(&format!("{{pools: [{}]}}", pool("a", 4)));
    insta::assert_snapshot!(told(&planned(&four, &observed)));
}

#[test]
fn scaling_in_waits_until_a_broker_is_empty() {
    let mut observed = settled(&three(""));
    let two = cluster(&format!("{{pools: [{}]}}", pool("a", 2)));
    let mut story = vec![told(&planned(&two, &observed))];
    observed.documents = documents(&[(0, 12), (1, 12), (2, 0)]);
    for _ in 0..6 {
        let plan = planned(&two, &observed);
        story.push(told(&plan));
        if plan.steps.is_empty() {
            break;
        }
        perform(&mut observed, &plan);
    }
    observed.documents = documents(&[(0, 12), (1, 12)]);
    story.push(told(&planned(&two, &observed)));
    insta::assert_snapshot!(story.join("\n--\n"));
}

#[test]
fn a_pool_that_is_gone_keeps_its_brokers_until_they_are_empty() {
    let observed = settled(&three(""));
    let other = cluster(&format!("{{pools: [{}]}}", pool("b", 1)));
    let plan = planned(&other, &observed);
    assert!(
        steps(&plan).iter().all(|step| !step.starts_with("delete Pod") && !step.contains("delete Persistent")),
        "{:?}",
        steps(&plan)
    );
    assert_eq!(plan.operation.as_ref().unwrap().reason, "broker 0 leaves, 36 replica(s) to move");
    let off = planned(&cluster(&format!("{{pools: [{}], rebalance: {{mode: Off}}}}", pool("b", 1))), &observed);
    assert_eq!(off.refusals.iter().filter(|one| one.reason == Reason::BrokerNotEmpty).count(), 3);
    assert!(steps(&plan).contains(&"apply Pod c-b-3: Missing".to_owned()));
}

#[test]
fn disks_grow_and_never_shrink_or_change() {
    let observed = settled(&three(""));
    let with = |from: &str, to: &str| cluster(&format!("{{pools: [{}]}}", pool("a", 3).replace(from, to)));
    let grown = planned(&with("10Gi", "20Gi"), &observed);
    assert_eq!(steps(&grown).len(), 3);
    assert!(steps(&grown).iter().all(|step| step.ends_with(": Changed")));
    let same = planned(&with("10Gi", "10240Mi"), &observed);
    assert!(steps(&same).iter().all(|step| step.ends_with(": Changed")), "another notation is applied once");
    let shrunk = planned(&with("10Gi", "5Gi"), &observed);
    assert_eq!(steps(&shrunk), [""; 0]);
    assert!(
        shrunk
            .refusals
            .iter()
            .all(|one| one.reason == Reason::VolumeImmutable && one.message.contains("cannot shrink"))
    );
    let mut classed = observed.clone();
    edit(&mut classed, Kind::PersistentVolumeClaim, "data-c-a-0", json!({"spec": {"storageClassName": "slow"}}));
    let other = planned(&with("size: 10Gi", "size: 10Gi, class: fast"), &classed);
    assert_eq!(other.refusals.iter().filter(|one| one.reason == Reason::VolumeImmutable).count(), 1);
}

#[test]
fn a_disk_that_is_being_deleted_keeps_its_broker_running() {
    let cluster = three("");
    let mut observed = settled(&cluster);
    allow(&mut observed, &[0, 1, 2]);
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    edit(&mut observed, Kind::PersistentVolumeClaim, "data-c-a-1", going);
    let plan = planned(&three(", config: {num.partitions: 6}"), &observed);
    assert!(plan.refusals.iter().any(|one| one.reason == Reason::VolumeGoing));
    assert!(!steps(&plan).iter().any(|step| step.contains("delete Pod")), "{:?}", steps(&plan));
}

#[test]
fn an_address_that_is_learned_reaches_brokers_that_run() {
    let cluster =
        three(", listeners: [{name: in, port: 9092}, {name: out, port: 9094, type: NodePort, insecure: true}]");
    let mut observed = settled(&cluster);
    let advertised = |observed: &Observed| {
        let told = |id: i32| observed.get(Kind::Pod, &format!("c-a-{id}")).unwrap().annotation(names::ADVERTISED);
        [0, 1, 2].map(|id| told(id).map(str::to_owned))
    };
    assert_eq!(advertised(&observed), [None, None, None], "nothing is known yet");
    for id in 0..3 {
        let ports = json!({"spec": {"ports": [{"name": "out", "port": 9094, "targetPort": "out", "protocol": "TCP",
            "nodePort": 30_000 + id}]}});
        edit(&mut observed, Kind::Service, &format!("c-out-{id}"), ports);
        let bound = json!({"spec": {"nodeName": "n"}, "status": {"hostIP": "10.0.0.1"}});
        edit(&mut observed, Kind::Pod, &format!("c-a-{id}"), bound);
    }
    let plan = planned(&cluster, &observed);
    assert!(
        plan.steps.iter().all(|step| matches!(step, Step::Mend { .. })),
        "no broker is restarted: {:?}",
        plan.steps
    );
    settle(&cluster, &mut observed);
    let expected = [0, 1, 2].map(|id| Some(format!("OUT://10.0.0.1:{}", 30_000 + id)));
    assert_eq!(advertised(&observed), expected);
    // The Service is made anew with another port: what is known last counts, until then what was known before.
    edit(&mut observed, Kind::Service, "c-out-1", json!({"spec": {"ports": []}}));
    let plan = planned(&cluster, &observed);
    perform(&mut observed, &plan);
    assert_eq!(advertised(&observed), expected);
}

#[test]
fn services_of_a_broker_that_has_left_go() {
    let spec = ", listeners: [{name: out, port: 9094, type: NodePort, insecure: true}]";
    let mut observed = settled(&three(spec));
    let two = cluster(&format!("{{pools: [{}]{spec}}}", pool("a", 2)));
    observed.documents = documents(&[(0, 12), (1, 12), (2, 0)]);
    settle(&two, &mut observed);
    let services: Vec<&str> = observed.of(Kind::Service).map(|(name, _)| name).collect();
    assert_eq!(services, ["c-bootstrap", "c-brokers", "c-out", "c-out-0", "c-out-1"]);
    settle(&three(""), &mut observed);
    assert_eq!(observed.of(Kind::Service).count(), 2, "nor does a listener leave anything behind");
}
