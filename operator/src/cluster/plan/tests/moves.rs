//! Plans for clusters whose brokers leave and join, from the first look to the last, and from every state in between.

use super::*;
use crate::cluster::fixture::{certify_at, holding, wanted};
use crate::cluster::layout::Layout;
use crate::cluster::lost::Host;

/// What is planned, look by look, until there is nothing to do.
fn story(cluster: &ottla_crds::Cluster, observed: &mut Observed) -> String {
    let mut told_so_far = Vec::new();
    for _ in 0..20 {
        let plan = planned(cluster, observed);
        told_so_far.push(told(&plan));
        if plan.steps.is_empty() {
            return told_so_far.join("\n--\n");
        }
        perform(observed, &plan);
    }
    panic!("it never comes to rest: {}", told_so_far.join("\n--\n"));
}

fn brokers(replicas: usize, more: &str) -> ottla_crds::Cluster {
    cluster(&format!("{{pools: [{}]{more}}}", pool("a", replicas)))
}

/// A cluster of so many brokers that holds `topics` and is as it should be.
fn whole(replicas: i32, topics: &[(&str, &[&[i32]])]) -> Observed {
    let declared = brokers(usize::try_from(replicas).unwrap(), "");
    let mut observed = settled(&declared);
    observed.documents = holding(replicas, topics);
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    summary.controller = Some((0, 4));
    settle(&declared, &mut observed);
    // Whatever was moved for that: the topics as they were asked for.
    observed.documents = holding(replicas, topics);
    observed
}

fn layout(observed: &mut Observed) -> &mut Layout {
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    &mut summary.layout
}

const ORDERS: (&str, &[&[i32]]) = ("orders", &[&[0, 1], &[1, 2], &[2, 0], &[0, 1], &[1, 2], &[2, 0]]);

fn moves(plan: &Plan) -> Vec<String> {
    steps(plan).into_iter().filter(|step| step.contains("move ")).collect()
}

#[test]
fn a_broker_leaves_once_it_is_emptied_and_is_forgotten_before_its_volume_goes() {
    let mut observed = whole(3, &[ORDERS]);
    insta::assert_snapshot!(story(&brokers(2, ""), &mut observed));
    let left: Vec<&str> = observed.of(Kind::PersistentVolumeClaim).map(|(name, _)| name).collect();
    assert_eq!(left, ["data-c-a-0", "data-c-a-1"]);
    assert_eq!(layout(&mut observed).brokers.values().filter(|node| node.rate.is_some()).count(), 0);
}

#[test]
fn a_broker_that_joins_gets_its_share_once() {
    let mut observed = whole(3, &[ORDERS]);
    let four = brokers(4, "");
    insta::assert_snapshot!(story(&four, &mut observed));
    // What somebody else moves later is left alone, unless the load is to be even at all times.
    for spot in &mut layout(&mut observed).topics.get_mut("orders").unwrap().partitions {
        spot.replicas = vec![0, 1];
    }
    assert_eq!(steps(&planned(&four, &observed)), [""; 0]);
    let always = brokers(4, ", rebalance: {mode: Continuous, throttle: 1Mi}");
    assert_eq!(moves(&planned(&always, &observed)).len(), 1);
    assert!(moves(&planned(&always, &observed))[0].contains("to 1048576 B/s"));
}

#[test]
fn what_is_half_done_is_gone_on_with() {
    let mut observed = whole(3, &[ORDERS]);
    let two = brokers(2, "");
    // Some are on their way, some have arrived, some are still to come.
    let first = planned(&two, &observed);
    assert_eq!(moves(&first).len(), 1);
    {
        let layout = layout(&mut observed);
        let held = layout.topics.get_mut("orders").unwrap();
        held.throttled = true;
        (held.partitions[1].replicas, held.partitions[1].moving) = (vec![1, 0], true);
        layout.brokers.values_mut().for_each(|node| node.rate = Some("52428800".to_owned()));
    }
    let second = planned(&two, &observed);
    assert_eq!(moves(&second), ["move orders-2 to [0, 1], orders-4 to [1, 0], orders-5 to [1, 0]"], "no throttle anew");
    perform(&mut observed, &second);
    // Whoever gives a replica away has it until it has arrived.
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    summary.held.insert(2, 1);
    let third = planned(&two, &observed);
    assert_eq!(steps(&third), [""; 0], "the throttle stays while something moves");
    assert!(third.waits && third.operation.is_some_and(|one| one.kind == "ScaleIn"));
    layout(&mut observed).topics.get_mut("orders").unwrap().partitions[1].moving = false;
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    summary.held.insert(2, 0);
    let fourth = planned(&two, &observed);
    assert_eq!(steps(&fourth), ["throttle neither [\"orders\"] nor brokers [0, 1, 2]", "delete Pod c-a-2: Dismissed"]);
}

