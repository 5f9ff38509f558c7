//! The operator against a real API server with a real etcd, which `KUBECONFIG` names; `make kubernetes` sets it. There are
//! no kubelets and no controllers: Pods stay Pending, and what Kubernetes would remove with its owner stays.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[path = "api_server/certificates.rs"]
mod certificates;
#[path = "api_server/outside.rs"]
mod outside;
#[path = "api_server/people.rs"]
mod people;
#[path = "api_server/stage.rs"]
mod stage;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use ottla_crds::{Connector, User};
use ottla_operator::cluster::kind::Kind;
use serde_json::{Value, json};
use stage::{Stage, pools, until};
use tokio::sync::RwLock;

/// An operator that watches every namespace must not meet another one.
static EVERYWHERE: RwLock<()> = RwLock::const_new(());

async fn is_absent(stage: &Stage, kind: Kind, name: &str) -> bool {
    stage.objects(kind).get_opt(name).await.unwrap().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_and_then_left_alone() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(3)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1", "c-a-2"]).await;
    stage.condition("c", "Ready", "False", "BrokersNotReady").await;
    assert_eq!(stage.shards().list(&Default::default()).await.unwrap().items.len(), 17);
    assert_eq!(stage.names(Kind::PersistentVolumeClaim, "c").await, ["data-c-a-0", "data-c-a-1", "data-c-a-2"]);
    assert_eq!(stage.names(Kind::Service, "c").await, ["c-bootstrap", "c-brokers"]);
    assert!(!is_absent(&stage, Kind::Lease, "c-controller").await);
    let status = until("the status shows three brokers", || async {
        stage.clusters().get("c").await.unwrap().status.filter(|status| status.pools[0].replicas == Some(3))
    });
    let status = status.await;
    assert_eq!(status.version.unwrap().target.as_deref(), Some("1.0.0"));
    assert_eq!(status.cluster_id.unwrap().len(), 22);

    let settled = until("nothing changes any more", || async {
        let before = (stage.versions("c").await, operator.metric("ottla_operator_api_writes").await);
        turns(&stage, &operator, 2).await;
        (before == (stage.versions("c").await, operator.metric("ottla_operator_api_writes").await)).then_some(before)
    });
    let settled = settled.await;
    turns(&stage, &operator, 5).await;
    assert_eq!(stage.versions("c").await, settled.0, "nothing is written without a change");
    assert_eq!(operator.metric("ottla_operator_api_writes").await.to_bits(), settled.1.to_bits());
    assert!(operator.get("/readyz").await.contains("200 OK") && operator.get("/livez").await.contains("200 OK"));
    operator.stop().await;
}

