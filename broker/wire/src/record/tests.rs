//! Batches: built and read again, refused when wrong, opened within bounds.

use bytes::{Bytes, BytesMut};

use super::*;

fn sample(compression: Compression) -> BatchView {
    let mut builder = BatchBuilder::new(compression).producer(7, 1, 40);
    for index in 0..5_i64 {
        let key = (index % 2 == 0).then(|| format!("key {index}"));
        let value = format!("value {index}").repeat(50);
        let headers = [
            Header { key: "empty".to_owned(), value: Some(Bytes::new()) },
            Header { key: "null".to_owned(), value: None },
        ];
        builder.append(1000 + index, key.as_deref().map(str::as_bytes), Some(value.as_bytes()), &headers);
    }
    builder.append(990, Some(b""), None, &[]);
    builder.build_view().unwrap()
}

#[test]
fn every_compression_gives_the_records_back() {
    for compression in Compression::ALL {
        let batch = check_produced(sample(compression).into_bytes()).unwrap();
        assert_eq!(batch.header().compression().unwrap(), compression);
        assert_eq!((batch.header().last_offset(), batch.header().last_sequence()), (5, 45));
        assert_eq!((batch.header().base_timestamp, batch.header().max_timestamp), (1000, 1004));
        let records: Vec<Record> = RecordIter::new(&batch, 1 << 20).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), 6);
        assert_eq!(records[3].value.as_deref().unwrap(), "value 3".repeat(50).as_bytes());
        assert_eq!((records[3].key.as_deref(), records[4].key.as_deref()), (None, Some(&b"key 4"[..])));
        assert_eq!((records[4].offset, records[4].timestamp), (4, 1004));
        assert_eq!((records[5].key.as_deref(), records[5].value.as_deref()), (Some(&b""[..]), None));
        assert_eq!(records[5].timestamp, 990);
        assert_eq!(records[0].headers[0].value, Some(Bytes::new()));
        assert_eq!(records[0].headers[1].value, None);
    }
}

