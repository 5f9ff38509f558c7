//! Documents that were restored to an older state, or lost, under brokers that have seen newer ones (A7).

use super::cluster::{Cluster, id, presentation};
use super::*;

const SHARD: DocumentId = DocumentId::Shard(ShardId(3));

fn three() -> Store {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3], "1");
    cluster.store_of()
}

/// The broker has seen the document so.
fn saw(broker: i32, document: DocumentId, seen: Seen) -> Event {
    let mut presentation = presentation(broker, 1);
    presentation.vector.insert(document, seen);
    Event::Presented(presentation)
}

/// How the document is stored.
fn state_of(store: &Store, document: DocumentId) -> Seen {
    store.documents[&document].0.header().seen()
}

/// So many versions later, by the same controller.
fn later(seen: Seen, by: u64) -> Seen {
    Seen { version: seen.version + by, ..seen }
}

/// What a controller that is not stopped would do: claim one document after the other.
fn untouched(bench: &Bench, before: &Store) {
    assert_eq!(bench.writes, 0);
    assert!(before.documents.iter().all(|(id, document)| bench.store.documents[id] == *document));
}

#[test]
fn nothing_is_claimed_before_half_of_the_brokers_have_said_what_they_saw() {
    let store = three();
    let mut bench = Bench::on(store.clone(), config(1, 2));
    assert_eq!(bench.machine.phase(), &Phase::GatheringVectors);
    assert_eq!(bench.gathered, [1, 2, 3].map(id));
    assert_eq!(bench.ask(Request::AllocateProducerIds), Answer::AllocateProducerIds(Err(error::NotController)));
    // A disk that the root does not know vouches for nothing, nor does a broker of another cluster.
    bench.feed(Event::Presented(presentation(2, 0)));
    let mut foreign = presentation(2, 1);
    foreign.cluster = ClusterId::ZERO;
    bench.feed(Event::Presented(foreign));
    bench.feed(Event::Presented(presentation(9, 1)));
    assert_eq!(bench.machine.phase(), &Phase::GatheringVectors);
    untouched(&bench, &store);
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
        let last = state_of(&store, SHARD);
        let mut bench = Bench::on(store, config(1, 2));
        if late {
            // Half of the brokers knew no better; the other half comes when it already decides.
            bench.feed(Event::Presented(presentation(2, 1)));
            assert_eq!(bench.machine.phase(), &Phase::Acting);
        }
        let topics = bench.store.topics();
        bench.feed(saw(3, SHARD, last));
        assert!(bench.halted.is_none(), "as far as there is");
        bench.feed(saw(3, SHARD, later(last, 1)));
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
        bench.feed(saw(
            3,
            DocumentId::Shard(ShardId(20)),
            Seen { epoch: ControllerEpoch::new(epoch), version: 4, ..Seen::default() },
        ));
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
    let last = state_of(&new.store, SHARD);

    // The old one finds what its successor wrote, and stands down.
    let mut deposed = old;
    let restored = deposed.store.clone();
    deposed.store = new.store;
    deposed.feed(saw(3, SHARD, last));
    assert!(deposed.halted.is_none());
    assert!(matches!(deposed.machine.phase(), Phase::Backoff(_)), "{:?}", deposed.machine.phase());

    // Where the successor's writes are gone, that is no deposition.
    let mut alone = Bench::on(restored, config(1, 4));
    alone.feed(Event::Presented(presentation(2, 1)));
    alone.feed(saw(3, SHARD, Seen { epoch: ControllerEpoch::new(last.epoch.get() + 5), ..last }));
    assert!(matches!(alone.halted, Some(Halt::RolledBack { .. })), "{:?}", alone.halted);
}

#[test]
fn a_canary_that_takes_metadata_as_it_finds_it_is_not_stopped() {
    let tuning = Tuning { rules: Rules::without(Rule::RolledBackMetadataStops), ..Tuning::default() };
    let mut bench = Bench::on(three(), Config { tuning, ..config(1, 2) });
    bench.feed(saw(3, SHARD, later(Seen::default(), 99)));
    assert_eq!(bench.machine.phase(), &Phase::Acting);
    assert!(bench.halted.is_none());
    assert_eq!(id(3), BrokerId::new(3));
}

