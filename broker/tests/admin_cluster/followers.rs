//! Consumers are sent to a replica of their own rack, which serves what is committed (KIP-392).

use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::fetch::{FetchRequest, PartitionData};

use crate::peer::DEADLINE;
use crate::trio::{Trio, batch, broker, fetch, id_of, produce};
use crate::{code, create};

const TOPIC: &str = "orders";
const BY_RACK: &[(&str, &str)] = &[
    ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
    ("broker.rack", "rack-{id}"),
];

fn from(rack: &str, offset: i64) -> FetchRequest {
    FetchRequest { rack_id: rack.to_owned(), ..fetch(TOPIC, offset) }
}

/// What broker `at` answers to one fetch.
async fn answered(trio: &Trio, at: usize, request: &FetchRequest, version: i16) -> PartitionData {
    trio.ask(at, request, version).await.responses.remove(0).partitions.remove(0)
}

/// Waits until broker `at` answers that many bytes of records or more, with that high watermark.
async fn served(trio: &Trio, at: usize, rack: &str, end: i64) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let partition = answered(trio, at, &from(rack, 0), 11).await;
        if (partition.error_code, partition.high_watermark) == (0, end) && !partition.records.is_empty() {
            assert_eq!(partition.preferred_read_replica, -1);
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{partition:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn three_records(trio: &Trio) {
    create(trio, TOPIC, &[0, 1]).await;
    trio.until(TOPIC, "led by the first", |partition| partition.leader == Some(broker(0))).await;
    for value in ["a", "b", "c"] {
        let answer = trio.ask(0, &produce(TOPIC, &batch(value)), 9).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_sent_to_a_replica_in_its_rack_and_served_there() {
    let trio = Trio::start_with(BY_RACK).await;
    three_records(&trio).await;
    let sent = answered(&trio, 0, &from("rack-1", 0), 11).await;
    assert_eq!((sent.error_code, sent.preferred_read_replica, sent.records.len()), (0, 1, 0));
    served(&trio, 1, "rack-1", 3).await;
    // Those for whom nobody is nearer than the leader are served by it: its own rack, one without a replica, none.
    for rack in ["rack-0", "rack-2", "rack-9", ""] {
        served(&trio, 0, rack, 3).await;
    }
    // Before version 11 there is neither a rack nor a follower that serves.
    let old = answered(&trio, 0, &from("", 0), 10).await;
    assert_eq!((old.error_code, old.preferred_read_replica, old.records.is_empty()), (0, -1, false));
    let not_leader = code(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(answered(&trio, 1, &from("", 0), 10).await.error_code, not_leader);
    assert_eq!(answered(&trio, 2, &from("rack-2", 0), 11).await.error_code, not_leader, "no replica");

    // At its end a follower waits for what comes, and answers as soon as it is committed.
    let wait = FetchRequest { max_wait_ms: 20_000, min_bytes: 1, ..from("rack-1", 3) };
    let mut peer = trio.peer(1).await;
    peer.send(&wait, 11).await;
    trio.ask(0, &produce(TOPIC, &batch("d")), 9).await;
    let asked = tokio::time::Instant::now();
    let answer = peer.answer::<FetchRequest>(11).await;
    let partition = &answer.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark, partition.records.is_empty()), (0, 4, false));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());

    // Who has more than a follower is not told that it has too much: it is to ask the leader.
    for last_fetched_epoch in [-1, 0] {
        let mut beyond = from("rack-1", 99);
        beyond.topics[0].partitions[0].last_fetched_epoch = last_fetched_epoch;
        let beyond = answered(&trio, 1, &beyond, 12).await;
        let told = (beyond.error_code, beyond.diverging_epoch.epoch);
        assert_eq!(told, (code(ErrorCode::OFFSET_OUT_OF_RANGE), -1), "{last_fetched_epoch}");
    }
    let epoch = trio
        .any()
        .node
        .metadata
        .image()
        .partition(TOPIC, ottla_core::types::PartitionIndex::new(0))
        .unwrap()
        .leader_epoch;
    for (known, error) in
        [(0, ErrorCode::NONE), (1, ErrorCode::UNKNOWN_LEADER_EPOCH), (-1, ErrorCode::FENCED_LEADER_EPOCH)]
    {
        let mut request = from("rack-1", 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch.get() + known;
        // There is no epoch before the first.
        if epoch.get() + known >= 0 {
            assert_eq!(answered(&trio, 1, &request, 11).await.error_code, code(error), "{known}");
        }
    }
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_stays_with_the_leader_when_its_rack_has_nobody_in_sync() {
    let mut trio = Trio::start_with(BY_RACK).await;
    three_records(&trio).await;
    served(&trio, 1, "rack-1", 3).await;
    trio.stop_one(1).await;
    trio.until(TOPIC, "one in sync", |partition| partition.isr == [broker(0)]).await;
    served(&trio, 0, "rack-1", 3).await;
    trio.start_one(1).await;
    trio.until(TOPIC, "in sync again", |partition| partition.isr.len() == 2).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while answered(&trio, 0, &from("rack-1", 0), 11).await.preferred_read_replica != id_of(1) {
        assert!(tokio::time::Instant::now() < deadline, "it is not sent there again");
    }
    served(&trio, 1, "rack-1", 3).await;
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_selector_only_leaders_serve() {
    let trio = Trio::start_with(&BY_RACK[1..]).await;
    three_records(&trio).await;
    served(&trio, 0, "rack-1", 3).await;
    let refused = answered(&trio, 1, &from("rack-1", 0), 11).await;
    assert_eq!(refused.error_code, code(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    trio.stop().await;
}
