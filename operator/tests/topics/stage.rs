//! Topics on a real API server, with brokers beside it that are processes of their own, and a controller that looks after
//! them with the rights that `deploy/operator` gives it.
//!
//! Owns the processes: each is killed when the test is done with it, however that ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Config, ResourceExt};
use ottla_client::types::BrokerId;
use ottla_client::{ClientConfig, ConfigChange, ConfigSource, NewTopic, Operation, Resource};
use ottla_coordination::{Kubernetes, birth};
use ottla_core::types::ClusterId;
use ottla_crds::shared::Condition;
use ottla_crds::{Cluster, Topic};
use ottla_operator::cluster::apply::Hands;
use ottla_operator::events::Events;
use ottla_operator::metrics::Metrics;
use ottla_operator::schema::Schemas;
use ottla_operator::topic::addresses::Addresses;
use ottla_operator::topic::rounds::{Context, run};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{Stage, pools, until};

/// How often a cluster is looked at when nothing happens. The product takes a minute.
const PERIOD: Duration = Duration::from_secs(2);

/// A running `ottla-broker`.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: String,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Broker {
    /// Starts one and waits until it listens.
    pub(crate) async fn start(directory: &Path, more: &[(&str, &str)]) -> Self {
        let program = std::env::var_os("OTTLA_BROKER").expect("e2e/kubernetes/run.sh sets OTTLA_BROKER");
        let mut command = Command::new(program);
        command
            .args(["--listeners", "PLAINTEXT://127.0.0.1:0", "--ottla.http.listener", "127.0.0.1:0", "--log.dirs"])
            .arg(directory)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        for (key, value) in more {
            command.arg(format!("--{key}")).arg(value);
        }
        let mut child = command.spawn().expect("the broker's binary runs");
        let log = child.stderr.take().expect("standard error is a pipe");
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        // Reads to the end: a broker whose log nobody reads would wait for ever.
        tokio::task::spawn_blocking(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if let Some(address) = line.split("address=").nth(1).filter(|_| line.contains("listening")) {
                    let _nobody_waits = said.send(address.trim().to_owned());
                } else if line.contains("WARN") || line.contains("ERROR") {
                    eprintln!("{line}");
                }
            }
        });
        let address = tokio::time::timeout(Duration::from_secs(60), heard.recv()).await;
        let address = address.expect("it starts in time").expect("it says where it listens before it ends");
        Self { child, address }
    }

    pub(crate) fn client(&self) -> ottla_client::Client {
        ottla_client::Client::new(ClientConfig { bootstrap: vec![self.address.clone()], ..ClientConfig::default() })
    }
}

/// Where the brokers of a test listen, by the name of their Cluster.
#[derive(Default)]
struct Loopback(Mutex<BTreeMap<String, String>>);

impl Addresses for Loopback {
    fn bootstrap(&self, cluster: &Cluster) -> Vec<String> {
        // Nobody listens at port 1.
        let nobody = || "127.0.0.1:1".to_owned();
        vec![self.0.lock().unwrap().get(&cluster.name_any()).cloned().unwrap_or_else(nobody)]
    }
}

/// A controller of Topics that runs.
pub(crate) struct Controller {
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Controller {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// How many writes it has sent to the API server.
    pub(crate) fn writes(&self) -> u64 {
        self.count("ottla_operator_api_writes_total")
    }

    /// The sum of the series of that name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let text = self.metrics.encode(Duration::ZERO).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

/// A namespace with Clusters, their brokers, and a controller.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) folder: tempfile::TempDir,
    addresses: Arc<Loopback>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self { stage: Stage::new().await, folder: tempfile::tempdir().unwrap(), addresses: Arc::default() }
    }

    /// A scene with the Cluster `c`, whose one broker runs, and a controller.
    pub(crate) async fn with_broker() -> (Self, Broker, Controller) {
        let scene = Self::new().await;
        let broker = Broker::start(&scene.folder.path().join("0"), &[]).await;
        scene.cluster("c", Some(&broker)).await;
        let controller = scene.controller().await;
        (scene, broker, controller)
    }

    /// Declares a Cluster, whose brokers listen at the address of `broker`.
    pub(crate) async fn cluster(&self, name: &str, broker: Option<&Broker>) {
        if let Some(broker) = broker {
            self.listen(name, broker);
        }
        self.stage.declare(name, json!({"pools": pools(1)})).await.unwrap();
    }

