//! A Cluster that grows, shrinks and loses a broker: the controller of Clusters against a real API server, which `KUBECONFIG` names, and
//! real brokers, whose binary `OTTLA_BROKER` names; `make kubernetes` sets both. There are no kubelets: the test starts a
//! broker for each Pod and kills it when its Pod goes, while a producer keeps a ledger of what was acknowledged.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "api_server/stage.rs"]
mod api;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "topics/stage.rs"]
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{pools, until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams, PostParams};
use ottla_client::types::{BrokerId, PartitionIndex};
use ottla_client::{
    Client, Consumer, ConsumerConfig, NamedPartition, NewRecord, NewTopic, Producer, ProducerConfig, Resource, Start,
};
use ottla_client::{ConfigSource, TopicDescription};
use ottla_operator::cluster::brokers::Brokers;
use ottla_operator::cluster::desired::Settings;
use ottla_operator::cluster::kind::Kind;
use ottla_operator::cluster::reconcile::Context;
use ottla_operator::manager::control;
use serde_json::{Value, json};
use stage::{Broker, Scene, config};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 12;

/// What was acknowledged, by partition and offset.
type Ledger = BTreeMap<(i32, i64), String>;

/// Something that runs until it is told to stop.
struct Running<T> {
    stop: CancellationToken,
    task: JoinHandle<T>,
}

impl<T> Running<T> {
    async fn stop(self) -> T {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn controller(scene: &Scene) -> Running<()> {
    let stop = CancellationToken::new();
    let context = Arc::new(Context {
        hands: scene.hands().await,
        brokers: Brokers::new(scene.addresses()),
        settings: Settings { image: "example.org/broker".to_owned(), version: "1.0.0".to_owned() },
        room: Semaphore::new(1),
        backoff: parking_lot::Mutex::default(),
    });
    let task = tokio::spawn(control(Some(scene.stage.namespace.clone()), context, 1, stop.clone()));
    Running { stop, task }
}

/// What a kubelet would do for the Pod of that broker.
async fn start(scene: &Scene, id: i32) -> Broker {
    let text = id.to_string();
    let keys = [
        ("node.id", text.as_str()),
        ("ottla.grpc.listener", "127.0.0.1:0"),
        ("ottla.kubernetes.cluster", "c"),
        ("ottla.kubernetes.namespace", &scene.stage.namespace),
    ];
    let broker = Broker::start(&scene.folder.path().join(&text), &keys).await;
    scene.stage.serve(&format!("c-a-{id}")).await;
    broker
}

/// Writes one record after the other. Each has to be acknowledged.
fn produce(client: Client) -> Running<Ledger> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let producer = Producer::new(client, ProducerConfig::default());
        let mut ledger = Ledger::new();
        for number in 0.. {
            if stopped.is_cancelled() {
                break;
            }
            let value = format!("record {number}");
            let partition = PartitionIndex::new(number % PARTITIONS);
            let record = NewRecord {
                topic: TOPIC.to_owned(),
                partition: Some(partition),
                value: Some(value.clone().into()),
                ..NewRecord::default()
            };
            let receipt = producer.send(record).await.unwrap().await.unwrap();
            ledger.insert((partition.get(), receipt.offset.unwrap().get()), value);
        }
        ledger
    });
    Running { stop, task }
}

/// Everything that is in the topic.
async fn read(client: &Client, count: usize) -> Ledger {
    let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
    for index in 0..PARTITIONS {
        consumer.add(NamedPartition::new(TOPIC, PartitionIndex::new(index)), Start::Earliest);
    }
    let mut found = Ledger::new();
    while found.len() < count {
        let fetched = consumer.poll(Duration::from_secs(30)).await.unwrap();
        let fetched = fetched.unwrap_or_else(|| panic!("{} records of {count}", found.len()));
        for record in fetched.records {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.insert((fetched.partition.partition.get(), record.offset.get()), value);
        }
    }
    found
}

