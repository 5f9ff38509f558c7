//! Three brokers whose metadata lies on a real API server, and is deleted there or put back to an older state, while they
//! run and while they do not: recovered from their data directories, with every acknowledged record (A8).

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[path = "support/records.rs"]
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use ottla_broker::controller::initialize;
use ottla_broker::controller::recover::{Home, RecoverError, look};
use ottla_broker::node::Running;
use ottla_coordination::{Access, Coordination, Document, Expected, Kubernetes, Put};
use ottla_core::controller::recover::{Doubt, InStore};
use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::messages::InitProducerIdRequest;
use ottla_wire::record::{BatchBuilder, BatchView, Compression, RecordIter};
use peer::{DEADLINE, Peer, address, configured, soon};

const TOPIC: &str = "orders";
/// How many records each partition gets before anything happens.
const BEFORE: i32 = 20;

/// A cluster of three, and what its clients were promised.
struct Trio {
    folder: tempfile::TempDir,
    access: Access,
    brokers: Vec<Running>,
    producer: i64,
    /// Per partition, how many records were acknowledged.
    acked: [i32; 3],
}

impl Trio {
    /// Created, started, with a topic of three partitions on all three, and records in it.
    async fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = format!("r{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let access = Access { cluster, namespace: None, kubeconfig: None };
        initialize(&access, None).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut trio = Self { folder, access, brokers: Vec::new(), producer: -1, acked: [0; 3] };
        for broker in 0..3 {
            let started = soon("start", Running::start(trio.config(broker))).await.unwrap();
            trio.brokers.push(started);
        }
        let configs = [("retention.ms", "-1"), ("min.insync.replicas", "2")];
        let created = records::create_replicated(&mut trio.peer(0).await, TOPIC, (3, 3), &configs).await;
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
        trio.producer = trio.new_producer().await;
        trio.produce(BEFORE).await;
        trio
    }

    fn config(&self, broker: usize) -> ottla_broker::config::Config {
        let id = broker.to_string();
        let keys = [
            ("ottla.kubernetes.cluster", self.access.cluster.as_str()),
            ("ottla.grpc.listener", "127.0.0.1:0"),
            ("node.id", &id),
        ];
        configured(&self.directory(broker), &keys)
    }

    fn directory(&self, broker: usize) -> PathBuf {
        self.folder.path().join(broker.to_string())
    }

    fn directories(&self) -> Vec<PathBuf> {
        (0..3).map(|broker| self.directory(broker)).collect()
    }

    /// All three at once: none is let in before half of them have spoken.
    async fn start_all(&mut self) {
        let starts = (0..3).map(|broker| Running::start(self.config(broker)));
        self.brokers = soon("start of all", try_join_all(starts)).await.unwrap();
    }

    /// Nobody starts on metadata that is gone.
    async fn check_refused(&self) {
        for started in soon("starts", join_all((0..3).map(|broker| Running::start(self.config(broker))))).await {
            let refused = started.err().expect("refused").to_string();
            assert!(refused.contains("MetadataRolledBack") && refused.contains("recover-metadata"), "{refused}");
        }
    }

    async fn stop(&mut self) {
        let stops = self.brokers.drain(..).map(Running::stop_alone);
        soon("stop", join_all(stops)).await;
    }

    async fn peer(&self, broker: usize) -> Peer {
        Peer::connect(address(&self.brokers[broker])).await
    }

    fn home(&self) -> Home {
        Home::Kubernetes(self.access.clone())
    }

    async fn new_producer(&self) -> i64 {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        eventually("a producer id", async || {
            let answer = self.peer(0).await.ask(&request, 4).await;
            (answer.error_code == 0).then_some(answer.producer_id)
        })
        .await
    }

    /// The leader and its epoch, as broker 0 knows them.
    fn leader(&self, partition: i32) -> Option<(usize, i32)> {
        let image = self.brokers[0].node.metadata.image();
        let known = image.partition(TOPIC, PartitionIndex::new(partition))?;
        Some((usize::try_from(known.leader?.get()).unwrap(), known.leader_epoch.get()))
    }

    /// So many more records in each partition, each of the idempotent producer, each acknowledged by all in sync.
    async fn produce(&mut self, count: i32) {
        for partition in 0..3_i32 {
            for _ in 0..count {
                let acked = &mut self.acked[usize::try_from(partition).unwrap()];
                let sequence = *acked;
                *acked += 1;
                let batch = batch(self.producer, sequence, &value(partition, sequence));
                eventually("an acknowledgement", async || {
                    let (leader, _) = self.leader(partition)?;
                    let request = records::produce(TOPIC, partition..partition + 1, -1, &batch);
                    let answer = self.peer(leader).await.ask(&request, 9).await;
                    (answer.responses[0].partition_responses[0].error_code == 0).then_some(())
                })
                .await;
            }
        }
    }

