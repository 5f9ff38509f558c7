//! What people ask of a Cluster and are told of it, on a real API server: Events, sleep, restarts, definitions that are too
//! old.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use ottla_operator::cluster::kind::Kind;
use serde_json::json;

use super::stage::{Operator, Stage, install_definition, pools, until};
use super::{EVERYWHERE, turns};

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_once_in_events() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    for (line, times) in [("Normal ClusterCreated", 1), ("Normal BrokerAdded", 2), ("Normal BrokerStarted", 2)] {
        stage.hears("Cluster", "c", line, times).await;
    }
    // A refusal is told with its reason; what stays refused is not told again.
    stage.declare("c", json!({"pools": pools(2), "config": {"num.partitons": 3}})).await.unwrap();
    stage.hears("Cluster", "c", "Warning InvalidConfig", 1).await;
    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    stage.condition("c", "Stalled", "False", "AsDeclared").await;
    stage.annotate("c", json!({"ottla.dev/pause": "true"})).await;
    stage.hears("Cluster", "c", "Normal Paused", 1).await;
    stage.annotate("c", json!({"ottla.dev/pause": null})).await;
    stage.hears("Cluster", "c", "Normal Resumed", 1).await;
    let before = stage.told("Cluster", "c").await;
    let events = operator.metric("ottla_operator_api_writes_total{kind=\"Event\"").await;
    turns(&stage, &operator, 3).await;
    assert_eq!(stage.told("Cluster", "c").await, before);
    assert_eq!(operator.metric("ottla_operator_api_writes_total{kind=\"Event\"").await.to_bits(), events.to_bits());
    // The same word again is one Event with a count.
    stage.declare("c", json!({"pools": pools(2), "config": {"num.partitons": 3}})).await.unwrap();
    stage.hears("Cluster", "c", "Warning InvalidConfig", 2).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_sleeps_and_wakes_on_its_volumes() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    let all = ["c-a-0", "c-a-1", "c-a-2"];
    stage.declare("c", json!({"pools": pools(3)})).await.unwrap();
    stage.pods("c", &all).await;
    let disks = || async {
        let claims = stage.objects(Kind::PersistentVolumeClaim);
        let mut uids = Vec::new();
        for pod in all {
            uids.push(claims.get(&format!("data-{pod}")).await.unwrap().uid().unwrap());
        }
        (
            uids,
            stage.shards().list(&Default::default()).await.unwrap().items.len(),
            stage.names(Kind::Service, "c").await,
        )
    };
    let before = disks().await;
    stage.annotate("c", json!({"ottla.dev/hibernate": "true"})).await;
    stage.pods("c", &[]).await;
    let message = stage.condition("c", "Ready", "False", "Hibernated").await;
    assert!(message.contains("ottla.dev/hibernate=true"), "{message}");
    stage.condition("c", "Reconciling", "False", "Hibernated").await;
    stage.condition("c", "Stalled", "False", "AsDeclared").await;
    stage.hears("Cluster", "c", "Normal Hibernated", 1).await;
    let status = stage.clusters().get("c").await.unwrap().status.unwrap();
    assert_eq!((status.pools[0].ready, status.pools[0].replicas, status.operation), (Some(0), Some(0), None));
    assert_eq!(disks().await, before);
    let budget = stage.objects(Kind::PodDisruptionBudget).get("c-brokers").await.unwrap();
    assert_eq!(budget.data["spec"]["minAvailable"], 0);
    let settled = stage.versions("c").await;
    turns(&stage, &operator, 3).await;
    assert_eq!(stage.versions("c").await, settled, "who sleeps writes nothing");
    // Another operator, which makes other Pods: the version is noted where the records are.
    operator.stop().await;
    let operator = stage.operator_with(&["--watch-namespaces", &stage.namespace, "--broker-version", "2.0.0"]).await;
    turns(&stage, &operator, 1).await;
    stage.annotate("c", json!({"ottla.dev/hibernate": null})).await;
    stage.pods("c", &all).await;
    stage.hears("Cluster", "c", "Normal Woken", 1).await;
    let pod = stage.objects(Kind::Pod).get("c-a-0").await.unwrap();
    assert_eq!(pod.data["spec"]["containers"][0]["image"], "ottla-broker:1.0.0");
    assert_eq!(disks().await, before);
    operator.stop().await;
}

/// The uid of a Pod, when it is another one than `before`.
async fn replaced(stage: &Stage, pod: &str, before: &str) {
    let another = || async {
        let found = stage.objects(Kind::Pod).get_opt(pod).await.unwrap()?;
        (found.uid().as_deref() != Some(before) && found.metadata.deletion_timestamp.is_none()).then_some(())
    };
    until(&format!("{pod} is made again"), another).await;
}

async fn uid(stage: &Stage, pod: &str) -> String {
    stage.objects(Kind::Pod).get(pod).await.unwrap().uid().unwrap()
}

