//! The examples that people copy are read without a mistake, and mean what they say.

use std::path::PathBuf;

use ottla_crds::manifest;
use ottla_dev::compose::compose;

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples")
}

#[test]
fn every_example_can_be_run() {
    let mut count = 0;
    for entry in examples().read_dir().unwrap() {
        let path = entry.unwrap().path();
        let read = manifest::load(std::slice::from_ref(&path)).unwrap_or_else(|problems| panic!("{problems}"));
        compose(&read, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(read.skipped.is_empty(), "{}: {:?}", path.display(), read.skipped);
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn the_quickstart_declares_what_the_demo_fills() {
    let read = manifest::load(&[examples().join("quickstart.yaml")]).unwrap();
    let composition = compose(&read, &[]).unwrap();
    let topics: Vec<_> = composition.topics.iter().map(|topic| (topic.name.as_str(), topic.partitions)).collect();
    assert_eq!(topics, [("flights", 6), ("earthquakes", 3), ("stocks", 1)]);
    // The records are older than any retention.
    assert!(composition.topics.iter().all(|topic| topic.config["retention.ms"] == "-1"));
    assert_eq!(composition.notes, ["ignored on one machine: pools[].storage (records are in --data-dir)"]);
}
