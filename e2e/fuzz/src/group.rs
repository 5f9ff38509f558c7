//! The records of the group coordinator: what is accepted is written and read as the same again.
//!
//! An input is a key and a value; its first byte is the length of the key.

use bytes::Bytes;
use ottla_core::group::Record;
use ottla_wire::message::Entry;
use ottla_wire::{Kind, records};

pub(crate) fn run(data: &[u8]) {
    let Some((split, data)) = data.split_first() else { return };
    let (key, value) = data.split_at(usize::from(*split).min(data.len()));
    let value = (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
    let Ok(Some(record)) = Record::decode(Bytes::copy_from_slice(key), value) else { return };
    // Old versions and oversized strings may not be written again; what can be, means the same.
    let Ok((key, value)) = record.encode() else { return };
    let again = Record::decode(key, value).expect("what was written can be read");
    assert_eq!(again.map(|record| record.encode()), Some(record.encode()));
}

fn entry(kind: Kind) -> Option<&'static Entry> {
    records::CATALOGUE.iter().find(|entry| entry.kind == kind)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for number in 0..3_i16 {
        let (Some(key), Some(value)) = (entry(Kind::Key(number)), entry(Kind::Value(number))) else { continue };
        let key = [&number.to_be_bytes()[..], &(key.default)(0).unwrap_or_default()].concat();
        for version in value.versions.clone() {
            let value = [&version.to_be_bytes()[..], &(value.default)(version).unwrap_or_default()].concat();
            seeds.push([&[key.len() as u8][..], &key, &value].concat());
        }
        seeds.push([&[key.len() as u8][..], &key].concat());
    }
    seeds
}
