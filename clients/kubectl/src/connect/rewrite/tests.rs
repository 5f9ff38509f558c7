//! Every version of every answer that names brokers.

use std::collections::BTreeSet;
use std::fmt::Debug;

use bytes::Bytes;
use ottla_wire::fetch::{FetchableTopicResponse, PartitionData};
use ottla_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_wire::messages::find_coordinator_response::Coordinator;
use ottla_wire::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use ottla_wire::messages::{share_acknowledge_response, share_fetch_response};
use ottla_wire::produce::{NodeEndpoint, TopicProduceResponse};

use super::*;

fn local(broker: i32) -> Option<u16> {
    // One that gets no port.
    (broker != 9).then(|| 10_000 + u16::try_from(broker).unwrap())
}

fn written<M: Message>(message: &M, api: ApiKey, version: i16) -> Bytes {
    Bytes::from(frame::response_frame(message, api, version, 77).unwrap().concat()).slice(frame::LENGTH_BYTES..)
}

/// Rewrites `before` in `version`, and holds the result against `after`.
fn check<M: Message + Debug>(api: ApiKey, version: i16, before: &M, after: &M) {
    let frame = written(before, api, version);
    let changed = rewrite(api, version, &frame, &mut local).unwrap_or_else(|error| panic!("{api} {version}: {error}"));
    if before == after {
        assert_eq!(changed, None, "{api} {version}: as it came");
        return;
    }
    assert_eq!(names_brokers(api.code(), version), Some(api), "{api} {version}");
    let pieces = changed.unwrap_or_else(|| panic!("{api} {version}: nothing was changed")).concat();
    let length = frame::frame_length(*pieces.first_chunk().unwrap(), usize::MAX).unwrap();
    assert_eq!(length, pieces.len() - frame::LENGTH_BYTES, "{api} {version}");
    assert_eq!(Bytes::from(pieces).slice(frame::LENGTH_BYTES..), written(after, api, version), "{api} {version}");
}

#[test]
fn metadata_in_every_version() {
    for version in ApiKey::Metadata.known_versions() {
        let broker = |node_id, host: &str, port| MetadataResponseBroker {
            node_id,
            host: host.to_owned(),
            port,
            rack: (version >= 1).then(|| "a".to_owned()),
        };
        let topic = MetadataResponseTopic { name: Some("orders".to_owned()), ..MetadataResponseTopic::default() };
        let of = |brokers: Vec<MetadataResponseBroker>| MetadataResponse {
            brokers,
            topics: vec![topic.clone()],
            cluster_id: (version >= 2).then(|| "id".to_owned()),
            ..MetadataResponse::default()
        };
        let before = of(vec![broker(0, "b-0.svc", 9092), broker(3, "b-3.svc", 9092), broker(9, "b-9.svc", 9092)]);
        let after = of(vec![broker(0, LOCAL, 10_000), broker(3, LOCAL, 10_003), broker(9, "b-9.svc", 9092)]);
        check(ApiKey::Metadata, version, &before, &after);
        check(ApiKey::Metadata, version, &of(Vec::new()), &of(Vec::new()));
    }
}

#[test]
fn describe_cluster_in_every_version() {
    for version in ApiKey::DescribeCluster.known_versions() {
        let of = |host: &str, port| DescribeClusterResponse {
            cluster_id: "id".to_owned(),
            brokers: vec![DescribeClusterBroker { broker_id: 2, host: host.to_owned(), port, ..Default::default() }],
            ..DescribeClusterResponse::default()
        };
        check(ApiKey::DescribeCluster, version, &of("b-2.svc", 9092), &of(LOCAL, 10_002));
    }
}

#[test]
fn find_coordinator_in_every_version() {
    for version in ApiKey::FindCoordinator.known_versions() {
        let of = |node_id, host: &str, port| {
            let one = Coordinator { key: "g".to_owned(), node_id, host: host.to_owned(), port, ..Default::default() };
            if version >= 4 {
                return FindCoordinatorResponse { coordinators: vec![one.clone(), one], ..Default::default() };
            }
            FindCoordinatorResponse { node_id, host: host.to_owned(), port, ..Default::default() }
        };
        check(ApiKey::FindCoordinator, version, &of(1, "b-1.svc", 9092), &of(1, LOCAL, 10_001));
        let nobody = of(-1, "", -1);
        check(ApiKey::FindCoordinator, version, &nobody, &nobody);
    }
}

