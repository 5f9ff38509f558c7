//! Messages come back as they were; bytes that are none give a typed error; what is not known is asked again.

mod admin;
mod strategies;
mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_core::config::{ConfigError, Conflict};
use ottla_core::controller::error::{
    AlterConfigError, AlterPartitionError, BrokerRequestError, CreatePartitionsError, CreateTopicError,
    DeleteTopicError, ElectLeaderError, Ineligible, InvalidRequest, LeadershipError, NotController, ReassignError,
    RegisterError, UnregisterError,
};
use ottla_core::controller::{Answer, ProducerIdBlock, Registered, Request};
use ottla_core::types::*;
use proptest::prelude::*;
use prost::Message as _;

use super::refusal::Refusal;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_brokers_send_comes_back(up in strategies::up()) {
        prop_assert_eq!(Up::decode(&up.encode().expect("encoded")), Ok(up));
    }

    #[test]
    fn what_the_controller_sends_comes_back(down in strategies::down()) {
        prop_assert_eq!(Down::decode(&down.encode().expect("encoded")), Ok(down));
    }

    #[test]
    fn silence_comes_back(silent in strategies::silent()) {
        prop_assert_eq!(Silent::decode(&silent.encode().expect("encoded")), Ok(silent));
    }

    #[test]
    fn garbage_gives_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Up::decode(&bytes), Down::decode(&bytes), Silent::decode(&bytes));
    }

    #[test]
    fn a_changed_byte_gives_no_panic(
        up in strategies::up(), down in strategies::down(), at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        for mut bytes in [up.encode().expect("encoded").to_vec(), down.encode().expect("encoded").to_vec()] {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            let _ = (Up::decode(&bytes), Down::decode(&bytes));
        }
    }

    #[test]
    fn garbage_in_a_refusal_gives_no_panic(
        code in 0_i32..100,
        numbers in proptest::collection::vec(any::<i64>(), 0..4),
        texts in proptest::collection::vec(".{0,5}", 0..4),
        ids in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 14..18), 0..3),
    ) {
        let refusal = pb::Refusal { code, sentence: String::new(), numbers, texts, ids };
        let _ = RegisterError::from_pb(&refusal);
        let _ = BrokerRequestError::from_pb(&refusal);
        let _ = AlterPartitionError::from_pb(&refusal);
        let _ = LeadershipError::from_pb(&refusal);
        let _ = CreateTopicError::from_pb(&refusal);
        let _ = DeleteTopicError::from_pb(&refusal);
        let _ = CreatePartitionsError::from_pb(&refusal);
        let _ = AlterConfigError::from_pb(&refusal);
        let _ = ElectLeaderError::from_pb(&refusal);
        let _ = ReassignError::from_pb(&refusal);
        let _ = UnregisterError::from_pb(&refusal);
    }
}

