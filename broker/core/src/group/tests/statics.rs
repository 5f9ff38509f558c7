//! Static members (KIP-345): an instance id outlives its process.

use std::time::Duration;

use super::harness::{World, join, subscription};
use crate::group::message::{Heartbeat, Join, Sync};
use crate::group::*;

fn static_join(instance: &str) -> Join {
    Join { instance: Some(instance.into()), ..join("g") }
}

/// A stable group of the static members `a` (which leads) and `b`.
fn two_statics(world: &mut World) -> (MemberId, MemberId) {
    let (first, second) = (world.join(static_join("a")), world.join(static_join("b")));
    assert!(world.is_waiting(first), "static members join at once");
    world.pass(world.config.initial_rebalance_delay * 2);
    let (first, second) = (world.joined(first), world.joined(second));
    assert_eq!(first.leader, first.member.as_str());
    assert!(first.member.as_str().starts_with("a-"));
    let waits = world.sync("g", &second.member, second.generation, &[]);
    let leads = world.sync("g", &first.member, first.generation, &[(&first.member, "x"), (&second.member, "y")]);
    assert!(world.synced(leads).is_ok() && world.synced(waits).is_ok());
    (first.member, second.member)
}

fn beat(world: &mut World, member: &MemberId, instance: &str) -> Result<(), Error> {
    let heartbeat = Heartbeat {
        group: "g".into(),
        member: member.clone(),
        instance: Some(instance.into()),
        generation: Generation::new(1),
    };
    let token = world.send(Request::Heartbeat(heartbeat));
    match world.reply(token) {
        Some(Reply::Heartbeat(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restarted_follower_keeps_its_assignment_without_a_rebalance() {
    let mut world = World::new();
    let (leader, old) = two_statics(&mut world);
    let token = world.join(static_join("b"));
    let back = world.joined(token);
    assert_eq!((back.error, back.generation), (None, Generation::new(1)));
    assert_eq!((back.leader.as_str(), back.assignment_skipped), (leader.as_str(), false));
    assert_ne!(back.member, old);
    let token = world.sync("g", &back.member, back.generation, &[]);
    assert_eq!(world.synced(token).unwrap().assignment, "y");
    assert_eq!(beat(&mut world, &old, "b"), Err(Error::FencedInstanceId), "the first process is fenced");
    assert_eq!(beat(&mut world, &back.member, "b"), Ok(()));
    assert_eq!(beat(&mut world, &leader, "a"), Ok(()), "nobody else notices");
}

#[test]
fn a_restarted_leader_is_told_that_it_need_not_assign() {
    let mut world = World::new();
    two_statics(&mut world);
    let token = world.join(static_join("a"));
    let back = world.joined(token);
    assert!(back.assignment_skipped);
    assert_eq!((back.leader.as_str(), back.members.len()), (back.member.as_str(), 2));

    let mut world = World::new();
    let (older, _) = two_statics(&mut world);
    let token = world.join(Join { assignment_skippable: false, ..static_join("a") });
    let back = world.joined(token);
    assert!(!back.assignment_skipped && back.members.is_empty());
    assert_eq!(back.leader, older.as_str(), "an old client must not think that it leads");
}

#[test]
fn a_changed_protocol_or_an_unfinished_round_rebalances() {
    let mut world = World::new();
    let first = world.join(static_join("a"));
    world.pass(world.config.initial_rebalance_delay);
    let joined = world.joined(first);
    let waits = {
        // A second process takes the instance id between join and sync.
        let second = world.join(static_join("a"));
        let again = world.joined(second);
        assert_eq!(again.generation, Generation::new(2));
        again
    };
    let token = world.sync("g", &joined.member, joined.generation, &[]);
    assert_eq!(world.synced(token), Err(Error::UnknownMemberId));
    let token = world.send(Request::Sync(Sync {
        group: "g".into(),
        member: joined.member,
        instance: Some("a".into()),
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    }));
    assert_eq!(world.synced(token), Err(Error::FencedInstanceId));
    let token = world.sync("g", &waits.member, waits.generation, &[(&waits.member, "x")]);
    assert_eq!(world.synced(token).unwrap().assignment, "x");

    let both = vec![("range".to_owned(), subscription(&["t"])), ("sticky".to_owned(), subscription(&["t"]))];
    let token = world.join(Join { protocols: both.clone(), member: waits.member.clone(), ..static_join("a") });
    let joined = world.joined(token);
    assert_eq!(joined.protocol.as_deref(), Some("range"));
    let token = world.sync("g", &joined.member, joined.generation, &[(&joined.member, "x")]);
    world.synced(token).unwrap();
    let turned = both.into_iter().rev().collect();
    let token = world.join(Join { protocols: turned, ..static_join("a") });
    let back = world.joined(token);
    assert_eq!(back.protocol.as_deref(), Some("sticky"));
    assert_eq!(back.generation, Generation::new(4), "another protocol needs another generation");
}

#[test]
fn the_first_of_two_processes_is_fenced_while_it_waits() {
    let mut world = World::new();
    let first = world.join(static_join("a"));
    let second = world.join(static_join("a"));
    assert_eq!(world.joined(first).error, Some(Error::FencedInstanceId));
    world.pass(world.config.initial_rebalance_delay);
    let joined = world.joined(second);
    assert_eq!((joined.error, joined.members.len()), (None, 1));
}

#[test]
fn a_static_member_may_miss_a_rebalance_but_not_its_session() {
    let mut world = World::new();
    let (_, follower) = two_statics(&mut world);
    assert_eq!(world.leave("g", &[("", Some("a"))]), Ok(vec![None]), "removed by an administrator");
    assert_eq!(world.state("g"), Some(State::PreparingRebalance));
    world.pass(Duration::from_secs(9));
    assert_eq!(beat(&mut world, &follower, "b"), Err(Error::RebalanceInProgress));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.state("g"), Some(State::Empty));
}

#[test]
fn removal_by_instance_id_checks_the_member_id_if_there_is_one() {
    let mut world = World::new();
    let (_, follower) = two_statics(&mut world);
    let outcome = world.leave("g", &[("other", Some("b")), ("", Some("c")), (follower.as_str(), Some("b"))]);
    assert_eq!(outcome, Ok(vec![Some(Error::FencedInstanceId), Some(Error::UnknownMemberId), None]));
}

#[test]
fn a_replacement_that_is_not_written_down_did_not_happen() {
    let mut world = World::new();
    let (_, follower) = two_statics(&mut world);
    world.fails = Some(AppendError::NotEnoughReplicas);
    let token = world.join(static_join("b"));
    let refused = world.joined(token);
    assert_eq!((refused.error, refused.member.as_str()), (Some(Error::CoordinatorNotAvailable), ""));
    assert_eq!(beat(&mut world, &follower, "b"), Ok(()), "the old member id holds again");
    world.fails = None;
    let token = world.join(static_join("b"));
    assert_eq!(world.joined(token).error, None);
    assert_eq!(beat(&mut world, &follower, "b"), Err(Error::FencedInstanceId));
}
