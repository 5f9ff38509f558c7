//! The admin APIs of a whole broker, over its socket: every version is answered, with Kafka's error codes.

use std::path::Path;
use std::time::Duration;

use ottla_broker::config::Config;
use ottla_broker::node::Running;
use ottla_wire::messages::alter_configs_request as alter;
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_wire::messages::incremental_alter_configs_request as incremental;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, ListConfigResourcesRequest,
    MetadataRequest,
};
use ottla_wire::{ErrorCode, Request, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

struct Broker {
    running: Running,
    socket: TcpStream,
    sent: i32,
}

impl Broker {
    async fn start(folder: &Path) -> Self {
        let values = [
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("log.dirs", folder.to_str().expect("text")),
            ("ottla.http.listener", ""),
        ];
        let values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let (config, unknown) = Config::new(values).expect("valid");
        assert!(unknown.is_empty());
        let running = timeout(PATIENCE, Running::start(config)).await.expect("in time").expect("starts");
        let socket = TcpStream::connect(running.listeners[0].1).await.expect("listens");
        Self { running, socket, sent: 0 }
    }

    async fn stop(self) {
        drop(self.socket);
        self.running.stop().await;
    }

    async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.sent += 1;
        let bytes = frame::request_frame(request, version, self.sent, Some("test")).expect("can be sent");
        self.socket.write_all(&bytes).await.expect("sent");
        let answer = async {
            let length = self.socket.read_i32().await?;
            let mut bytes = vec![0; usize::try_from(length).expect("a length")];
            self.socket.read_exact(&mut bytes).await.map(|_| bytes)
        };
        let answer = timeout(PATIENCE, answer).await.expect("in time").expect("answered");
        let (correlation, response) = frame::read_response::<R>(answer.into(), version).expect("can be read");
        assert_eq!(correlation, self.sent);
        response
    }

    async fn create(&mut self, name: &str, partitions: i32) {
        let request = CreateTopicsRequest { topics: vec![new_topic(name, partitions)], ..Default::default() };
        let response = self.ask(7, &request).await;
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    async fn partitions(&mut self, name: &str) -> Option<usize> {
        let response = self.ask(12, &MetadataRequest { topics: None, ..Default::default() }).await;
        let topic = response.topics.iter().find(|topic| topic.name.as_deref() == Some(name))?;
        assert!(topic.partitions.iter().all(|partition| partition.leader_id == 1));
        Some(topic.partitions.len())
    }

    async fn describe(&mut self, resource_type: i8, name: &str) -> Vec<DescribeConfigsResourceResult> {
        let resource =
            DescribeConfigsResource { resource_type, resource_name: name.to_owned(), configuration_keys: None };
        let request =
            DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: true };
        let result = self.ask(4, &request).await.results.remove(0);
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        result.configs
    }

    async fn value(&mut self, topic: &str, key: &str) -> (Option<String>, i8) {
        let configs = self.describe(TOPIC, topic).await;
        let config = configs.into_iter().find(|config| config.name == key).expect("a known key");
        (config.value, config.config_source)
    }
}

fn new_topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic { name: name.to_owned(), num_partitions: partitions, replication_factor: -1, ..Default::default() }
}