#[test]
fn a_code_of_a_newer_controller_is_asked_again() {
    for code in [0, 9, 94, 1000, -1] {
        let refusal = pb::Refusal { code, sentence: "the moon is full".to_owned(), ..Default::default() };
        assert_eq!(NotController::from_pb(&refusal), Ok(NotController));
        assert_eq!(RegisterError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(BrokerRequestError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(CreateTopicError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(DeleteTopicError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(CreatePartitionsError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(AlterConfigError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(ElectLeaderError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(ReassignError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(UnregisterError::from_pb(&refusal), Ok(NotController.into()));
        assert_eq!(LeadershipError::from_pb(&refusal), Ok(LeadershipError::NobodyElse));
        let later = AlterPartitionError::from_pb(&refusal);
        assert!(matches!(later, Ok(AlterPartitionError::Ineligible { why: Ineligible::TooSoon(_), .. })), "{later:?}");
    }
}

#[test]
fn a_code_without_its_facts_is_an_error() {
    let refusal = pb::Refusal { code: pb::Code::StaleRun.into(), numbers: vec![1, 2], ..Default::default() };
    assert!(matches!(RegisterError::from_pb(&refusal), Err(DecodeError::Missing(_))));
    let refusal = pb::Refusal { numbers: vec![i64::MAX, 2, 3], ..refusal };
    assert!(matches!(RegisterError::from_pb(&refusal), Err(DecodeError::Range { got: i64::MAX, .. })));
    let refusal = pb::Refusal { code: pb::Code::OtherCluster.into(), ids: vec![vec![1; 15]], ..Default::default() };
    assert!(matches!(RegisterError::from_pb(&refusal), Err(DecodeError::Id { got: 15, .. })));
}

/// Errors of the core hold static text; from a binary that has other text, the sentence is what is left.
#[test]
fn texts_that_this_binary_does_not_have_leave_a_sentence() {
    let conflict = Conflict {
        key: "a.key.of.tomorrow",
        value: "7".to_owned(),
        rule: "has to be twice",
        other: "segment.bytes",
        other_value: "4".to_owned(),
    };
    let sent = CreateTopicError::Config(conflict.into());
    let CreateTopicError::Config(ConfigError::Invalid(read)) =
        CreateTopicError::from_pb(&sent.to_pb()).expect("decoded")
    else {
        panic!("another error")
    };
    assert_eq!((read.key.as_str(), read.value.as_str()), ("a.key.of.tomorrow", "7"));
    assert_eq!(read.allowed, sent.to_string());

    let sent = CreateTopicError::Config(ConfigError::ReadOnly("a.key.of.tomorrow"));
    let read = CreateTopicError::from_pb(&sent.to_pb()).expect("decoded");
    assert!(read.to_string().contains(&sent.to_string()), "{read}");

    let sent = CreateTopicError::Request(InvalidRequest::Internal { operation: "renaming", topic: "__x".to_owned() });
    let read = CreateTopicError::from_pb(&sent.to_pb()).expect("decoded");
    assert_eq!(read.to_string(), "change of internal topic __x is prohibited");
}

#[test]
fn a_kind_of_a_newer_broker_is_an_error() {
    // Field 15, of a message that holds one byte.
    let unknown: [u8; 3] = [0x7a, 1, 0];
    assert_eq!(Up::decode(&unknown), Err(DecodeError::UnknownKind("a message")));
    assert_eq!(Down::decode(&unknown), Err(DecodeError::UnknownKind("a message")));
    let ask = pb::Up { kind: Some(pb::up::Kind::Ask(pb::Ask { id: 1, request: None })) };
    assert_eq!(Up::decode(&ask.encode_to_vec()), Err(DecodeError::UnknownKind("a request")));
    let answer = pb::Down { kind: Some(pb::down::Kind::Answer(pb::Answer { id: 1, answer: None })) };
    assert_eq!(Down::decode(&answer.encode_to_vec()), Err(DecodeError::UnknownKind("an answer")));
}

#[test]
fn producer_ids_that_overflow_are_refused() {
    for (first, count) in [(-1, 10), (5, 0), (5, -3), (i64::MAX - 5, 10)] {
        let block = ProducerIdBlock { first: ProducerId::new(first), count };
        let down = Down::Answer { id: 1, answer: Answer::AllocateProducerIds(Ok(block)) };
        let read = Down::decode(&down.encode().expect("encoded"));
        assert!(matches!(read, Err(DecodeError::Range { .. })), "{read:?}");
    }
}

/// Two bytes of protobuf can become hundreds in memory: nothing but documents may be long.
#[test]
fn only_documents_may_be_long() {
    let long = UP_BYTES_MAX + 1;
    let documents = |documents| Down::Documents { epoch: ControllerEpoch::new(1), view: 2, complete: true, documents };
    let down = documents(vec![Bytes::from(vec![7; long]); 3]);
    assert_eq!(Down::decode(&down.encode().expect("encoded")), Ok(down));

    let many = documents(vec![Bytes::new(); 3_000_000]);
    assert!(matches!(Down::decode(&many.encode().expect("encoded")), Err(DecodeError::TooLong { .. })));

    // An answer of many empty parts, alone and behind documents.
    let mut answer = vec![0x22];
    let parts = [0x0a, 0].repeat(long / 2);
    let mut inside = vec![0x2a];
    prost::encoding::encode_varint(parts.len() as u64, &mut inside);
    inside.extend(parts);
    prost::encoding::encode_varint(inside.len() as u64, &mut answer);
    answer.extend(inside);
    assert!(matches!(Down::decode(&answer), Err(DecodeError::TooLong { .. })));
    let behind = [&documents(Vec::new()).encode().expect("encoded"), &answer[..]].concat();
    assert!(matches!(Down::decode(&behind), Err(DecodeError::TooLong { .. })));

    let partitions = vec![TopicPartition::new(TopicId::ZERO, PartitionIndex::new(1)); 300_000];
    let request = Request::ReplicasLost { broker: BrokerId::new(1), incarnation: Incarnation::new(1), partitions };
    assert!(matches!(Up::Ask { id: 1, request }.encode(), Err(EncodeError::TooLong { .. })));
}

/// These are the bytes of version 1; a change of them is a change of the protocol.
#[test]
fn messages_have_these_bytes() {
    let hex = |bytes: Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let beat = Up::Beat { sequence: 5, run: Incarnation::new(9), view: 300, draining: true, synced: Lsn::new(7) };
    assert_eq!(hex(beat.encode().expect("encoded")), "120b0805100918ac0220012807");
    assert_eq!(hex(Up::Echo { sequence: 5 }.encode().expect("encoded")), "2a020805");
    let ages = BTreeMap::from([(BrokerId::new(2), Duration::from_millis(3))]);
    let most_heard = Some(Duration::from_micros(1_250));
    let beat = Down::Beat { sequence: 5, epoch: ControllerEpoch::new(4), view: 300, ages, most_heard };
    assert_eq!(hex(beat.encode().expect("encoded")), "1a110805100418ac022205080210b81728e209");
    let answer = Answer::Register(Ok(Registered { incarnation: Incarnation::new(9), trusted: true }));
    assert_eq!(
        hex(Down::Answer { id: 1, answer }.encode().expect("encoded")),
        "220808011204100918 01".replace(' ', "")
    );
}
