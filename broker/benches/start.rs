//! From starting the process to its first acknowledged record: on an empty directory, and after a `kill -9`.
//!
//! ```text
//! cargo bench -p ottla-broker --bench start            1,000 partitions, 4 GB written before the kills
//! OTTLA_BENCH_MB=512 cargo bench -p ottla-broker --bench start
//! ```
//! The directory lies in the target directory: a file system in memory would say nothing. Prints medians with the
//! smallest and largest. Goals: 60 ms on an empty directory, 1 s after a kill.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first thing that does not work")]

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "../tests/support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "../tests/support/process.rs"]
mod process;
#[path = "../tests/support/records.rs"]
mod records;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::MetadataRequest;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::produce::ProduceRequest;
use ottla_wire::record::{BatchBuilder, Compression};
use peer::{Peer, with};
use process::Process;
use records::KEPT;

const ROUNDS: usize = 10;
const PARTITIONS: i32 = 1_000;
/// Written between two kills: the journal keeps about as much at a time.
const BETWEEN_MB: usize = 64;

fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(1_700_000_000_000, None, Some(&vec![7; bytes]), &[]);
    builder.build().unwrap()
}

fn produce(topic: &str, partitions: std::ops::Range<i32>, batch: &Bytes) -> ProduceRequest {
    records::produce(topic, partitions, -1, batch)
}

async fn acknowledged(peer: &mut Peer, request: &ProduceRequest) {
    let answer = peer.ask(request, 9).await;
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.for_each(|partition| assert_eq!(partition.error_code, 0, "{:?}", partition.error_message));
}

/// Starts a broker and has it acknowledge one record for `topic`, which comes into being if it does not exist.
async fn first_ack(directory: &Path, topic: &str) -> (Process, Peer, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let began = Instant::now();
    let broker = Process::start(directory).await;
    let mut peer = Peer::connect(broker.address).await;
    let one = with(|wanted: &mut MetadataRequestTopic| wanted.name = Some(topic.to_owned()));
    let request = with(|request: &mut MetadataRequest| {
        request.topics = Some(vec![one]);
        request.allow_auto_topic_creation = true;
    });
    peer.ask(&request, 9).await;
    acknowledged(&mut peer, &produce(topic, 0..1, &batch(100))).await;
    let took = began.elapsed();
    (broker, peer, took)
}

/// Writes `megabytes` over all partitions, 1 MB a request.
async fn write(peer: &mut Peer, megabytes: usize) {
    let batch = batch(10_000);
    for number in 0..megabytes {
        let from = i32::try_from(number % 10).unwrap() * PARTITIONS / 10;
        acknowledged(peer, &produce("many", from..from + PARTITIONS / 10, &batch)).await;
    }
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let (least, median, most) = (took[0], took[took.len() / 2], took[took.len() - 1]);
    println!("{what}: median {median:.1?}, {least:.1?} to {most:.1?} over {} starts", took.len());
}

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` runs this as well, without the word.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let directory = tempfile::tempdir_in(target).unwrap();
        let (broker, _, one) = first_ack(directory.path(), "first").await;
        broker.kill();
        took.push(one);
    }
    report("empty directory", took);

    let megabytes = std::env::var("OTTLA_BENCH_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(4_000);
    let directory = tempfile::tempdir_in(target).unwrap();
    let broker = Process::start(directory.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    records::create(&mut peer, "many", PARTITIONS, KEPT).await;
    write(&mut peer, megabytes).await;
    broker.kill();
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let (broker, mut peer, one) = first_ack(directory.path(), "many").await;
        took.push(one);
        write(&mut peer, BETWEEN_MB).await;
        broker.kill();
    }
    report(&format!("after kill -9 with {PARTITIONS} partitions and {megabytes} MB written"), took);
}