fn code(error: ErrorCode) -> i16 {
    error.code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_created_grown_and_deleted_in_every_version() {
    let folder = tempfile::tempdir().expect("folder");
    let mut broker = Broker::start(folder.path()).await;
    for version in 2..=7 {
        let name = format!("v{version}");
        let mut configured = new_topic(&name, 2);
        configured.configs = vec![CreatableTopicConfig { name: "retention.ms".into(), value: Some("5".into()) }];
        let request = CreateTopicsRequest {
            topics: vec![configured, new_topic("no good", 1), new_topic("none", 0)],
            ..Default::default()
        };
        let response = broker.ask(version, &request).await;
        let codes: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
        let expected = [ErrorCode::NONE, ErrorCode::INVALID_TOPIC_EXCEPTION, ErrorCode::INVALID_PARTITIONS];
        assert_eq!(codes, expected.map(code), "version {version}");
        if version >= 5 {
            let made = &response.topics[0];
            assert_eq!((made.num_partitions, made.replication_factor), (2, 1));
            let configs = made.configs.as_ref().expect("listed");
            let retention = configs.iter().find(|config| config.name == "retention.ms").expect("listed");
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
        }
        assert_eq!(broker.partitions(&name).await, Some(2), "served at once");
        let again = broker.ask(version, &request).await;
        assert_eq!(again.topics[0].error_code, code(ErrorCode::TOPIC_ALREADY_EXISTS));
    }
    for version in 0..=3 {
        let grow = |name: &str, count| CreatePartitionsTopic { name: name.into(), count, assignments: None };
        let count = i32::from(version) + 3;
        let topics = vec![grow("v2", count), grow("v3", 2), grow("unknown", 9)];
        let response = broker.ask(version, &CreatePartitionsRequest { topics, ..Default::default() }).await;
        let codes: Vec<i16> = response.results.iter().map(|topic| topic.error_code).collect();
        let expected = [ErrorCode::NONE, ErrorCode::INVALID_PARTITIONS, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
        assert_eq!(codes, expected.map(code), "version {version}");
        assert_eq!(broker.partitions("v2").await, usize::try_from(count).ok());
    }
    for version in 1..=6 {
        let names = [format!("v{}", version + 1), "unknown".to_owned()];
        let state = |name: &String| DeleteTopicState { name: Some(name.clone()), topic_id: [0; 16] };
        let request = match version {
            6 => DeleteTopicsRequest { topics: names.iter().map(state).collect(), ..Default::default() },
            _ => DeleteTopicsRequest { topic_names: names.to_vec(), ..Default::default() },
        };
        let response = broker.ask(version, &request).await;
        let codes: Vec<i16> = response.responses.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)], "version {version}");
        assert_eq!(broker.partitions(&names[0]).await, None);
    }
    // Java asks for the metadata of an id with an empty name beside it.
    broker.create("by-id", 1).await;
    let all = broker.ask(12, &MetadataRequest { topics: None, ..Default::default() }).await.topics;
    let id = all.iter().find(|topic| topic.name.as_deref() == Some("by-id")).expect("listed").topic_id;
    for (topic_id, error) in [(id, ErrorCode::NONE), ([9; 16], ErrorCode::UNKNOWN_TOPIC_ID)] {
        for name in [Some(String::new()), None] {
            let topics = Some(vec![MetadataRequestTopic { topic_id, name }]);
            let asked = MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() };
            let told = broker.ask(12, &asked).await.topics.remove(0);
            assert_eq!((told.error_code, told.topic_id), (code(error), topic_id));
        }
    }
    let by_unknown_id = DeleteTopicState { name: None, topic_id: [9; 16] };
    let by_both = DeleteTopicState { name: Some("a".into()), topic_id: [9; 16] };
    let request = DeleteTopicsRequest { topics: vec![by_unknown_id, by_both], ..Default::default() };
    let response = broker.ask(6, &request).await;
    let codes: Vec<i16> = response.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::INVALID_REQUEST].map(code));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_are_described_with_types_synonyms_and_documentation() {
    let folder = tempfile::tempdir().expect("folder");
    let mut broker = Broker::start(folder.path()).await;
    broker.create("a", 1).await;
    let configs = broker.describe(TOPIC, "a").await;
    assert_eq!(configs.len(), 36);
    let flush = configs.iter().find(|config| config.name == "flush.messages").expect("listed");
    assert_eq!((flush.value.as_deref(), flush.config_source, flush.config_type), (Some("1"), 5, 5));
    assert!(flush.documentation.as_deref().is_some_and(|text| text.contains("power loss")));
    assert_eq!(flush.synonyms[0].name, "log.flush.interval.messages");
    let broker_configs = broker.describe(BROKER, "1").await;
    let listeners = broker_configs.iter().find(|config| config.name == "listeners").expect("listed");
    assert!(listeners.read_only && listeners.config_source == 4);

    for version in 1..=4 {
        let resource = |resource_type, name: &str, keys: Option<Vec<String>>| DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: keys,
        };
        let resources = vec![
            resource(TOPIC, "a", Some(vec!["retention.ms".into(), "nonsense".into()])),
            resource(TOPIC, "unknown", None),
            resource(TOPIC, "b b", None),
            resource(BROKER, "7", None),
            resource(99, "a", None),
        ];
        let request = DescribeConfigsRequest { resources, include_synonyms: true, ..Default::default() };
        let results = broker.ask(version, &request).await.results;
        assert_eq!(results[0].configs.len(), 1, "version {version}");
        let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
        let expected = [
            ErrorCode::NONE,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            ErrorCode::INVALID_REQUEST,
            ErrorCode::INVALID_REQUEST,
        ];
        assert_eq!(codes, expected.map(code), "version {version}");
    }
    broker.stop().await;
}

fn replace(resource_type: i8, name: &str, key: &str, value: &str) -> alter::AlterConfigsResource {
    let config = alter::AlterableConfig { name: key.into(), value: Some(value.into()) };
    alter::AlterConfigsResource { resource_type, resource_name: name.into(), configs: vec![config] }
}

