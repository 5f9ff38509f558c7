//! A namespace of a real API server, and operators that look after it with the rights that `deploy/operator` gives them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, ResourceExt};
use ottla_crds::{Cluster, MetadataShard};
use ottla_operator::args::Args;
use ottla_operator::cluster::kind::Kind;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

const ROLE: &str = include_str!("../../../deploy/operator/namespaced/role.yaml");
const ROLE_BINDING: &str = include_str!("../../../deploy/operator/namespaced/role-binding.yaml");
const CLUSTER_ROLE: &str = include_str!("../../../deploy/operator/cluster-role.yaml");
const CLUSTER_ROLE_BINDING: &str = include_str!("../../../deploy/operator/cluster-role-binding.yaml");
const ELECTION: &str = include_str!("../../../deploy/operator/common/election.yaml");

/// A namespace of its own.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    folder: tempfile::TempDir,
}

/// Asks until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn install_definitions(client: &Client) {
    static DONE: OnceCell<()> = OnceCell::const_new();
    let install = || async {
        for definition in ottla_crds::definitions() {
            install_definition(client, &definition).await;
        }
    };
    DONE.get_or_init(install).await;
}

/// Installs a definition, or another one in its place.
pub(crate) async fn install_definition(client: &Client, definition: &CustomResourceDefinition) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition.name_any();
    let how = PatchParams::apply("test").force();
    api.patch(&name, &how, &Patch::Apply(definition)).await.unwrap();
    until("a definition is established", || async {
        let conditions = api.get(&name).await.unwrap().status?.conditions?;
        conditions.iter().any(|one| one.type_ == "Established" && one.status == "True").then_some(())
    })
    .await;
}