/// A document is put back to an older state between the first controller's start and its end; the next one finds it.
#[test]
fn a_controller_that_is_deposed_before_it_has_heard_anybody_hides_nothing() {
    let mut store = three();
    let last = state_of(&store, SHARD);
    let stale = Store::initialised().documents[&SHARD].clone();
    store.documents.insert(SHARD, stale.clone());

    let first = Bench::on(store.clone(), config(1, 2));
    untouched(&first, &store);
    let mut second = Bench::on(first.store, config(2, 3));
    second.feed(saw(3, SHARD, last));
    assert!(matches!(second.halted, Some(Halt::RolledBack { .. })), "{:?}", second.halted);
    assert_eq!(second.store.documents[&SHARD], stale, "it still is what it was");
}

#[test]
fn brokers_that_joined_while_it_waited_have_to_speak_too() {
    let mut cluster = Cluster::of(3);
    let mut next = Bench::on(cluster.bench.store.clone(), config(1, 2));
    for broker in 4..=6 {
        cluster.starts(broker, 0);
    }
    next.store = cluster.store_of();
    let writes = next.store.writes;
    // Two of the three that it had read; the root is not as it was, and there are six.
    next.feed(Event::Presented(presentation(2, 1)));
    assert_eq!((next.machine.phase(), next.store.writes), (&Phase::GatheringVectors, writes));
    assert_eq!(next.gathered, (1..=6).map(id).collect::<Vec<_>>());
    next.feed(Event::Presented(presentation(6, 1)));
    assert_eq!(next.machine.phase(), &Phase::Acting);
}

#[test]
fn a_root_that_was_read_before_a_broker_saw_a_newer_one_is_read_again() {
    let mut cluster = Cluster::of(3);
    let mut next = Bench::on(cluster.bench.store.clone(), config(1, 2));
    cluster.starts(4, 0);
    next.store = cluster.store_of();
    let last = state_of(&next.store, DocumentId::Root);
    next.feed(saw(2, DocumentId::Root, last));
    assert_eq!(next.machine.phase(), &Phase::Acting, "half of the four that there are by now");
    // Had it gone back, that would be no reason to go on.
    let mut next = Bench::on(three(), config(1, 2));
    let before = next.store.clone();
    next.feed(saw(2, DocumentId::Root, later(last, 100)));
    assert!(matches!(next.halted, Some(Halt::RolledBack { .. })), "{:?}", next.halted);
    untouched(&next, &before);
}

/// A controller that was deposed and claims again knows what it wrote itself.
#[test]
fn its_own_writes_count_when_it_claims_again() {
    let mut bench = Bench::ready();
    bench.create_one(named("a")).expect("created");
    let mut restored = bench.store.clone();
    bench.create_one(named("b")).expect("created");
    let shard = DocumentId::Shard(document::shard_of("b", document::SHARD_COUNT));
    let newer = bench.store.documents[&shard].0.header().version;
    assert!(restored.documents[&shard].0.header().version < newer);
    // A successor takes the root alone; then a shard goes back.
    bench.store.claim_root(SessionId([9; 16]));
    restored.documents.insert(DocumentId::Root, bench.store.documents[&DocumentId::Root].clone());
    bench.store = restored;
    bench.feed(Event::Ask(RequestId(99), Request::AllocateProducerIds));
    assert!(matches!(bench.machine.phase(), Phase::Backoff(_)));
    bench.now += Duration::from_secs(1);
    bench.feed(Event::Tick);
    assert!(matches!(&bench.halted, Some(Halt::RolledBack { document, .. }) if *document == shard.to_string()));
}