#[test]
fn what_moves_goes_as_fast_as_is_declared_now_and_leaves_no_rate_behind() {
    let mut observed = whole(3, &[ORDERS]);
    // As somebody who changes a Topic's `replicas` has begun it.
    let held = layout(&mut observed).topics.get_mut("orders").unwrap();
    (held.throttled, held.partitions[0].replicas, held.partitions[0].moving) = (true, vec![0, 1, 2], true);
    layout(&mut observed).brokers.values_mut().for_each(|node| node.rate = Some("52428800".to_owned()));
    assert_eq!(steps(&planned(&brokers(3, ""), &observed)), [""; 0]);
    let slower = brokers(3, ", rebalance: {throttle: 1Mi}");
    let plan = planned(&slower, &observed);
    assert_eq!(steps(&plan), ["throttle brokers [0, 1, 2] to 1048576 B/s"]);
    perform(&mut observed, &plan);
    assert_eq!(steps(&planned(&slower, &observed)), [""; 0]);
    // It has arrived, and the Topic's controller has taken its part back.
    let held = layout(&mut observed).topics.get_mut("orders").unwrap();
    (held.throttled, held.partitions[0].moving) = (false, false);
    assert_eq!(steps(&planned(&slower, &observed)), ["throttle neither [] nor brokers [0, 1, 2]"]);
    // What others throttle by naming replicas has their rate.
    let held = layout(&mut observed).topics.get_mut("orders").unwrap();
    held.partitions[0].moving = true;
    layout(&mut observed).brokers.values_mut().for_each(|node| node.rate = Some("7".to_owned()));
    assert_eq!(steps(&planned(&slower, &observed)), [""; 0]);
}

#[test]
fn nothing_moves_into_a_corner() {
    let mut observed = whole(3, &[("narrow", &[&[2]]), ("wide", &[&[0, 1, 2], &[1, 2, 0]])]);
    let plan = planned(&brokers(2, ""), &observed);
    assert_eq!(steps(&plan), [""; 0]);
    assert_eq!(plan.refusals[0].reason, Reason::TooFewBrokers);
    assert!(plan.refusals[0].message.contains("wide (3 replicas)"), "{}", plan.refusals[0].message);
    // Who may not move anything says who has to.
    let off = planned(&brokers(2, ", rebalance: {mode: Off}"), &observed);
    assert_eq!((steps(&off), off.refusals[0].reason), (vec![], Reason::BrokerNotEmpty));
    // Of two pools one is replaced by the other: nothing moves before the new ones are there to take it.
    observed.documents = holding(3, &[ORDERS]);
    let other = cluster(&format!("{{pools: [{}]}}", pool("b", 2)));
    let plan = planned(&other, &observed);
    assert_eq!(moves(&plan), [""; 0]);
    perform(&mut observed, &plan);
    let told = moves(&planned(&other, &observed));
    assert!(told[0].contains("orders-0 to [3, 4]") || told[0].contains("orders-0 to [4, 3]"), "{told:?}");
}

#[test]
fn a_roll_goes_first_and_whoever_sleeps_moves_nothing() {
    let mut observed = whole(3, &[ORDERS]);
    allow(&mut observed, &[0, 1, 2]);
    for replicas in [2, 4] {
        let changed = brokers(replicas, ", config: {num.partitions: 6}");
        assert_eq!(moves(&planned(&changed, &observed)), [""; 0], "{replicas}");
        let mut asleep = brokers(replicas, "");
        asleep.metadata.annotations = Some([(names::HIBERNATE.to_owned(), "true".to_owned())].into());
        assert_eq!(moves(&planned(&asleep, &observed)), [""; 0], "{replicas}");
    }
}

#[test]
fn whoever_is_forgotten_is_not_called_back() {
    let mut observed = whole(3, &[ORDERS]);
    let two = brokers(2, "");
    while observed.documents.summary().unwrap().registered.contains(&2) {
        let plan = planned(&two, &observed);
        perform(&mut observed, &plan);
    }
    assert!(observed.get(Kind::PersistentVolumeClaim, "data-c-a-2").is_some(), "half done");
    let three = brokers(3, "");
    assert!(wanted(&three, &observed).unwrap().brokers.contains_key(&3), "an id is never used again");
    let plan = planned(&three, &observed);
    assert!(steps(&plan).contains(&"delete PersistentVolumeClaim data-c-a-2: Dismissed".to_owned()), "{}", told(&plan));
}

