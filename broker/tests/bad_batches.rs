//! What a producer must not be able to store, and what a consumer must not be able to hold, over a real socket.

#[path = "support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/records.rs"]
mod records;

use bytes::{Bytes, BytesMut};
use ottla_broker::node::Running;
use ottla_wire::ErrorCode;
use ottla_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::messages::MetadataRequest;
use ottla_wire::produce::{PartitionProduceResponse, ProduceRequest};
use ottla_wire::record::{BatchBuilder, BatchView, Compression, control_batch};
use ottla_wire::record::{ControlType, check_batch};
use peer::{Peer, address, soon, start};

const PRODUCE: i16 = 9;
const FETCH: i16 = 12;

/// Where a batch's header keeps what a liar would change (KIP-98).
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const LAST_OFFSET_DELTA_AT: usize = 23;
const COUNT_AT: usize = 57;

async fn create(peer: &mut Peer, name: &str, partitions: i32, configs: &[(&str, &str)]) -> ErrorCode {
    ErrorCode::new(records::create(peer, name, partitions, configs).await.error_code)
}

fn produce(topic: &str, partition: i32, acks: i16, batch: &Bytes) -> ProduceRequest {
    records::produce(topic, partition..partition.saturating_add(1), acks, batch)
}

async fn offer(peer: &mut Peer, topic: &str, records: Bytes) -> PartitionProduceResponse {
    let mut answer = peer.ask(&produce(topic, 0, -1, &records), PRODUCE).await;
    answer.responses.remove(0).partition_responses.remove(0)
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.append(1_000, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build().expect("an honest batch")
}

/// An honest batch with bytes changed; the checksum fits the lie where `signed`.
fn lie(at: usize, bytes: &[u8], signed: bool) -> Bytes {
    let mut changed = BytesMut::from(&batch(&["a", "b", "c"])[..]);
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    if signed {
        let crc = BatchView::split_from(&mut changed.clone().freeze()).expect("still framed").computed_crc();
        changed[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    changed.freeze()
}

fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let asked = FetchPartition {
        partition,
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 50_000_000,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic { topic: topic.to_owned(), partitions: vec![asked], ..FetchTopic::default() }];
    FetchRequest { max_bytes: 50_000_000, session_epoch: -1, topics, ..FetchRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_lies_is_refused_and_nothing_of_it_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(create(&mut peer, "t", 1, &[]).await, ErrorCode::NONE);
    let honest = batch(&["a", "b", "c"]);
    let mut moved = BytesMut::from(&honest[..]);
    moved[..8].copy_from_slice(&7i64.to_be_bytes());
    let two = Bytes::from([honest.clone(), honest.clone()].concat());
    let cases: Vec<(&str, Bytes, ErrorCode)> = vec![
        ("a wrong checksum", lie(17, &[1, 2, 3, 4], false), ErrorCode::CORRUPT_MESSAGE),
        ("a flipped bit in a record", lie(70, &[0xff], false), ErrorCode::CORRUPT_MESSAGE),
        ("a length beyond the bytes", lie(LENGTH_AT, &9_999i32.to_be_bytes(), false), ErrorCode::CORRUPT_MESSAGE),
        ("a negative length", lie(LENGTH_AT, &(-1i32).to_be_bytes(), false), ErrorCode::CORRUPT_MESSAGE),
        ("half a batch", honest.slice(..honest.len() / 2), ErrorCode::CORRUPT_MESSAGE),
        ("magic 1", lie(MAGIC_AT, &[1], false), ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT),
        ("magic 9", lie(MAGIC_AT, &[9], false), ErrorCode::INVALID_RECORD),
        ("a count that lies", lie(COUNT_AT, &2_000_000_000i32.to_be_bytes(), true), ErrorCode::INVALID_RECORD),
        ("a negative count", lie(COUNT_AT, &(-3i32).to_be_bytes(), true), ErrorCode::INVALID_RECORD),
        ("a last offset that lies", lie(LAST_OFFSET_DELTA_AT, &99i32.to_be_bytes(), true), ErrorCode::INVALID_RECORD),
        ("a base offset of its own", moved.freeze(), ErrorCode::INVALID_RECORD),
        ("two batches", two, ErrorCode::INVALID_RECORD),
        ("a control batch", control_batch(ControlType::Commit, 7, 0, 0, 0), ErrorCode::INVALID_RECORD),
        ("nothing", Bytes::new(), ErrorCode::INVALID_RECORD),
    ];
    for (what, bytes, wanted) in cases {
        let answer = offer(&mut peer, "t", bytes).await;
        assert_eq!(ErrorCode::new(answer.error_code), wanted, "{what}: {:?}", answer.error_message);
    }
    let answer = offer(&mut peer, "t", honest).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0), "the first offset is still free");
    let acks = peer.ask(&produce("t", 0, 5, &batch(&["x"])), PRODUCE).await;
    let code = acks.responses[0].partition_responses[0].error_code;
    assert_eq!(ErrorCode::new(code), ErrorCode::INVALID_REQUIRED_ACKS);
    // With acks=0 there is no answer to carry the error: the connection ends, as Kafka's does.
    peer.send(&produce("t", 0, 0, &lie(17, &[1, 2, 3, 4], false)), PRODUCE).await;
    assert!(peer.is_closed().await, "an error with acks=0");
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decompression_bomb_is_refused_where_batches_are_opened_and_kept_shut_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(create(&mut peer, "opened", 1, &[("compression.type", "lz4")]).await, ErrorCode::NONE);
    assert_eq!(create(&mut peer, "shut", 1, &[]).await, ErrorCode::NONE);
    // Just above what a broker opens (32 MiB): enough to be refused, little enough to be made in a debug build.
    let zeros = vec![0; 33 * 1024 * 1024];
    for codec in [Compression::Gzip, Compression::Zstd] {
        let mut bomb = BatchBuilder::new(codec);
        bomb.append(1_000, None, Some(&zeros), &[]);
        let bomb = bomb.build().expect("compresses");
        assert!(bomb.len() < 1_000_000, "it must be small to be a bomb, not {}", bomb.len());
        let answer = offer(&mut peer, "opened", bomb.clone()).await;
        assert_eq!(ErrorCode::new(answer.error_code), ErrorCode::INVALID_RECORD, "{:?}", answer.error_message);
        let answer = offer(&mut peer, "shut", bomb).await;
        assert_eq!(ErrorCode::new(answer.error_code), ErrorCode::NONE, "a broker does not open what it only keeps");
    }
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_partitions_and_configs_that_are_none_get_kafkas_codes() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[("auto.create.topics.enable", "false")]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", &long] {
        assert_eq!(create(&mut peer, name, 1, &[]).await, ErrorCode::INVALID_TOPIC_EXCEPTION, "{name:?}");
    }
    assert_eq!(create(&mut peer, "t", 0, &[]).await, ErrorCode::INVALID_PARTITIONS);
    assert_eq!(create(&mut peer, "t", -7, &[]).await, ErrorCode::INVALID_PARTITIONS);
    assert_eq!(create(&mut peer, "t", 1, &[("no.such.key", "1")]).await, ErrorCode::INVALID_CONFIG);
    assert_eq!(create(&mut peer, "t", 1, &[("retention.ms", "soon")]).await, ErrorCode::INVALID_CONFIG);
    assert_eq!(create(&mut peer, "t", 1, &[]).await, ErrorCode::NONE);
    for (topic, partition) in [("t", 1), ("t", -1), ("absent", 0)] {
        let answer = peer.ask(&produce(topic, partition, -1, &batch(&["x"])), PRODUCE).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(ErrorCode::new(code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "produce to {topic}-{partition}");
        let answer = peer.ask(&fetch(topic, partition, 0), FETCH).await;
        let code = answer.responses[0].partitions[0].error_code;
        assert_eq!(ErrorCode::new(code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "fetch of {topic}-{partition}");
    }
    for offset in [-1, 1, i64::MAX] {
        let answer = peer.ask(&fetch("t", 0, offset), FETCH).await;
        let code = answer.responses[0].partitions[0].error_code;
        assert_eq!(ErrorCode::new(code), ErrorCode::OFFSET_OUT_OF_RANGE, "fetch from {offset}");
    }
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_hold_bounded_memory_and_stop_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(create(&mut peer, "t", 1, &[]).await, ErrorCode::NONE);
    let value = "v".repeat(1_000_000);
    for _ in 0..24 {
        let answer = offer(&mut peer, "t", batch(&[&value])).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    }
    let mut deaf = Vec::new();
    for _ in 0..30 {
        let mut client = Peer::connect(address(&broker)).await;
        for _ in 0..3 {
            client.send(&fetch("t", 0, 0), FETCH).await;
        }
        deaf.push(client);
    }
    // The others go on: they write, are told what is there, and read.
    for offset in 0..20 {
        let answer = offer(&mut peer, "t", batch(&["x"])).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        assert_eq!(peer.ask(&MetadataRequest::default(), 9).await.brokers.len(), 1);
        assert_bounded(&broker);
        let answer = peer.ask(&fetch("t", 0, offset), FETCH).await;
        let mut records = Bytes::from(answer.responses[0].partitions[0].records.concat());
        let first = check_batch(&mut records).expect("a reader gets batches beside those who do not read");
        assert_eq!(first.header().base_offset, offset);
    }
    drop(deaf);
    soon("stop", broker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_wait_for_records_keep_no_memory_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(create(&mut peer, "t", 1, &[]).await, ErrorCode::NONE);
    assert_eq!(offer(&mut peer, "t", batch(&["first"])).await.error_code, 0);
    // Each may be answered with megabytes: more of them than the budget has room for.
    let mut waiting = Vec::new();
    for _ in 0..30 {
        let mut client = Peer::connect(address(&broker)).await;
        client.send(&FetchRequest { max_wait_ms: 600_000, min_bytes: 1, ..fetch("t", 0, 1) }, FETCH).await;
        waiting.push(client);
    }
    for _ in 0..50 {
        let answer = peer.ask(&fetch("t", 0, 0), FETCH).await;
        assert!(!answer.responses[0].partitions[0].records.concat().is_empty());
    }
    assert_eq!(offer(&mut peer, "t", batch(&["second"])).await.error_code, 0);
    for client in &mut waiting {
        let answer = client.answer::<FetchRequest>(FETCH).await;
        assert!(!answer.responses[0].partitions[0].records.concat().is_empty());
    }
    soon("stop", broker.stop()).await;
}

fn assert_bounded(broker: &Running) {
    let (held, may) = (broker.node.fetch_budget.used(), ottla_core::limits::FETCH_BYTES);
    // One answer larger than what is left is admitted alone.
    assert!(held <= 2 * may, "{held} bytes are held for clients that do not read; the budget is {may}");
}