async fn waits(stage: &Stage, operator: &Operator, reason: &str) -> String {
    let message = stage.condition("c", "UpdatePending", "True", reason).await;
    turns(stage, operator, 2).await;
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_asked_for_by_annotation_on_the_cluster_or_on_a_pod() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(2), "updates": {"policy": "Manual"}})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    let (first, second) = (uid(&stage, "c-a-0").await, uid(&stage, "c-a-1").await);
    // One that does not run is replaced at once, and only it.
    stage.edit(Kind::Pod, "c-a-0", json!({"metadata": {"annotations": {"ottla.dev/restart": "now"}}})).await;
    replaced(&stage, "c-a-0", &first).await;
    turns(&stage, &operator, 2).await;
    let (first, now) = (uid(&stage, "c-a-0").await, stage.objects(Kind::Pod).get("c-a-0").await.unwrap());
    assert!(!now.annotations().contains_key("ottla.dev/restart"), "it has been done");
    assert_eq!(uid(&stage, "c-a-1").await, second);
    // Whoever runs is asked about, and nobody answers here.
    for pod in ["c-a-0", "c-a-1"] {
        stage.serve(pod).await;
    }
    stage.condition("c", "Ready", "True", "BrokersReady").await;
    stage.annotate("c", json!({"ottla.dev/restart": "2026-02-01T10:00:00Z"})).await;
    let message = waits(&stage, &operator, "StopUnconfirmed").await;
    assert!(message.contains("c-a-0, c-a-1"), "{message}");
    assert_eq!((uid(&stage, "c-a-0").await, uid(&stage, "c-a-1").await), (first, second.clone()));
    // Nor is it restarted for a value that its Pod was made with: a new one has it.
    stage.delete(Kind::Pod, "c-a-1").await;
    replaced(&stage, "c-a-1", &second).await;
    stage.serve("c-a-1").await;
    let only_one = || async {
        let pending = stage.clusters().get("c").await.unwrap().status?.conditions;
        let pending = pending.into_iter().find(|one| one.type_ == "UpdatePending")?;
        (pending.status == "True" && pending.message.starts_with("c-a-0: nobody")).then_some(())
    };
    until("only the first still waits", only_one).await;
    stage.annotate("c", json!({"ottla.dev/restart": null})).await;
    stage.condition("c", "UpdatePending", "False", "AsDeclared").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_waited_for_and_one_that_never_opens_is_refused() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    let spec = |schedule: &str, threads: i32| {
        json!({"pools": pools(1), "config": {"queued.max.requests": threads},
            "updates": {"policy": "InWindow", "windows": [{"schedule": schedule, "duration": "1m", "timeZone": "Europe/Prague"}]}})
    };
    stage.declare("c", spec("0 2 30 2 *", 4)).await.unwrap();
    let message = stage.condition("c", "Stalled", "True", "InvalidWindow").await;
    assert!(message.contains("spec.updates.windows[0]") && message.contains("never comes"), "{message}");
    // Once in four years, not today.
    stage.declare("c", spec("0 2 29 2 *", 4)).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    stage.serve("c-a-0").await;
    stage.condition("c", "Ready", "True", "BrokersReady").await;
    stage.declare("c", spec("0 2 29 2 *", 5)).await.unwrap();
    let message = waits(&stage, &operator, "WaitsForWindow").await;
    assert!(message.contains("the next window begins at 20") && message.contains("-02-29T01:00:00Z"), "{message}");
    stage.hears("Cluster", "c", "Normal WaitsForWindow", 1).await;
    stage.declare("c", spec("* * * * *", 5)).await.unwrap();
    waits(&stage, &operator, "StopUnconfirmed").await;
    operator.stop().await;
}

/// The definition of Clusters without these fields, as one that was installed before they came.
fn older(fields: &[&str]) -> CustomResourceDefinition {
    let definitions = ottla_crds::definitions();
    let cluster = definitions.iter().find(|one| one.spec.names.kind == "Cluster").unwrap();
    let mut value = serde_json::to_value(cluster).unwrap();
    for field in fields {
        let (parent, name) = field.rsplit_once('/').unwrap();
        let parent = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{parent}");
        value.pointer_mut(&parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    }
    serde_json::from_value(value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_too_old_are_named_and_brokers_go_on() {
    let _alone = EVERYWHERE.write().await;
    let stage = Stage::new().await;
    let fields = ["spec/properties/version", "status/properties/pools", "status/properties/operation"];
    install_definition(&stage.client, &older(&fields)).await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    let message = stage.condition("c", "Stalled", "True", "CRDTooOld").await;
    assert!(message.contains("clusters.ottla.dev") && message.contains("has no spec.version"), "{message}");
    assert!(message.contains("apply the chart ottla-crds"), "{message}");
    stage.hears("Cluster", "c", "Warning CRDTooOld", 1).await;
    turns(&stage, &operator, 2).await;
    let settled = stage.versions("c").await;
    turns(&stage, &operator, 3).await;
    assert_eq!(stage.versions("c").await, settled, "what would be lost is not written again and again");
    stage.delete(Kind::Service, "c-bootstrap").await;
    let again = || async { stage.objects(Kind::Service).get_opt("c-bootstrap").await.unwrap().map(drop) };
    until("children are looked after all the same", again).await;
    for definition in ottla_crds::definitions() {
        install_definition(&stage.client, &definition).await;
    }
    stage.condition("c", "Stalled", "False", "AsDeclared").await;
    let whole = || async { stage.clusters().get("c").await.unwrap().status?.pools.first().map(drop) };
    until("the whole status is told", whole).await;
    operator.stop().await;
}
