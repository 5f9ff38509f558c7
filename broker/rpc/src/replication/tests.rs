//! Frames come back as they were, however they are cut; bytes that are none give a typed error and cost no memory.

mod loopback;

use bytes::{Bytes, BytesMut};
use ottla_core::replica::{Ack, Answer, Lane, Message, Open, Push, SessionNumber, Stamp, Verdict};
use ottla_core::types::*;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64 * 1024;

fn offset() -> impl Strategy<Value = Offset> {
    any::<i64>().prop_map(Offset::new)
}

fn epoch() -> impl Strategy<Value = LeaderEpoch> {
    any::<i32>().prop_map(LeaderEpoch::new)
}

fn session() -> impl Strategy<Value = SessionNumber> {
    any::<u32>().prop_map(SessionNumber)
}

fn run() -> impl Strategy<Value = Incarnation> {
    any::<i64>().prop_map(Incarnation::new)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    any::<u64>().prop_map(Stamp)
}

fn push() -> impl Strategy<Value = Push> {
    (epoch(), run(), session(), offset(), offset(), (offset(), offset()), stamp()).prop_map(
        |(epoch, incarnation, session, base, end, (high_watermark, log_start), stamp)| Push {
            epoch,
            incarnation,
            session,
            base,
            end,
            high_watermark,
            log_start,
            stamp,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let open = (epoch(), run(), session(), offset(), proptest::option::of(epoch()), offset()).prop_map(
        |(epoch, incarnation, session, start, last_epoch, end)| {
            Message::Open(Open { epoch, incarnation, session, start, last_epoch, end })
        },
    );
    let verdict = prop_oneof![
        offset().prop_map(Verdict::PushFrom),
        (epoch(), offset()).prop_map(|(epoch, end)| Verdict::TruncateTo { epoch, end }),
        offset().prop_map(Verdict::StartOver),
        Just(Verdict::Refused),
    ];
    let answer = (epoch(), run(), session(), verdict, offset(), offset(), stamp()).prop_map(
        |(epoch, incarnation, session, verdict, high_watermark, log_start, stamp)| {
            Message::Answer(Answer { epoch, incarnation, session, verdict, high_watermark, log_start, stamp })
        },
    );
    let ack = (epoch(), run(), session(), offset(), offset(), stamp()).prop_map(
        |(epoch, incarnation, session, end, log_start, stamp)| {
            Message::Ack(Ack { epoch, incarnation, session, end, log_start, stamp })
        },
    );
    prop_oneof![open, answer, push().prop_map(Message::Push), ack]
}

fn item() -> impl Strategy<Value = Item> {
    let broker = || any::<i32>().prop_map(BrokerId::new);
    let lane = prop_oneof![Just(Lane::Live), Just(Lane::CatchUp)];
    let hello = (any::<u32>(), any::<[u8; 16]>(), broker(), broker(), run(), lane).prop_map(
        |(version, cluster, from, to, incarnation, lane)| {
            let cluster = ClusterId::from_bytes(cluster);
            Item::Hello { version, cluster, from, to, incarnation, lane }
        },
    );
    let welcome =
        (any::<u32>(), broker(), run(), any::<u64>()).prop_map(|(version, from, incarnation, credit_bytes)| {
            Item::Welcome { version, from, incarnation, credit_bytes }
        });
    let between = (any::<[u8; 16]>(), any::<i32>(), message()).prop_map(|(topic, partition, message)| {
        let partition = TopicPartition::new(TopicId::from_bytes(topic), PartitionIndex::new(partition));
        Item::Message { partition, message }
    });
    let refused = ".{0,40}".prop_map(|reason| Item::Refused { reason });
    let returned = any::<u64>().prop_map(|bytes| Item::Returned { bytes });
    prop_oneof![1 => hello, 1 => welcome, 1 => refused, 2 => returned, 8 => between]
}

/// A frame, with bytes behind it if it may have any.
fn frame() -> impl Strategy<Value = (Item, Bytes)> {
    (item(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(item, records)| {
        let records = if item.may_have_bytes() { records.into() } else { Bytes::new() };
        (item, records)
    })
}

fn bytes_of(frames: &[(Item, Bytes)]) -> Bytes {
    let mut out = BytesMut::new();
    for (item, records) in frames {
        put(item, records.len(), &mut out);
        out.extend_from_slice(records);
    }
    out.freeze()
}

fn drain(decoder: &mut Decoder) -> Result<Vec<(Item, Bytes)>, FrameError> {
    std::iter::from_fn(|| decoder.next().transpose()).collect()
}

fn a_push(end: i64) -> Item {
    let partition = TopicPartition::new(TopicId::from_bytes(*b"0123456789abcdef"), PartitionIndex::new(7));
    let push = Push {
        epoch: LeaderEpoch::new(12),
        incarnation: Incarnation::new(5),
        session: SessionNumber(3),
        base: Offset::new(1_000_000),
        end: Offset::new(end),
        high_watermark: Offset::new(999_990),
        log_start: Offset::new(5),
        stamp: Stamp(86_400_000_000),
    };
    Item::Message { partition, message: Message::Push(push) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_come_back_however_they_are_cut(
        frames in proptest::collection::vec(frame(), 0..8),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        drained in any::<bool>(),
    ) {
        let bytes = bytes_of(&frames);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let (mut decoder, mut found, mut from) = (Decoder::new(LIMIT), Vec::new(), 0);
        for to in cuts {
            decoder.feed(bytes.slice(from..to));
            from = to;
            if drained {
                found.extend(drain(&mut decoder).expect("frames"));
            }
        }
        found.extend(drain(&mut decoder).expect("frames"));
        prop_assert_eq!(found, frames);
        prop_assert!(decoder.is_between_frames());
    }

    #[test]
    fn garbage_gives_a_typed_error_or_waits(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let mut decoder = Decoder::new(LIMIT);
        for piece in pieces {
            decoder.feed(piece.into());
            let first = drain(&mut decoder).err();
            prop_assert_eq!(first, decoder.next().err(), "an error stays");
        }
    }

    #[test]
    fn garbage_in_an_honest_prefix_gives_a_typed_error(header in proptest::collection::vec(any::<u8>(), 0..200)) {
        let length = u32::try_from(header.len()).expect("small");
        let mut decoder = Decoder::new(LIMIT);
        decoder.feed([&[0][..], &(length + 4).to_be_bytes(), &length.to_be_bytes(), &header].concat().into());
        let _ = drain(&mut decoder);
    }

    #[test]
    fn a_changed_byte_gives_no_panic(frames in proptest::collection::vec(frame(), 1..4), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = bytes_of(&frames).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let mut decoder = Decoder::new(LIMIT);
        decoder.feed(bytes.into());
        let _ = drain(&mut decoder);
    }
}

#[test]
fn records_in_one_piece_are_not_copied() {
    let records = Bytes::from(vec![7; 1000]);
    let mut head = BytesMut::new();
    put(&Item::Returned { bytes: 1 }, 0, &mut head);
    put(&a_push(1_000_010), records.len(), &mut head);
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(head.freeze());
    decoder.feed(records.clone());
    let found = drain(&mut decoder).expect("frames");
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].1.as_ptr(), records.as_ptr());

    let whole = bytes_of(&[(a_push(1_000_010), records.clone()), (a_push(1_000_020), records)]);
    decoder.feed(whole.clone());
    for (_, records) in drain(&mut decoder).expect("frames") {
        assert!(whole.as_ptr_range().contains(&records.as_ptr()));
    }
}

#[test]
fn a_frame_that_comes_byte_by_byte_keeps_no_more_than_it_has() {
    let frame = bytes_of(&[(a_push(1_000_010), Bytes::from(vec![7; 5000]))]);
    let mut decoder = Decoder::new(LIMIT);
    for at in 0..frame.len() - 1 {
        decoder.feed(frame.slice(at..=at));
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.kept() <= 5000 + 256, "{} bytes after {at}", decoder.kept());
        assert!(!decoder.is_between_frames());
    }
    decoder.feed(frame.slice(frame.len() - 1..));
    assert_eq!(decoder.next().expect("a frame").expect("whole").1.len(), 5000);
    assert!(decoder.is_between_frames());
}

/// Nine bytes, then nothing: what they ask for is refused before anything is kept for it.
#[test]
fn lengths_that_lie_are_refused_at_once() {
    let prefix = |first: u8, all: u32, header: u32| {
        let bytes = [&[first][..], &all.to_be_bytes(), &header.to_be_bytes()].concat();
        let mut decoder = Decoder::new(LIMIT);
        decoder.feed(bytes.into());
        let error = decoder.next();
        assert_eq!(decoder.kept(), 0);
        decoder.feed(Bytes::from(vec![0; LIMIT]));
        assert_eq!(decoder.kept(), 0, "after an error nothing is kept");
        error.expect_err("refused")
    };
    let long = u32::try_from(LIMIT).expect("small") + 1;
    assert_eq!(prefix(1, 4, 0), FrameError::Compressed(1));
    assert_eq!(prefix(0, long, 0), FrameError::TooLong { got: LIMIT + 1, max: LIMIT });
    assert_eq!(prefix(0, u32::MAX, u32::MAX), FrameError::TooLong { got: 0xffff_ffff, max: LIMIT });
    assert_eq!(prefix(0, 3, 0), FrameError::HeaderLength { got: 0, frame: 3 });
    assert_eq!(prefix(0, 10, 7), FrameError::HeaderLength { got: 7, frame: 10 });
    assert_eq!(prefix(0, 60_000, 20_000), FrameError::HeaderLength { got: 20_000, frame: 60_000 });
    assert_eq!(prefix(0, 4, 0), FrameError::UnknownKind("frame"));
}

#[test]
fn the_length_is_judged_before_the_rest_of_the_prefix_is_there() {
    let mut decoder = Decoder::new(LIMIT);
    for byte in [0, 0xff, 0, 0] {
        decoder.feed(Bytes::from(vec![byte]));
        assert_eq!(decoder.next(), Ok(None));
    }
    decoder.feed(Bytes::from_static(&[0]));
    assert_eq!(decoder.next(), Err(FrameError::TooLong { got: 0xff00_0000, max: LIMIT }));
}

#[test]
fn records_behind_anything_but_a_push_are_refused() {
    let mut out = BytesMut::new();
    put(&Item::Returned { bytes: 1 }, 5, &mut out);
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(out.freeze());
    assert_eq!(decoder.next(), Err(FrameError::StrayRecords(5)));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut out = BytesMut::new();
    put(&Item::Refused { reason: "ä€".repeat(4000) }, 0, &mut out);
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(out.freeze());
    let Ok(Some((Item::Refused { reason }, _))) = decoder.next() else { panic!("no refusal") };
    assert!((4090..=4096).contains(&reason.len()), "{}", reason.len());
    assert!("ä€".repeat(4000).starts_with(&reason));
}

/// These are the bytes of version 1; a change of them is a change of the protocol.
#[test]
fn a_push_has_these_bytes() {
    let mut out = BytesMut::new();
    put(&a_push(1_000_010), 300, &mut out);
    let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
    let prefix = "00 00000161 00000031";
    let topic = "09 3736353433323130 11 6665646362613938 18 07";
    let push = "22 1b 080c 1003 18c0843d 20ca843d 28b6843d 3080c0ddeec102 3805 4005";
    assert_eq!(hex, [prefix, topic, push].concat().replace(' ', ""));
}
