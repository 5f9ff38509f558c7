//! DeleteRecords is answered when every replica has removed the records, or says that somebody may have them still.

use ottla_core::types::{PartitionIndex, TopicPartition};
use ottla_wire::ErrorCode;
use ottla_wire::messages::DeleteRecordsRequest;
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

use crate::peer::{DEADLINE, with};
use crate::trio::{Trio, batch, broker, produce};
use crate::{code, create};

const TOPIC: &str = "orders";

/// Removes what lies below, at broker 0; the error and the low watermark.
async fn removed(trio: &Trio, below: i64, timeout_ms: i32) -> (i16, i64) {
    let partition = with(|partition: &mut DeleteRecordsPartition| partition.offset = below);
    let topic = with(|topic: &mut DeleteRecordsTopic| {
        (topic.name, topic.partitions) = (TOPIC.to_owned(), vec![partition]);
    });
    let request = with(|request: &mut DeleteRecordsRequest| {
        (request.topics, request.timeout_ms) = (vec![topic], timeout_ms);
    });
    let answer = trio.ask(0, &request, 2).await;
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

/// Where the log of each broker that runs begins.
fn starts(trio: &Trio) -> Vec<i64> {
    let logs = trio.brokers.iter().flatten().map(|broker| {
        let id = broker.node.metadata.image().topic(TOPIC).unwrap().id;
        broker.node.log.partition(TopicPartition::new(id, PartitionIndex::new(0))).unwrap()
    });
    logs.map(|log| log.log_start().get()).collect()
}

async fn filled(trio: &Trio, records: i32) {
    create(trio, TOPIC, &[0, 1, 2]).await;
    trio.until(TOPIC, "led by the first", |partition| partition.leader == Some(broker(0))).await;
    for _ in 0..records {
        let answer = trio.ask(0, &produce(TOPIC, &batch("a record")), 9).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_gone_everywhere_once_that_is_answered() {
    let trio = Trio::start().await;
    filled(&trio, 20).await;
    for below in 1..=10 {
        assert_eq!(removed(&trio, below, 20_000).await, (0, below));
        assert_eq!(starts(&trio), [below; 3]);
    }
    // Nobody answers a leader in no time, or hardly ever: then it is not certain, and said so.
    let mut late = 0;
    for below in 11..=20 {
        let (error, low) = removed(&trio, below, 0).await;
        if error != 0 {
            assert_eq!(error, code(ErrorCode::REQUEST_TIMED_OUT));
            assert!((10..below).contains(&low), "{low} of {below}");
            late += 1;
        }
    }
    assert!(late > 0, "an answer without waiting is never late");
    assert_eq!(removed(&trio, 20, 20_000).await, (0, 20));
    assert_eq!(starts(&trio), [20; 3]);
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_away_is_not_waited_for_and_removes_the_records_when_it_is_back() {
    let mut trio = Trio::start().await;
    filled(&trio, 3).await;
    trio.stop_one(2).await;
    assert_eq!(removed(&trio, 2, 20_000).await, (0, 2));
    assert_eq!(starts(&trio), [2; 2]);
    trio.start_one(2).await;
    trio.until(TOPIC, "in sync again", |partition| partition.isr.len() == 3).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while starts(&trio) != [2; 3] {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", starts(&trio));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(removed(&trio, 3, 20_000).await, (0, 3));
    assert_eq!(starts(&trio), [3; 3]);
    trio.stop().await;
}
