//! A shard that becomes too large makes their number double, and no topic is lost or seen twice on the way.

use super::cluster::{Cluster, id, ids};
use super::*;

/// Topics of one shard, with so many partitions that the shard is too large.
pub(super) fn too_large() -> Vec<NewTopic> {
    let names = (0..).map(|n| format!("t{n}"));
    let names = names.filter(|name| document::shard_of(name, 16) == ShardId(5));
    let topic = |name: String| {
        let mut topic = named(&name);
        topic.partitions = Some(1800);
        topic
    };
    names.take(8).map(topic).collect()
}

fn shards(store: &Store) -> Vec<Arc<Shard>> {
    let shard = |(document, _): &(Document, u64)| match document {
        Document::Shard(shard) => Some(shard.clone()),
        Document::Root(_) => None,
    };
    store.documents.values().filter_map(shard).collect()
}

/// Every topic is in the one shard that its name hashes to, and in no other.
fn check_places(store: &Store, topics: usize) {
    let count = store.root().shard_count;
    let mut seen = 0;
    for shard in shards(store).iter().filter(|shard| shard.index < count) {
        for name in shard.topics.keys() {
            assert_eq!(document::shard_of(name, count), ShardId(shard.index), "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, topics);
}

#[test]
fn a_shard_that_is_too_large_makes_their_number_double() {
    let mut cluster = Cluster::of(2);
    for topic in too_large() {
        cluster.bench.create_one(topic).expect("created");
    }
    let store = &cluster.bench.store;
    assert_eq!((store.root().shard_count, shards(store).len()), (32, 32));
    check_places(store, 8);
    assert!(shards(store).iter().filter(|shard| !shard.topics.is_empty()).count() > 1, "they are spread");
    assert_eq!(cluster.bench.machine.image().topics().len(), 8);
    assert_eq!(cluster.bench.machine.image().partition_count(), 14_400);
    // Life goes on: elections, creations and the next controller find everything.
    cluster.topic_on("new", &[2, 1], "1");
    cluster.dies(2);
    assert_eq!(cluster.partition("new").leader, Some(id(1)));
    let next = Bench::on(cluster.bench.store, config(1, 9));
    assert_eq!(next.machine.phase(), &Phase::Acting);
    assert_eq!(next.machine.image().topics(), &next.store.topics());
}

#[test]
fn a_controller_that_dies_at_any_write_of_it_leaves_a_cluster_that_is_whole() {
    let mut whole = Cluster::of(1);
    let topics = too_large();
    let (last, first) = topics.split_last().expect("eight");
    for topic in first {
        whole.bench.create_one(topic.clone()).expect("created");
    }
    assert_eq!(whole.bench.store.root().shard_count, 16, "the last one makes it too large");
    for survive in 0..40 {
        let mut store = whole.bench.store.clone();
        let mut machine = Bench::on(store.clone(), config(1, 3)).machine;
        store = Bench::on(store, config(1, 3)).store;
        // It dies after so many writes.
        let mut events = std::collections::VecDeque::from([Event::Ask(
            RequestId(1),
            Request::CreateTopics { topics: vec![last.clone()], validate_only: false },
        )]);
        let mut left = survive;
        while let Some(event) = events.pop_front() {
            let mut effects = Effects::new();
            machine.step(epoch(), event, &mut effects);
            for effect in effects {
                if let Effect::Read { document, token } = effect {
                    events.push_back(Event::Read { document, token, outcome: store.read(document) });
                } else if let Effect::Write(write) = effect
                    && left > 0
                {
                    left -= 1;
                    let outcome = store.write(&write);
                    events.push_back(Event::Wrote { document: write.content.id(), write: write.id(), outcome });
                }
            }
        }
        let expected = store.topics().len();
        let mut next = Bench::on(store, config(1, 4));
        assert_eq!(next.machine.phase(), &Phase::Acting, "after {survive} writes");
        assert_eq!(next.machine.image().topics().len(), expected);
        if expected < 8 {
            next.create_one(last.clone()).expect("created");
        }
        assert_eq!(next.store.root().shard_count, 32, "after {survive} writes");
        check_places(&next.store, 8);
        assert_eq!(next.topic(&last.name).partitions[0].replicas, ids(&[1]));
    }
}
