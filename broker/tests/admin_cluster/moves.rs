//! Partitions move between brokers under load: the list shows it, nothing is lost, and nothing stays behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use ottla_wire::messages::list_partition_reassignments_response::OngoingPartitionReassignment;
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, DescribeLogDirsRequest, ListPartitionReassignmentsRequest,
};
use ottla_wire::record::{Batches, RecordIter};

use crate::peer::{DEADLINE, Peer, address};
use crate::trio::{Trio, batch, broker, fetch, id_of, produce};
use crate::{code, create, replicas};

const TOPIC: &str = "orders";

fn wanted(topic: &str, target: Option<&[usize]>) -> AlterPartitionReassignmentsRequest {
    let replicas = target.map(|target| target.iter().copied().map(id_of).collect());
    let partition = ReassignablePartition { partition_index: 0, replicas };
    let topics = vec![ReassignableTopic { name: topic.to_owned(), partitions: vec![partition] }];
    AlterPartitionReassignmentsRequest { topics, ..Default::default() }
}

/// Begins or cancels a move of partition 0.
pub(crate) async fn reassign(trio: &Trio, at: usize, topic: &str, target: Option<&[usize]>) {
    let answer = trio.ask(at, &wanted(topic, target), 1).await;
    let partition = &answer.responses[0].partitions[0];
    assert_eq!((answer.error_code, partition.error_code), (0, 0), "{:?}", partition.error_message);
}

/// What moves of partition 0, as broker `at` says.
async fn moving(trio: &Trio, at: usize, topic: &str) -> Option<OngoingPartitionReassignment> {
    let asked = |name: &str| ListPartitionReassignmentsTopics { name: name.to_owned(), partition_indexes: vec![0] };
    let named =
        ListPartitionReassignmentsRequest { topics: Some(vec![asked(topic), asked("unknown")]), ..Default::default() };
    let all = ListPartitionReassignmentsRequest { topics: None, ..Default::default() };
    let named = trio.ask(at, &named, 0).await;
    assert_eq!(named.error_code, 0, "{:?}", named.error_message);
    assert_eq!(trio.ask(at, &all, 0).await.topics, named.topics, "nothing else moves");
    named.topics.into_iter().flat_map(|topic| topic.partitions).next()
}

/// Whether the data directory of a broker that runs holds a replica of the topic.
async fn holds(trio: &Trio, at: usize, topic: &str) -> bool {
    let answer = trio.ask(at, &DescribeLogDirsRequest { topics: None }, 4).await;
    answer.results.iter().flat_map(|directory| &directory.topics).any(|held| held.name == topic)
}

/// Produces numbers until it is told to stop; how many were acknowledged. Looks for the leader itself.
async fn load(nodes: Vec<(i32, std::net::SocketAddr, Arc<ottla_broker::node::Node>)>, stop: Arc<AtomicBool>) -> usize {
    let mut sent = 0;
    let mut peer: Option<(i32, Peer)> = None;
    while !stop.load(Ordering::Acquire) {
        let image = nodes[0].2.metadata.image();
        let partition = image.partition(TOPIC, ottla_core::types::PartitionIndex::new(0)).unwrap();
        let leader = partition.leader.map(|leader| leader.get());
        let Some((id, address, _)) = nodes.iter().find(|(id, ..)| Some(*id) == leader) else {
            tokio::task::yield_now().await;
            continue;
        };
        if peer.as_ref().is_none_or(|(known, _)| known != id) {
            peer = Some((*id, Peer::connect(*address).await));
        }
        let Some((_, peer)) = &mut peer else { continue };
        let answer = peer.ask(&produce(TOPIC, &batch(&sent.to_string())), 9).await;
        match answer.responses[0].partition_responses[0].error_code {
            0 => sent += 1,
            error if error == code(ErrorCode::NOT_LEADER_OR_FOLLOWER) => tokio::task::yield_now().await,
            other => panic!("record {sent}: error {other}"),
        }
    }
    sent
}

/// Every record of the partition, in the order of offsets.
async fn records(trio: &Trio) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let mut read = Vec::new();
    loop {
        let offset = i64::try_from(read.len()).unwrap();
        let answer = trio.ask(trio.leader(TOPIC).unwrap(), &fetch(TOPIC, offset), 11).await;
        let partition = &answer.responses[0].partitions[0];
        for batch in Batches::new(partition.records.concat().into()) {
            for record in RecordIter::new(&batch.unwrap(), 1_000_000).unwrap() {
                let record = record.unwrap();
                assert_eq!(record.offset, i64::try_from(read.len()).unwrap());
                read.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
        let all = partition.error_code == 0 && partition.high_watermark == i64::try_from(read.len()).unwrap();
        if all {
            return read;
        }
        assert!(tokio::time::Instant::now() < deadline, "{partition:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_moves_under_load_and_leaves_nothing_behind() {
    let mut trio = Trio::start().await;
    let controller = trio.controller().await;
    let (from, to) = ((controller + 1) % 3, (controller + 2) % 3);
    // The leader is the one that goes.
    create(&trio, TOPIC, &[from, controller]).await;
    trio.until(TOPIC, "led by the first", |partition| partition.leader == Some(broker(from))).await;
    // Its target is away: the move begins and does not end.
    trio.stop_one(to).await;
    let runs = |index: usize| {
        let running = trio.brokers[index].as_ref().unwrap();
        (id_of(index), address(running), Arc::clone(&running.node))
    };
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(vec![runs(controller), runs(from)], Arc::clone(&stop)));

    reassign(&trio, from, TOPIC, Some(&[controller, to])).await;
    let shown = moving(&trio, from, TOPIC).await.expect("it moves");
    assert_eq!(shown.replicas, [from, controller, to].map(id_of));
    assert_eq!((shown.adding_replicas, shown.removing_replicas), (vec![id_of(to)], vec![id_of(from)]));
    // Back, and on its way again.
    reassign(&trio, controller, TOPIC, None).await;
    assert_eq!(moving(&trio, from, TOPIC).await, None);
    assert_eq!(replicas(&trio, TOPIC).len(), 2);
    let again = trio.ask(from, &wanted(TOPIC, None), 1).await;
    let refused = again.responses[0].partitions[0].error_code;
    assert_eq!(refused, code(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS));
    reassign(&trio, from, TOPIC, Some(&[controller, to])).await;
    assert!(holds(&trio, from, TOPIC).await);

    trio.start_one(to).await;
    let target = [broker(controller), broker(to)];
    trio.until(TOPIC, "moved", |partition| partition.replicas == target && partition.isr.len() == 2).await;
    for at in 0..3 {
        assert_eq!(moving(&trio, at, TOPIC).await, None, "broker {at}");
    }
    stop.store(true, Ordering::Release);
    let sent = load.await.unwrap();
    assert!(sent > 0);
    let expected: Vec<String> = (0..sent).map(|number| number.to_string()).collect();
    let mut kept = records(&trio).await;
    // A record whose leader changed before it was acknowledged was sent again: this producer is not idempotent.
    kept.dedup();
    assert_eq!(kept, expected, "every acknowledged record, in order");
    assert!(holds(&trio, to, TOPIC).await);

    let deadline = tokio::time::Instant::now() + DEADLINE;
    while holds(&trio, from, TOPIC).await {
        assert!(tokio::time::Instant::now() < deadline, "broker {from} still holds it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    trio.until(TOPIC, "its former holder has said so", |partition| partition.leaving.is_empty()).await;
    trio.stop().await;
}
