//! Topics and records for tests and benchmarks that fill a broker over its socket.
//!
//! Owns the requests that several of them send. Judges nothing: what an answer must say is the caller's to know.

use bytes::Bytes;
use ottla_wire::messages::CreateTopicsRequest;
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::peer::{Peer, with};

/// For records whose time is made up: retention must not act on them.
pub(crate) const KEPT: &[(&str, &str)] = &[("retention.ms", "-1")];

/// Asks for a topic of one replica and returns what the broker says of it.
pub(crate) async fn create(
    peer: &mut Peer,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> CreatableTopicResult {
    create_replicated(peer, name, (partitions, 1), configs).await
}

/// The same, of that many partitions with that many replicas each.
pub(crate) async fn create_replicated(
    peer: &mut Peer,
    name: &str,
    (partitions, replicas): (i32, i16),
    configs: &[(&str, &str)],
) -> CreatableTopicResult {
    let config = |(key, value): &(&str, &str)| {
        with(|config: &mut CreatableTopicConfig| {
            (config.name, config.value) = ((*key).to_owned(), Some((*value).to_owned()));
        })
    };
    let topic = with(|topic: &mut CreatableTopic| {
        (topic.name, topic.num_partitions, topic.replication_factor) = (name.to_owned(), partitions, replicas);
        topic.configs = configs.iter().map(config).collect();
    });
    let request = with(|request: &mut CreateTopicsRequest| {
        request.topics = vec![topic];
        // Shorter than a test waits for its answer.
        request.timeout_ms = 10_000;
    });
    peer.ask(&request, 7).await.topics.remove(0)
}

/// One request with one batch for each partition of `topic` in the range.
pub(crate) fn produce(topic: &str, partitions: std::ops::Range<i32>, acks: i16, batch: &Bytes) -> ProduceRequest {
    let one = |index| PartitionProduceData { index, records: Some(batch.clone()) };
    let partition_data = partitions.map(one).collect();
    let data = TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() };
    ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![data], ..Default::default() }
}
