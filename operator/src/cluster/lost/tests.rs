//! Who is given up, who is waited for, and who must not be.

use serde_json::json;

use super::*;
use crate::cluster::documents::Documents;
use crate::cluster::fixture::{cluster, edit, holding, pool, settle, settled, three};

const NOW: &str = "2026-02-01T10:00:00Z";
/// Half an hour and a second before.
const LONG_AGO: &str = "2026-02-01T09:29:59Z";
const JUST_NOW: &str = "2026-02-01T09:59:00Z";

const ORDERS: (&str, &[&[i32]]) = ("orders", &[&[0, 1], &[1, 2], &[2, 0]]);

/// Three brokers, of which the last does not serve since then, and is not heard.
fn one_is_away(since: &str, topics: &[(&str, &[&[i32]])]) -> Observed {
    let mut observed = settled(&three(""));
    observed.documents = holding(3, topics);
    settle(&three(""), &mut observed);
    observed.now = NOW.parse().unwrap();
    observed.documents = holding(3, topics);
    silence(&mut observed, 2);
    let conditions = json!([{"type": "Ready", "status": "False", "lastTransitionTime": since}]);
    edit(&mut observed, Kind::Pod, "c-a-2", json!({"spec": {"nodeName": "n2"}, "status": {"conditions": conditions}}));
    observed
}

/// Has the cluster not hear a broker, whose replicas are out of sync therefore.
fn silence(observed: &mut Observed, id: i32) {
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    summary.layout.brokers.get_mut(&id).unwrap().live = false;
    for held in summary.layout.topics.values_mut() {
        for spot in held.partitions.iter_mut().filter(|spot| spot.current.len() > 1) {
            spot.current.retain(|one| *one != id);
        }
    }
}

fn with_node(mut observed: Observed, host: Host) -> Observed {
    observed.hosts.nodes.insert("n2".to_owned(), host);
    observed
}

fn told(observed: &Observed) -> Vec<String> {
    let lost = judge(&three(""), observed);
    let mut lines: Vec<String> = lost.brokers.iter().map(|(id, why)| format!("{id}: {why}")).collect();
    lines.extend(lost.bare.iter().map(|id| format!("{id}: bare")));
    lines.extend(lost.refusals.iter().map(|one| format!("{}: {}", one.reason, one.message)));
    lines
}

#[test]
fn a_broker_whose_node_is_gone_is_given_up_after_a_while() {
    let away = one_is_away(LONG_AGO, &[ORDERS]);
    assert_eq!(told(&with_node(away.clone(), Host::Gone)), ["2: node n2 is gone"]);
    assert_eq!(told(&with_node(one_is_away(JUST_NOW, &[ORDERS]), Host::Gone)), [""; 0], "not yet");
    assert_eq!(told(&with_node(away.clone(), Host::Dead(LONG_AGO.parse().unwrap()))), ["2: node n2 does not answer"]);
    assert_eq!(
        told(&with_node(away.clone(), Host::Dead(JUST_NOW.parse().unwrap()))),
        [""; 0],
        "the later of the two counts"
    );
    assert_eq!(told(&with_node(away.clone(), Host::Alive)), [""; 0], "it may crash, but its records are there");
    let mut heard = with_node(away.clone(), Host::Gone);
    heard.documents = holding(3, &[ORDERS]);
    assert_eq!(told(&heard), [""; 0], "the cluster hears it");
    // Without the right to look nobody is given up; only who was told to go and does not is told of.
    assert_eq!(told(&with_node(away.clone(), Host::Unknown)), [""; 0]);
    let mut going = with_node(away.clone(), Host::Unknown);
    edit(&mut going, Kind::Pod, "c-a-2", json!({"metadata": {"deletionTimestamp": LONG_AGO}}));
    assert!(told(&going)[0].starts_with("LostUnconfirmed: Pod c-a-2 has not run for 30m"), "{:?}", told(&going));
    let mut asleep = three("");
    asleep.metadata.annotations = Some([(names::HIBERNATE.to_owned(), "true".to_owned())].into());
    assert_eq!(judge(&asleep, &with_node(away, Host::Gone)), Lost::default());
}

