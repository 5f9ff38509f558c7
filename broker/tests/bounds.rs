//! What a broker may use of its machine, counted by the kernel: memory, descriptors, system calls, wake-ups. No time is
//! measured here: how fast it is, the benchmarks say.

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/process.rs"]
mod process;
#[path = "support/records.rs"]
mod records;

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::messages::MetadataRequest;
use ottla_wire::produce::{ProduceRequest, ProduceResponse};
use ottla_wire::record::{BatchBuilder, Compression};
use peer::{DEADLINE, Peer, with};
use process::Process;
use records::KEPT;

const MIB: u64 = 1024 * 1024;
/// Idle, whatever it has done before.
const IDLE_BYTES: u64 = 16 * MIB;
/// Under any load.
const LOADED_BYTES: u64 = 64 * MIB;
/// Descriptors of a broker with any number of partitions: the pool of segment files, the journal, RocksDB, sockets.
const DESCRIPTORS: usize = 640;

/// One batch of one record of `bytes`.
fn batch(bytes: usize) -> Bytes {
    let value: Vec<u8> = (0..bytes).map(|at| u8::try_from(at * 7 % 251).expect("below 256")).collect();
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(1_700_000_000_000, None, Some(&value), &[]);
    builder.build().expect("a batch")
}

async fn create(peer: &mut Peer, name: &str, partitions: i32) {
    let answer = records::create(peer, name, partitions, KEPT).await;
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
}

/// As a client with acks=all sends it.
fn produce(topic: &str, partitions: std::ops::Range<i32>, batch: &Bytes) -> ProduceRequest {
    records::produce(topic, partitions, -1, batch)
}

fn check(answer: &ProduceResponse) {
    for partition in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
        assert_eq!(partition.error_code, 0, "partition {}: {:?}", partition.index, partition.error_message);
    }
}