    /// Where brokers of this scene are asked.
    pub(crate) fn addresses(&self) -> Arc<dyn Addresses> {
        Arc::clone(&self.addresses) as Arc<dyn Addresses>
    }

    /// From now on the brokers of that Cluster are asked there.
    pub(crate) fn listen(&self, cluster: &str, broker: &Broker) {
        self.addresses.0.lock().unwrap().insert(cluster.to_owned(), broker.address.clone());
    }

    /// Hands that may do what the operator's account may.
    pub(crate) async fn hands(&self) -> Hands {
        let mut config = Config::infer().await.unwrap();
        let account = format!("system:serviceaccount:{}:ottla-operator", self.stage.namespace);
        config.auth_info.impersonate = Some(account);
        config.default_retry = false;
        let metrics = Metrics::default();
        let client = Client::try_from(config.clone()).unwrap();
        let events = Events::new(client.clone(), None, metrics.clone());
        Hands { events, client, config, metrics, schemas: Schemas::default() }
    }

    /// A controller of Topics that may do what the operator's account may.
    pub(crate) async fn controller(&self) -> Controller {
        let hands = self.hands().await;
        let metrics = hands.metrics.clone();
        let context = Arc::new(Context { hands, addresses: self.addresses(), period: PERIOD, concurrency: 4 });
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(Some(self.stage.namespace.clone()), context, stop.clone()));
        Controller { metrics, stop, task }
    }

    /// Three brokers of one cluster, whose metadata lies in this namespace.
    pub(crate) async fn trio(&self, cluster: &str) -> Vec<Broker> {
        let mut config = Config::infer().await.unwrap();
        config.default_namespace.clone_from(&self.stage.namespace);
        // An API server that has just learnt the kind may ask for patience.
        until("the cluster's documents are there", || async {
            let (config, runtime, name) = (config.clone(), tokio::runtime::Handle::current(), cluster.to_owned());
            let born = tokio::task::spawn_blocking(move || {
                let store = Kubernetes::new(config, runtime, &name, Duration::from_secs(10)).unwrap();
                birth::create(&store, None, ClusterId::from_bytes([7; 16])).ok()
            });
            born.await.unwrap()
        })
        .await;
        let mut brokers = Vec::new();
        for id in ["0", "1", "2"] {
            let keys = [
                ("node.id", id),
                ("broker.rack", id),
                ("ottla.grpc.listener", "127.0.0.1:0"),
                ("ottla.kubernetes.cluster", cluster),
                ("ottla.kubernetes.namespace", &self.stage.namespace),
            ];
            brokers.push(Broker::start(&self.folder.path().join(id), &keys).await);
        }
        self.cluster(cluster, brokers.first()).await;
        brokers
    }

    pub(crate) fn topics(&self) -> Api<Topic> {
        Api::namespaced(self.stage.client.clone(), &self.stage.namespace)
    }

    /// Applies a Topic of the Cluster `c` as a person would.
    pub(crate) async fn declare(&self, name: &str, spec: Value) -> Topic {
        let mut spec = spec;
        if spec.get("clusterRef").is_none() {
            spec["clusterRef"] = json!({"name": "c"});
        }
        let metadata = json!({"name": name});
        let manifest = json!({"apiVersion": "ottla.dev/v1alpha1", "kind": "Topic", "metadata": metadata, "spec": spec});
        self.topics().patch(name, &PatchParams::apply("person").force(), &Patch::Apply(manifest)).await.unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.topics().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn is_gone(&self, name: &str) {
        let gone = || async { self.topics().get_opt(name).await.unwrap().is_none().then_some(()) };
        until(&format!("Topic {name} is gone"), gone).await;
    }

    /// Waits until a condition of the Topic's present generation is `status` for `reason`, and gives the Topic.
    pub(crate) async fn told(&self, name: &str, kind: &str, status: &str, reason: &str) -> Topic {
        let seen = Mutex::new(String::new());
        let what = format!("Topic {name}: {kind}={status} {reason}");
        let asked = until(&what, || async {
            let topic = self.topics().get(name).await.unwrap();
            let told: Vec<String> = conditions(&topic).iter().map(words).collect();
            let told = told.join("\n");
            let mut seen = seen.lock().unwrap();
            if *seen != told {
                eprintln!("{name}\n{told}\n");
                *seen = told;
            }
            let found = conditions(&topic).iter().find(|one| one.type_ == kind)?;
            let now = found.observed_generation == topic.metadata.generation;
            (now && found.status == status && found.reason == reason).then_some(topic)
        });
        asked.await
    }

    pub(crate) async fn ready(&self, name: &str) -> Topic {
        self.told(name, "Ready", "True", "AsDeclared").await
    }

    /// The reason of Ready, once the Topic's present generation was judged.
    pub(crate) async fn verdict(&self, name: &str) -> Option<String> {
        let topic = self.topics().get(name).await.unwrap();
        let ready = conditions(&topic).iter().find(|one| one.type_ == "Ready")?;
        (ready.observed_generation == topic.metadata.generation).then(|| ready.reason.clone())
    }

    /// How many Topics of the namespace are Ready.
    pub(crate) async fn count_ready(&self) -> usize {
        let topics = self.topics().list(&ListParams::default()).await.unwrap();
        let ready = |topic: &&Topic| conditions(topic).iter().any(|one| one.type_ == "Ready" && one.status == "True");
        topics.items.iter().filter(ready).count()
    }
}

