//! The record formats, byte by byte where Kafka's tools look, and against bytes that are none.

use bytes::Bytes;
use proptest::prelude::*;

use super::harness::partition;
use crate::group::*;
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId};

fn offset_record(expires_at: i64) -> Record {
    Record::Offset {
        group: "g".into(),
        partition: partition("t", 2),
        value: Some(CommittedOffset {
            offset: Offset::new(5),
            leader_epoch: LeaderEpoch::NONE,
            metadata: "m".to_owned(),
            committed_at: Timestamp::new(9),
            expires_at: Timestamp::new(expires_at),
            topic_id: TopicId::from_bytes([7; 16]),
        }),
    }
}

#[test]
fn offsets_are_written_as_kafka_writes_them() {
    let (key, value) = offset_record(-1).encode().unwrap();
    assert_eq!(&key[..], b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x02");
    // Version 4 is flexible: compact strings, and the topic's id as tag 0 with its length.
    let expected = b"\x00\x04\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\x02m\0\0\0\0\0\0\0\x09\x01\x00\x10";
    assert_eq!(value.unwrap(), [&expected[..], &[7; 16]].concat());
    let version_3 = b"\x00\x03\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\x00\x01m\0\0\0\0\0\0\0\x09";
    let read = Record::decode(key, Some(Bytes::from_static(version_3))).unwrap();
    let Some(Record::Offset { value: Some(read), .. }) = read else { panic!("{read:?}") };
    assert_eq!((read.offset, read.topic_id), (Offset::new(5), TopicId::ZERO), "older logs say no topic id");
    let (_, value) = offset_record(77).encode().unwrap();
    let expected = b"\x00\x01\0\0\0\0\0\0\0\x05\x00\x01m\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x4d";
    assert_eq!(&value.unwrap()[..], expected);
}

#[test]
fn groups_are_written_as_kafka_writes_them() {
    let value = GroupValue {
        protocol_type: "consumer".to_owned(),
        generation: 3,
        protocol: None,
        leader: None,
        since: Timestamp::new(8),
        members: Vec::new(),
    };
    let (key, value) = Record::Group { group: "g".into(), value: Some(value) }.encode().unwrap();
    assert_eq!(&key[..], b"\x00\x02\x00\x01g");
    let expected = b"\x00\x03\x00\x08consumer\0\0\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x08\0\0\0\0";
    assert_eq!(&value.unwrap()[..], expected);
}

#[test]
fn tombstones_and_foreign_types_are_told_apart() {
    let record = Record::Group { group: "g".into(), value: None };
    let (key, value) = record.encode().unwrap();
    assert_eq!(value, None);
    assert_eq!(Record::decode(key, None).unwrap(), Some(record));
    assert_eq!(Record::decode(Bytes::from_static(b"\x00\x05whatever"), None).unwrap(), None);
    let legacy = Bytes::from_static(b"\x00\x00\x00\x01g\x00\x01t\x00\x00\x00\x02");
    assert!(matches!(Record::decode(legacy, None).unwrap(), Some(Record::Offset { value: None, .. })));
    let newer = Record::decode(Bytes::from_static(b"\x00\x02\x00\x01g"), Some(Bytes::from_static(b"\x00\x09")));
    assert!(matches!(newer, Err(RecordError::UnknownVersion { version: 9, .. })));
}

fn members() -> impl Strategy<Value = Vec<MemberValue>> {
    let member = ("[a-z]{1,9}", proptest::option::of("[a-z]{1,5}"), any::<i32>(), any::<Vec<u8>>());
    let build = |(member, instance, timeout, bytes): (String, Option<String>, i32, Vec<u8>)| MemberValue {
        member,
        instance,
        client_id: "c".to_owned(),
        client_host: "/::1".to_owned(),
        rebalance_timeout_ms: timeout,
        session_timeout_ms: timeout,
        subscription: bytes.clone().into(),
        assignment: bytes.into(),
    };
    proptest::collection::vec(member.prop_map(build), 0..4)
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        group in "\\PC{0,20}", generation in any::<i32>(), since in any::<i64>(), members in members(),
        offset in any::<i64>(), note in "\\PC{0,20}", expires in any::<i64>(), index in any::<i32>(),
    ) {
        let value = GroupValue {
            protocol_type: note.clone(), generation, protocol: Some(note.clone()), leader: None,
            since: Timestamp::new(since), members,
        };
        let committed = CommittedOffset {
            offset: Offset::new(offset), leader_epoch: LeaderEpoch::NONE, metadata: note,
            committed_at: Timestamp::new(since), expires_at: Timestamp::new(expires),
            topic_id: TopicId::from_bytes(if expires == -1 { [3; 16] } else { [0; 16] }),
        };
        let group = GroupId::from(group.as_str());
        for record in [
            Record::Group { group: group.clone(), value: Some(value) },
            Record::Offset { group, partition: partition("t", index), value: Some(committed) },
        ] {
            let (key, value) = record.encode().unwrap();
            prop_assert_eq!(Record::decode(key, value).unwrap(), Some(record));
        }
    }

    #[test]
    fn no_bytes_do_harm(key in any::<Vec<u8>>(), value in proptest::option::of(any::<Vec<u8>>()), kind in 0_u8..3) {
        let _ = Record::decode(key.clone().into(), value.clone().map(Into::into));
        let mut named = vec![0, kind];
        named.extend_from_slice(&key);
        let _ = Record::decode(named.into(), value.map(Into::into));
    }
}
