//! Partitions that move, brokers that stop and brokers that go for good.

use super::cluster::{Cluster, id, ids};
use super::*;
use crate::controller::error::{AlterPartitionError, Ineligible, ReassignError, UnregisterError};
use crate::metadata::Reassignment;

fn named_partition(topic: &str) -> NamedPartition {
    NamedPartition { topic: topic.into(), partition: PartitionIndex::new(0) }
}

impl Cluster {
    fn moves(&mut self, topic: &str, target: Option<&[i32]>) -> Result<(), ReassignError> {
        let moves = vec![Move { partition: named_partition(topic), target: target.map(ids) }];
        let Answer::Reassign(mut results) = self.bench.ask(Request::Reassign { moves, may_change_factor: true }) else {
            panic!("other answer")
        };
        results.remove(0)
    }

    fn moving(&mut self) -> Vec<Moving> {
        let request = Request::ListReassignments { partitions: None };
        let Answer::ListReassignments(Ok(moving)) = self.bench.ask(request) else { panic!("refused") };
        moving
    }

    fn wants_to_stop(&mut self, broker: i32) -> StopState {
        let request = Request::PrepareStop { broker: id(broker), incarnation: self.alive[&broker] };
        let Answer::PrepareStop(Ok(state)) = self.bench.ask(request) else { panic!("refused") };
        state
    }
}

// L3
#[test]
fn a_partition_moves_when_every_target_is_in_sync_and_not_before() {
    let mut cluster = Cluster::of(5);
    cluster.topic_on("a", &[1, 2, 3], "2");
    cluster.moves("a", Some(&[4, 5, 3])).expect("begins");
    let a = cluster.partition("a");
    let aim = Reassignment { origin: ids(&[1, 2, 3]), target: ids(&[4, 5, 3]) };
    assert_eq!((a.replicas.clone(), a.isr, a.reassignment), (ids(&[1, 2, 3, 4, 5]), ids(&[1, 2, 3]), Some(aim)));
    let moving = cluster.moving();
    assert_eq!((moving[0].adding.clone(), moving[0].removing.clone()), (ids(&[4, 5]), ids(&[1, 2])));
    let a = cluster.wants_isr("a", &[1, 2, 3, 4]).expect("4 has caught up");
    assert_eq!((a.leader, a.replicas.len()), (Some(id(1)), 5));
    // A target falls out again: it is not done although the other one comes.
    cluster.wants_isr("a", &[1, 2, 4]).expect("3 is slow");
    let a = cluster.wants_isr("a", &[1, 2, 4, 5]).expect("5 has caught up");
    assert!(a.reassignment.is_some(), "3 is a target and not in sync");
    cluster.pass(2000);
    let epoch = cluster.partition("a").leader_epoch;
    let a = cluster.wants_isr("a", &[1, 2, 3, 4, 5]).expect("3 is back");
    assert_eq!((a.replicas, a.reassignment, a.leader), (ids(&[4, 5, 3]), None, Some(id(4))));
    assert_eq!(a.isr, ids(&[3, 4, 5]));
    assert_eq!(a.leader_epoch.get(), epoch.get() + 1);
    assert!(cluster.moving().is_empty());
}

#[test]
fn a_move_is_cancelled_or_aimed_anew() {
    let mut cluster = Cluster::of(4);
    cluster.topic_on("a", &[1, 2], "1");
    assert_eq!(cluster.moves("a", None), Err(ReassignError::NoneInProgress));
    assert_eq!(cluster.moves("b", None), Err(ReassignError::Unknown));
    cluster.moves("a", Some(&[3, 4])).expect("begins");
    cluster.wants_isr("a", &[1, 2, 3]).expect("3 has caught up");
    cluster.moves("a", Some(&[4])).expect("aims at 4 alone");
    let a = cluster.partition("a");
    assert_eq!((a.replicas, a.isr), (ids(&[1, 2, 4]), ids(&[1, 2])));
    cluster.moves("a", None).expect("cancelled");
    let a = cluster.partition("a");
    assert_eq!((a.replicas, a.isr, a.reassignment), (ids(&[1, 2]), ids(&[1, 2]), None));
    // Another order, or fewer, is done at once if those that stay are in sync.
    cluster.moves("a", Some(&[2, 1])).expect("reordered");
    assert_eq!(cluster.partition("a").replicas, ids(&[2, 1]));
    cluster.moves("a", Some(&[1])).expect("shrunk");
    assert_eq!((cluster.partition("a").replicas, cluster.partition("a").leader), (ids(&[1]), Some(id(1))));
    let unknown = InvalidAssignment::UnknownBroker(id(9));
    assert_eq!(cluster.moves("a", Some(&[9])), Err(unknown.into()));
    let moves = vec![Move { partition: named_partition("a"), target: Some(ids(&[1, 2])) }];
    let request = Request::Reassign { moves, may_change_factor: false };
    let refused = ReassignError::ReplicationFactor { current: 1, wanted: 2 };
    assert_eq!(cluster.bench.ask(request), Answer::Reassign(vec![Err(refused)]));
}

