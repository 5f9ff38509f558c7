//! What is read is written back as the same bytes, in every version of every message.

use bytes::Bytes;
use proptest::prelude::*;

use super::for_each_version;
use super::sample::{canonical, with_unknown_tags};
use crate::message::RecodeError;
use crate::{ApiKey, DecodeError, EncodeError, Message};

/// `FetchResponse` reads null records as none and writes none as empty; the two differ only there.
fn is_same(name: &str, one: &[u8], other: &[u8]) -> bool {
    one == other || (name == "FetchResponse" && one.len() == other.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_message_in_every_version(seed in any::<u64>()) {
        for_each_version(|subject, version| {
            let bytes = canonical(&subject.schema, version, seed);
            let again = (subject.entry.recode)(bytes.clone().into(), version)
                .unwrap_or_else(|error| panic!("{} {version}: {error}: {bytes:?}", subject.entry.name));
            assert!(is_same(subject.entry.name, &again, &bytes), "{} {version}", subject.entry.name);
        });
    }

    #[test]
    fn unknown_tags_are_skipped(seed in any::<u64>()) {
        for_each_version(|subject, version| {
            let noisy = with_unknown_tags(&subject.schema, version, seed);
            let again = (subject.entry.recode)(noisy.into(), version)
                .unwrap_or_else(|error| panic!("{} {version}: {error}", subject.entry.name));
            let bytes = canonical(&subject.schema, version, seed);
            assert!(is_same(subject.entry.name, &again, &bytes), "{} {version}", subject.entry.name);
        });
    }

    #[test]
    fn a_message_that_is_cut_off_is_an_error(seed in any::<u64>()) {
        for_each_version(|subject, version| {
            let bytes = Bytes::from(canonical(&subject.schema, version, seed));
            for cut in [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                if cut < bytes.len() {
                    let result = (subject.entry.recode)(bytes.slice(..cut), version);
                    assert!(result.is_err(), "{} {version} at {cut} of {}", subject.entry.name, bytes.len());
                }
            }
        });
    }
}

#[test]
fn a_version_that_does_not_exist_is_an_error() {
    for entry in crate::messages::CATALOGUE {
        let version = entry.versions.end() + 1;
        let error = RecodeError::Decode(DecodeError::UnknownVersion { message: entry.name, version });
        assert_eq!((entry.recode)(Bytes::new(), version), Err(error));
    }
}

#[test]
fn the_defaults_are_those_of_the_schema() {
    use crate::messages::{ListOffsetsRequest, MetadataRequest, UpdateFeaturesRequest};
    let metadata = MetadataRequest::default();
    assert!(metadata.allow_auto_topic_creation);
    assert_eq!(metadata.topics, Some(Vec::new()));
    assert_eq!(UpdateFeaturesRequest::default().timeout_ms, 60000);
    assert_eq!(ListOffsetsRequest::default().timeout_ms, 0);
    assert_eq!(crate::fetch::FetchPartition::default().high_watermark, i64::MAX);
}

#[test]
fn a_field_without_a_place_is_dropped_or_refused() {
    use crate::messages::{ListOffsetsRequest, MetadataRequest};
    let metadata = MetadataRequest { include_topic_authorized_operations: true, ..MetadataRequest::default() };
    let error = EncodeError::FieldAbsent { field: "MetadataRequest.include_topic_authorized_operations", version: 7 };
    assert_eq!(metadata.to_bytes(7), Err(error));
    assert!(metadata.to_bytes(8).is_ok());
    let none = MetadataRequest { topics: None, ..MetadataRequest::default() };
    assert_eq!(none.to_bytes(0), Err(EncodeError::FieldNull { field: "MetadataRequest.topics" }));
    // Kafka calls the timeout ignorable.
    let offsets = ListOffsetsRequest { timeout_ms: 7, ..ListOffsetsRequest::default() };
    assert_eq!(offsets.to_bytes(9), ListOffsetsRequest::default().to_bytes(9));
    assert_ne!(offsets.to_bytes(10), ListOffsetsRequest::default().to_bytes(10));
    let long = MetadataRequest {
        topics: Some(vec![crate::messages::metadata_request::MetadataRequestTopic {
            name: Some("x".repeat(40_000)),
            ..Default::default()
        }]),
        ..MetadataRequest::default()
    };
    assert_eq!(long.to_bytes(4), Err(EncodeError::TooLong { length: 40_000, max: 32_767 }));
}

#[test]
fn by_hand_and_generated_refuse_the_same_values() {
    use crate::messages::{fetch_request as generated, fetch_response};
    use crate::{fetch, produce};
    for version in 4..=18 {
        let by_hand = fetch::FetchRequest { replica_id: 5, ..Default::default() };
        let twin = generated::FetchRequest { replica_id: 5, ..Default::default() };
        assert_eq!(by_hand.to_bytes(version), twin.to_bytes(version));
        let state = fetch::ReplicaState { replica_id: 5, replica_epoch: 6 };
        let by_hand = fetch::FetchRequest { replica_state: state, ..Default::default() };
        let state = generated::ReplicaState { replica_id: 5, replica_epoch: 6 };
        let twin = generated::FetchRequest { replica_state: state, ..Default::default() };
        assert_eq!(by_hand.to_bytes(version), twin.to_bytes(version));
        let by_hand = fetch::FetchResponse { session_id: 9, ..Default::default() };
        let twin = fetch_response::FetchResponse { session_id: 9, ..Default::default() };
        assert_eq!(by_hand.to_bytes(version), twin.to_bytes(version));
    }
    let endpoints =
        produce::ProduceResponse { node_endpoints: vec![produce::NodeEndpoint::default()], ..Default::default() };
    let error = EncodeError::FieldAbsent { field: "ProduceResponse.node_endpoints", version: 9 };
    assert_eq!(endpoints.to_bytes(9), Err(error));
    assert!(endpoints.to_bytes(10).is_ok());
}

#[test]
fn the_table_of_apis_agrees_with_the_schema() {
    for api in super::apis() {
        let key = ApiKey::from_code(api.key).unwrap();
        assert_eq!(key.name(), api.name);
        assert_eq!(key.known_versions(), api.versions.min..=api.versions.max);
        for version in key.known_versions() {
            assert_eq!(key.is_flexible(version), api.flexible.contains(version), "{key} {version}");
        }
    }
    assert_eq!(ApiKey::all().len(), 79);
    assert_eq!(ApiKey::InitProducerId.versions(), 0..=5);
    assert_eq!(ApiKey::InitProducerId.known_versions(), 0..=6);
    assert_eq!(ApiKey::from_code(4), None);
    assert_eq!(ApiKey::from_code(-1), None);
}
