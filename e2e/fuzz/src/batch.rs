//! Record batches and compressions.
//!
//! Owns what must hold of every batch that is accepted: it can be placed and stays valid, its records number what its
//! header says or end in an error, and nothing comes out of a payload beyond the bound.

use bytes::Bytes;
use ottla_wire::record::{
    BatchBuilder, BatchHeader, BatchView, Batches, Compression, Header, RecordIter, check_batch, check_produced,
    compress, decompress,
};

/// What a payload may decompress to here.
const DECOMPRESSED_MAX: usize = 1 << 20;

pub(crate) fn run(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(batch) = check_produced(bytes.clone()) {
        assert_eq!(batch.bytes().len(), data.len(), "exactly one batch");
        assert_eq!(batch.header().next_offset(), i64::from(batch.header().record_count));
    }
    for batch in Batches::new(bytes).flatten() {
        placed(&batch);
        let Ok(records) = RecordIter::new(&batch, DECOMPRESSED_MAX) else { continue };
        let read: Vec<_> = records.collect();
        if read.iter().all(Result::is_ok) {
            assert_eq!(read.len(), batch.header().record_count.max(0) as usize);
        }
    }
}

fn placed(batch: &BatchView) {
    let valid = check_batch(&mut batch.bytes().clone()).is_ok();
    let placed = batch.clone().placed(1 << 40, 7);
    assert_eq!(BatchHeader::parse(placed.bytes()).as_ref(), Ok(placed.header()));
    assert!(!valid || check_batch(&mut placed.bytes().clone()).is_ok(), "placing a batch keeps it valid");
    let stamped = batch.clone().with_append_time(12345);
    assert_eq!(BatchHeader::parse(stamped.bytes()).as_ref(), Ok(stamped.header()));
    stamped.check_crc().expect("the append time comes with its checksum");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for compression in Compression::ALL {
        for count in [1, 20] {
            let mut builder = BatchBuilder::new(compression).producer(1, 0, 0);
            for time in 0..count {
                let header = Header { key: "h".to_owned(), value: None };
                builder.append(time, Some(b"key"), Some(&[b'v'; 30]), &[header]);
            }
            seeds.push(builder.build().expect("few records").to_vec());
        }
    }
    let all = seeds.concat();
    seeds.push(all);
    seeds
}

pub(crate) fn run_compression(data: &[u8]) {
    let Some((codec, data)) = data.split_first() else { return };
    let codec = Compression::ALL[usize::from(*codec) % Compression::ALL.len()];
    let data = Bytes::copy_from_slice(data);
    for max in [100, DECOMPRESSED_MAX] {
        if let Ok(out) = decompress(codec, &data, max) {
            assert!(out.len() <= max, "{codec:?} gave {} bytes, {max} are allowed", out.len());
        }
    }
    let compressed = compress(codec, None, &data).expect("anything can be compressed");
    assert_eq!(decompress(codec, &compressed, data.len()).expect("what was compressed can be read"), data);
}

pub(crate) fn compression_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, codec) in (0_u8..).zip(Compression::ALL) {
        for data in [&b""[..], b"abc", &b"abcabcabd".repeat(30)] {
            let compressed = compress(codec, None, &Bytes::copy_from_slice(data)).expect("few bytes");
            seeds.push([&[index], &compressed[..]].concat());
        }
    }
    seeds
}