async fn topic(client: &Client) -> TopicDescription {
    client.list_topics().await.unwrap().into_iter().find(|topic| topic.name == TOPIC).unwrap()
}

/// How many replicas a broker holds, if every replica of the topic is in sync.
async fn held(client: &Client, id: i32) -> Option<usize> {
    let topic = topic(client).await;
    let id = BrokerId::new(id);
    let whole = topic.partitions.iter().all(|one| one.in_sync.len() == 2 && one.replicas.len() == 2);
    whole.then(|| topic.partitions.iter().filter(|one| one.replicas.contains(&id)).count())
}

/// What throttles `brokers`, and the topic.
async fn throttles(client: &Client, brokers: &[i32]) -> Vec<String> {
    let resources: Vec<Resource> = brokers.iter().map(|id| Resource::Broker(BrokerId::new(*id))).collect();
    let mut found: Vec<String> = config(client, TOPIC).await.into_keys().collect();
    for entries in client.describe_configs(&resources, false).await.unwrap() {
        let own = entries.unwrap().into_iter().filter(|entry| entry.source == ConfigSource::DynamicBroker);
        found.extend(own.map(|entry| entry.name));
    }
    found
}

/// A Cluster of three brokers that serve.
async fn begin(scene: &Scene, more: Value) -> (Running<()>, Vec<Broker>, Client) {
    let controller = controller(scene).await;
    let mut spec = json!({"pools": pools(3)});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene.stage.declare("c", spec).await.unwrap();
    scene.stage.pods("c", &["c-a-0", "c-a-1", "c-a-2"]).await;
    let mut brokers = Vec::new();
    for id in 0..3 {
        brokers.push(start(scene, id).await);
    }
    scene.listen("c", &brokers[0]);
    let client = brokers[0].client();
    scene.stage.condition("c", "Ready", "True", "BrokersReady").await;
    until("three brokers are there", || async {
        let described = client.describe_cluster().await.ok()?;
        (described.brokers.iter().filter(|broker| !broker.fenced).count() == 3).then_some(())
    })
    .await;
    create(&client, TOPIC, PARTITIONS, 2).await;
    (controller, brokers, client)
}

async fn create(client: &Client, name: &str, partitions: i32, replicas: i16) {
    let wanted = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replicas: Some(replicas),
        ..NewTopic::default()
    };
    client.create_topics(&[wanted], false).await.unwrap().remove(0).unwrap();
}

/// Holds what was acknowledged against what is there.
async fn account(client: &Client, producer: Running<Ledger>) {
    let acknowledged = producer.stop().await;
    let found = read(client, acknowledged.len()).await;
    assert!(acknowledged.len() > 100, "only {} records were acknowledged", acknowledged.len());
    assert_eq!(found, acknowledged, "nothing is lost, nothing is twice");
    eprintln!("{} records were acknowledged meanwhile, and all of them are there", acknowledged.len());
}

