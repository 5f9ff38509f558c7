//! Bytes from strangers: never a panic, never more memory than the budget allows.

use bytes::Bytes;
use proptest::prelude::*;

use super::for_each_version;
use super::sample::{Random, canonical};
use crate::messages::MetadataRequest;
use crate::record::{Batches, RecordIter, check_produced};
use crate::{DecodeError, Message, Reader};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn random_bytes_never_panic(seed in any::<u64>()) {
        let mut random = Random(seed);
        for_each_version(|subject, version| {
            for most in [8, 64, 512] {
                let length = random.below(most);
                let bytes = Bytes::from(random.bytes(length));
                let _ = (subject.entry.recode)(bytes, version);
            }
        });
    }

    /// What was read from mutated bytes can be written and reads as the same again.
    #[test]
    fn mutated_bytes_never_panic(seed in any::<u64>()) {
        let mut random = Random(seed);
        for_each_version(|subject, version| {
            let mut bytes = canonical(&subject.schema, version, seed);
            for _ in 0..1 + random.below(4) {
                if bytes.is_empty() {
                    break;
                }
                let at = random.below(bytes.len());
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, random.next() as u8][random.below(6)];
            }
            if let Ok(written) = (subject.entry.recode)(bytes.into(), version) {
                let again = (subject.entry.recode)(written.clone(), version).unwrap();
                // Bytes compare where values may not: a float may be no number.
                assert_eq!(again, written, "{} {version}", subject.entry.name);
            }
        });
    }

    #[test]
    fn batches_of_any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0..4_u8) {
        let mut bytes = bytes;
        if let Some(place) = bytes.get_mut(16) {
            *place = magic;
        }
        if let Some(length) = bytes.get_mut(8..12) {
            length[..3].fill(0);
        }
        let bytes = Bytes::from(bytes);
        let _ = check_produced(bytes.clone());
        for batch in Batches::new(bytes).flatten() {
            if let Ok(records) = RecordIter::new(&batch, 1 << 16) {
                let _ = records.count();
            }
        }
    }
}

#[test]
fn a_count_that_cannot_be_true_is_refused_before_anything_is_allocated() {
    // Two thousand million topics in six bytes.
    let lie = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
    let error = MetadataRequest::from_bytes(lie, 1).unwrap_err();
    assert_eq!(error, DecodeError::CountTooLarge { at: 4, count: 0x7fff_ffff, left: 2 });
    let negative = Bytes::from_static(&[0x80, 0, 0, 0]);
    let error = MetadataRequest::from_bytes(negative, 1).unwrap_err();
    assert_eq!(error, DecodeError::BadLength { at: 0, length: i64::from(i32::MIN) });
    let null = Bytes::from_static(&[0xff; 4]);
    assert_eq!(MetadataRequest::from_bytes(null.clone(), 0), Err(DecodeError::UnexpectedNull { at: 0 }));
    assert_eq!(MetadataRequest::from_bytes(null, 1).unwrap().topics, None);
}

#[test]
fn a_count_that_is_true_but_too_large_is_refused() {
    // A million empty names: two bytes each on the wire, twenty times that in memory.
    let mut bytes = 1_000_000_u32.to_be_bytes().to_vec();
    bytes.resize(4 + 2_000_000, 0);
    let bytes = Bytes::from(bytes);
    assert!(matches!(MetadataRequest::from_bytes(bytes.clone(), 1), Err(DecodeError::MemoryExceeded { at: 4, .. })));
    let mut r = Reader::with_memory_max(bytes, usize::MAX);
    assert_eq!(MetadataRequest::decode(&mut r, 1).unwrap().topics.unwrap().len(), 1_000_000);
}

#[test]
fn text_must_be_text() {
    let bytes = Bytes::from_static(&[0, 0, 0, 1, 0, 2, 0xc3, 0x28]);
    assert_eq!(MetadataRequest::from_bytes(bytes, 1), Err(DecodeError::NotUtf8 { at: 6 }));
}

#[test]
fn tagged_fields_end_where_they_say() {
    use crate::messages::ApiVersionsResponse;
    let response = |tags: &[u8]| {
        let head = [0, 0, 1, 0, 0, 0, 0];
        ApiVersionsResponse::from_bytes([&head[..], tags].concat().into(), 3)
    };
    assert_eq!(response(&[1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 5]).unwrap().finalized_features_epoch, 5);
    assert_eq!(response(&[1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0]), Err(DecodeError::TagSize { tag: 1, left: 1 }));
    assert_eq!(response(&[1, 1, 7, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeError::Truncated { at: 10, wanted: 8, left: 7 }));
    assert_eq!(response(&[1, 1, 90, 0]), Err(DecodeError::Truncated { at: 10, wanted: 90, left: 1 }));
    let endless = [0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(response(&endless), Err(DecodeError::VarintTooLong { at: 7 }));
    assert!(matches!(response(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(DecodeError::Truncated { .. })));
}

#[test]
fn numbers_of_variable_length_agree_in_both_directions() {
    for value in [0, 1, -1, 63, -64, 64, 300, i32::MAX, i32::MIN] {
        let mut w = crate::Writer::new();
        w.varint(value);
        w.varlong(i64::from(value) << 32);
        w.uvarint(value.cast_unsigned());
        let mut r = Reader::new(w.into_bytes());
        assert_eq!(r.varint().unwrap(), value);
        assert_eq!(r.varlong().unwrap(), i64::from(value) << 32);
        assert_eq!(r.uvarint().unwrap(), value.cast_unsigned());
        r.finish().unwrap();
    }
    let too_long = Bytes::from(vec![0xff; 10]);
    assert_eq!(Reader::new(too_long.clone()).varlong(), Err(DecodeError::VarintTooLong { at: 0 }));
    assert_eq!(Reader::new(too_long).varint(), Err(DecodeError::VarintTooLong { at: 0 }));
}