fn endpoints(host: &str, port: i32) -> Vec<NodeEndpoint> {
    vec![NodeEndpoint { node_id: 1, host: host.to_owned(), port, rack: Some("a".to_owned()) }]
}

#[test]
fn the_leaders_of_kip_951_in_versions_that_have_them() {
    for version in ApiKey::Produce.known_versions() {
        let topic = TopicProduceResponse {
            name: if version <= 12 { "orders".to_owned() } else { String::new() },
            ..TopicProduceResponse::default()
        };
        let of = |node_endpoints| ProduceResponse {
            responses: vec![topic.clone()],
            node_endpoints,
            ..ProduceResponse::default()
        };
        check(ApiKey::Produce, version, &of(Vec::new()), &of(Vec::new()));
        if version >= 10 {
            check(ApiKey::Produce, version, &of(endpoints("b-1.svc", 9092)), &of(endpoints(LOCAL, 10_001)));
        } else {
            assert_eq!(names_brokers(ApiKey::Produce.code(), version), None);
        }
    }
    for version in ApiKey::Fetch.known_versions() {
        let records = Bytes::from(vec![7; 5000]);
        let topic = FetchableTopicResponse {
            topic: if version <= 12 { "orders".to_owned() } else { String::new() },
            partitions: vec![PartitionData { records: vec![records], ..PartitionData::default() }],
            ..FetchableTopicResponse::default()
        };
        let of = |node_endpoints| FetchResponse {
            responses: vec![topic.clone()],
            node_endpoints,
            ..FetchResponse::default()
        };
        check(ApiKey::Fetch, version, &of(Vec::new()), &of(Vec::new()));
        if version >= 16 {
            check(ApiKey::Fetch, version, &of(endpoints("b-1.svc", 9092)), &of(endpoints(LOCAL, 10_001)));
        } else {
            assert_eq!(names_brokers(ApiKey::Fetch.code(), version), None);
        }
    }
}

#[test]
fn share_groups_in_every_version() {
    for version in ApiKey::ShareFetch.known_versions() {
        let of = |host: &str, port| ShareFetchResponse {
            node_endpoints: vec![share_fetch_response::NodeEndpoint {
                node_id: 1,
                host: host.to_owned(),
                port,
                rack: None,
            }],
            ..ShareFetchResponse::default()
        };
        check(ApiKey::ShareFetch, version, &of("b-1.svc", 9092), &of(LOCAL, 10_001));
    }
    for version in ApiKey::ShareAcknowledge.known_versions() {
        let of = |host: &str, port| ShareAcknowledgeResponse {
            node_endpoints: vec![share_acknowledge_response::NodeEndpoint {
                node_id: 1,
                host: host.to_owned(),
                port,
                rack: None,
            }],
            ..ShareAcknowledgeResponse::default()
        };
        check(ApiKey::ShareAcknowledge, version, &of("b-1.svc", 9092), &of(LOCAL, 10_001));
    }
}

/// Answers that hold hosts and are left alone: no client connects to them.
const LEFT_ALONE: [&str; 3] = ["describe_quorum", "describe_acls", "streams_group"];

#[test]
fn no_answer_with_addresses_is_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../broker/wire/schema/api");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let Some((_, response)) = text.split_once("\nresponse\n") else { continue };
        let file = path.file_stem().unwrap().to_str().unwrap();
        let has_host = response.lines().any(|line| line.split_whitespace().next() == Some("host"));
        if has_host && !LEFT_ALONE.iter().any(|left| file.starts_with(left)) {
            let key: i16 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
            found.insert(ApiKey::from_code(key).unwrap_or_else(|| panic!("{file}")).code());
        }
    }
    // Filters of ACLs have hosts of clients.
    found.remove(&ApiKey::DeleteAcls.code());
    assert_eq!(found, ROWS.iter().map(|row| row.api.code()).collect());
    assert_eq!(names_brokers(ApiKey::ApiVersions.code(), 3), None);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let frame = written(&MetadataResponse::default(), ApiKey::Metadata, 9);
    let garbled = rewrite(ApiKey::Metadata, 9, &frame.slice(..frame.len() - 1), &mut local);
    assert!(matches!(garbled, Err(Unreadable::Garbled { .. })), "{garbled:?}");
    let newer = ApiKey::Metadata.known_versions().end() + 1;
    assert_eq!(
        rewrite(ApiKey::Metadata, newer, &frame, &mut local),
        Err(Unreadable::TooNew { api: ApiKey::Metadata, version: newer })
    );
}
