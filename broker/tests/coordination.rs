//! Embedded coordination on RocksDB is coordination, and keeps its documents across a restart.

use ottla_coordination::{Coordination, Embedded, Expected, Put, conformance};
use ottla_state::Engine;

#[test]
fn embedded_on_rocksdb_is_coordination() {
    let folder = tempfile::tempdir().expect("folder");
    let engine = Engine::new().expect("engine");
    let mut count = 0;
    conformance::all(|| {
        count += 1;
        let table = engine.open(&folder.path().join(count.to_string())).expect("open");
        Embedded::new(table).expect("empty")
    });
}

#[test]
fn documents_and_their_revisions_are_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let open = || {
        let table = Engine::new().expect("engine").open(folder.path()).expect("open");
        Embedded::new(table).expect("readable")
    };
    let put = |content: &'static str, expected| Put { name: "root".into(), content: content.into(), expected };
    let first = open().put(vec![put("1", Expected::Absent)]).remove(0).expect("created");
    let store = open();
    let found = store.get("root").expect("readable").expect("there");
    assert_eq!((&found.content[..], &found.revision), (&b"1"[..], &first));
    let second = store.put(vec![put("2", Expected::At(first.clone()))]).remove(0).expect("written");
    drop(store);
    assert_ne!(first, second);
    let refused = open().put(vec![put("3", Expected::At(first))]).remove(0);
    assert!(refused.is_err(), "an old revision stays old");
}