    /// Every acknowledged record is there, once, in its order.
    async fn check_records(&self) {
        for partition in 0..3_i32 {
            let acked = self.acked[usize::try_from(partition).unwrap()];
            let read = eventually("all records", async || {
                let (leader, _) = self.leader(partition)?;
                let answer = self.peer(leader).await.ask(&fetch(partition), 12).await;
                let answer = answer.responses.into_iter().next()?.partitions.into_iter().next()?;
                let there = answer.error_code == 0 && answer.high_watermark >= i64::from(acked);
                there.then(|| answer.records.into_iter().flat_map(values).collect::<Vec<_>>())
            })
            .await;
            let promised: Vec<String> = (0..acked).map(|sequence| value(partition, sequence)).collect();
            assert_eq!(read, promised, "partition {partition}");
        }
    }

    /// Per partition the leader epoch, per broker the run, and the controller's epoch.
    fn terms(&self) -> (Vec<i32>, Vec<i64>, i64) {
        let image = self.brokers[0].node.metadata.image();
        let epochs = (0..3).map(|partition| self.leader(partition).unwrap().1).collect();
        let runs = (0..3).map(|id| image.broker(BrokerId::new(id)).unwrap().incarnation.get()).collect();
        (epochs, runs, image.epoch().get())
    }

    async fn stored(&self) -> Vec<Document> {
        self.ask_store(|store| store.list("").unwrap()).await
    }

    async fn ask_store<T: Send + 'static>(&self, ask: impl FnOnce(&Kubernetes) -> T + Send + 'static) -> T {
        let store = Kubernetes::connect(&self.access, DEADLINE).await.unwrap();
        tokio::task::spawn_blocking(move || ask(&store)).await.unwrap()
    }

    async fn erase(&self) {
        let names: Vec<String> =
            self.stored().await.iter().map(|one| format!("{}.{}", self.access.cluster, one.name)).collect();
        assert!(names.len() > 16, "{names:?}");
        control_plane("erase", &names);
        assert!(self.stored().await.is_empty());
    }

    /// Puts documents back as they were, as a restored backup does.
    async fn restore(&self, older: Vec<Document>) {
        let results = self
            .ask_store(move |store| {
                let put = |document: &Document| Put {
                    name: document.name.clone(),
                    content: document.content.clone(),
                    expected: Expected::At(store.get(&document.name).unwrap().unwrap().revision),
                };
                store.put(older.iter().map(put).collect())
            })
            .await;
        results.into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Nobody can create a topic any more.
    async fn check_stopped_deciding(&self) {
        eventually("a controller that has stopped", async || {
            let created = records::create(&mut self.peer(0).await, "never", 1, records::KEPT).await;
            (created.error_code != 0).then_some(())
        })
        .await;
    }

    /// Plans, sees that all is there, and carries it out.
    async fn recover(&self, state: impl Fn(&InStore) -> bool) {
        let recovery = eventually("directories that nobody holds", async || {
            match look(&self.home(), self.directories(), BTreeSet::new()).await {
                // A broker that was refused lets go of its directory a moment later.
                Err(RecoverError::Running(_)) => None,
                looked => Some(looked.unwrap()),
            }
        })
        .await;
        let plan = recovery.plan();
        assert!(plan.is_complete() && plan.at_risk.is_empty(), "{:?}", plan.doubts);
        assert_eq!((plan.origins.len(), plan.given_up().count()), (17, 0));
        assert!(plan.topics >= 1 && plan.partitions >= 3, "{} {}", plan.topics, plan.partitions);
        assert!(plan.origins.iter().any(|origin| state(&origin.in_store)), "{:?}", plan.origins);
        recovery.apply().await.unwrap();
    }

    /// Starts on what was recovered: everything goes on, above all that was.
    async fn check_recovered(&mut self, before: (Vec<i32>, Vec<i64>, i64)) {
        self.start_all().await;
        self.check_records().await;
        let (epochs, runs, epoch) = self.terms();
        assert!(epochs.iter().zip(&before.0).all(|(now, before)| now > before), "{epochs:?} {before:?}");
        assert!(runs.iter().zip(&before.1).all(|(now, before)| now > before), "{runs:?} {before:?}");
        assert!(epoch > before.2);
        // The producer goes on where it was; another one is given an id that nobody ever had.
        self.produce(5).await;
        self.check_records().await;
        let other = self.new_producer().await;
        assert!(other > self.producer + 1000, "{other} after {}", self.producer);
        let created = records::create_replicated(&mut self.peer(0).await, "after", (1, 3), records::KEPT).await;
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
        self.stop().await;
        self.start_all().await;
        self.check_records().await;
        self.stop().await;
    }
}

/// What `ask` gives at last.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + 2 * DEADLINE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} takes too long");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn value(partition: i32, sequence: i32) -> String {
    format!("{partition}/{sequence}")
}

