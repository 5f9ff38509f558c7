//! Requests to whoever decides work at every broker, are seen at once where they were made, and say the same everywhere.

use ottla_wire::ErrorCode;
use ottla_wire::messages::alter_configs_request as alter;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_quorum_request::{PartitionData, TopicData};
use ottla_wire::messages::elect_leaders_request::TopicPartitions;
use ottla_wire::messages::incremental_alter_configs_request as incremental;
use ottla_wire::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeQuorumRequest, ElectLeadersRequest,
    IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest, UnregisterBrokerRequest,
};

use crate::code;
use crate::trio::{Trio, id_of};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn created(name: &str) -> CreateTopicsRequest {
    let topic =
        CreatableTopic { name: name.to_owned(), num_partitions: 1, replication_factor: 3, ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

fn set(resource_type: i8, name: &str, key: &str, value: &str) -> incremental::AlterConfigsResource {
    let config = incremental::AlterableConfig { name: key.into(), config_operation: 0, value: Some(value.into()) };
    incremental::AlterConfigsResource { resource_type, resource_name: name.into(), configs: vec![config] }
}

/// The value of a key and where it comes from, as broker `at` sees it now.
async fn value(trio: &Trio, at: usize, resource_type: i8, name: &str, key: &str) -> (Option<String>, i8) {
    let keys = Some(vec![key.to_owned()]);
    let resource = DescribeConfigsResource { resource_type, resource_name: name.to_owned(), configuration_keys: keys };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let config = trio.ask(at, &request, 4).await.results.remove(0).configs.remove(0);
    (config.value, config.config_source)
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_configs_are_changed_at_every_broker() {
    let trio = Trio::start().await;
    for at in 0..3 {
        let name = format!("t{at}");
        let answer = trio.ask(at, &created(&name), 7).await;
        assert_eq!(answer.topics[0].error_code, 0, "broker {at}: {:?}", answer.topics[0].error_message);
        let seen = |trio: &Trio| {
            let image = trio.brokers[at].as_ref().unwrap().node.metadata.image();
            image.topic(&name).map(|topic| topic.partitions.len())
        };
        assert_eq!(seen(&trio), Some(1), "seen at once where it was made");

        let grow = CreatePartitionsTopic { name: name.clone(), count: 4, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![grow], ..Default::default() };
        assert_eq!(trio.ask(at, &request, 3).await.results[0].error_code, 0);
        assert_eq!(seen(&trio), Some(4));

        let ours = at.to_string();
        let minutes = format!("{}", 60_000 * (at + 1));
        let resources = vec![
            set(TOPIC, &name, "retention.ms", "77"),
            set(BROKER, "", "log.segment.delete.delay.ms", &minutes),
            set(BROKER, &ours, "log.cleaner.threads", "1"),
        ];
        let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
        for response in trio.ask(at, &request, 1).await.responses {
            assert_eq!(response.error_code, 0, "broker {at}: {:?}", response.error_message);
        }
        assert_eq!(value(&trio, at, TOPIC, &name, "retention.ms").await, (Some("77".into()), 1));
        assert_eq!(value(&trio, at, TOPIC, &name, "file.delete.delay.ms").await, (Some(minutes), 3));

        let config = alter::AlterableConfig { name: "segment.ms".into(), value: Some("99".into()) };
        let resource =
            alter::AlterConfigsResource { resource_type: TOPIC, resource_name: name.clone(), configs: vec![config] };
        let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
        assert_eq!(trio.ask(at, &request, 2).await.responses[0].error_code, 0);
        assert_eq!(value(&trio, at, TOPIC, &name, "segment.ms").await, (Some("99".into()), 1));
        assert_eq!(value(&trio, at, TOPIC, &name, "retention.ms").await.1, 4, "everything is replaced");

        let state = DeleteTopicState { name: Some(name.clone()), topic_id: [0; 16] };
        let request = DeleteTopicsRequest { topics: vec![state], ..Default::default() };
        assert_eq!(trio.ask(at, &request, 6).await.responses[0].error_code, 0);
        assert_eq!(seen(&trio), None);
    }
    trio.stop().await;
}

/// Code and sentence of everything that is asked for in vain.
async fn refusals(trio: &Trio, at: usize) -> Vec<(i16, Option<String>)> {
    let mut all = Vec::new();
    let answer = trio.ask(at, &created("there"), 7).await.topics.remove(0);
    all.push((answer.error_code, answer.error_message));
    let answer = trio.ask(at, &created("no good"), 7).await.topics.remove(0);
    all.push((answer.error_code, answer.error_message));

    let grow = |name: &str, count| CreatePartitionsTopic { name: name.into(), count, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![grow("there", 1), grow("gone", 9)], ..Default::default() };
    let results = trio.ask(at, &request, 3).await.results;
    all.extend(results.into_iter().map(|result| (result.error_code, result.error_message)));

    let by_name = DeleteTopicState { name: Some("gone".into()), topic_id: [0; 16] };
    let by_id = DeleteTopicState { name: None, topic_id: [9; 16] };
    let request = DeleteTopicsRequest { topics: vec![by_name, by_id], ..Default::default() };
    let results = trio.ask(at, &request, 6).await.responses;
    all.extend(results.into_iter().map(|result| (result.error_code, result.error_message)));

    let resources = vec![
        set(TOPIC, "there", "retention.ms", "soon"),
        set(TOPIC, "also", "retention.mss", "1"),
        set(TOPIC, "gone", "retention.ms", "1"),
        set(BROKER, "", "node.id", "7"),
    ];
    let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let results = trio.ask(at, &request, 1).await.responses;
    all.extend(results.into_iter().map(|result| (result.error_code, result.error_message)));

    let to = |topic: &str, replicas: Option<Vec<i32>>| ReassignableTopic {
        name: topic.into(),
        partitions: vec![ReassignablePartition { partition_index: 0, replicas }],
    };
    let topics = vec![
        to("gone", Some(vec![0])),
        to("there", None),
        to("there", Some(vec![])),
        to("there", Some(vec![1, 1, 2])),
        to("there", Some(vec![0, 1, 7])),
        to("there", Some(vec![0, 1])),
    ];
    let request =
        AlterPartitionReassignmentsRequest { topics, allow_replication_factor_change: false, ..Default::default() };
    let answer = trio.ask(at, &request, 1).await;
    assert_eq!((answer.error_code, answer.allow_replication_factor_change), (0, false));
    let partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
    all.extend(partitions.map(|partition| (partition.error_code, partition.error_message)));

    for election_type in [0, 1, 2] {
        let asked = ["gone", "there"].map(|topic| TopicPartitions { topic: topic.into(), partitions: vec![0] });
        let request = ElectLeadersRequest { election_type, topic_partitions: Some(asked.into()), ..Default::default() };
        let answer = trio.ask(at, &request, 2).await;
        assert_eq!(answer.error_code, if election_type == 2 { code(ErrorCode::INVALID_REQUEST) } else { 0 });
        let results = answer.replica_election_results.into_iter().flat_map(|topic| topic.partition_result);
        all.extend(results.map(|result| (result.error_code, result.error_message)));
    }
    for broker_id in [7, 0] {
        let answer = trio.ask(at, &UnregisterBrokerRequest { broker_id }, 0).await;
        all.push((answer.error_code, answer.error_message));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_the_same_at_every_broker() {
    let trio = Trio::start().await;
    for name in ["there", "also"] {
        assert_eq!(trio.ask(0, &created(name), 7).await.topics[0].error_code, 0);
    }
    // Everybody leads as preferred before it is said that no election is needed.
    trio.until("there", "led", |partition| partition.leader == partition.replicas.first().copied()).await;
    let controller = trio.controller().await;
    let expected = refusals(&trio, controller).await;
    let codes: Vec<i16> = expected.iter().map(|(code, _)| *code).collect();
    let wanted = [
        ErrorCode::TOPIC_ALREADY_EXISTS,
        ErrorCode::INVALID_TOPIC_EXCEPTION,
        ErrorCode::INVALID_PARTITIONS,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::INVALID_CONFIG,
        ErrorCode::INVALID_CONFIG,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::INVALID_REQUEST,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
        ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        ErrorCode::INVALID_REPLICATION_FACTOR,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::ELECTION_NOT_NEEDED,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::ELECTION_NOT_NEEDED,
        ErrorCode::INVALID_REQUEST,
        ErrorCode::INVALID_REQUEST,
        ErrorCode::BROKER_ID_NOT_REGISTERED,
        ErrorCode::POLICY_VIOLATION,
    ];
    assert_eq!(codes, wanted.map(code), "{expected:#?}");
    for at in (0..3).filter(|at| *at != controller) {
        assert_eq!(refusals(&trio, at).await, expected, "broker {at}");
    }
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_fit_is_refused_and_the_line_stays() {
    let trio = Trio::start().await;
    let controller = trio.controller().await;
    let follower = (controller + 1) % 3;
    let replicas: Vec<i32> = (0..100_000).map(|id| i32::MAX - id).collect();
    let partition = |partition_index| ReassignablePartition { partition_index, replicas: Some(replicas.clone()) };
    let topics = vec![ReassignableTopic { name: "there".into(), partitions: (0..10).map(partition).collect() }];
    let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
    for at in [follower, controller] {
        let answer = trio.ask(at, &request, 1).await;
        assert_eq!(answer.error_code, code(ErrorCode::POLICY_VIOLATION), "{:?}", answer.error_message);
        let last = answer.responses[0].partitions.last().unwrap();
        assert_eq!(last.error_code, code(ErrorCode::POLICY_VIOLATION));
    }
    let answer = trio.ask(follower, &created("after"), 7).await;
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_controller_a_request_waits_for_its_time_and_not_longer() {
    let mut trio = Trio::start().await;
    let controller = trio.controller().await;
    let (stays, goes) = ((controller + 1) % 3, (controller + 2) % 3);
    trio.stop_one(goes).await;
    trio.stop_one(controller).await;
    // One of three cannot claim the metadata: it has heard from fewer than half.
    let request = CreateTopicsRequest { timeout_ms: 1_500, ..created("late") };
    let asked = tokio::time::Instant::now();
    let answer = trio.ask(stays, &request, 7).await.topics.remove(0);
    let waited = asked.elapsed();
    assert_eq!(answer.error_code, code(ErrorCode::REQUEST_TIMED_OUT), "{:?}", answer.error_message);
    assert!(waited >= std::time::Duration::from_millis(1_500), "{waited:?}");
    let list = ListPartitionReassignmentsRequest { timeout_ms: 1_000, ..Default::default() };
    let answer = trio.ask(stays, &list, 0).await;
    assert_eq!(answer.error_code, code(ErrorCode::REQUEST_TIMED_OUT));

    // Whoever asks before there is a controller again is answered by it.
    let mut peer = trio.peer(stays).await;
    let mut request = created("in-time");
    request.topics[0].replication_factor = 2;
    peer.send(&request, 7).await;
    trio.start_one(goes).await;
    let answer = peer.answer::<CreateTopicsRequest>(7).await;
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quorum_is_the_registered_brokers_led_by_the_controller() {
    let mut trio = Trio::start().await;
    let controller = trio.controller().await;
    trio.until_seen("the controller", |image| image.controller().is_some_and(|id| id.get() == id_of(controller))).await;
    let asked = |topic: &str, index| TopicData {
        topic_name: topic.into(),
        partitions: vec![PartitionData { partition_index: index }],
    };
    for at in 0..3 {
        for version in 0..=2 {
            let request = DescribeQuorumRequest { topics: vec![asked("__cluster_metadata", 0)] };
            let answer = trio.ask(at, &request, version).await;
            let quorum = &answer.topics[0].partitions[0];
            assert_eq!((answer.error_code, quorum.error_code, quorum.leader_id), (0, 0, id_of(controller)));
            assert_eq!(i64::from(quorum.leader_epoch), quorum.high_watermark);
            let voters: Vec<_> = quorum.current_voters.iter().map(|voter| voter.replica_id).collect();
            assert_eq!((voters, quorum.observers.len()), (vec![0, 1, 2], 0));
            assert!(quorum.current_voters.iter().all(|voter| voter.log_end_offset == quorum.high_watermark));
            assert_eq!(answer.nodes.len(), if version >= 2 { 3 } else { 0 });
        }
    }
    let topics = vec![asked("__cluster_metadata", 1), asked("orders", 0)];
    let answer = trio.ask(0, &DescribeQuorumRequest { topics }, 2).await;
    for topic in &answer.topics {
        assert_eq!(topic.partitions[0].error_code, code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }

    let gone = (controller + 1) % 3;
    trio.stop_one(gone).await;
    let fenced = |image: &ottla_core::metadata::Image| image.brokers().values().any(|broker| broker.fenced);
    trio.until_seen("one is fenced", fenced).await;
    let request = DescribeQuorumRequest { topics: vec![asked("__cluster_metadata", 0)] };
    let answer = trio.ask(controller, &request, 2).await;
    let quorum = &answer.topics[0].partitions[0];
    let behind = quorum.current_voters.iter().filter(|voter| voter.log_end_offset < quorum.high_watermark);
    assert_eq!(behind.map(|voter| voter.replica_id).collect::<Vec<_>>(), [id_of(gone)]);
    trio.stop().await;
}