/// Has the operator look at `c` so many times more.
async fn turns(stage: &Stage, operator: &stage::Operator, count: u32) {
    let configs = stage.objects(Kind::ConfigMap);
    for _ in 0..count {
        let before = operator.metric("ottla_operator_reconciles_total").await;
        let note = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "note", "labels": {"ottla.dev/cluster": "c"}}});
        configs.create(&PostParams::default(), &serde_json::from_value(note).unwrap()).await.unwrap();
        configs.delete("note", &DeleteParams::default()).await.unwrap();
        let more = || async { (operator.metric("ottla_operator_reconciles_total").await > before).then_some(()) };
        until("another turn", more).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_are_deleted_or_edited_come_back() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    for (kind, name) in [
        (Kind::Service, "c-brokers"),
        (Kind::Role, "c-broker"),
        (Kind::RoleBinding, "c-broker"),
        (Kind::ServiceAccount, "c-broker"),
        (Kind::ConfigMap, "c-client"),
        (Kind::NetworkPolicy, "c-brokers"),
        (Kind::PodDisruptionBudget, "c-brokers"),
        (Kind::Pod, "c-a-1"),
    ] {
        let uid = stage.objects(kind).get(name).await.unwrap().uid();
        stage.delete(kind, name).await;
        let again =
            || async { stage.objects(kind).get_opt(name).await.unwrap().filter(|new| new.uid() != uid).map(drop) };
        until(&format!("{} {name} is made again", kind.name()), again).await;
    }
    stage.edit(Kind::Service, "c-bootstrap", json!({"spec": {"selector": {"app": "mine"}}})).await;
    let selector = || async {
        let service = stage.objects(Kind::Service).get("c-bootstrap").await.unwrap();
        (service.data["spec"]["selector"]["ottla.dev/cluster"] == "c").then_some(())
    };
    until("the selector is put back", selector).await;
    // Without its label it is not among the cluster's own, and still found by its name.
    stage
        .edit(Kind::PersistentVolumeClaim, "data-c-a-0", json!({"metadata": {"labels": {"ottla.dev/pool": null}}}))
        .await;
    stage.edit(Kind::Pod, "c-a-0", json!({"metadata": {"labels": {"ottla.dev/cluster": null}}})).await;
    for (kind, name, label) in
        [(Kind::PersistentVolumeClaim, "data-c-a-0", "ottla.dev/pool"), (Kind::Pod, "c-a-0", "ottla.dev/cluster")]
    {
        let labelled =
            || async { stage.objects(kind).get(name).await.unwrap().labels().contains_key(label).then_some(()) };
        until(&format!("{name} has its label again"), labelled).await;
    }
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_not_touched() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c-bootstrap"},
        "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]}});
    let mine = serde_json::from_value(service).unwrap();
    let mine = stage.objects(Kind::Service).create(&PostParams::default(), &mine).await.unwrap();
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(1)})).await.unwrap();
    let message = stage.condition("c", "Stalled", "True", "NameTaken").await;
    assert!(message.contains("Service c-bootstrap is not this Cluster's"), "{message}");
    stage.pods("c", &["c-a-0"]).await;
    let now = stage.objects(Kind::Service).get("c-bootstrap").await.unwrap();
    assert_eq!(now.resource_version(), mine.resource_version());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_cluster_keeps_its_disks_and_comes_back_on_them() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    let first = stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    let id = |stage: &Stage| {
        let clusters = stage.clusters();
        async move { until("an id", || async { clusters.get("c").await.unwrap().status?.cluster_id }).await }
    };
    let (before, uid) = (id(&stage).await, first.uid().unwrap());
    assert!(stage.clusters().get("c").await.unwrap().finalizers().is_empty());
    let owners = |name: &'static str, kind: Kind| {
        let objects = stage.objects(kind);
        async move { objects.get(name).await.unwrap().owner_references().to_vec() }
    };
    assert!(owners("data-c-a-0", Kind::PersistentVolumeClaim).await.is_empty(), "Kubernetes leaves the disk");
    assert_eq!(owners("c-a-0", Kind::Pod).await[0].uid, uid, "and takes the Pod");
    let disk = stage.objects(Kind::PersistentVolumeClaim).get("data-c-a-0").await.unwrap().uid();

    stage.clusters().delete("c", &DeleteParams::default()).await.unwrap();
    assert!(stage.clusters().get_opt("c").await.unwrap().is_none(), "nothing holds it back");
    let second = stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    let taken = || async {
        let pod = stage.objects(Kind::Pod).get_opt("c-a-0").await.unwrap()?;
        (pod.owner_references().first()?.uid == second.uid()?).then_some(())
    };
    until("the Pods of the first are gone, and there are new ones", taken).await;
    assert_eq!(id(&stage).await, before, "the same cluster to Kafka's clients");
    assert_eq!(stage.objects(Kind::PersistentVolumeClaim).get("data-c-a-0").await.unwrap().uid(), disk);
    operator.stop().await;
}