fn batch(producer: i64, sequence: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).producer(producer, 0, sequence);
    builder.append(1_000, None, Some(value.as_bytes()), &[]);
    builder.build().unwrap()
}

fn fetch(partition: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        current_leader_epoch: -1,
        partition_max_bytes: 1_000_000,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..FetchTopic::default() }];
    FetchRequest { max_bytes: 1_000_000, session_epoch: -1, topics, ..FetchRequest::default() }
}

/// The values of all records in these batches.
fn values(mut records: Bytes) -> Vec<String> {
    let mut values = Vec::new();
    while !records.is_empty() {
        let batch = BatchView::split_from(&mut records).unwrap();
        for record in RecordIter::new(&batch, 1 << 20).unwrap() {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

/// Has the script that keeps the control plane do something with it.
fn control_plane(verb: &str, names: &[String]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/kubernetes/control-plane");
    let plane = std::env::var_os("OTTLA_CONTROL_PLANE").expect("`make kubernetes` sets it");
    assert!(std::process::Command::new(script).arg(verb).arg(plane).args(names).status().unwrap().success(), "{verb}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_deleted_while_nobody_runs() {
    let mut trio = Trio::start().await;
    let before = trio.terms();
    trio.stop().await;
    trio.erase().await;
    trio.check_refused().await;
    trio.recover(|state| *state == InStore::Missing).await;
    trio.check_recovered(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_deleted_while_all_run() {
    let mut trio = Trio::start().await;
    let before = trio.terms();
    trio.erase().await;
    trio.check_stopped_deciding().await;
    trio.stop().await;
    trio.recover(|state| *state == InStore::Missing).await;
    trio.check_recovered(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_restored_from_a_backup_while_nobody_runs() {
    let mut trio = Trio::start().await;
    let backup = trio.stored().await;
    for broker in 0..2 {
        let stopped = trio.brokers.remove(broker);
        soon("stop", stopped.stop()).await;
        let started = soon("start", Running::start(trio.config(broker))).await.unwrap();
        trio.brokers.insert(broker, started);
    }
    trio.produce(10).await;
    let before = trio.terms();
    trio.stop().await;
    trio.restore(backup).await;
    trio.recover(|state| matches!(state, InStore::Older(_))).await;
    trio.check_recovered(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_restored_from_a_backup_while_all_run() {
    let mut trio = Trio::start().await;
    let backup = trio.stored().await;
    for name in ["one", "two", "three", "four"] {
        let created = records::create_replicated(&mut trio.peer(0).await, name, (4, 3), records::KEPT).await;
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
    }
    trio.restore(backup).await;
    let before = trio.terms();
    trio.check_stopped_deciding().await;
    trio.stop().await;
    trio.recover(|state| matches!(state, InStore::Older(_))).await;
    trio.check_recovered(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_brokers_missing_directories_and_newer_documents_are_named() {
    let mut trio = Trio::start().await;
    let runs = look(&trio.home(), trio.directories(), BTreeSet::new()).await.err().unwrap();
    assert!(matches!(runs, RecoverError::Running(_)) && runs.is_refusal(), "{runs}");
    // A copy is not locked, but the cluster still decides.
    let copies = tempfile::tempdir().unwrap();
    let copied = copies.path().join("0");
    copy(&trio.directory(0), &copied);
    let lives = look(&trio.home(), vec![copied.clone()], BTreeSet::new()).await.err().unwrap();
    assert!(matches!(lives, RecoverError::LeaseIsLive { .. }), "{lives}");

    let created = records::create_replicated(&mut trio.peer(0).await, "later", (1, 3), records::KEPT).await;
    assert_eq!(created.error_code, 0, "{:?}", created.error_message);
    trio.stop().await;
    let stored: BTreeMap<_, _> = trio.stored().await.into_iter().map(|one| (one.name, one.revision)).collect();
    let without = look(&trio.home(), trio.directories()[..2].to_vec(), BTreeSet::new()).await.unwrap();
    assert_eq!(without.plan().doubts, [Doubt::Absent { broker: BrokerId::new(2) }]);
    assert!(without.plan().at_risk.len() >= 3, "every partition has a replica there");
    drop(without);
    // The copy of one directory alone has not seen the topic that came later.
    let older = look(&trio.home(), vec![copied], BTreeSet::new()).await.unwrap();
    assert!(older.plan().given_up().count() >= 1 && !older.plan().is_complete());
    assert!(!older.plan().can_start());
    drop(older);
    let after: BTreeMap<_, _> = trio.stored().await.into_iter().map(|one| (one.name, one.revision)).collect();
    assert_eq!(after, stored, "plans change nothing");
    trio.start_all().await;
    trio.check_records().await;
    trio.stop().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // What is renamed meanwhile is not there any more.
            let _gone = fs::copy(entry.path(), target);
        }
    }
}
