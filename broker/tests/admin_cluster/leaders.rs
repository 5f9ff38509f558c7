//! Elections by hand, brokers that leave for good, and what a broker says that is asked for what another leads.

use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_wire::messages::describe_producers_request::TopicRequest;
use ottla_wire::messages::elect_leaders_request::TopicPartitions;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use ottla_wire::messages::{
    DeleteRecordsRequest, DescribeClusterRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    ElectLeadersRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, UnregisterBrokerRequest,
};

use crate::peer::DEADLINE;
use crate::trio::{Trio, batch, broker, fetch, id_of, produce};
use crate::{code, create, create_with};

/// The result of an election of partition 0, asked for at a broker.
async fn elect(trio: &Trio, at: usize, topic: &str, election_type: i8) -> i16 {
    let asked = vec![TopicPartitions { topic: topic.to_owned(), partitions: vec![0] }];
    let request = ElectLeadersRequest { election_type, topic_partitions: Some(asked), ..Default::default() };
    let answer = trio.ask(at, &request, 2).await;
    assert_eq!(answer.error_code, 0);
    answer.replica_election_results[0].partition_result[0].error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_leader_leads_again_after_a_restart_once_it_is_elected() {
    let mut trio = Trio::start().await;
    create(&trio, "orders", &[1, 0, 2]).await;
    trio.until("orders", "led by the preferred", |partition| partition.leader == Some(broker(1))).await;
    trio.stop_one(1).await;
    trio.until("orders", "led by another", |partition| partition.leader.is_some_and(|id| id != broker(1))).await;
    for at in [0, 2] {
        assert_eq!(elect(&trio, at, "orders", 0).await, code(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE));
    }
    trio.start_one(1).await;
    trio.until("orders", "in sync again", |partition| partition.isr.len() == 3).await;
    assert_ne!(trio.leader("orders"), Some(1), "nobody has asked for it yet");

    // All partitions: only those that needed an election are answered.
    create(&trio, "other", &[0, 1, 2]).await;
    let request = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
    let answer = trio.ask(2, &request, 2).await;
    let elected: Vec<_> = answer.replica_election_results.iter().map(|topic| topic.topic.as_str()).collect();
    assert_eq!(elected, ["orders"]);
    assert_eq!(answer.replica_election_results[0].partition_result[0].error_code, 0);
    trio.until("orders", "led by the preferred again", |partition| partition.leader == Some(broker(1))).await;
    for at in 0..3 {
        assert_eq!(elect(&trio, at, "orders", 0).await, code(ErrorCode::ELECTION_NOT_NEEDED));
        assert_eq!(elect(&trio, at, "orders", 1).await, code(ErrorCode::ELECTION_NOT_NEEDED));
    }
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_election_takes_whoever_lives_and_nobody_if_nobody_does() {
    let mut trio = Trio::start().await;
    create(&trio, "single", &[1]).await;
    create_with(&trio, "pair", &[1, 0], &[("min.insync.replicas", "1")]).await;
    // Broker 0 misses what is acknowledged while it is away; then the one that has everything goes.
    trio.stop_one(0).await;
    trio.until("pair", "one in sync", |partition| partition.isr == [broker(1)]).await;
    trio.until("pair", "nobody else is eligible", |partition| partition.elr.is_empty()).await;
    let produced = trio.ask(1, &produce("pair", &batch("lost")), 9).await;
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    trio.stop_one(1).await;
    trio.start_one(0).await;
    for topic in ["single", "pair"] {
        trio.until(topic, "nobody leads", |partition| partition.leader.is_none()).await;
    }
    assert_eq!(elect(&trio, 2, "pair", 0).await, code(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE));
    for at in [0, 2] {
        assert_eq!(elect(&trio, at, "single", 1).await, code(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE));
    }
    assert_eq!(elect(&trio, 2, "pair", 1).await, 0);
    trio.until("pair", "somebody leads", |partition| partition.leader == Some(broker(0))).await;
    assert_eq!(elect(&trio, 0, "pair", 1).await, code(ErrorCode::ELECTION_NOT_NEEDED));
    trio.stop().await;
}

/// What a broker answers to the wish that another be forgotten.
async fn unregister(trio: &Trio, at: usize, gone: usize) -> i16 {
    trio.ask(at, &UnregisterBrokerRequest { broker_id: id_of(gone) }, 0).await.error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_forgotten_once_it_is_dead_and_holds_nothing() {
    let mut trio = Trio::start().await;
    create(&trio, "orders", &[0, 1, 2]).await;
    let controller = trio.controller().await;
    let (gone, at) = ((controller + 1) % 3, (controller + 2) % 3);
    assert_eq!(unregister(&trio, at, gone).await, code(ErrorCode::POLICY_VIOLATION), "it lives");
    trio.stop_one(gone).await;
    let fenced = move |image: &ottla_core::metadata::Image| image.broker(broker(gone)).is_some_and(|one| one.fenced);
    trio.until_seen("it is fenced", fenced).await;
    assert_eq!(unregister(&trio, at, gone).await, code(ErrorCode::POLICY_VIOLATION), "it holds a replica");

    crate::moves::reassign(&trio, at, "orders", Some(&[controller, at])).await;
    trio.until("orders", "moved away", |partition| !partition.replicas.contains(&broker(gone))).await;
    assert_eq!(unregister(&trio, at, gone).await, 0);
    assert_eq!(unregister(&trio, controller, gone).await, code(ErrorCode::BROKER_ID_NOT_REGISTERED));
    for at in [controller, at] {
        let all = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
        let known: Vec<_> = trio.ask(at, &all, 2).await.brokers.iter().map(|broker| broker.broker_id).collect();
        assert!(!known.contains(&id_of(gone)) && known.len() == 2, "{known:?}");
    }
    trio.stop().await;
}

/// Codes of everything that only the leader answers, asked for at a broker by a client that knows that leader epoch.
async fn leaders_business(trio: &Trio, at: usize, topic: &str, epoch: i32) -> [i16; 6] {
    let mut fetched = fetch(topic, 0);
    fetched.topics[0].partitions[0].current_leader_epoch = epoch;
    let fetched = trio.ask(at, &fetched, 12).await.responses[0].partitions[0].error_code;

    let partition = ListOffsetsPartition { current_leader_epoch: epoch, timestamp: -2, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] }];
    let listed = trio.ask(at, &ListOffsetsRequest { topics, ..Default::default() }, 7).await;
    let listed = listed.topics[0].partitions[0].error_code;

    let partition = OffsetForLeaderPartition { current_leader_epoch: epoch, leader_epoch: 0, ..Default::default() };
    let topics = vec![OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![partition] }];
    let ends = trio.ask(at, &OffsetForLeaderEpochRequest { topics, ..Default::default() }, 4).await;
    let ends = ends.topics[0].partitions[0].error_code;

    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 0 }];
    let topics = vec![DeleteRecordsTopic { name: topic.to_owned(), partitions }];
    let deleted = trio.ask(at, &DeleteRecordsRequest { topics, ..Default::default() }, 2).await;
    let deleted = deleted.topics[0].partitions[0].error_code;

    let topics = vec![TopicRequest { name: topic.to_owned(), partition_indexes: vec![0] }];
    let producers = trio.ask(at, &DescribeProducersRequest { topics }, 0).await;
    let producers = producers.topics[0].partitions[0].error_code;

    let produced = trio.ask(at, &produce(topic, &batch("x")), 9).await;
    [fetched, listed, ends, deleted, producers, produced.responses[0].partition_responses[0].error_code]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_lead_says_so_and_knows_old_epochs_from_new_ones() {
    let mut trio = Trio::start().await;
    create(&trio, "orders", &[0, 1]).await;
    trio.until("orders", "led by the first", |partition| partition.leader == Some(broker(0))).await;
    // A term has passed, so that there is an older one.
    trio.stop_one(0).await;
    trio.until("orders", "led by the second", |partition| partition.leader == Some(broker(1))).await;
    trio.start_one(0).await;
    trio.until("orders", "in sync again", |partition| partition.isr.len() == 2).await;
    let image = trio.any().node.metadata.image();
    let now = image.partition("orders", ottla_core::types::PartitionIndex::new(0)).unwrap().leader_epoch.get();

    let not_leader = code(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let fenced = code(ErrorCode::FENCED_LEADER_EPOCH);
    let unknown = code(ErrorCode::UNKNOWN_LEADER_EPOCH);
    let told = |by_epoch: i16, otherwise: i16| [by_epoch, by_epoch, by_epoch, otherwise, otherwise, otherwise];
    // A leader serves once it is confirmed.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while leaders_business(&trio, 1, "orders", -1).await != [0; 6] {
        assert!(tokio::time::Instant::now() < deadline, "the leader does not serve");
    }
    for epoch in [-1, now] {
        assert_eq!(leaders_business(&trio, 0, "orders", epoch).await, [not_leader; 6], "a follower, {epoch}");
        assert_eq!(leaders_business(&trio, 1, "orders", epoch).await, [0; 6], "the leader, {epoch}");
    }
    assert_eq!(leaders_business(&trio, 0, "orders", now - 1).await, told(fenced, not_leader));
    assert_eq!(leaders_business(&trio, 0, "orders", now + 1).await, told(unknown, not_leader));
    assert_eq!(leaders_business(&trio, 1, "orders", now - 1).await, told(fenced, 0));
    assert_eq!(leaders_business(&trio, 1, "orders", now + 1).await, told(unknown, 0));
    for epoch in [-1, now - 1, now, now + 1] {
        assert_eq!(leaders_business(&trio, 2, "orders", epoch).await, [not_leader; 6], "no replica, {epoch}");
    }
    for at in 0..3 {
        let nothing = code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(leaders_business(&trio, at, "unknown", -1).await, [nothing; 6]);
    }

    // Nobody leads it: whoever holds a replica cannot serve it either.
    create(&trio, "single", &[2]).await;
    let fenced = |image: &ottla_core::metadata::Image| image.broker(broker(2)).is_some_and(|one| one.fenced);
    trio.stop_one(2).await;
    trio.until_seen("it is fenced", fenced).await;
    trio.until("single", "nobody leads", |partition| partition.leader.is_none()).await;
    assert_eq!(leaders_business(&trio, 0, "single", -1).await, [not_leader; 6]);
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broker_describes_the_cluster_and_its_own_directory() {
    let trio = Trio::start().await;
    create(&trio, "orders", &[0, 1]).await;
    let controller = id_of(trio.controller().await);
    trio.until_seen("the controller", |image| image.controller().is_some_and(|id| id.get() == controller)).await;
    for at in 0..3 {
        let cluster = trio.ask(at, &DescribeClusterRequest::default(), 2).await;
        let ids: Vec<_> = cluster.brokers.iter().map(|broker| broker.broker_id).collect();
        assert_eq!((cluster.error_code, cluster.controller_id, ids), (0, controller, vec![0, 1, 2]));
        let directories = trio.ask(at, &DescribeLogDirsRequest { topics: None }, 4).await;
        assert_eq!((directories.error_code, directories.results.len(), directories.results[0].error_code), (0, 1, 0));
        let held: Vec<_> = directories.results[0].topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(held, if at < 2 { vec!["orders"] } else { vec![] }, "broker {at}");
    }
    trio.stop().await;
}
