//! What a broker does per request, without its socket and its log: read the header and the request, check the batch,
//! write the response. Run with `cargo bench -p ottla-wire`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_wire::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use ottla_wire::frame::{request_frame, response_frame};
use ottla_wire::header::RequestHeader;
use ottla_wire::messages::api_versions_response::ApiVersion;
use ottla_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse};
use ottla_wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
    TopicProduceResponse,
};
use ottla_wire::record::{BatchBuilder, Compression, check_produced};
use ottla_wire::{ApiKey, Message, Reader, Request};

/// The frame of a request without its length, as a session hands it on.
fn frame_of<R: Request>(request: &R, version: i16) -> Bytes {
    request_frame(request, version, 7, Some("bench")).expect("a valid request").slice(4..)
}

fn read<R: Request>(frame: &Bytes) -> R {
    let mut r = Reader::new(frame.clone());
    let header = RequestHeader::decode(&mut r).expect("a valid header");
    R::decode(&mut r, header.api_version).expect("a valid request")
}

fn api_versions(c: &mut Criterion) {
    let request = ApiVersionsRequest {
        client_software_name: "librdkafka".to_owned(),
        client_software_version: "2.8.0".to_owned(),
        ..ApiVersionsRequest::default()
    };
    let frame = frame_of(&request, 3);
    let row = |key: &ApiKey| ApiVersion {
        api_key: key.code(),
        min_version: *key.versions().start(),
        max_version: *key.versions().end(),
    };
    c.bench_function("api_versions", |b| {
        b.iter(|| {
            black_box(read::<ApiVersionsRequest>(&frame));
            let api_keys = ApiKey::all().iter().map(row).collect();
            let response = ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() };
            response_frame(&response, ApiKey::ApiVersions, 3, 7)
        });
    });
}

fn metadata(c: &mut Criterion) {
    let partition = |index: i32| MetadataResponsePartition {
        partition_index: index,
        leader_id: 1,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..MetadataResponsePartition::default()
    };
    let topic = |index: usize| MetadataResponseTopic {
        name: Some(format!("a-topic-of-some-length-{index}")),
        partitions: (0..3).map(partition).collect(),
        ..MetadataResponseTopic::default()
    };
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker { host: "localhost".to_owned(), ..Default::default() }],
        topics: (0..1000).map(topic).collect(),
        ..MetadataResponse::default()
    };
    let names = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let frame = frame_of(&names, 12);
    let mut group = c.benchmark_group("metadata_1000_topics");
    group.bench_function("broker", |b| {
        b.iter(|| {
            black_box(read::<MetadataRequest>(&frame));
            response_frame(&response, ApiKey::Metadata, 12, 7)
        });
    });
    let bytes = response.to_bytes(12).expect("a valid response");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("client", |b| b.iter(|| MetadataResponse::from_bytes(bytes.clone(), 12)));
}

fn produce(c: &mut Criterion) {
    let mut group = c.benchmark_group("produce");
    for (name, size, count) in [("100 B", 100, 1), ("16 KiB", 1024, 16), ("1 MiB", 1024, 1000)] {
        let mut builder = BatchBuilder::new(Compression::None).producer(1, 0, 0);
        let value = vec![b'x'; size];
        (0..count).for_each(|time| builder.append(time, None, Some(&value), &[]));
        let records = Some(builder.build().expect("nothing is compressed"));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic = TopicProduceData { name: "topic".to_owned(), partition_data, ..Default::default() };
        let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() };
        let frame = frame_of(&request, 10);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut request: ProduceRequest = read(&frame);
                let topic = request.topic_data.remove(0);
                let records = topic.partition_data[0].records.clone().expect("records were sent");
                let batch = check_produced(records).expect("a valid batch");
                black_box(batch.prefix(42, 1));
                let partition = PartitionProduceResponse { base_offset: 42, ..Default::default() };
                let topic = TopicProduceResponse {
                    name: topic.name,
                    partition_responses: vec![partition],
                    ..Default::default()
                };
                let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
                response_frame(&response, ApiKey::Produce, 10, 7)
            });
        });
    }
}

fn fetch(c: &mut Criterion) {
    let mut group = c.benchmark_group("fetch");
    for (name, partitions, bytes) in [("1 partition", 1, 1 << 20), ("100 partitions", 100, 16 << 10)] {
        let partition = |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic {
            topic: "topic".to_owned(),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        };
        let request = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
        let frame = frame_of(&request, 12);
        let records = Bytes::from(vec![0; bytes]);
        group.bench_function(name, |b| {
            b.iter(|| {
                let request: FetchRequest = read(&frame);
                let answer = |partition: &FetchPartition| PartitionData {
                    partition_index: partition.partition,
                    records: vec![records.clone()],
                    ..PartitionData::default()
                };
                let topics = request.topics.into_iter().map(|topic| FetchableTopicResponse {
                    partitions: topic.partitions.iter().map(answer).collect(),
                    topic: topic.topic,
                    ..FetchableTopicResponse::default()
                });
                let response = FetchResponse { responses: topics.collect(), ..FetchResponse::default() };
                response.encode_chunks(12, 7)
            });
        });
    }
}

criterion_group!(benches, api_versions, metadata, produce, fetch);
criterion_main!(benches);