#[test]
fn a_move_never_drops_the_last_replica_that_holds_what_is_committed() {
    let mut cluster = Cluster::of(4);
    cluster.topic_on("a", &[1, 2], "1");
    cluster.moves("a", Some(&[3, 4])).expect("begins");
    cluster.wants_isr("a", &[1, 3]).expect("3 is in, 2 is out");
    cluster.wants_isr("a", &[1]).expect("3 is out");
    cluster.pass(3000);
    cluster.wants_isr("a", &[1, 3]).expect("3 is in");
    let handed = Leadership {
        partition: cluster.isr_change("a", &[]).partition,
        leader_epoch: cluster.partition("a").leader_epoch,
    };
    let request = Request::HandOver { broker: id(1), incarnation: Incarnation::new(1), leaderships: vec![handed] };
    cluster.bench.ask(request);
    cluster.wants_isr("a", &[3]).expect("1 is out");
    assert_eq!(cluster.moves("a", None), Err(ReassignError::NobodyInSync));
}

// L1
#[test]
fn a_broker_stops_when_nobody_would_notice() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3, 1], "2");
    cluster.topic_on("alone", &[3], "1");
    assert!(cluster.wants_to_stop(2).may_stop());
    let a = cluster.partition("a");
    assert_eq!(
        (a.leader, a.isr.clone(), a.leader_epoch.get()),
        (Some(id(3)), ids(&[3, 1]), 1),
        "led by another, and nobody waits for it"
    );
    assert!(cluster.wants_to_stop(2).may_stop(), "asked again");
    assert_eq!(cluster.partition("a"), a, "nothing changes any more");
    // The other one has to wait: without both, one replica of `a` would be left, and none of `alone`.
    let state = cluster.wants_to_stop(3);
    assert_eq!((state.leads, state.would_fall_short), (1, 2));
    assert!(!state.may_stop() && state.example.is_some());
    assert_eq!(cluster.partition("a").leader, Some(id(1)), "what can be led elsewhere is");
    // Whoever is about to stop does not join in-sync sets.
    cluster.bench.now += Duration::from_secs(2);
    cluster.bench.ask(Request::PrepareStop { broker: id(2), incarnation: Incarnation::new(1) });
    let refused = AlterPartitionError::Ineligible { broker: id(2), why: Ineligible::Draining };
    assert_eq!(cluster.wants_isr("a", &[1, 2, 3]), Err(refused));
}

// L2
#[test]
fn a_broker_is_unregistered_when_it_is_dead_and_holds_nothing() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[3, 1], "1");
    let deleted = cluster.topic_on("deleted", &[3], "1").topic;
    cluster.bench.ask(Request::DeleteTopics { topics: vec![TopicRef::Id(deleted)] });
    let unregister = |cluster: &mut Cluster| cluster.bench.ask(Request::Unregister { broker: id(3) });
    assert_eq!(unregister(&mut cluster), Answer::Unregister(Err(UnregisterError::Alive(id(3)))));
    cluster.dies(3);
    let holds = UnregisterError::HoldsReplicas { broker: id(3), replicas: 1 };
    assert_eq!(unregister(&mut cluster), Answer::Unregister(Err(holds)));
    cluster.moves("a", Some(&[1])).expect("moved");
    assert!(cluster.bench.machine.image().tombstones().contains_key(&deleted));
    assert_eq!(unregister(&mut cluster), Answer::Unregister(Ok(())));
    assert!(cluster.bench.machine.image().broker(id(3)).is_none());
    assert!(cluster.bench.machine.image().tombstones().is_empty(), "nobody is left to delete anything");
    assert_eq!(unregister(&mut cluster), Answer::Unregister(Err(UnregisterError::Unknown(id(3)))));
    // A run is never allotted twice.
    assert_eq!(cluster.starts(3, 0).incarnation, Incarnation::new(2));
}

