//! Bytes that real clients send and expect, spelled out.

use bytes::Bytes;

use crate::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::header::RequestHeader;
use crate::messages::api_versions_response::ApiVersion;
use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use crate::produce::ProduceRequest;
use crate::record::{BatchBuilder, Compression, check_produced};
use crate::{ApiKey, Message, Reader, Writer};

/// What kcat 1.7 sends first.
#[test]
fn api_versions_of_librdkafka() {
    let frame = b"\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0\x0blibrdkafka\x062.0.2\0";
    let mut r = Reader::new(Bytes::from_static(frame));
    let header = RequestHeader::decode(&mut r).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (18, 3, 1));
    assert_eq!(header.client_id.as_deref(), Some("rdkafka"));
    let request = ApiVersionsRequest::decode(&mut r, 3).unwrap();
    assert_eq!((&*request.client_software_name, &*request.client_software_version), ("librdkafka", "2.0.2"));
    r.finish().unwrap();
}

/// The answer has no tagged field that has its default: Debian's kcat cannot read one there.
#[test]
fn api_versions_answer() {
    let api_keys = vec![ApiVersion { api_key: 18, min_version: 0, max_version: 4 }];
    let response = ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() };
    assert_eq!(response.to_bytes(3).unwrap()[..], *b"\0\0\x02\0\x12\0\0\0\x04\0\0\0\0\0\0");
    assert_eq!(response.to_bytes(0).unwrap()[..], *b"\0\0\0\0\0\x01\0\x12\0\0\0\x04");
}

#[test]
fn metadata_of_all_topics() {
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    assert_eq!(all.to_bytes(1).unwrap()[..], *b"\xff\xff\xff\xff");
    assert_eq!(all.to_bytes(12).unwrap()[..], *b"\0\x01\0\0");
    assert_eq!(MetadataRequest::default().to_bytes(0).unwrap()[..], *b"\0\0\0\0");
}

/// A batch of one record "k" = "v", byte by byte.
#[test]
fn a_batch_and_a_produce_request_around_it() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(1_600_000_000_000, Some(b"k"), Some(b"v"), &[]);
    let batch = builder.build().unwrap();
    let mut expected = Vec::new();
    expected.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\0\0\x3a\xff\xff\xff\xff\x02");
    expected.extend_from_slice(&batch[17..21]);
    expected.extend_from_slice(b"\0\0\0\0\0\0\0\0\x01\x74\x87\x6e\x80\0\0\0\x01\x74\x87\x6e\x80\0");
    expected.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01");
    expected.extend_from_slice(b"\x10\0\0\0\x02k\x02v\0");
    assert_eq!(batch[..], expected[..]);
    check_produced(batch.clone()).unwrap();

    let mut frame = b"\0\xff\xff\0\0\x75\x30\x02\x02t\x02\0\0\0\0".to_vec();
    frame.push(batch.len() as u8 + 1);
    frame.extend_from_slice(&batch);
    frame.extend_from_slice(b"\0\0\0");
    let frame = Bytes::from(frame);
    let request = ProduceRequest::from_bytes(frame.clone(), 9).unwrap();
    assert_eq!((request.acks, request.timeout_ms, request.record_bytes()), (-1, 30_000, batch.len()));
    assert_eq!(request.topic_data[0].name, "t");
    let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
    assert_eq!(records, batch);
    assert!(frame.as_ptr_range().contains(&records.as_ptr()), "records are a slice of the frame");
    assert_eq!(request.to_bytes(9).unwrap(), frame);
}

#[test]
fn a_fetch_response_passes_records_on_without_a_copy() {
    let piece = Bytes::from(vec![7_u8; 100_000]);
    let short = Bytes::from(vec![8_u8; 10]);
    let partition = PartitionData { records: vec![piece.clone(), short, piece.clone()], ..PartitionData::default() };
    let topic = FetchableTopicResponse { partitions: vec![partition], ..FetchableTopicResponse::default() };
    let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
    for version in FetchResponse::VERSIONS {
        let chunks = response.encode_chunks(version, 0x0102_0304).unwrap();
        let shared = chunks.iter().filter(|chunk| chunk.as_ptr() == piece.as_ptr());
        assert_eq!(shared.count(), 2, "version {version}");
        let frame = Bytes::from(chunks.concat());
        let length = u32::from_be_bytes(*frame.first_chunk().unwrap());
        assert_eq!(length as usize, frame.len() - 4, "version {version}");
        assert_eq!(frame[4..8], [1, 2, 3, 4]);
        let header = if version >= 12 { 9 } else { 8 };
        let mut copied = Writer::new();
        response.encode(&mut copied, version).unwrap();
        assert_eq!(frame.slice(header..), copied.into_bytes(), "version {version}");
        let read = FetchResponse::from_bytes(frame.slice(header..), version).unwrap();
        assert_eq!(read.responses[0].partitions[0].record_bytes(), 200_010);
    }
}

#[test]
fn keys_of_coordinator_records_have_their_numbers() {
    use crate::message::Kind;
    use crate::records::{GroupMetadataKey, OffsetCommitKey, OffsetCommitValue};
    assert_eq!(OffsetCommitKey::KIND, Kind::Key(1));
    assert_eq!(GroupMetadataKey::KIND, Kind::Key(2));
    assert_eq!(OffsetCommitValue::KIND, Kind::Value(1));
    let key = OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition: 3 };
    assert_eq!(key.to_bytes(0).unwrap()[..], *b"\0\x01g\0\x01t\0\0\0\x03");
    assert_eq!(ApiKey::OffsetCommit.to_string(), "OffsetCommit");
}