pub(crate) fn conditions(topic: &Topic) -> &[Condition] {
    topic.status.as_ref().map_or(&[], |status| &status.conditions)
}

fn words(one: &Condition) -> String {
    format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message)
}

pub(crate) fn message(topic: &Topic, kind: &str) -> String {
    conditions(topic).iter().find(|one| one.type_ == kind).map(|one| one.message.clone()).unwrap_or_default()
}

/// Creates a topic as somebody else would.
pub(crate) async fn create(client: &ottla_client::Client, name: &str, partitions: i32, config: &[(&str, &str)]) {
    let configs = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let topic = NewTopic { name: name.to_owned(), partitions: Some(partitions), configs, ..NewTopic::default() };
    client.create_topics(&[topic], false).await.unwrap().remove(0).unwrap();
}

/// Changes a topic's config as somebody else would.
pub(crate) async fn set(client: &ottla_client::Client, name: &str, key: &str, value: &str) {
    let change = ConfigChange { name: key.to_owned(), operation: Operation::Set(value.to_owned()) };
    let changes = [(Resource::Topic(name.to_owned()), vec![change])];
    client.alter_configs(&changes, false).await.unwrap().remove(0).unwrap();
}

/// What is set on a topic.
pub(crate) async fn config(client: &ottla_client::Client, name: &str) -> BTreeMap<String, String> {
    let entries = client.describe_configs(&[Resource::Topic(name.to_owned())], false).await.unwrap().remove(0).unwrap();
    let own = entries.into_iter().filter(|entry| entry.source == ConfigSource::Topic);
    own.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect()
}

/// What is set on so many brokers while they run.
pub(crate) async fn rates(client: &ottla_client::Client, brokers: i32) -> Vec<(String, String)> {
    let resources: Vec<Resource> = (0..brokers).map(|id| Resource::Broker(BrokerId::new(id))).collect();
    let entries = client.describe_configs(&resources, false).await.unwrap().into_iter().flat_map(Result::unwrap);
    let own = entries.filter(|entry| entry.source == ConfigSource::DynamicBroker);
    own.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect()
}

/// Throttles every replica of a topic, at so many brokers, as the operator does it.
pub(crate) async fn throttle(client: &ottla_client::Client, topic: &str, brokers: i32) {
    let both = |what: &str, value: &str| {
        let change = |side: &str| ConfigChange {
            name: format!("{side}.replication.throttled.{what}"),
            operation: Operation::Set(value.to_owned()),
        };
        vec![change("leader"), change("follower")]
    };
    let mut changes = vec![(Resource::Topic(topic.to_owned()), both("replicas", "*"))];
    changes.extend((0..brokers).map(|id| (Resource::Broker(BrokerId::new(id)), both("rate", "77"))));
    client.alter_configs(&changes, false).await.unwrap().into_iter().for_each(|done| done.unwrap());
}

/// The id and the number of partitions of a topic, if it is there.
pub(crate) async fn found(client: &ottla_client::Client, name: &str) -> Option<(String, usize)> {
    let topics = client.list_topics().await.unwrap();
    topics.into_iter().find(|topic| topic.name == name).map(|topic| (topic.id.to_string(), topic.partitions.len()))
}