/// As when somebody deletes a Cluster and declares it again at once: its Pods are gone, and the rest is on its way out.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_declared_again_waits_for_what_is_left_of_the_first() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    operator.stop().await;
    stage.clusters().delete("c", &DeleteParams::default()).await.unwrap();
    for pod in ["c-a-0", "c-a-1"] {
        stage.objects(Kind::Pod).delete(pod, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
    // Somebody holds the Role a little longer, as Kubernetes does that removes one thing after the other.
    stage.edit(Kind::Role, "c-broker", json!({"metadata": {"finalizers": ["example.org/audit"]}})).await;
    stage.delete(Kind::Role, "c-broker").await;
    let second = stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    let operator = stage.operator().await;
    let account = || async {
        let account = stage.objects(Kind::ServiceAccount).get_opt("c-broker").await.unwrap()?;
        (account.owner_references().first()?.uid == second.uid()?).then_some(())
    };
    until("the account is the second's", account).await;
    turns(&stage, &operator, 3).await;
    assert!(stage.names(Kind::Pod, "c").await.is_empty(), "they could not read what they need");
    stage.edit(Kind::Role, "c-broker", json!({"metadata": {"finalizers": null}})).await;
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    for word in ["refused", "error"] {
        let series = format!("ottla_operator_reconciles_total{{controller=\"cluster\",result=\"{word}\"}}");
        assert!(operator.metric(&series).await < 1.0, "{word}: nothing was tried that could not work");
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_disks_go_with_it_takes_its_metadata_along() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    let cluster = stage.declare("c", json!({"pools": pools(2), "volumes": {"onDelete": "Delete"}})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    let claim = stage.objects(Kind::PersistentVolumeClaim).get("data-c-a-0").await.unwrap();
    assert_eq!(claim.owner_references()[0].uid, cluster.uid().unwrap());
    stage.clusters().delete("c", &DeleteParams::default()).await.unwrap();
    until("the Cluster is gone", || async { stage.clusters().get_opt("c").await.unwrap().is_none().then_some(()) })
        .await;
    assert!(stage.shards().list(&Default::default()).await.unwrap().items.is_empty());
    assert!(stage.names(Kind::Pod, "c").await.is_empty());
    operator.stop().await;
}

/// As when a namespace is deleted: everything at once, and what is gone cannot be asked.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_nobody_has_a_disk_of_may_be_deleted() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    stage.clusters().delete("c", &DeleteParams::default()).await.unwrap();
    stage.objects(Kind::Pod).delete("c-a-0", &DeleteParams::default().grace_period(0)).await.unwrap();
    stage.shards().delete_collection(&DeleteParams::default(), &Default::default()).await.unwrap();
    turns(&stage, &operator, 2).await;
    assert_eq!(stage.shards().list(&Default::default()).await.unwrap().items.len(), 17, "there is a disk");
    stage.objects(Kind::PersistentVolumeClaim).delete("data-c-a-0", &DeleteParams::default()).await.unwrap();
    // As Kubernetes does once no Pod uses it.
    stage.edit(Kind::PersistentVolumeClaim, "data-c-a-0", json!({"metadata": {"finalizers": null}})).await;
    let gone = || async { stage.shards().list(&Default::default()).await.unwrap().items.is_empty().then_some(()) };
    until("the metadata is gone as well", gone).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_may_be_kept_at_the_last_moment() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(1), "volumes": {"onDelete": "Delete"}})).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    operator.stop().await;
    stage.clusters().delete("c", &DeleteParams::default()).await.unwrap();
    stage.declare("c", json!({"pools": pools(1), "volumes": {"onDelete": "Retain"}})).await.unwrap();
    let operator = stage.operator().await;
    until("the Cluster is gone", || async { stage.clusters().get_opt("c").await.unwrap().is_none().then_some(()) })
        .await;
    let claim = stage.objects(Kind::PersistentVolumeClaim).get("data-c-a-0").await.unwrap();
    assert!(claim.owner_references().is_empty());
    assert_eq!(stage.shards().list(&Default::default()).await.unwrap().items.len(), 17);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_operators_acts_and_the_other_takes_over() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let first = stage.operator().await;
    until("the first leads", || async { first.leads().await.then_some(()) }).await;
    let second = stage.operator().await;
    until("the second is ready", || async { second.get("/readyz").await.contains("200 OK").then_some(()) }).await;
    stage.declare("one", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("one", &["one-a-0"]).await;
    assert!(!second.leads().await);
    assert!(second.metric("ottla_operator_api_writes").await < 1.0, "it only waits");
    first.kill();
    until("the second leads", || async { second.leads().await.then_some(()) }).await;
    stage.declare("two", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("two", &["two-a-0"]).await;
    second.stop().await;
    let third = stage.operator().await;
    until("the lease was given back", || async { third.leads().await.then_some(()) }).await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_and_stops_nobody_else() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("typo", json!({"pools": pools(1), "config": {"num.partitons": 3}})).await.unwrap();
    stage.declare("few", json!({"pools": pools(1), "config": {"min.insync.replicas": 2}})).await.unwrap();
    let listener = |more: Value| {
        let mut listener = json!({"name": "external", "port": 9094, "type": "NodePort"});
        listener.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"pools": pools(1), "listeners": [listener]})
    };
    let refused = stage.declare("open", listener(json!({}))).await.unwrap_err().to_string();
    assert!(refused.contains("needs tls and authentication, or insecure: true"), "{refused}");
    stage.declare("external", listener(json!({"insecure": true, "tls": {}}))).await.unwrap();
    stage.declare("good", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("good", &["good-a-0"]).await;
    let message = stage.condition("typo", "Stalled", "True", "InvalidConfig").await;
    assert!(message.contains("did you mean num.partitions?"), "{message}");
    let message = stage.condition("few", "Ready", "False", "TooFewBrokers").await;
    assert!(message.contains("min.insync.replicas is 2"), "{message}");
    let message = stage.condition("external", "Stalled", "True", "ListenerUnsupported").await;
    assert!(message.contains("spec.listeners[external]: tls"), "{message}");
    assert!(stage.names(Kind::Pod, "typo").await.is_empty());
    stage.declare("typo", json!({"pools": pools(1), "config": {"num.partitions": 3}})).await.unwrap();
    stage.pods("typo", &["typo-a-0"]).await;
    stage.condition("typo", "Stalled", "False", "AsDeclared").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_connectors_say_that_nothing_acts_on_them() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    let user = json!({"apiVersion": "ottla.dev/v1alpha1", "kind": "User", "metadata": {"name": "u"},
        "spec": {"clusterRef": {"name": "c"}, "authentication": {"type": "SCRAM-SHA-512"}}});
    let connector = json!({"apiVersion": "ottla.dev/v1alpha1", "kind": "Connector", "metadata": {"name": "k"},
        "spec": {"clusterRef": {"name": "c"}, "class": "postgres-source"}});
    for (object, resource) in
        [(user, ApiResource::erase::<User>(&())), (connector, ApiResource::erase::<Connector>(&()))]
    {
        let objects = stage.resources(&resource);
        let object = serde_json::from_value(object).unwrap();
        let name = objects.create(&PostParams::default(), &object).await.unwrap().name_any();
        let what = format!("{} says how it stands", resource.kind);
        let told = until(&what, || async {
            let status = objects.get(&name).await.unwrap().data["status"].clone();
            (status["observedGeneration"] == 1).then_some(status)
        });
        let told = told.await;
        let states = told["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{}={} {}", one["type"], one["status"], one["reason"]));
        let expected = [
            r#""Ready"="False" "Unsupported""#,
            r#""Reconciling"="False" "Idle""#,
            r#""Stalled"="True" "Unsupported""#,
        ];
        assert_eq!(states.collect::<Vec<_>>(), expected);
        let note = json!({"metadata": {"labels": {"a": "b"}}});
        let edited = objects.patch(&name, &PatchParams::default(), &Patch::Merge(note)).await.unwrap();
        objects.delete(&name, &DeleteParams::default()).await.unwrap();
        assert_eq!(edited.data["status"], told);
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_is_told_and_waited_for() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let quotas: Api<ResourceQuota> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // What a controller would count.
    let count = |hard: &'static str| {
        let patch = json!({"status": {"hard": {"pods": hard}, "used": {"pods": "0"}}});
        let quotas = quotas.clone();
        async move { quotas.patch_status("few", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap() }
    };
    count("1").await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    let message = stage.condition("c", "Stalled", "True", "QuotaExceeded").await;
    assert!(message.contains("raise the quota"), "{message}");
    stage.pods("c", &["c-a-0"]).await;
    let raised = Patch::Merge(json!({"spec": {"hard": {"pods": "5"}}}));
    quotas.patch("few", &PatchParams::default(), &raised).await.unwrap();
    count("5").await;
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    stage.condition("c", "Stalled", "False", "AsDeclared").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_deleted_is_built_again_and_changes_nothing() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    stage.condition("c", "Ready", "False", "BrokersNotReady").await;
    let before = stage.versions("c").await;
    let how = PatchParams::default();
    stage.clusters().patch_status("c", &how, &Patch::Merge(json!({"status": null}))).await.unwrap();
    stage.condition("c", "Ready", "False", "BrokersNotReady").await;
    let changed: BTreeSet<String> = stage
        .versions("c")
        .await
        .into_iter()
        .filter(|(name, now)| before.get(name) != Some(now))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(changed, ["Cluster".to_owned()].into());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_cluster_is_left_alone() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    stage.annotate("c", json!({"ottla.dev/pause": "true"})).await;
    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    let message = stage.condition("c", "Reconciling", "True", "Paused").await;
    assert!(message.contains("change(s) wait"), "{message}");
    stage.pods("c", &["c-a-0"]).await;
    stage.annotate("c", json!({"ottla.dev/pause": null})).await;
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_and_shrinks_and_never_reuses_a_name() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    stage.declare("c", json!({"pools": pools(3)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1", "c-a-2"]).await;
    // No broker ever ran here, so that the metadata proves each of them empty.
    stage.declare("c", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    for name in ["data-c-a-1", "data-c-a-2"] {
        // Whoever protects disks in use would let go of it now; there is no such controller here.
        let going = || async {
            stage.objects(Kind::PersistentVolumeClaim).get(name).await.unwrap().metadata.deletion_timestamp
        };
        until(&format!("{name} goes after its Pod"), going).await;
    }
    let kept = stage.objects(Kind::PersistentVolumeClaim).get("data-c-a-0").await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_none());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_was_killed_anywhere_is_followed_by_one_that_finishes() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    stage.declare("c", json!({"pools": pools(3)})).await.unwrap();
    // Each is killed a little later than the one before; whatever it leaves, the next one finds.
    for writes in [1.0, 4.0, 8.0, 12.0, 16.0] {
        let operator = stage.operator().await;
        let done = || async {
            let wrote = operator.metric("ottla_operator_api_writes").await;
            (wrote >= writes || stage.names(Kind::Pod, "c").await.len() == 3).then_some(())
        };
        until("some writes", done).await;
        operator.kill();
        // So that the next one need not wait for the lease.
        let _there_or_not = stage.objects(Kind::Lease).delete("ottla-operator", &DeleteParams::default()).await;
    }
    let operator = stage.operator().await;
    stage.pods("c", &["c-a-0", "c-a-1", "c-a-2"]).await;
    stage.condition("c", "Stalled", "False", "AsDeclared").await;
    assert_eq!(stage.shards().list(&Default::default()).await.unwrap().items.len(), 17);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_was_deleted_is_not_made_up() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(1)})).await.unwrap();
    stage.pods("c", &["c-a-0"]).await;
    for shard in stage.shards().list(&Default::default()).await.unwrap() {
        let name = shard.name_any();
        let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        stage.shards().patch(&name, &PatchParams::default(), &release).await.unwrap();
        stage.shards().delete(&name, &DeleteParams::default()).await.unwrap();
    }
    let message = stage.condition("c", "Stalled", "True", "MetadataLost").await;
    assert!(message.contains("ottla cluster recover-metadata c"), "{message}");
    turns(&stage, &operator, 2).await;
    assert!(stage.shards().list(&Default::default()).await.unwrap().items.is_empty());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operator_may_watch_every_namespace() {
    let _alone = EVERYWHERE.write().await;
    let (stage, other) = (Stage::new().await, Stage::new().await);
    stage.grant_everywhere().await;
    let operator = stage.operator_with(&[]).await;
    other.declare("c", json!({"pools": pools(1)})).await.unwrap();
    other.pods("c", &["c-a-0"]).await;
    other.clusters().delete("c", &DeleteParams::default()).await.unwrap();
    operator.stop().await;
}
