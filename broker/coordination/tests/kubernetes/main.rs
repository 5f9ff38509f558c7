//! Coordination on a real API server with a real etcd, which `KUBECONFIG` names; `make kubernetes` starts them.
//!
//! Faults are scripted by a proxy between the client and that server: every answer that is not a fault is the server's.

mod faults;
mod objects;
mod proxy;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use ottla_coordination::{Coordination, Expected, Kubernetes, Put, PutError, Revision, conformance};
use tokio::runtime::{Handle, Runtime};

/// How long a request may take: far more than it does, and short enough to be waited for in a test.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn runtime() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime")).handle().clone()
}

/// How to reach the API server, which has the definitions of our resources.
fn config() -> Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        runtime().block_on(async {
            let config = Config::infer().await.expect("KUBECONFIG names an API server: run `make kubernetes`");
            install(Client::try_from(config.clone()).expect("a client")).await;
            config
        })
    });
    config.clone()
}

async fn install(client: Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    for definition in ottla_crds::definitions() {
        match definitions.create(&PostParams::default(), &definition).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other.expect("the definition is accepted")),
        }
        let name = definition.metadata.name.expect("named");
        until("the definition is established", async || {
            let found = definitions.get(&name).await.expect("there");
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
        })
        .await;
    }
}

/// Asks again and again until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !so().await {
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A name of a cluster that nobody has used on this API server.
fn fresh_cluster() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("c{}-{number}", std::process::id())
}

fn store(config: Config, cluster: &str) -> Kubernetes {
    Kubernetes::new(config, runtime(), cluster, DEADLINE).expect("a client")
}

fn one(store: &Kubernetes, name: &str, content: &str, expected: Expected) -> Result<Revision, PutError> {
    let content = Bytes::copy_from_slice(content.as_bytes());
    store.put(vec![Put { name: name.to_owned(), content, expected }]).remove(0)
}

fn content(store: &Kubernetes, name: &str) -> Option<String> {
    let found = store.get(name).expect("readable");
    found.map(|document| String::from_utf8(document.content.to_vec()).expect("text"))
}

#[test]
fn kubernetes_is_coordination() {
    conformance::all(|| store(config(), &fresh_cluster()));
}

#[test]
fn a_name_that_is_no_cluster_s_is_refused() {
    for wrong in ["", "a.b", "A", "a_b", "-a", &"a".repeat(41)] {
        assert!(Kubernetes::new(config(), runtime(), wrong, DEADLINE).is_err(), "{wrong:?}");
    }
}

/// What a watch tells until `enough` says so.
fn told(watch: &mut dyn ottla_coordination::Watch, mut enough: impl FnMut(&ottla_coordination::Change) -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a test's own deadline")]
    let deadline = Instant::now() + PATIENCE;
    loop {
        #[expect(clippy::disallowed_methods, reason = "a test's own deadline")]
        let now = Instant::now();
        assert!(now < deadline, "nothing of it within {PATIENCE:?}");
        if let Some(change) = watch.next(Duration::from_millis(200)).expect("the watch holds")
            && enough(&change)
        {
            return;
        }
    }
}
