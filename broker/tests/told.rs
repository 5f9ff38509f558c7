//! What no record says and others have to know all the same: who leads next, what was removed, who had produced before,
//! what was refused.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[path = "support/orders.rs"]
mod orders;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/trio.rs"]
mod trio;

#[path = "told/advertised.rs"]
mod advertised;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orders::TOPIC;
use ottla_core::types::{PartitionIndex, TopicPartition};
use ottla_log::partition::Partition;
use ottla_wire::ErrorCode;
use ottla_wire::messages::DeleteRecordsRequest;
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_wire::record::{BatchBuilder, Compression};
use peer::{DEADLINE, Peer, with};
use trio::{Trio, batch, id_of, produce};

const PRODUCER: i64 = 77;

impl Trio {
    /// The log of each broker that runs.
    fn logs(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.brokers.iter().flatten().map(|broker| {
            let id = broker.node.metadata.image().topic(TOPIC).unwrap().id;
            broker.node.log.partition(TopicPartition::new(id, PartitionIndex::new(0))).unwrap()
        })
    }

    /// Removes what lies below, and waits until nobody has it.
    async fn remove_below(&self, start: i64) {
        let partition = with(|partition: &mut DeleteRecordsPartition| partition.offset = start);
        let topic = with(|topic: &mut DeleteRecordsTopic| {
            (topic.name, topic.partitions) = (TOPIC.to_owned(), vec![partition]);
        });
        let request = with(|request: &mut DeleteRecordsRequest| {
            (request.topics, request.timeout_ms) = (vec![topic], 10_000);
        });
        let answer = self.ask(self.leader(TOPIC).unwrap(), &request, 2).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while self.logs().any(|log| log.log_start().get() != start) {
            let starts: Vec<_> = self.logs().map(|log| log.log_start()).collect();
            assert!(tokio::time::Instant::now() < deadline, "{starts:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A batch of an idempotent producer.
fn numbered(sequence: i32) -> Bytes {
    numbered_of(PRODUCER, sequence)
}

fn numbered_of(producer: i64, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).producer(producer, 0, sequence);
    builder.append(1_000, None, Some(b"numbered"), &[]);
    builder.build().unwrap()
}

/// KIP-951: while the leader hands over, a request waits for the next one, and is told who that is.
#[tokio::test(flavor = "multi_thread")]
async fn who_produces_while_the_leader_stops_is_told_who_leads_now() {
    let mut trio = Trio::start().await;
    trio.create().await;
    let leader = trio.leader(TOPIC).unwrap();
    let mut peer = trio.peer(leader).await;
    let refused = async {
        loop {
            let answer = peer.ask(&produce(TOPIC, &batch("on and on")), 10).await;
            let partition = answer.responses[0].partition_responses[0].clone();
            if partition.error_code != 0 {
                return (partition, answer.node_endpoints);
            }
        }
    };
    let ((), (partition, endpoints)) = tokio::join!(trio.stop_one(leader), refused);
    assert_eq!(partition.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER.code());
    let next = partition.current_leader.leader_id;
    assert!(next >= 0 && next != id_of(leader), "{partition:?}");
    assert!(partition.current_leader.leader_epoch > 0);
    assert_eq!(endpoints.iter().map(|endpoint| endpoint.node_id).collect::<Vec<_>>(), [next]);
    trio.produced(&batch("after")).await;
    trio.stop().await;
}

/// What is answered to one batch on this connection.
async fn answered(peer: &mut Peer, batch: &Bytes) -> ErrorCode {
    let answer = peer.ask(&produce(TOPIC, batch), 9).await;
    ErrorCode::new(answer.responses[0].partition_responses[0].error_code)
}

/// A producer has two batches under way to a broker that refuses the first and leads when the second arrives: that one
/// is to come again behind the first. librdkafka begins a new epoch of the producer at any other answer.
#[tokio::test(flavor = "multi_thread")]
async fn the_batch_behind_a_refused_one_is_refused_for_the_same_reason() {
    const NEW_HERE: i64 = PRODUCER + 1;
    let mut trio = Trio::start().await;
    trio.create().await;
    trio.produced(&numbered(0)).await;
    let leader = trio.leader(TOPIC).unwrap();
    let mut peers = Vec::new();
    for follower in (0..3).filter(|index| *index != leader) {
        let mut peer = trio.peer(follower).await;
        for batch in [numbered(1), numbered_of(NEW_HERE, 0)] {
            assert_eq!(answered(&mut peer, &batch).await, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        peers.push((follower, peer));
    }
    trio.stop_one(leader).await;
    let gone = trio::broker(leader);
    trio.until(TOPIC, "another leads", |partition| partition.leader.is_some_and(|leader| leader != gone)).await;
    let next = trio.leader(TOPIC).unwrap();
    let peer = &mut peers.iter_mut().find(|(index, _)| *index == next).unwrap().1;

    // Where nothing was refused it is a gap; that this is said shows that the leader takes records.
    let mut stranger = trio.peer(next).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while answered(&mut stranger, &numbered(2)).await != ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER {
        assert!(tokio::time::Instant::now() < deadline, "a gap is never called one");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    for (case, batches) in [
        ("known", [numbered(1), numbered(2), numbered(3)]),
        ("unknown", [0, 1, 2].map(|sequence| numbered_of(NEW_HERE, sequence))),
    ] {
        for behind in &batches[1..] {
            assert_eq!(answered(peer, behind).await, ErrorCode::NOT_LEADER_OR_FOLLOWER, "{case}");
        }
        for again in &batches {
            assert_eq!(answered(peer, again).await, ErrorCode::NONE, "{case}");
        }
    }
    let ends: Vec<_> = trio.logs().map(|log| log.log_end().get()).collect();
    assert_eq!(ends, [7, 7], "each batch once");
    trio.stop().await;
}

/// R14, T1: what is removed is removed everywhere, and who has none of it knows its producers all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_nowhere_but_its_producers_are_known_even_to_an_emptied_replica() {
    let mut trio = Trio::start().await;
    trio.create().await;
    for sequence in 0..3 {
        trio.produced(&numbered(sequence)).await;
    }
    trio.produced(&batch("not numbered")).await;
    trio.remove_below(4).await;
    let follower = (trio.leader(TOPIC).unwrap() + 1) % 3;
    trio.stop_one(follower).await;
    std::fs::remove_dir_all(trio.folder.path().join(follower.to_string())).unwrap();
    trio.until(TOPIC, "out of the ISR", |partition| partition.isr.len() == 2).await;
    trio.produced(&batch("meanwhile")).await;
    trio.start_one(follower).await;
    trio.until(TOPIC, "in sync again", |partition| partition.isr.len() == 3).await;
    let known = trio.logs().map(|log| {
        let producers = log.producers();
        (log.log_start().get(), producers.iter().map(|known| (known.id.get(), known.batches.len())).collect::<Vec<_>>())
    });
    assert_eq!(known.collect::<Vec<_>>(), vec![(4, vec![(PRODUCER, 3)]); 3]);
    trio.stop().await;
}
