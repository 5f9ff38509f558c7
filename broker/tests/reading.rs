//! Records that memory has forgotten, read over a real socket: from the segments, before and after a restart.

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/records.rs"]
mod records;

use std::time::Duration;

use bytes::Bytes;
use ottla_broker::node::Running;
use ottla_core::types::Offset;
use ottla_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::record::{BatchBuilder, BatchView, Batches, Compression};
use peer::{DEADLINE, Peer, address, soon, start};

/// More than memory keeps of recent batches.
const RECORDS: u8 = 30;
const RECORD_BYTES: usize = 800_000;

/// One record, all of whose bytes tell which one it is.
fn batch(number: u8) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(1_000 + i64::from(number), Some(&[number]), Some(&vec![number; RECORD_BYTES]), &[]);
    builder.build().expect("a batch")
}

async fn read(peer: &mut Peer, offset: i64) -> Vec<BatchView> {
    let partition = FetchPartition {
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 50_000_000,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic { topic: "t".into(), partitions: vec![partition], ..FetchTopic::default() }];
    let request = FetchRequest { max_bytes: 50_000_000, session_epoch: -1, topics, ..FetchRequest::default() };
    let answer = peer.ask(&request, 12).await;
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0, "at {offset}");
    assert_eq!(partition.high_watermark, i64::from(RECORDS));
    Batches::new(Bytes::from(partition.records.concat())).map(|batch| batch.expect("whole batches")).collect()
}

/// Reads everything and compares every byte.
async fn check(peer: &mut Peer) {
    let mut next = 0;
    while next < RECORDS {
        let batches = read(peer, i64::from(next)).await;
        assert!(!batches.is_empty(), "nothing at {next}");
        for batch in batches {
            assert_eq!(batch.header().base_offset, i64::from(next));
            assert_eq!(batch.computed_crc(), batch.header().crc, "at {next}");
            let count = batch.bytes().iter().filter(|&&byte| byte == next).count();
            assert!(count >= RECORD_BYTES, "the bytes at {next} are those of another record");
            next += 1;
        }
    }
}

/// Waits until the partition is served and its first record is not in memory.
async fn forgotten(broker: &Running) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !broker.node.partitions.all().iter().any(|replica| !replica.log.in_memory(Offset::new(0))) {
        assert!(tokio::time::Instant::now() < deadline, "the first record stays in memory");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_has_forgotten_comes_from_the_segments() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    let created = records::create(&mut peer, "t", 1, &[("segment.bytes", "2097152"), ("retention.ms", "-1")]).await;
    assert_eq!(created.error_code, 0, "{:?}", created.error_message);
    for number in 0..RECORDS {
        let answer = peer.ask(&records::produce("t", 0..1, -1, &batch(number)), 9).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    forgotten(&broker).await;
    check(&mut peer).await;
    soon("stop", broker.stop()).await;

    let broker = start(directory.path(), &[]).await;
    forgotten(&broker).await;
    check(&mut Peer::connect(address(&broker)).await).await;
    soon("stop", broker.stop()).await;
}