/// A topic's shard went back, and half of the brokers know no better: they were away. A controller decides on it, and
/// others after it. Whenever the one that does know comes, it is heard (A7).
#[test]
fn claims_do_not_make_a_branch_look_newer_than_what_was_lost() {
    let older = three();
    let mut cluster = Bench::on(older.clone(), config(1, 2));
    cluster.feed(Event::Presented(presentation(2, 1)));
    let shard = DocumentId::Shard(document::shard_of("b", document::SHARD_COUNT));
    cluster.create_one(named("b")).expect("created");
    let lost = state_of(&cluster.store, shard);
    let mut store = cluster.store;
    store.documents.insert(shard, older.documents[&shard].clone());
    for (me, session, late) in [(1, 3, false), (2, 4, false), (1, 5, true)] {
        let mut next = Bench::on(store, config(me, session));
        next.feed(Event::Presented(presentation(if me == 1 { 2 } else { 1 }, 1)));
        assert_eq!(next.machine.phase(), &Phase::Acting);
        assert!(state_of(&next.store, shard).epoch > lost.epoch);
        if late {
            next.feed(saw(3, shard, lost));
            assert!(matches!(next.halted, Some(Halt::RolledBack { .. })), "{:?}", next.halted);
        }
        store = next.store;
    }
}

/// The root went back too, and an epoch is allotted once more.
#[test]
fn two_controllers_of_one_epoch_are_told_apart() {
    let before = three();
    let run = |me, session: u8| {
        let mut bench = Bench::on(before.clone(), config(me, session));
        bench.feed(Event::Presented(presentation(2, 1)));
        bench.feed(Event::Presented(presentation(3, 1)));
        assert_eq!(bench.machine.phase(), &Phase::Acting);
        bench
    };
    let lost = run(1, 2);
    let mut next = run(2, 3);
    let (one, other) = (state_of(&lost.store, SHARD), state_of(&next.store, SHARD));
    assert_eq!((one.epoch, one.version), (other.epoch, other.version));
    next.feed(saw(1, SHARD, other));
    assert!(next.halted.is_none());
    next.feed(saw(1, SHARD, one));
    assert!(matches!(next.halted, Some(Halt::RolledBack { .. })), "{:?}", next.halted);
}

/// A controller whose documents went back while it decided is not merely deposed by whoever claims them then.
#[test]
fn a_successor_on_a_branch_is_no_successor() {
    let before = three();
    let mut acting = Bench::on(before.clone(), config(1, 2));
    acting.feed(Event::Presented(presentation(2, 1)));
    acting.create_one(named("b")).expect("created");
    let mut branch = Bench::on(before, config(2, 3));
    branch.feed(Event::Presented(presentation(3, 1)));
    let mut again = Bench::on(branch.store, config(2, 4));
    again.feed(Event::Presented(presentation(3, 1)));
    acting.store = again.store;
    acting.feed(Event::Ask(RequestId(99), Request::AllocateProducerIds));
    assert!(matches!(acting.halted, Some(Halt::RolledBack { .. })), "{:?}", acting.halted);
}

// A7
#[test]
fn what_a_broker_took_in_since_it_started_counts_when_it_claims() {
    let bench = Bench::ready();
    let newest = bench.store.root().header.seen();
    // It started on an empty directory and followed another controller; then the root was restored to before anybody.
    let mut machine = Machine::new(config(2, 2));
    let (mut out, registered) = (Effects::new(), [BrokerId::new(1), BrokerId::new(2)].into());
    let seen = [(DocumentId::Root, newest)].into();
    machine.step(epoch(), Event::Followed { epoch: newest.epoch, registered, seen }, &mut out);
    machine.step(epoch(), Event::Lease(LeaseSeen::Ours(Revision("1".into()))), &mut out);
    let Some(Effect::Read { document, token }) = out.pop() else { panic!("{out:?}") };
    let outcome = Store::initialised().read(document);
    machine.step(epoch(), Event::Read { document, token, outcome }, &mut out);
    assert!(matches!(out.last(), Some(Effect::Halted(Halt::RolledBack { .. }))), "{out:?}");
}