#[test]
fn new_topics_stand_on_brokers_that_live() {
    let mut cluster = Cluster::of(4);
    cluster.dies(2);
    let mut topic = named("a");
    (topic.partitions, topic.replication_factor) = (Some(12), Some(3));
    let created = cluster.bench.create_one(topic).expect("created");
    for partition in &created.partitions {
        assert!(!partition.replicas.contains(&id(2)));
        assert_eq!(partition.isr, partition.replicas);
    }
    let mut wide = named("wide");
    wide.replication_factor = Some(4);
    let wide = cluster.bench.create_one(wide).expect("dead brokers count as registered");
    assert_eq!((wide.partitions[0].replicas.len(), wide.partitions[0].isr.len()), (4, 3));
}

#[test]
fn whoever_a_partition_left_is_named_until_it_has_deleted_its_data() {
    let mut cluster = Cluster::of(4);
    let a = cluster.topic_on("a", &[1, 2], "1");
    cluster.moves("a", Some(&[3, 1])).expect("begins");
    cluster.wants_isr("a", &[1, 2, 3]).expect("3 has caught up");
    let moved = cluster.partition("a");
    assert_eq!((moved.replicas.clone(), moved.leaving.clone()), (ids(&[3, 1]), ids(&[2])));
    let deleted = |broker: i32, epoch: PartitionEpoch| Request::ReplicasDeleted {
        broker: id(broker),
        topics: Vec::new(),
        partitions: vec![(a, epoch)],
    };
    // What was said of another version says nothing: the replica may have come back meanwhile.
    let stale = PartitionEpoch::new(moved.partition_epoch.get() - 1);
    cluster.bench.ask(deleted(2, stale));
    assert_eq!(cluster.partition("a"), moved);
    cluster.bench.ask(deleted(2, moved.partition_epoch));
    let gone = cluster.partition("a");
    assert_eq!((gone.leaving, gone.partition_epoch.get()), (ids(&[]), moved.partition_epoch.get() + 1));
    // A target of a move that was cancelled has something to delete, too, unless it is a target again.
    cluster.moves("a", Some(&[4, 1])).expect("begins");
    cluster.moves("a", None).expect("cancelled");
    assert_eq!(cluster.partition("a").leaving, ids(&[4]));
    cluster.moves("a", Some(&[4, 3, 1])).expect("begins");
    assert_eq!(cluster.partition("a").leaving, ids(&[]));
    cluster.moves("a", None).expect("cancelled");
    // The topic goes: whoever has not said so by now is told by its tombstone.
    cluster.bench.ask(Request::DeleteTopics { topics: vec![TopicRef::Id(a.topic)] });
    let holders = cluster.bench.machine.image().tombstones()[&a.topic].holders.clone();
    assert_eq!(holders, ids(&[1, 3, 4]).into_iter().collect());
}

#[test]
fn whoever_is_gone_for_good_leaves_nothing_to_wait_for() {
    let mut cluster = Cluster::of(3);
    cluster.topic_on("a", &[2, 3], "1");
    cluster.moves("a", Some(&[2, 1])).expect("begins");
    cluster.wants_isr("a", &[2, 3, 1]).expect("1 has caught up");
    assert_eq!(cluster.partition("a").leaving, ids(&[3]));
    cluster.dies(3);
    assert_eq!(cluster.bench.ask(Request::Unregister { broker: id(3) }), Answer::Unregister(Ok(())));
    assert_eq!(cluster.partition("a").leaving, ids(&[]));
}