#[test]
fn a_broker_without_pod_and_volume_is_forgotten_once_it_holds_nothing() {
    let mut observed = whole(3, &[ORDERS]);
    observed.objects.retain(|(_, name), _| !name.ends_with("c-a-2"));
    layout(&mut observed).brokers.get_mut(&2).unwrap().live = false;
    let two = brokers(2, "");
    let plan = planned(&two, &observed);
    assert!(moves(&plan)[0].contains("orders-1 to ["), "others hold what it had: {}", told(&plan));
    assert_eq!(plan.operation.map(|one| one.kind), Some("Replace"));
    layout(&mut observed).brokers.get_mut(&2).unwrap().live = true;
    assert_eq!(
        planned(&two, &observed).refusals[0].reason,
        Reason::BrokerRegistered,
        "but not while it lives somewhere"
    );
    observed.documents = holding(3, &[("orders", &[&[0, 1]])]);
    let alive = planned(&two, &observed);
    assert!(!steps(&alive).iter().any(|step| step.starts_with("unregister")), "the cluster still hears it");
    layout(&mut observed).brokers.get_mut(&2).unwrap().live = false;
    let plan = planned(&two, &observed);
    assert!(steps(&plan).contains(&"unregister broker 2".to_owned()), "{}", told(&plan));
    // Nobody is asked while nobody serves.
    for pod in ["c-a-0", "c-a-1"] {
        edit(&mut observed, Kind::Pod, pod, json!({"status": {"conditions": []}}));
    }
    let plan = planned(&two, &observed);
    assert!(plan.waits && !steps(&plan).iter().any(|step| step.starts_with("unregister")));
}

/// The last of three brokers is on a node that is gone, for long enough.
fn one_is_lost(topics: &[(&str, &[&[i32]])]) -> Observed {
    let mut observed = whole(3, topics);
    certify_at(&brokers(3, ""), &mut observed, "2026-02-01T10:00:00Z");
    observed.hosts.nodes.insert("n2".to_owned(), Host::Gone);
    let conditions = json!([{"type": "Ready", "status": "False", "lastTransitionTime": "2026-02-01T09:00:00Z"}]);
    edit(&mut observed, Kind::Pod, "c-a-2", json!({"spec": {"nodeName": "n2"}, "status": {"conditions": conditions}}));
    let found = layout(&mut observed);
    found.brokers.get_mut(&2).unwrap().live = false;
    for spot in found.topics.values_mut().flat_map(|held| &mut held.partitions).filter(|spot| spot.current.len() > 1) {
        spot.current.retain(|id| *id != 2);
    }
    observed
}

#[test]
fn a_broker_that_is_lost_is_replaced_under_another_id() {
    let mut observed = one_is_lost(&[ORDERS]);
    insta::assert_snapshot!(story(&brokers(3, ", rebalance: {mode: Off}"), &mut observed));
    let left: Vec<&str> = observed.of(Kind::PersistentVolumeClaim).map(|(name, _)| name).collect();
    assert_eq!(left, ["data-c-a-0", "data-c-a-1", "data-c-a-3"]);
    assert_eq!(layout(&mut observed).brokers.keys().copied().collect::<Vec<_>>(), [0, 1, 3]);
}

#[test]
fn nothing_is_replaced_or_deleted_while_records_are_at_risk() {
    let observed = one_is_lost(&[ORDERS, ("alone", &[&[2]])]);
    let plan = planned(&brokers(3, ""), &observed);
    assert_eq!(steps(&plan), [""; 0]);
    assert_eq!(plan.refusals.iter().map(|one| one.reason).collect::<Vec<_>>(), [Reason::DataAtRisk]);
}

#[test]
fn what_is_left_of_a_broker_that_was_replaced_goes_when_its_node_lets_it() {
    let mut observed = one_is_lost(&[ORDERS]);
    let three = brokers(3, "");
    while observed.documents.summary().unwrap().registered.contains(&2) {
        let plan = planned(&three, &observed);
        perform(&mut observed, &plan);
    }
    let plan = planned(&three, &observed);
    let both = ["delete PersistentVolumeClaim data-c-a-2: Dismissed", "delete Pod c-a-2: Dismissed"];
    assert!(both.iter().all(|one| steps(&plan).contains(&(*one).to_owned())), "{}", told(&plan));
    let going = json!({"metadata": {"deletionTimestamp": "2026-02-01T10:00:00Z"}});
    edit(&mut observed, Kind::Pod, "c-a-2", going.clone());
    edit(&mut observed, Kind::PersistentVolumeClaim, "data-c-a-2", going);
    settle(&three, &mut observed);
    let plan = planned(&three, &observed);
    assert_eq!(told(&plan), "waits: false", "nobody waits for it");
    // It comes back before its Pod is gone, registers, and holds nothing.
    layout(&mut observed).brokers.insert(2, crate::cluster::layout::Node { live: true, ..Default::default() });
    let Documents::Whole(summary) = &mut observed.documents else { panic!("whole") };
    summary.registered.insert(2);
    summary.retired.remove(&2);
    let wanted = wanted(&three, &observed).unwrap();
    assert_eq!((wanted.brokers.keys().copied().collect::<Vec<_>>(), wanted.dismissed), (vec![0, 1, 3], vec![2]));
}