impl Stage {
    /// A namespace that nobody has used, with the rights of an operator that watches it alone.
    pub(crate) async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("op-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let client = Client::try_default().await.unwrap();
        install_definitions(&client).await;
        let object = serde_json::from_value::<Namespace>(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let stage = Self { client, namespace, folder: tempfile::tempdir().unwrap() };
        stage.grant(&[ROLE, ROLE_BINDING, ELECTION]).await;
        stage
    }

    /// The rights of an operator that watches every namespace.
    pub(crate) async fn grant_everywhere(&self) {
        self.grant(&[CLUSTER_ROLE, CLUSTER_ROLE_BINDING]).await;
    }

    /// Creates what kustomize would, for an operator in this namespace.
    async fn grant(&self, files: &[&str]) {
        for text in files.iter().flat_map(|file| file.split("\n---\n")) {
            let mut object: Value = serde_yaml::from_str(text).unwrap();
            if let Some(subjects) = object.get_mut("subjects").and_then(Value::as_array_mut) {
                subjects.iter_mut().for_each(|subject| subject["namespace"] = json!(self.namespace));
            }
            let kind = object["kind"].as_str().unwrap().to_owned();
            let resource = kube::core::ApiResource {
                group: "rbac.authorization.k8s.io".into(),
                version: "v1".into(),
                api_version: "rbac.authorization.k8s.io/v1".into(),
                plural: format!("{}s", kind.to_lowercase()),
                kind,
            };
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            let everywhere = resource.kind.starts_with("Cluster");
            let api: Api<DynamicObject> = if everywhere {
                Api::all_with(self.client.clone(), &resource)
            } else {
                Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
            };
            let how = PatchParams::apply("test").force();
            api.patch(&object.name_any(), &how, &Patch::Apply(&object)).await.unwrap();
        }
    }

    /// How the operator's account of this namespace reaches the API server.
    fn kubeconfig(&self) -> PathBuf {
        let path = std::env::var("KUBECONFIG").unwrap();
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        config["users"][0]["user"]["as"] = json!(format!("system:serviceaccount:{}:ottla-operator", self.namespace));
        config["contexts"][0]["context"]["namespace"] = json!(self.namespace);
        let own = self.folder.path().join("kubeconfig");
        std::fs::write(&own, config.to_string()).unwrap();
        own
    }

    /// An operator that watches this namespace.
    pub(crate) async fn operator(&self) -> Operator {
        self.operator_with(&["--watch-namespaces", &self.namespace]).await
    }

    pub(crate) async fn operator_with(&self, more: &[&str]) -> Operator {
        let kubeconfig = self.kubeconfig();
        let line = ["ottla-operator", "--kubeconfig", kubeconfig.to_str().unwrap()];
        let version = if more.contains(&"--broker-version") { &[][..] } else { &["--broker-version", "1.0.0"] };
        let args = Args::parse_from(line.iter().chain(version).chain(more).copied());
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), CancellationToken::new());
        // A runtime of its own, so that everything of it ends at once when it is killed.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let until_stopped = stop.clone();
        let task = runtime.spawn(async move {
            let socket = TcpListener::from_std(socket)?;
            ottla_operator::manager::operate(args, socket, until_stopped).await
        });
        Operator { address, stop, task, runtime: Some(runtime) }
    }

    pub(crate) fn clusters(&self) -> Api<Cluster> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn resources(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    pub(crate) fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    pub(crate) fn shards(&self) -> Api<MetadataShard> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies a Cluster as a person would.
    pub(crate) async fn declare(&self, name: &str, spec: Value) -> kube::Result<Cluster> {
        let manifest =
            json!({"apiVersion": "ottla.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": name}, "spec": spec});
        self.clusters().patch(name, &PatchParams::apply("person").force(), &Patch::Apply(manifest)).await
    }

    /// Changes an object as a person would.
    pub(crate) async fn edit(&self, kind: Kind, name: &str, over: Value) {
        let how = PatchParams { field_manager: Some("person".into()), ..PatchParams::default() };
        self.objects(kind).patch(name, &how, &Patch::Merge(over)).await.unwrap();
    }

    pub(crate) async fn annotate(&self, name: &str, annotations: Value) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        self.clusters().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete(&self, kind: Kind, name: &str) {
        self.objects(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Names of the objects of a kind that carry the cluster's label.
    pub(crate) async fn names(&self, kind: Kind, cluster: &str) -> Vec<String> {
        let selector = ListParams::default().labels(&format!("ottla.dev/cluster={cluster}"));
        let mut names: Vec<String> =
            self.objects(kind).list(&selector).await.unwrap().iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    /// The resource version of everything that belongs to `cluster`, itself included.
    pub(crate) async fn versions(&self, cluster: &str) -> BTreeMap<String, String> {
        let selector = ListParams::default().labels(&format!("ottla.dev/cluster={cluster}"));
        let mut versions = BTreeMap::new();
        for kind in Kind::ALL {
            for object in self.objects(kind).list(&selector).await.unwrap() {
                versions.insert(format!("{} {}", kind.name(), object.name_any()), object.resource_version().unwrap());
            }
        }
        let own = self.clusters().get(cluster).await.unwrap();
        versions.insert("Cluster".to_owned(), own.resource_version().unwrap());
        versions
    }

    /// Waits until a condition of `cluster` is `status` for `reason`, and gives its message.
    pub(crate) async fn condition(&self, cluster: &str, kind: &str, status: &str, reason: &str) -> String {
        let seen = std::sync::Mutex::new(String::new());
        let what = format!("{cluster}: {kind}={status} {reason}");
        let found = until(&what, || async {
            let object = self.clusters().get(cluster).await.unwrap();
            let generation = object.metadata.generation;
            let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
            let shown: Vec<String> = conditions
                .iter()
                .map(|one| format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message))
                .collect();
            let told = shown.join("\n");
            let mut seen = seen.lock().unwrap();
            if *seen != told {
                eprintln!("{told}\n");
                *seen = told;
            }
            let found = conditions.into_iter().find(|one| one.type_ == kind)?;
            let now = found.observed_generation == generation;
            (now && found.status == status && found.reason == reason).then_some(found.message)
        });
        found.await
    }

    /// What was told of an object, as `type reason` with how often.
    pub(crate) async fn told(&self, kind: &str, name: &str) -> BTreeMap<String, i32> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut told = BTreeMap::new();
        for event in events.list(&ListParams::default()).await.unwrap() {
            let regarding = event.regarding.clone().unwrap_or_default();
            if regarding.kind.as_deref() == Some(kind) && regarding.name.as_deref() == Some(name) {
                assert_eq!(event.reporting_controller.as_deref(), Some("ottla-operator"));
                let line = format!("{} {}", event.type_.unwrap_or_default(), event.reason.unwrap_or_default());
                *told.entry(line).or_default() += event.series.map_or(1, |series| series.count);
            }
        }
        told
    }

    /// Waits until something was told of an object so many times.
    pub(crate) async fn hears(&self, kind: &str, name: &str, line: &str, times: i32) {
        let what = format!("{kind} {name}: {line}, {times} time(s)");
        until(&what, || async {
            let told = self.told(kind, name).await;
            (told.get(line).copied().unwrap_or_default() == times).then_some(())
        })
        .await;
    }

    /// Has Kubernetes say of a Pod that it serves, as no kubelet does here.
    pub(crate) async fn serve(&self, pod: &str) {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": null});
        let container = json!({"name": "broker", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let status = json!({"status": {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}});
        self.objects(Kind::Pod).patch_status(pod, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// Waits until the brokers of `cluster` are these Pods.
    pub(crate) async fn pods(&self, cluster: &str, expected: &[&str]) {
        let what = format!("{cluster} has the Pods {expected:?}");
        until(&what, || async { (self.names(Kind::Pod, cluster).await == expected).then_some(()) }).await;
    }
}

/// A running operator.
pub(crate) struct Operator {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    runtime: Option<Runtime>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Operator {
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// The sum of the series whose lines begin so.
    pub(crate) async fn metric(&self, begin: &str) -> f64 {
        let text = self.get("/metrics").await;
        let values = text.lines().filter(|line| line.starts_with(begin)).filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).sum()
    }

    pub(crate) async fn leads(&self) -> bool {
        self.metric("ottla_operator_leader").await > 0.0
    }

    /// Stops it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }

    /// Stops it as SIGKILL does: nothing is finished, nothing is given back.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

/// A pool of a spec.
pub(crate) fn pools(replicas: i32) -> Value {
    json!([{"name": "a", "replicas": replicas, "storage": {"volumes": [{"name": "data", "size": "1Gi"}]}}])
}