#[test]
fn a_broker_whose_volume_is_gone_or_out_of_reach_is_given_up_as_well() {
    let mut away = one_is_away(LONG_AGO, &[ORDERS]);
    let unscheduled = json!([{"type": "PodScheduled", "status": "False", "lastTransitionTime": LONG_AGO}]);
    edit(&mut away, Kind::Pod, "c-a-2", json!({"spec": {"nodeName": null}, "status": {"conditions": unscheduled}}));
    assert_eq!(told(&away), [""; 0], "there may be no room for it");
    let mut lost = away.clone();
    edit(&mut lost, Kind::PersistentVolumeClaim, "data-c-a-2", json!({"status": {"phase": "Lost"}}));
    assert_eq!(told(&lost), ["2: volume data-c-a-2 is lost"]);
    let mut home = |home: Home| {
        away.hosts.homes.insert("data-c-a-2".to_owned(), home);
        told(&away)
    };
    assert_eq!(home(Home::On([].into())), ["2: volume data-c-a-2 is on a node that is gone"]);
    let unknown = home(Home::Unknown);
    assert!(unknown[0].starts_with("LostUnconfirmed: ") && unknown[0].contains("data-c-a-2"), "{unknown:?}");
    assert_eq!(home(Home::On(["n2".to_owned()].into())), [""; 0], "of that node nothing is known");
    away.hosts.nodes.insert("n2".to_owned(), Host::Dead(LONG_AGO.parse().unwrap()));
    assert_eq!(told(&away), ["2: volume data-c-a-2 is on a node that is gone"]);
    away.hosts.nodes.insert("n2".to_owned(), Host::Alive);
    assert_eq!(told(&away), [""; 0]);
}

#[test]
fn whoever_alone_has_a_record_is_not_given_up() {
    let alone: &[&[i32]] = &[&[2], &[2], &[2], &[2], &[2], &[2], &[2]];
    let away = with_node(one_is_away(LONG_AGO, &[ORDERS, ("alone", alone)]), Host::Gone);
    let expected = "DataAtRisk: broker 2 is lost (node n2 is gone), and no other broker that serves has all that was acknowledged of \
                    partition(s) alone-0, alone-1, alone-2, alone-3, alone-4 and 2 more: nothing is deleted or replaced; bring its \
                    node or volume back, or delete those topics";
    assert_eq!(told(&away), [expected]);
    // Another one has it all, and does not serve just now.
    let mut other = with_node(one_is_away(LONG_AGO, &[ORDERS]), Host::Gone);
    silence(&mut other, 1);
    assert!(told(&other)[0].contains("partition(s) orders-1:"), "{:?}", told(&other));
}

#[test]
fn whoever_has_neither_pod_nor_volume_is_not_waited_for() {
    let mut bare = one_is_away(JUST_NOW, &[ORDERS]);
    bare.objects.retain(|(_, name), _| !name.ends_with("c-a-2"));
    assert_eq!(told(&bare), ["2: bare"]);
    bare.documents = holding(3, &[ORDERS]);
    assert_eq!(told(&bare), [""; 0], "the cluster hears it");
    bare.documents = holding(3, &[("alone", &[&[2]])]);
    silence(&mut bare, 2);
    assert!(
        told(&bare)[0].starts_with("DataAtRisk: broker 2 is lost (it has neither Pod nor volume)"),
        "{:?}",
        told(&bare)
    );
}

#[test]
fn how_long_is_declared() {
    let patient = cluster(&format!("{{pools: [{}], repair: {{replaceLostAfter: 2h}}}}", pool("a", 3)));
    assert_eq!(judge(&patient, &with_node(one_is_away(LONG_AGO, &[ORDERS]), Host::Gone)), Lost::default());
}

#[test]
fn a_node_is_dead_when_nobody_hears_of_it_and_not_when_it_complains() {
    let node = |status: &str, taint: &str| {
        json!({
            "spec": {"taints": [{"key": taint}]},
            "status": {"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": LONG_AGO}]},
        })
    };
    let dead = Host::Dead(LONG_AGO.parse().unwrap());
    assert_eq!(host(&node("Unknown", UNREACHABLE)), dead);
    assert_eq!(host(&node("False", OUT_OF_SERVICE)), dead);
    assert_eq!(host(&node("False", "node.kubernetes.io/not-ready")), Host::Alive);
    assert_eq!(host(&node("True", OUT_OF_SERVICE)), Host::Alive);
}