/// Waits until the broker takes no more than `bytes`; what a burst left behind goes after a moment.
async fn shrinks_to(broker: &Process, bytes: u64) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let now = broker.anonymous_bytes();
        if now <= bytes {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{now} bytes are in use, {bytes} are allowed");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_broker_takes_16_mib() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Process::start(directory.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    create(&mut peer, "t", 16).await;
    check(&peer.ask(&produce("t", 0..16, &batch(100)), 9).await);
    shrinks_to(&broker, IDLE_BYTES).await;
    eprintln!("idle: {} KiB", broker.anonymous_bytes() / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_load_takes_64_mib_however_long() {
    const PARTITIONS: i32 = 16;
    const CONNECTIONS: usize = 4;
    const REQUESTS: usize = 64; // of 1 MiB, on each connection
    let directory = tempfile::tempdir().unwrap();
    let broker = Process::start(directory.path()).await;
    create(&mut Peer::connect(broker.address).await, "t", PARTITIONS).await;
    let request = produce("t", 0..PARTITIONS, &batch(64 * 1024));
    let load = (0..CONNECTIONS).map(|_| {
        let (address, request) = (broker.address, request.clone());
        tokio::spawn(async move {
            let mut peer = Peer::connect(address).await;
            // Two on their way, as a client that pipelines has them.
            peer.send(&request, 9).await;
            for _ in 1..REQUESTS {
                peer.send(&request, 9).await;
                check(&peer.answer::<ProduceRequest>(9).await);
            }
            check(&peer.answer::<ProduceRequest>(9).await);
        })
    });
    let load: Vec<_> = load.collect();
    let mut most = 0;
    while !load.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(broker.anonymous_bytes());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for connection in load {
        connection.await.expect("every request was acknowledged");
    }
    eprintln!("loaded: {} KiB at most", most / 1024);
    assert!(most <= LOADED_BYTES, "{most} bytes were in use, {LOADED_BYTES} are allowed");
    broker.kill();
    // What the journal holds goes back through memory into the segments.
    let broker = Process::start(directory.path()).await;
    let after = broker.anonymous_bytes();
    eprintln!("started after a kill: {} KiB", after / 1024);
    assert!(after <= LOADED_BYTES, "{after} bytes are in use after a start, {LOADED_BYTES} are allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_do_not_grow_with_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Process::start(directory.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    let before = broker.descriptors();
    let one = batch(100);
    for (topic, partitions) in [("few", 200), ("many", 2_000)] {
        create(&mut peer, topic, partitions).await;
        for from in (0..partitions).step_by(500) {
            check(&peer.ask(&produce(topic, from..partitions.min(from + 500), &one), 9).await);
            assert!(broker.descriptors() <= DESCRIPTORS, "{} descriptors", broker.descriptors());
        }
    }
    let after = broker.settled("the number of descriptors", Process::descriptors).await;
    eprintln!("descriptors: {before} before, {after} with 2,200 partitions that have records");
    assert!(after <= DESCRIPTORS, "{after} descriptors");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_partitions_open_without_a_file_each() {
    const TOPICS: i32 = 5;
    const PARTITIONS: i32 = 10_000;
    let directory = tempfile::tempdir().unwrap();
    let broker = Process::start(directory.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    let before = broker.descriptors();
    for topic in 0..TOPICS {
        create(&mut peer, &format!("t{topic}"), PARTITIONS).await;
    }
    let one = batch(100);
    for topic in 0..TOPICS {
        // Some of each, the last ones among them.
        check(&peer.ask(&produce(&format!("t{topic}"), PARTITIONS - 20..PARTITIONS, &one), 9).await);
    }
    let after = broker.descriptors();
    eprintln!("50,000 partitions: {before} descriptors before, {after} after, {} KiB", broker.anonymous_bytes() / 1024);
    assert!(after <= DESCRIPTORS, "{after} descriptors");
    broker.kill();
    // They are all there again after a crash.
    let broker = Process::start(directory.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    let everything = with(|request: &mut MetadataRequest| request.topics = None);
    let answer = peer.ask(&everything, 9).await;
    let partitions: usize = answer.topics.iter().map(|topic| topic.partitions.len()).sum();
    assert_eq!(partitions, usize::try_from(TOPICS * PARTITIONS).expect("positive"));
    assert!(broker.descriptors() <= DESCRIPTORS, "{} descriptors", broker.descriptors());
    check(&peer.ask(&produce("t0", 0..1, &one), 9).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_request_costs_few_system_calls() {
    const REQUESTS: u64 = 500;
    let directory = tempfile::tempdir().unwrap();
    let broker = Process::start(directory.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    create(&mut peer, "t", 16).await;
    let one = batch(100);
    check(&peer.ask(&produce("t", 0..16, &one), 9).await);
    let ((reads, writes), sleeps) = (broker.calls(), broker.wake_ups());
    for number in 0..i32::try_from(REQUESTS).expect("few") {
        check(&peer.ask(&produce("t", number % 16..number % 16 + 1, &one), 9).await);
    }
    let ((reads, writes), sleeps) = ((broker.calls().0 - reads, broker.calls().1 - writes), broker.wake_ups() - sleeps);
    eprintln!("{REQUESTS} produces one after the other: {reads} reads, {writes} writes, {sleeps} wake-ups");
    assert!(reads <= 4 * REQUESTS, "{reads} reads");
    assert!(writes <= 8 * REQUESTS, "{writes} writes");
    assert!(sleeps <= 10 * REQUESTS, "{sleeps} wake-ups");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_broker_with_a_thousand_partitions_sleeps() {
    const WINDOW: Duration = Duration::from_secs(3);
    /// A wake-up costs some 10 µs: 100 a second are a thousandth of a core.
    const WAKE_UPS_PER_SECOND: u64 = 30;
    let directory = tempfile::tempdir().unwrap();
    let broker = Process::start(directory.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    create(&mut peer, "t", 1_000).await;
    check(&peer.ask(&produce("t", 0..1_000, &batch(100)), 9).await);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let before = broker.wake_ups();
        tokio::time::sleep(WINDOW).await;
        let woken = broker.wake_ups() - before;
        eprintln!("idle with 1,000 partitions: {woken} wake-ups in {WINDOW:?}");
        if woken <= WAKE_UPS_PER_SECOND * WINDOW.as_secs() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{woken} wake-ups in {WINDOW:?}");
    }
}