/// Waits until the volume of a broker that has left is deleted.
async fn is_deleted(scene: &Scene, claim: &str) {
    until("its volume is deleted", || async {
        let claim = scene.stage.objects(Kind::PersistentVolumeClaim).get_opt(claim).await.unwrap();
        claim.is_none_or(|claim| claim.metadata.deletion_timestamp.is_some()).then_some(())
    })
    .await;
    // Nobody else is here who takes the finalizer off again that Kubernetes puts on it.
    scene.stage.edit(Kind::PersistentVolumeClaim, claim, json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_and_shrinks_and_keeps_every_record() {
    let scene = Scene::new().await;
    let (controller, mut brokers, client) = begin(&scene, json!({})).await;
    let producer = produce(client.clone());

    scene.stage.declare("c", json!({"pools": pools(4)})).await.unwrap();
    scene.stage.pods("c", &["c-a-0", "c-a-1", "c-a-2", "c-a-3"]).await;
    brokers.push(start(&scene, 3).await);
    until("the new broker holds its share", || async { (held(&client, 3).await? == 6).then_some(()) }).await;
    scene.stage.condition("c", "Balanced", "True", "EvenlySpread").await;
    until("no throttle is left", || async { throttles(&client, &[0, 1, 2, 3]).await.is_empty().then_some(()) }).await;
    scene.stage.hears("Cluster", "c", "Normal RebalanceBegun", 1).await;
    scene.stage.hears("Cluster", "c", "Normal RebalanceDone", 1).await;

    scene.stage.declare("c", json!({"pools": pools(3)})).await.unwrap();
    until("the broker that leaves is emptied", || async { (held(&client, 3).await? == 0).then_some(()) }).await;
    scene.stage.pods("c", &["c-a-0", "c-a-1", "c-a-2"]).await;
    let claims = scene.stage.names(Kind::PersistentVolumeClaim, "c").await;
    assert_eq!(claims.len(), 4, "its volume stays while the cluster knows it: {claims:?}");
    drop(brokers.pop());
    is_deleted(&scene, "data-c-a-3").await;
    let described = client.describe_cluster().await.unwrap();
    assert_eq!(described.brokers.len(), 3, "the cluster has forgotten it");
    scene.stage.condition("c", "Stalled", "False", "AsDeclared").await;
    scene.stage.condition("c", "Balanced", "True", "EvenlySpread").await;
    until("no throttle is left", || async { throttles(&client, &[0, 1, 2]).await.is_empty().then_some(()) }).await;

    account(&client, producer).await;
    controller.stop().await;
}

/// Has Kubernetes say that a Pod was on a node that there is not any more.
async fn lose(scene: &Scene, pod: &str) {
    let pods: Api<Pod> = Api::namespaced(scene.stage.client.clone(), &scene.stage.namespace);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"kind": "Node", "name": "gone"}});
    let _answer: Value = pods.create_subresource("binding", pod, &PostParams::default(), &binding).await.unwrap();
    let ready = json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = Patch::Merge(json!({"status": {"conditions": [ready]}}));
    pods.patch_status(pod, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_node_is_gone_is_replaced_unless_it_alone_has_a_record() {
    let scene = Scene::new().await;
    scene.stage.grant_everywhere().await;
    let repair = json!({"repair": {"replaceLostAfter": "1s"}});
    let (controller, mut brokers, client) = begin(&scene, repair).await;
    create(&client, "alone", 3, 1).await;
    let producer = produce(client.clone());
    drop(brokers.pop());
    lose(&scene, "c-a-2").await;
    let said = scene.stage.condition("c", "Stalled", "True", "DataAtRisk").await;
    assert!(said.contains("alone-"), "{said}");
    let deleted = client.delete_topics(&["alone".to_owned()]).await.unwrap();
    deleted.into_iter().for_each(|deleted| deleted.unwrap());

    scene.stage.pods("c", &["c-a-0", "c-a-1", "c-a-2", "c-a-3"]).await;
    brokers.push(start(&scene, 3).await);
    until("others hold its replicas", || async { (held(&client, 2).await? == 0).then_some(()) }).await;
    assert!(held(&client, 3).await.unwrap() > 0, "the new one among them");
    is_deleted(&scene, "data-c-a-2").await;
    let described = client.describe_cluster().await.unwrap();
    let ids: Vec<i32> = described.brokers.iter().map(|broker| broker.id.get()).collect();
    assert_eq!(ids, [0, 1, 3], "the cluster has forgotten it");
    // Its Pod is left, which only its node could let go; nobody waits for that.
    scene.stage.condition("c", "Ready", "True", "BrokersReady").await;
    scene.stage.condition("c", "Reconciling", "False", "AsDeclared").await;
    for line in ["Warning DataAtRisk", "Warning BrokerLost", "Normal BrokerReplaced"] {
        scene.stage.hears("Cluster", "c", line, 1).await;
    }
    account(&client, producer).await;
    controller.stop().await;
}