fn change(
    resource_type: i8,
    name: &str,
    operation: i8,
    key: &str,
    value: Option<&str>,
) -> incremental::AlterConfigsResource {
    let config =
        incremental::AlterableConfig { name: key.into(), config_operation: operation, value: value.map(str::to_owned) };
    incremental::AlterConfigsResource { resource_type, resource_name: name.into(), configs: vec![config] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_are_altered_key_by_key_and_replaced_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let mut broker = Broker::start(folder.path()).await;
    for name in ["a", "b", "c"] {
        broker.create(name, 1).await;
    }
    for version in 0..=1 {
        let resources = vec![
            change(TOPIC, "a", 0, "retention.ms", Some("77")),
            change(TOPIC, "b", 2, "cleanup.policy", Some("compact")),
            change(TOPIC, "c", 0, "retention.ms", Some("soon")),
            change(TOPIC, "unknown", 0, "retention.ms", Some("1")),
            change(TOPIC, "d", 9, "retention.ms", Some("1")),
            change(TOPIC, "e", 0, "retention.ms", None),
            change(BROKER, "", 0, "log.segment.delete.delay.ms", Some("1000")),
            change(BROKER, "1", 0, "node.id", Some("2")),
        ];
        let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
        let responses = broker.ask(version, &request).await.responses;
        let codes: Vec<i16> = responses.iter().map(|response| response.error_code).collect();
        let expected = [
            ErrorCode::NONE,
            ErrorCode::NONE,
            ErrorCode::INVALID_CONFIG,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::INVALID_REQUEST,
            ErrorCode::INVALID_REQUEST,
            ErrorCode::NONE,
            ErrorCode::INVALID_REQUEST,
        ];
        assert_eq!(codes, expected.map(code), "version {version}");
    }
    assert_eq!(broker.value("a", "retention.ms").await, (Some("77".into()), 1));
    assert_eq!(broker.value("b", "cleanup.policy").await, (Some("delete,compact".into()), 1));
    assert_eq!(broker.value("c", "file.delete.delay.ms").await, (Some("1000".into()), 3));
    for version in 0..=2 {
        let segment = (version + 1).to_string();
        let resources = vec![replace(TOPIC, "a", "segment.ms", &segment), replace(TOPIC, "b", "nonsense", "1")];
        let responses = broker.ask(version, &AlterConfigsRequest { resources, ..Default::default() }).await.responses;
        let codes: Vec<i16> = responses.iter().map(|response| response.error_code).collect();
        assert_eq!(codes, [ErrorCode::NONE, ErrorCode::INVALID_CONFIG].map(code), "version {version}");
        assert_eq!(broker.value("a", "segment.ms").await, (Some(segment), 1));
        assert_eq!(broker.value("a", "retention.ms").await, (Some("604800000".into()), 5), "everything is replaced");
    }
    for (version, listed) in [(0, 0), (1, 5)] {
        let response = broker.ask(version, &ListConfigResourcesRequest::default()).await;
        assert_eq!(response.config_resources.len(), listed, "three topics, one broker, its logger");
    }
    let unknown = ListConfigResourcesRequest { resource_types: vec![3] };
    assert_eq!(broker.ask(1, &unknown).await.error_code, code(ErrorCode::UNSUPPORTED_VERSION));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producer_ids_and_the_cluster_are_told_in_every_version() {
    let folder = tempfile::tempdir().expect("folder");
    let mut given = std::collections::BTreeSet::new();
    let mut cluster = None;
    for _ in 0..2 {
        let mut broker = Broker::start(folder.path()).await;
        for version in 0..=5 {
            let idempotent = InitProducerIdRequest { transactional_id: None, ..Default::default() };
            let response = broker.ask(version, &idempotent).await;
            assert_eq!((response.error_code, response.producer_epoch), (0, 0));
            assert!(given.insert(response.producer_id), "given twice");
            let transactional = InitProducerIdRequest { transactional_id: Some("t".into()), ..Default::default() };
            let refused = broker.ask(version, &transactional).await.error_code;
            assert_eq!(refused, code(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
        }
        for version in 0..=2 {
            let response = broker.ask(version, &DescribeClusterRequest::default()).await;
            assert_eq!((response.error_code, response.controller_id, response.brokers.len()), (0, 1, 1));
            let address = (response.brokers[0].host.clone(), response.brokers[0].port);
            assert_eq!(address, ("127.0.0.1".to_owned(), i32::from(broker.running.listeners[0].1.port())));
            assert_eq!(*cluster.get_or_insert(response.cluster_id.clone()), response.cluster_id);
        }
        let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
        let refused = broker.ask(1, &controllers).await.error_code;
        assert_eq!(refused, code(ErrorCode::MISMATCHED_ENDPOINT_TYPE));
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_configs_and_deletions_are_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let mut broker = Broker::start(folder.path()).await;
    for name in ["kept", "gone"] {
        broker.create(name, 3).await;
    }
    let resources = vec![change(TOPIC, "kept", 0, "retention.ms", Some("77"))];
    broker.ask(1, &IncrementalAlterConfigsRequest { resources, ..Default::default() }).await;
    let request = DeleteTopicsRequest { topic_names: vec!["gone".into()], ..Default::default() };
    assert_eq!(broker.ask(5, &request).await.responses[0].error_code, 0);
    broker.stop().await;

    let mut broker = Broker::start(folder.path()).await;
    assert_eq!(broker.partitions("kept").await, Some(3));
    assert_eq!(broker.partitions("gone").await, None);
    assert_eq!(broker.value("kept", "retention.ms").await, (Some("77".into()), 1));
    broker.stop().await;
}
