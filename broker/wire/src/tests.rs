//! Every message in every version: round trips, agreement with another implementation, hostile bytes.
//!
//! Valid bytes come straight from the schema (`sample`), without the generated code, so that both are tested against
//! each other. The seed of a failing case is printed by proptest.

mod golden;
mod hostile;
mod oracle;
mod round_trip;
mod sample;
#[path = "../build/schema.rs"]
#[expect(dead_code, reason = "the generator uses more of the model than the tests do")]
mod schema;

use crate::message::Entry;
use schema::{Api, Message};

/// A message of the schema beside the code that reads and writes it.
struct Subject {
    schema: Message,
    entry: &'static Entry,
}

/// Generated codecs of the messages that are written by hand: the oracle of those.
static GENERATED_TWINS: &[Entry] = &[
    Entry::of::<crate::messages::produce_request::ProduceRequest>(),
    Entry::of::<crate::messages::produce_response::ProduceResponse>(),
    Entry::of::<crate::messages::fetch_request::FetchRequest>(),
    Entry::of::<crate::messages::fetch_response::FetchResponse>(),
];

fn read_folder<T>(folder: &str, parse: fn(&str) -> Result<T, String>) -> Vec<T> {
    let folder = format!("{}/schema/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| parse(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

fn apis() -> Vec<Api> {
    read_folder("api", schema::parse_api)
}

/// Every message that the crate knows, those written by hand also in their generated form.
fn subjects() -> Vec<Subject> {
    let apis = apis().into_iter().flat_map(|api| [api.request, api.response]);
    let records = read_folder("records", schema::parse_records).into_iter().flatten();
    let entries = || crate::messages::CATALOGUE.iter().chain(crate::records::CATALOGUE).chain(GENERATED_TWINS);
    let mut subjects = Vec::new();
    for schema in apis.chain(records) {
        let before = subjects.len();
        let named = entries().filter(|entry| entry.name == schema.name);
        subjects.extend(named.map(|entry| Subject { schema: schema.clone(), entry }));
        assert!(subjects.len() > before, "{} is in the schema but not in the catalogue", schema.name);
    }
    subjects
}

/// Calls `check` for every message in every version.
fn for_each_version(mut check: impl FnMut(&Subject, i16)) {
    for subject in subjects() {
        for version in subject.entry.versions.clone() {
            check(&subject, version);
        }
    }
}
