//! Agreement with the `kafka-protocol` crate, in both directions, on the versions that both know.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as OtherKey, RequestKind, ResponseKind};
use kafka_protocol::records::{
    Compression as OtherCompression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
};
use proptest::prelude::*;

use super::for_each_version;
use super::sample::canonical;
use crate::ApiKey;
use crate::message::Kind;
use crate::record::{BatchBuilder, Compression, Header, RecordIter, check_produced};

/// Versions that Kafka 4.1 kept behind a switch: the other crate knows the response and not the request.
const UNSTABLE_REQUESTS: [(Kind, i16); 3] = [
    (Kind::Request(ApiKey::OffsetCommit), 10),
    (Kind::Request(ApiKey::OffsetFetch), 10),
    (Kind::Request(ApiKey::InitProducerId), 6),
];

/// What the other crate reads from our bytes and writes again; `None` where it does not know the version.
fn other_way(kind: Kind, version: i16, bytes: &Bytes) -> Option<Result<BytesMut, String>> {
    let key = match kind {
        Kind::Request(key) | Kind::Response(key) => key.code(),
        Kind::Data | Kind::Key(_) | Kind::Value(_) => return None,
    };
    let other = OtherKey::try_from(key).ok()?;
    let known = other.valid_versions();
    if UNSTABLE_REQUESTS.contains(&(kind, version)) || !(known.min..=known.max).contains(&version) {
        return None;
    }
    let mut input = bytes.clone();
    let mut output = BytesMut::new();
    let result = match kind {
        Kind::Request(_) => {
            RequestKind::decode(other, &mut input, version).and_then(|request| request.encode(&mut output, version))
        }
        Kind::Response(_) | Kind::Data | Kind::Key(_) | Kind::Value(_) => {
            ResponseKind::decode(other, &mut input, version).and_then(|response| response.encode(&mut output, version))
        }
    };
    Some(result.map(|()| output).map_err(|error| error.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn another_implementation_reads_and_writes_the_same(seed in any::<u64>()) {
        let mut compared = 0;
        for_each_version(|subject, version| {
            let bytes = Bytes::from(canonical(&subject.schema, version, seed));
            let Some(other) = other_way(subject.entry.kind, version, &bytes) else { return };
            let other = other.unwrap_or_else(|error| panic!("{} {version}: {error}", subject.entry.name));
            assert_eq!(other, bytes, "{} {version}", subject.entry.name);
            let ours = (subject.entry.recode)(other.freeze(), version).unwrap();
            assert_eq!(ours.len(), bytes.len(), "{} {version}", subject.entry.name);
            compared += 1;
        });
        assert!(compared > 500, "only {compared} versions were compared");
    }

    #[test]
    fn another_implementation_reads_our_batches_and_we_read_its(
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 1..20),
        timestamp in 0..i64::MAX / 2,
    ) {
        let header = Header { key: "h".to_owned(), value: Some(Bytes::from_static(b"v")) };
        let mut builder = BatchBuilder::new(Compression::None).producer(9, 2, 100);
        for (index, value) in values.iter().enumerate() {
            builder.append(timestamp + index as i64, Some(b"key"), value.as_deref(), std::slice::from_ref(&header));
        }
        let ours = builder.build().unwrap();
        let theirs = RecordBatchDecoder::decode(&mut ours.clone()).unwrap();
        prop_assert_eq!(theirs.records.len(), values.len());
        for (index, (record, value)) in theirs.records.iter().zip(&values).enumerate() {
            prop_assert_eq!(record.value.as_deref(), value.as_deref());
            prop_assert_eq!((record.offset, record.timestamp), (index as i64, timestamp + index as i64));
            prop_assert_eq!((record.producer_id, record.sequence), (9, 100 + index as i32));
        }
        let mut written = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: OtherCompression::None };
        RecordBatchEncoder::encode(&mut written, theirs.records.iter(), &options).unwrap();
        let batch = check_produced(written.freeze()).unwrap();
        let read: Vec<_> = RecordIter::new(&batch, 1 << 20).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), values.len());
        for (record, value) in read.iter().zip(&values) {
            prop_assert_eq!(record.value.as_deref(), value.as_deref());
            prop_assert_eq!(&record.headers, std::slice::from_ref(&header));
        }
    }
}
