//! Documents that were restored to an older state, or lost, under brokers that have seen newer ones (A7).

use super::cluster::{Cluster, id, presentation};
use super::*;

const SHARD: DocumentId = DocumentId::Shard(ShardId(3));

fn three() -> Store {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3], "1");
    cluster.store_of()
}

fn seen(broker: i32, document: DocumentId, epoch: i64, version: u64) -> Event {
    let mut presentation = presentation(broker, 1);
    presentation.vector.insert(document, (ControllerEpoch::new(epoch), version));
    Event::Presented(presentation)
}

fn header_of(store: &Store, document: DocumentId) -> (i64, u64) {
    let header = store.documents[&document].0.header();
    (header.epoch.get(), header.version)
}

#[test]
fn a_claimer_acts_only_when_half_of_the_brokers_have_said_what_they_saw() {
    let mut bench = Bench::on(three(), config(1, 2));
    assert_eq!(bench.machine.phase(), &Phase::GatheringVectors);
    assert_eq!(bench.ask(Request::AllocateProducerIds), Answer::AllocateProducerIds(Err(error::NotController)));
    // A disk that the root does not know vouches for nothing, nor does a broker of another cluster.
    bench.feed(Event::Presented(presentation(2, 0)));
    let mut foreign = presentation(2, 1);
    foreign.cluster = ClusterId::ZERO;
    bench.feed(Event::Presented(foreign));
    bench.feed(Event::Presented(presentation(9, 1)));
    assert_eq!(bench.machine.phase(), &Phase::GatheringVectors);
    bench.feed(Event::Presented(presentation(2, 1)));
    assert_eq!(bench.machine.phase(), &Phase::Acting);
    // Who is not registered itself needs half of those that are.
    let mut outsider = Bench::on(three(), config(7, 2));
    outsider.feed(Event::Presented(presentation(2, 1)));
    assert_eq!(outsider.machine.phase(), &Phase::GatheringVectors);
    outsider.feed(Event::Presented(presentation(3, 1)));
    assert_eq!(outsider.machine.phase(), &Phase::Acting);
}

#[test]
fn a_vector_ahead_of_the_documents_stops_the_controller_and_changes_nothing() {
    for late in [false, true] {
        let store = three();
        let (epoch, version) = header_of(&store, SHARD);
        let mut bench = Bench::on(store, config(1, 2));
        if late {
            // Half of the brokers knew no better; the other half comes when it already decides.
            bench.feed(Event::Presented(presentation(2, 1)));
            assert_eq!(bench.machine.phase(), &Phase::Acting);
        }
        let topics = bench.store.topics();
        bench.feed(seen(3, SHARD, epoch, version));
        assert!(bench.halted.is_none(), "as far as there is");
        bench.feed(seen(3, SHARD, epoch, version + 1));
        let halted = bench.halted.expect("stops").to_string();
        assert!(halted.starts_with("MetadataRolledBack") && halted.contains("topics-0003"), "{halted}");
        assert_eq!(bench.store.topics(), topics);
        assert_eq!(bench.machine.phase(), &Phase::Halted);
    }
}

#[test]
fn a_shard_that_the_root_does_not_count_stops_the_controller() {
    for epoch in [1, 9] {
        let mut bench = Bench::on(three(), config(1, 2));
        bench.feed(Event::Presented(presentation(2, 1)));
        bench.feed(seen(3, DocumentId::Shard(ShardId(20)), epoch, 4));
        assert_eq!(bench.halted, Some(Halt::Missing("topics-0020".into())));
    }
}

#[test]
fn a_vector_of_a_later_controller_deposes_and_one_of_nobody_s_stops() {
    let mut old = Bench::on(three(), config(1, 2));
    old.feed(Event::Presented(presentation(2, 1)));
    let mut new = Bench::on(old.store.clone(), config(2, 3));
    new.feed(Event::Presented(presentation(3, 1)));
    assert_eq!(new.machine.phase(), &Phase::Acting);
    let (epoch, version) = header_of(&new.store, SHARD);

    // The old one finds what its successor wrote, and stands down.
    let mut deposed = old;
    let restored = deposed.store.clone();
    deposed.store = new.store;
    deposed.feed(seen(3, SHARD, epoch, version));
    assert!(deposed.halted.is_none());
    assert!(matches!(deposed.machine.phase(), Phase::Backoff(_)), "{:?}", deposed.machine.phase());

    // Where the successor's writes are gone, that is no deposition.
    let mut alone = Bench::on(restored, config(1, 4));
    alone.feed(Event::Presented(presentation(2, 1)));
    alone.feed(seen(3, SHARD, epoch + 5, version));
    assert!(matches!(alone.halted, Some(Halt::RolledBack { .. })), "{:?}", alone.halted);
}

#[test]
fn a_canary_that_takes_metadata_as_it_finds_it_is_not_stopped() {
    let tuning = Tuning { rules: Rules::without(Rule::RolledBackMetadataStops), ..Tuning::default() };
    let mut bench = Bench::on(three(), Config { tuning, ..config(1, 2) });
    bench.feed(seen(3, SHARD, 1, 99));
    assert_eq!(bench.machine.phase(), &Phase::Acting);
    assert!(bench.halted.is_none());
    assert_eq!(id(3), BrokerId::new(3));
}
