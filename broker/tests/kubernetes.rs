//! A broker whose cluster's metadata lies in Kubernetes: on a real API server with a real etcd, which `KUBECONFIG` names.
//! `OTTLA_CONTROL_PLANE` is the directory of that control plane, so that it can be taken away; `make kubernetes` sets both.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/records.rs"]
mod records;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::config::Config;
use ottla_broker::controller::{Initialized, initialize};
use ottla_broker::node::Running;
use ottla_coordination::{Access, Coordination, Kubernetes};
use ottla_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::record::{BatchBuilder, Compression};
use peer::{DEADLINE, Peer, address, configured, soon, start};

/// A cluster that nobody has used on this API server.
fn fresh() -> Access {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Access { cluster: format!("b{}-{number}", std::process::id()), namespace: None, kubeconfig: None }
}

async fn try_start(directory: &Path, access: &Access) -> Result<Running, String> {
    let config: Config = configured(directory, &[("ottla.kubernetes.cluster", &access.cluster)]);
    Running::start(config).await.map_err(|error| error.to_string())
}

async fn started(directory: &Path, access: &Access) -> Running {
    start(directory, &[("ottla.kubernetes.cluster", &access.cluster)]).await
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(1_000, None, Some(b"kept"), &[]);
    builder.build().unwrap()
}

async fn produce(peer: &mut Peer, topic: &str) -> i16 {
    let answer = peer.ask(&records::produce(topic, 0..1, -1, &batch()), 9).await;
    answer.responses[0].partition_responses[0].error_code
}

async fn create(peer: &mut Peer, topic: &str) -> i16 {
    records::create(peer, topic, 1, records::KEPT).await.error_code
}

/// The high watermark of a topic's partition, read from the beginning.
async fn end(peer: &mut Peer, topic: &str) -> i64 {
    let partition =
        FetchPartition { current_leader_epoch: -1, partition_max_bytes: 1_000_000, ..FetchPartition::default() };
    let topics = vec![FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..FetchTopic::default() }];
    let request = FetchRequest { max_bytes: 1_000_000, session_epoch: -1, topics, ..FetchRequest::default() };
    let answer = peer.ask(&request, 12).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 0, "{topic}");
    answer.responses[0].partitions[0].high_watermark
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_nobody_created_is_refused_and_no_directory_is_made() {
    let (folder, access) = (tempfile::tempdir().unwrap(), fresh());
    let directory = folder.path().join("data");
    let refused = try_start(&directory, &access).await.err().unwrap();
    assert!(refused.contains(&format!("ottla cluster init {}", access.cluster)), "{refused}");
    assert!(!directory.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_created_once() {
    let access = fresh();
    let Initialized::Created(id) = initialize(&access, None).await.unwrap() else { panic!("it existed") };
    assert_eq!(initialize(&access, None).await.unwrap(), Initialized::Existed(id));
    assert_eq!(initialize(&access, Some(id)).await.unwrap(), Initialized::Existed(id));
    let other = ottla_core::types::ClusterId::from_bytes([7; 16]);
    let refused = initialize(&access, Some(other)).await.unwrap_err().to_string();
    assert!(refused.contains(&id.to_string()) && refused.contains(&other.to_string()), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_records_are_there_after_a_restart() {
    let (folder, access) = (tempfile::tempdir().unwrap(), fresh());
    initialize(&access, None).await.unwrap();
    let broker = started(folder.path(), &access).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(create(&mut peer, "kept").await, 0);
    assert_eq!(produce(&mut peer, "kept").await, 0);
    soon("stop", broker.stop()).await;
    let broker = started(folder.path(), &access).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(end(&mut peer, "kept").await, 1);
    assert_eq!(create(&mut peer, "kept").await, ottla_wire::ErrorCode::TOPIC_ALREADY_EXISTS.code());
    soon("stop", broker.stop()).await;
    // Another cluster's directory is not taken.
    let other = fresh();
    initialize(&other, None).await.unwrap();
    let refused = try_start(folder.path(), &other).await.err().unwrap();
    assert!(refused.contains("belongs to cluster") && refused.contains("in Kubernetes"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_gone_is_not_made_up_again() {
    let (folder, access) = (tempfile::tempdir().unwrap(), fresh());
    initialize(&access, None).await.unwrap();
    let broker = started(folder.path(), &access).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!((create(&mut peer, "kept").await, produce(&mut peer, "kept").await), (0, 0));
    soon("stop", broker.stop()).await;
    let names = documents(&access).await;
    assert!(names.len() > 10, "{names:?}");
    control_plane("erase", &names);
    assert_eq!(documents(&access).await.len(), 0);
    let refused = try_start(folder.path(), &access).await.err().unwrap();
    assert!(refused.contains("MetadataRolledBack"), "{refused}");
    assert_eq!(documents(&access).await.len(), 0, "nothing was created");
    assert!(folder.path().join("kept-0").is_dir(), "nothing was deleted");
}

async fn documents(access: &Access) -> Vec<String> {
    let store = Kubernetes::connect(access, DEADLINE).await.unwrap();
    let cluster = access.cluster.clone();
    let listed = tokio::task::spawn_blocking(move || store.list("").unwrap()).await.unwrap();
    listed.into_iter().map(|document| format!("{cluster}.{}", document.name)).collect()
}

/// Has the script that keeps the control plane do something with it.
fn control_plane(verb: &str, names: &[String]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/kubernetes/control-plane");
    let plane = std::env::var_os("OTTLA_CONTROL_PLANE").expect("`make kubernetes` sets it");
    assert!(Command::new(script).arg(verb).arg(plane).args(names).status().unwrap().success(), "{verb}");
}

/// The one test that takes the API server away; the script runs it alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes the API server away from the others"]
async fn without_the_api_server_records_go_on_and_changes_wait() {
    let (folder, access) = (tempfile::tempdir().unwrap(), fresh());
    initialize(&access, None).await.unwrap();
    let broker = started(folder.path(), &access).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(create(&mut peer, "before").await, 0);
    control_plane("api-down", &[]);
    for _ in 0..20 {
        assert_eq!(produce(&mut peer, "before").await, 0);
    }
    assert_eq!(end(&mut peer, "before").await, 20);
    let refused = create(&mut peer, "meanwhile").await;
    assert_ne!(refused, 0, "nobody has that topic's metadata");
    assert_eq!(produce(&mut peer, "before").await, 0);
    control_plane("api-up", &[]);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while create(&mut peer, "after").await != 0 {
        assert!(tokio::time::Instant::now() < deadline, "no topic can be created after the API server is back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(produce(&mut peer, "after").await, 0);
    soon("stop", broker.stop()).await;
    let broker = started(folder.path(), &access).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!((end(&mut peer, "before").await, end(&mut peer, "after").await), (21, 1));
    soon("stop", broker.stop()).await;
}
