//! Messages: what is accepted can be written and is read as the same again.
//!
//! An input of the target `message` names the message and the version in its first three bytes.

use bytes::Bytes;
use ottla_wire::header::RequestHeader;
use ottla_wire::message::Entry;
use ottla_wire::{ApiKey, Kind, Reader, Writer, messages, records};

fn entries() -> Vec<&'static Entry> {
    messages::CATALOGUE.iter().chain(records::CATALOGUE).collect()
}

/// Reads, writes, reads and writes: the second writing gives the bytes of the first.
fn check(entry: &Entry, version: i16, bytes: Bytes) {
    let Ok(written) = (entry.recode)(bytes, version) else { return };
    let again = (entry.recode)(written.clone(), version);
    assert_eq!(again.as_ref(), Ok(&written), "{} {version}", entry.name);
}

pub(crate) fn run(data: &[u8]) {
    let Some(([high, low, version], bytes)) = data.split_first_chunk() else { return };
    let entries = entries();
    let entry = entries[usize::from(u16::from_be_bytes([*high, *low])) % entries.len()];
    let span = entry.versions.end() - entry.versions.start() + 1;
    check(entry, entry.versions.start() + i16::from(*version) % span, Bytes::copy_from_slice(bytes));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, entry) in (0_u16..).zip(entries()) {
        for version in entry.versions.clone() {
            let [high, low] = index.to_be_bytes();
            let default = (entry.default)(version).unwrap_or_default();
            seeds.push([&[high, low, (version - entry.versions.start()) as u8][..], &default].concat());
        }
    }
    seeds
}

pub(crate) fn run_frame(data: &[u8]) {
    let mut r = Reader::new(Bytes::copy_from_slice(data));
    let Ok(header) = RequestHeader::decode(&mut r) else { return };
    let key = ApiKey::from_code(header.api_key).expect("the header of an unknown API is refused");
    let entry = messages::CATALOGUE.iter().find(|entry| entry.kind == Kind::Request(key)).expect("every API is there");
    check(entry, header.api_version, r.rest());
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for entry in messages::CATALOGUE {
        let Kind::Request(key) = entry.kind else { continue };
        for api_version in entry.versions.clone() {
            let header =
                RequestHeader { api_key: key.code(), api_version, correlation_id: 1, client_id: Some("x".to_owned()) };
            let mut w = Writer::new();
            header.encode(&mut w).expect("a short client id");
            w.raw(&(entry.default)(api_version).unwrap_or_default());
            seeds.push(w.into_bytes().to_vec());
        }
    }
    seeds
}
