//! The controller of Topics against a real API server, which `KUBECONFIG` names, and real brokers, whose binary
//! `OTTLA_BROKER` names; `make kubernetes` sets both. There are no kubelets: brokers listen on loopback addresses.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "api_server/stage.rs"]
mod api;
#[path = "topics/stage.rs"]
mod stage;

use std::time::Duration;

use api::until;
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;
use stage::{Broker, Scene, config, create, found, message, rates, set, throttle};
use tokio::sync::RwLock;
use tokio::time::Instant;

/// Whoever measures a time has the machine alone.
static MACHINE: RwLock<()> = RwLock::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_grows_and_is_forgotten() {
    let _machine = MACHINE.read().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    let client = broker.client();
    scene.declare("orders", json!({"partitions": 2, "config": {"retention.ms": 60000}})).await;
    let topic = scene.ready("orders").await;
    let status = topic.status.clone().unwrap();
    let (id, partitions) = found(&client, "orders").await.unwrap();
    assert_eq!((status.topic_id, status.partitions, partitions), (Some(id.clone()), Some(2), 2));
    assert_eq!(status.replicas, Some(1));
    assert_eq!(config(&client, "orders").await["retention.ms"], "60000");
    assert!(topic.finalizers().is_empty(), "nobody is held who leaves nothing behind");

    scene.declare("orders", json!({"partitions": 5, "config": {"segment.bytes": 1048576}})).await;
    let topic = scene.ready("orders").await;
    assert_eq!(topic.status.unwrap().partitions, Some(5));
    assert_eq!(found(&client, "orders").await, Some((id.clone(), 5)));
    assert_eq!(config(&client, "orders").await, [("segment.bytes".to_owned(), "1048576".to_owned())].into());

    scene.delete("orders").await;
    scene.is_gone("orders").await;
    assert_eq!(found(&client, "orders").await, Some((id, 5)), "retained");
    let expected = ["Normal PartitionsAdded", "Normal TopicConfigured", "Normal TopicCreated"];
    for line in expected {
        scene.stage.hears("Topic", "orders", line, 1).await;
    }
    let told = scene.stage.told("Topic", "orders").await;
    assert_eq!(told, expected.map(|line| (line.to_owned(), 1)).into(), "and nothing else");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_corrected_or_reported() {
    let _machine = MACHINE.read().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    let client = broker.client();
    scene.declare("right", json!({"config": {"retention.ms": 60000}})).await;
    scene.declare("told", json!({"config": {"retention.ms": 60000}, "driftPolicy": "Report"})).await;
    scene.ready("right").await;
    scene.ready("told").await;
    for name in ["right", "told"] {
        set(&client, name, "retention.ms", "5").await;
    }
    until("it is corrected", || async { (config(&client, "right").await["retention.ms"] == "60000").then_some(()) })
        .await;
    let drifted = scene.told("told", "Ready", "True", "Drifted").await;
    assert_eq!(message(&drifted, "Ready"), "retention.ms is 5, declared is 60000");
    assert_eq!(drifted.status.unwrap().drift.len(), 1);
    scene.stage.hears("Topic", "right", "Normal DriftCorrected", 1).await;
    scene.stage.hears("Topic", "told", "Warning Drifted", 1).await;
    // A look after it was reported leaves it alone, even if nobody remembers that it was.
    let patch = Patch::Merge(json!({"status": null}));
    scene.topics().patch_status("told", &PatchParams::default(), &patch).await.unwrap();
    scene.told("told", "Ready", "True", "Drifted").await;
    assert_eq!(config(&client, "told").await["retention.ms"], "5");
    // What the declaration itself changes is applied.
    scene.declare("told", json!({"config": {"retention.ms": 70000}, "driftPolicy": "Report"})).await;
    scene.ready("told").await;
    assert_eq!(config(&client, "told").await["retention.ms"], "70000");
    // A topic that is deleted is made again, or only missed.
    let before = found(&client, "right").await;
    let topics = ["right", "told"].map(str::to_owned);
    client.delete_topics(&topics).await.unwrap().into_iter().for_each(|deleted| deleted.unwrap());
    let again = || async { found(&client, "right").await.filter(|now| Some(now) != before.as_ref()).map(drop) };
    until("it is made again", again).await;
    let lost = scene.told("told", "Stalled", "True", "TopicLost").await;
    assert!(message(&lost, "Ready").contains("set spec.driftPolicy: Correct"), "{}", message(&lost, "Ready"));
    scene.stage.hears("Topic", "told", "Warning TopicLost", 1).await;
    assert_eq!(found(&client, "told").await, None);
    scene.declare("told", json!({"config": {"retention.ms": 70000}, "driftPolicy": "Correct"})).await;
    scene.ready("told").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_existed_before_is_taken_over_as_the_policy_says() {
    let _machine = MACHINE.read().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    let client = broker.client();
    for name in ["never", "same", "other", "always"] {
        create(&client, name, 2, &[("retention.ms", "60000")]).await;
    }
    let spec = |policy: &str, retention: i64| json!({"partitions": 2, "config": {"retention.ms": retention}, "adoptionPolicy": policy});
    scene.declare("never", spec("Never", 60000)).await;
    scene.declare("same", spec("IfIdentical", 60000)).await;
    scene.declare("other", spec("IfIdentical", 5)).await;
    scene.declare("always", spec("Always", 5)).await;
    let never = scene.told("never", "Stalled", "True", "NotAdopted").await;
    assert!(message(&never, "Ready").contains("set spec.adoptionPolicy"), "{}", message(&never, "Ready"));
    scene.ready("same").await;
    let other = scene.told("other", "Stalled", "True", "NotIdentical").await;
    assert!(message(&other, "Ready").contains("retention.ms is 60000, declared is 5"), "{}", message(&other, "Ready"));
    scene.ready("always").await;
    assert_eq!(config(&client, "other").await["retention.ms"], "60000", "left alone");
    assert_eq!(config(&client, "always").await["retention.ms"], "5");
    for (name, line) in [
        ("never", "Warning NotAdopted"),
        ("other", "Warning NotIdentical"),
        ("same", "Normal TopicAdopted"),
        ("always", "Normal TopicAdopted"),
    ] {
        scene.stage.hears("Topic", name, line, 1).await;
    }
    // Whoever may not adopt still knows the topic that it has made itself.
    scene.declare("own", spec("Never", 60000)).await;
    scene.ready("own").await;
    let patch = Patch::Merge(json!({"status": null}));
    scene.topics().patch_status("own", &PatchParams::default(), &patch).await.unwrap();
    scene.ready("own").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_of_two_has_the_topic_and_the_other_says_so() {
    let _machine = MACHINE.read().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    let client = broker.client();
    scene.declare("first", json!({"topicName": "one", "deletionPolicy": "Delete"})).await;
    scene.ready("first").await;
    let id = found(&client, "one").await.unwrap();
    scene.declare("a-second", json!({"topicName": "one", "deletionPolicy": "Delete"})).await;
    let second = scene.told("a-second", "Stalled", "True", "TopicClaimed").await;
    assert!(message(&second, "Ready").contains("Topic first"), "{}", message(&second, "Ready"));
    // The one that loses takes nothing along.
    scene.delete("a-second").await;
    scene.is_gone("a-second").await;
    assert_eq!(found(&client, "one").await, Some(id.clone()));
    // The one that stays inherits.
    scene.declare("third", json!({"topicName": "one", "deletionPolicy": "Delete"})).await;
    scene.told("third", "Stalled", "True", "TopicClaimed").await;
    scene.delete("first").await;
    scene.is_gone("first").await;
    scene.ready("third").await;
    assert_eq!(found(&client, "one").await, Some(id));
    scene.delete("third").await;
    scene.is_gone("third").await;
    assert_eq!(found(&client, "one").await, None);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_came_in_one_second_exactly_one_has_the_topic() {
    let _machine = MACHINE.read().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    let client = broker.client();
    let spec = |topic: &str| json!({"topicName": topic, "deletionPolicy": "Delete"});
    // The one that has it keeps it, whatever the names are.
    let (mut attempts, deadline) = (0.., Instant::now() + Duration::from_secs(60));
    let (holder, late) = loop {
        assert!(Instant::now() < deadline, "two Topics of one second, one of them Ready before the other came");
        let (topic, at) = ("taken", attempts.next().unwrap());
        until("a second begins", || async { (Timestamp::now().subsec_millisecond() < 100).then_some(()) }).await;
        let (holder, late) = (format!("z-{at}"), format!("a-{at}"));
        let first = scene.declare(&holder, spec(topic)).await;
        scene.ready(&holder).await;
        let second = scene.declare(&late, spec(topic)).await;
        if first.creation_timestamp() == second.creation_timestamp() {
            break (holder, late);
        }
        for name in [holder, late] {
            scene.delete(&name).await;
            scene.is_gone(&name).await;
        }
    };
    let told = scene.told(&late, "Stalled", "True", "TopicClaimed").await;
    assert!(message(&told, "Ready").contains(&format!("Topic {holder}")), "{}", message(&told, "Ready"));
    let kept = scene.ready(&holder).await;
    assert_eq!(kept.finalizers(), ["ottla.dev/topic"]);
    // Of two that come at once, one has it.
    tokio::join!(scene.declare("left", spec("both")), scene.declare("right", spec("both")));
    let claims = || async {
        let (left, right) = (scene.verdict("left").await, scene.verdict("right").await);
        match (left.as_deref(), right.as_deref()) {
            (Some("AsDeclared"), Some("TopicClaimed")) => Some(("left", "right")),
            (Some("TopicClaimed"), Some("AsDeclared")) => Some(("right", "left")),
            _ => None,
        }
    };
    let (has, waits) = until("one has it and the other says so", claims).await;
    let id = found(&client, "both").await.unwrap();
    // The next controller finds no other answer, and the topic stays when its holder goes.
    controller.stop().await;
    let controller = scene.controller().await;
    let looked = || controller.count("ottla_operator_reconciles_total") > 0;
    until("the next one has looked", || async { looked().then_some(()) }).await;
    assert_eq!(controller.writes(), 0, "nothing to say");
    scene.delete(has).await;
    scene.is_gone(has).await;
    scene.ready(waits).await;
    assert_eq!(found(&client, "both").await, Some(id));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_held_when_the_cluster_goes() {
    let _machine = MACHINE.read().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    let client = broker.client();
    scene.cluster("silent", None).await;
    for (name, cluster) in [("a", "c"), ("b", "c"), ("waits", "silent"), ("lost", "nowhere")] {
        scene.declare(name, json!({"clusterRef": {"name": cluster}, "deletionPolicy": "Delete"})).await;
    }
    for name in ["a", "b"] {
        assert_eq!(scene.ready(name).await.finalizers(), ["ottla.dev/topic"]);
    }
    let waits = scene.told("waits", "Ready", "False", "ClusterNotReady").await;
    assert!(message(&waits, "Ready").contains("silent"), "{}", message(&waits, "Ready"));
    let lost = scene.told("lost", "Ready", "False", "ClusterNotFound").await;
    assert!(message(&lost, "Ready").contains("there is no Cluster nowhere"), "{}", message(&lost, "Ready"));
    scene.delete("lost").await;
    scene.is_gone("lost").await;
    scene.delete("a").await;
    scene.is_gone("a").await;
    assert_eq!(found(&client, "a").await, None, "deleted");
    drop(broker);
    scene.delete("b").await;
    scene.told("b", "Ready", "False", "DeletionWaits").await;
    scene.stage.clusters().delete("c", &DeleteParams::default()).await.unwrap();
    scene.is_gone("b").await;
    // A Cluster that comes later is enough for whoever waits for it.
    let broker = Broker::start(&scene.folder.path().join("late"), &[]).await;
    scene.declare("late", json!({"clusterRef": {"name": "later"}})).await;
    scene.told("late", "Reconciling", "True", "ClusterNotFound").await;
    scene.cluster("later", Some(&broker)).await;
    scene.ready("late").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_told_and_stops_nobody_else() {
    let _machine = MACHINE.read().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    scene.declare("typo", json!({"config": {"retention.msec": 1}})).await;
    scene.declare("wide", json!({"replicas": 3})).await;
    scene.declare("clash", json!({"config": {"min.compaction.lag.ms": 9, "max.compaction.lag.ms": 5}})).await;
    scene.declare("good", json!({})).await;
    scene.ready("good").await;
    let typo = scene.told("typo", "Stalled", "True", "InvalidConfig").await;
    assert!(message(&typo, "Ready").contains("did you mean retention.ms?"), "{}", message(&typo, "Ready"));
    let wide = scene.told("wide", "Stalled", "True", "TooFewBrokers").await;
    assert!(message(&wide, "Ready").contains("the cluster has 1 broker(s): lower it"), "{}", message(&wide, "Ready"));
    let clash = scene.told("clash", "Stalled", "True", "InvalidConfig").await;
    assert!(message(&clash, "Ready").contains("may not be larger"), "{}", message(&clash, "Ready"));
    // Paused: what waits is told, and nothing is done.
    let pause =
        |value: serde_json::Value| Patch::Merge(json!({"metadata": {"annotations": {"ottla.dev/pause": value}}}));
    scene.topics().patch("good", &PatchParams::default(), &pause(json!("true"))).await.unwrap();
    set(&broker.client(), "good", "retention.ms", "5").await;
    scene.told("good", "Reconciling", "True", "Paused").await;
    assert_eq!(config(&broker.client(), "good").await.len(), 1);
    scene.topics().patch("good", &PatchParams::default(), &pause(json!(null))).await.unwrap();
    scene.ready("good").await;
    assert!(config(&broker.client(), "good").await.is_empty());
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_the_declaration() {
    let _machine = MACHINE.read().await;
    let scene = Scene::new().await;
    let brokers = scene.trio("c").await;
    let client = brokers[1].client();
    until("three brokers are there", || async {
        let described = client.describe_cluster().await.ok()?;
        (described.brokers.iter().filter(|broker| !broker.fenced).count() == 3).then_some(())
    })
    .await;
    let controller = scene.controller().await;
    scene.declare("orders", json!({"partitions": 4, "replicas": 1})).await;
    scene.ready("orders").await;
    for replicas in [3, 2] {
        scene.declare("orders", json!({"partitions": 4, "replicas": replicas})).await;
        until("replicas and in-sync replicas are as declared", || async {
            let topics = client.list_topics().await.unwrap();
            let orders = topics.iter().find(|topic| topic.name == "orders").unwrap();
            let moved = orders
                .partitions
                .iter()
                .all(|one| one.replicas.len() == replicas && one.in_sync.len() == replicas && one.leader.is_some());
            moved.then_some(())
        })
        .await;
        let topic = scene.ready("orders").await;
        assert_eq!(topic.status.unwrap().replicas, i32::try_from(replicas).ok());
        let left = || async { (config(&client, "orders").await, rates(&client, 3).await) };
        until("no throttle is left", || async {
            let (of_topic, of_brokers) = left().await;
            (of_topic.is_empty() && of_brokers.is_empty()).then_some(())
        })
        .await;
    }
    controller.stop().await;

    // As an operator leaves it that is killed while something moves, before somebody declares another rate.
    throttle(&client, "orders", 3).await;
    until("that is known everywhere", || async { (rates(&client, 3).await.len() == 6).then_some(()) }).await;
    let controller = scene.controller().await;
    until("no throttle is left", || async { config(&client, "orders").await.is_empty().then_some(()) }).await;
    until("nor a rate", || async { rates(&client, 3).await.is_empty().then_some(()) }).await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_at_once_are_ready_within_thirty_seconds_and_then_left_alone() {
    const COUNT: usize = 500;
    let _machine = MACHINE.write().await;
    let (scene, broker, controller) = Scene::with_broker().await;
    let began = Instant::now();
    let scene_ref = &scene;
    let declare = |number: usize| async move {
        scene_ref.declare(&format!("t-{number}"), json!({"config": {"retention.ms": 60000}})).await;
    };
    futures::stream::iter((0..COUNT).map(declare)).buffer_unordered(16).collect::<Vec<()>>().await;
    let applied = began.elapsed();
    // The list of all is asked for once it may be right: it costs the API server as much as many writes.
    until("all are Ready", || async {
        let written = controller.writes() >= 3 * COUNT as u64;
        (written && scene.count_ready().await == COUNT).then_some(())
    })
    .await;
    let ready = began.elapsed();
    eprintln!("{COUNT} Topics: applied within {applied:?}, Ready within {ready:?}, {} writes", controller.writes());
    assert!(ready < Duration::from_secs(30), "{ready:?}");
    assert_eq!(controller.writes(), 3 * COUNT as u64, "a record, a status and an Event each");
    assert_eq!(broker.client().list_topics().await.unwrap().len(), COUNT);

    // Several looks later nothing was written.
    let looks = || controller.count("ottla_operator_reconciles_total");
    let before = looks();
    until("three more looks", || async { (looks() >= before + 3).then_some(()) }).await;
    assert_eq!(controller.writes(), 3 * COUNT as u64, "no write without a change");
    // Nor by the next controller.
    controller.stop().await;
    let next = scene.controller().await;
    let looked = || next.count("ottla_operator_reconciles_total") > 0;
    until("the next one has looked", || async { looked().then_some(()) }).await;
    assert_eq!(next.writes(), 0);
    let topic = scene.topics().get("t-0").await.unwrap();
    let managers = topic.meta().managed_fields.clone().unwrap();
    assert!(managers.iter().all(|one| ["person", "ottla-operator"].contains(&one.manager.as_deref().unwrap())));
    next.stop().await;
}