/// A batch with one byte string written over it and the checksum made right again.
fn changed(at: usize, with: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(&sample(Compression::None).into_bytes()[..]);
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = batch::checksum(&bytes[batch::ATTRIBUTES_AT..]);
    bytes[batch::CRC_AT..batch::ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

#[test]
fn each_failing_check_has_its_own_error() {
    let good = sample(Compression::None).into_bytes();
    let flipped = |at: usize| {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[at] ^= 1;
        check_produced(bytes.freeze())
    };
    assert!(matches!(flipped(100), Err(BatchError::BadCrc { .. })));
    assert!(matches!(flipped(18), Err(BatchError::BadCrc { .. })));
    let cases = [
        (changed(16, &[0]), BatchError::LegacyFormat { magic: 0 }),
        (changed(16, &[1]), BatchError::LegacyFormat { magic: 1 }),
        (changed(16, &[3]), BatchError::UnknownFormat { magic: 3 }),
        (changed(8, &[0, 0, 0, 48]), BatchError::BadLength { length: 48 }),
        (changed(8, &[0xff; 4]), BatchError::BadLength { length: -1 }),
        (changed(8, &[0x7f, 0xff, 0xff, 0xff]), BatchError::Truncated { wanted: 0x8000_000b, left: good.len() }),
        (changed(22, &[5]), BatchError::UnknownCompression { codec: 5 }),
        (changed(57, &[0; 4]), BatchError::BadCount { count: 0, last_offset_delta: 5 }),
        (changed(57, &[0x80, 0, 0, 0]), BatchError::BadCount { count: i32::MIN, last_offset_delta: 5 }),
        (changed(23, &[0, 0, 0, 6]), BatchError::BadCount { count: 6, last_offset_delta: 6 }),
        (changed(7, &[9]), BatchError::BaseOffsetNotZero { base_offset: 9 }),
        (changed(0, &[0xff]), BatchError::BadOffsets { base_offset: -0x0100_0000_0000_0000, last_offset_delta: 5 }),
        (changed(22, &[0x20]), BatchError::ControlFromProducer),
        (
            changed(53, &[0xff; 4]),
            BatchError::ProducerIncomplete { producer_id: 7, producer_epoch: 1, base_sequence: -1 },
        ),
        (
            changed(51, &[0xff; 2]),
            BatchError::ProducerIncomplete { producer_id: 7, producer_epoch: -1, base_sequence: 40 },
        ),
        (Bytes::new(), BatchError::Empty),
        (good.slice(..60), BatchError::Truncated { wanted: 61, left: 60 }),
        (good.slice(..good.len() - 1), BatchError::Truncated { wanted: good.len(), left: good.len() - 1 }),
        ([good.clone(), good.clone()].concat().into(), BatchError::MoreThanOneBatch { left: good.len() }),
    ];
    for (bytes, expected) in cases {
        assert_eq!(check_produced(bytes), Err(expected));
    }
    let no_producer = changed(43, &[0xff; 8]);
    check_produced(no_producer.clone()).unwrap();
    let mut transactional = BytesMut::from(&no_producer[..]);
    transactional[22] = 0x10;
    let crc = batch::checksum(&transactional[batch::ATTRIBUTES_AT..]);
    transactional[batch::CRC_AT..batch::ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(check_produced(transactional.freeze()), Err(BatchError::TransactionWithoutProducer));
}

#[test]
fn placing_a_batch_leaves_the_checksum_right() {
    let batch = sample(Compression::Lz4);
    let shared = batch.bytes().clone();
    let placed = batch.clone().placed(1_000_000, 12);
    placed.check_crc().unwrap();
    assert_eq!(BatchHeader::parse(placed.bytes()).unwrap(), *placed.header());
    assert_eq!((placed.header().base_offset, placed.header().partition_leader_epoch), (1_000_000, 12));
    assert_eq!(placed.header().next_offset(), 1_000_006);
    assert_eq!(placed.bytes()[PREFIX_BYTES..], shared[PREFIX_BYTES..]);
    assert_eq!(placed.bytes()[..PREFIX_BYTES], batch.prefix(1_000_000, 12));
    assert_eq!(BatchHeader::parse(&shared).unwrap().base_offset, 0, "others still see the old bytes");
    check_batch(&mut placed.into_bytes()).unwrap();
}

#[test]
fn the_append_time_is_that_of_every_record() {
    let batch = sample(Compression::Gzip).with_append_time(77);
    batch.check_crc().unwrap();
    assert_eq!(BatchHeader::parse(batch.bytes()).unwrap(), *batch.header());
    assert!(RecordIter::new(&batch, 1 << 20).unwrap().all(|record| record.unwrap().timestamp == 77));
}

#[test]
fn batches_are_walked_until_the_first_that_is_cut_off() {
    let one = sample(Compression::None).into_bytes();
    let two = sample(Compression::Zstd).into_bytes();
    let all = Bytes::from([&one[..], &two[..], &one[..100]].concat());
    let walked: Vec<_> = Batches::new(all).collect();
    assert_eq!(walked.len(), 3);
    assert_eq!(walked[0].as_ref().unwrap().bytes(), &one);
    assert_eq!(walked[1].as_ref().unwrap().bytes(), &two);
    assert_eq!(walked[2], Err(BatchError::Truncated { wanted: one.len(), left: 100 }));
}

#[test]
fn a_bomb_stops_at_the_bound() {
    let zeros = vec![0_u8; 8 << 20];
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(compression);
        builder.append(0, None, Some(&zeros), &[]);
        let batch = builder.build_view().unwrap();
        let Err(RecordError::Compression(CompressionError::TooLarge { max })) = RecordIter::new(&batch, 1 << 20) else {
            panic!("{compression:?} was not stopped");
        };
        assert_eq!(max, 1 << 20);
        assert_eq!(RecordIter::new(&batch, 9 << 20).unwrap().count(), 1);
    }
}

#[test]
fn snappy_is_read_raw_and_framed() {
    let data = Bytes::from(b"snappy ".repeat(20_000));
    let raw = Bytes::from(snap::raw::Encoder::new().compress_vec(&data).unwrap());
    let framed = compress(Compression::Snappy, None, &data).unwrap();
    assert_eq!(framed[..8], *b"\x82SNAPPY\0");
    for compressed in [raw, framed] {
        assert_eq!(decompress(Compression::Snappy, &compressed, data.len()).unwrap(), data);
        assert!(decompress(Compression::Snappy, &compressed, data.len() - 1).is_err());
    }
    // A block that claims 4 GiB is refused before anything is allocated.
    let liar = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    assert!(matches!(decompress(Compression::Snappy, &liar, usize::MAX), Err(CompressionError::Corrupt { .. })));
}

#[test]
fn levels_that_do_not_exist_are_refused() {
    let data = Bytes::from_static(b"data");
    assert!(matches!(compress(Compression::Gzip, Some(10), &data), Err(CompressionError::Refused { .. })));
    for (codec, level) in [(Compression::Gzip, 1), (Compression::Gzip, -1), (Compression::Zstd, 19)] {
        let compressed = compress(codec, Some(level), &data).unwrap();
        assert_eq!(decompress(codec, &compressed, 4).unwrap(), data);
    }
}

#[test]
fn a_count_that_lies_is_an_error_and_not_a_panic() {
    let fewer = changed(57, &[0, 0, 0, 3]);
    let more = changed(57, &[0, 0, 0, 60]);
    let first_error = |mut bytes: Bytes| {
        let batch = BatchView::split_from(&mut bytes).unwrap();
        RecordIter::new(&batch, 1 << 20).unwrap().find_map(Result::err)
    };
    assert!(matches!(first_error(fewer), Some(RecordError::TrailingBytes { .. })));
    assert!(matches!(first_error(more), Some(RecordError::Record { index: 6, .. })));
    let long = changed(61, &[0x7e]);
    assert!(matches!(first_error(long), Some(RecordError::Record { index: 0, .. } | RecordError::RecordLength { .. })));
}

#[test]
fn a_marker_ends_a_transaction() {
    for kind in [ControlType::Abort, ControlType::Commit] {
        let mut bytes = control_batch(kind, 5, 42, 3, 9);
        let batch = check_batch(&mut bytes).unwrap();
        assert!(batch.header().is_control() && batch.header().is_transactional());
        let record = RecordIter::new(&batch, 100).unwrap().next().unwrap().unwrap();
        assert_eq!(ControlType::from_key(&record.key.unwrap()), Some(kind));
        assert_eq!(record.value.unwrap()[..], [0, 0, 0, 0, 0, 9]);
    }
}

#[test]
fn sequences_wrap_to_zero() {
    let mut builder = BatchBuilder::new(Compression::None).producer(1, 0, i32::MAX);
    builder.append(0, None, None, &[]);
    builder.append(0, None, None, &[]);
    assert_eq!(builder.build_view().unwrap().header().last_sequence(), 0);
}
