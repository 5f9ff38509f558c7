//! Memory for groups is bounded: newcomers are refused when it is used up, and what is there goes on.

use super::harness::{World, commit, join};
use crate::group::message::Join;
use crate::group::*;

#[test]
fn what_groups_take_is_counted_and_comes_back() {
    let mut world = World::new();
    assert_eq!(world.shard.bytes(), 0);
    let (member, token) = world.enter("g");
    world.pass(world.config.initial_rebalance_delay);
    let joined = world.joined(token);
    let before = world.shard.bytes();
    assert!(before > 1_000, "{before}");
    let synced = world.sync("g", &member, joined.generation, &[(&member, "an assignment")]);
    world.synced(synced).unwrap();
    assert_eq!(world.shard.bytes(), before + "an assignment".len());
    world.restart();
    assert!(world.shard.bytes() > 1_000, "what was loaded counts as well");
    world.step(Event::Unloaded);
    assert_eq!(world.shard.bytes(), 0);
}

#[test]
fn without_room_newcomers_are_refused_and_members_go_on() {
    let mut world = World::new();
    let (member, token) = world.enter("g");
    world.pass(world.config.initial_rebalance_delay);
    let joined = world.joined(token);
    let synced = world.sync("g", &member, joined.generation, &[(&member, "a")]);
    world.synced(synced).unwrap();
    let taken = world.shard.bytes();

    world.shard.set_room(100);
    for group in ["g", "another"] {
        let refused = world.join(join(group));
        assert_eq!(world.joined(refused).error, Some(Error::GroupMaxSizeReached), "{group}");
    }
    assert_eq!(world.no_room, 2);
    let refused = world.commit_token(commit("of offsets alone", "t", 0, 5));
    assert_eq!(world.reply(refused), Some(Reply::Commit(Err(Error::CoordinatorNotAvailable))));
    assert_eq!((world.no_room, world.shard.bytes()), (3, taken), "nothing has come to be");

    // Who is in may say again what it said before, and may keep positions.
    let again = world.join(Join { member: member.clone(), ..join("g") });
    assert_eq!(world.joined(again).error, None);
    let large =
        Join { member: member.clone(), protocols: vec![("range".to_owned(), vec![0; 4096].into())], ..join("g") };
    let grown = world.join(large);
    assert_eq!(world.joined(grown).error, Some(Error::GroupMaxSizeReached));
    world.shard.set_room(usize::MAX);
    let (_, token) = world.enter("another");
    world.pass(world.config.initial_rebalance_delay);
    assert_eq!(world.joined(token).error, None);
}

#[test]
fn an_assignment_without_room_is_refused_and_may_be_brought_again() {
    let mut world = World::new();
    let (member, token) = world.enter("g");
    world.pass(world.config.initial_rebalance_delay);
    let generation = world.joined(token).generation;
    world.shard.set_room(3);
    let refused = world.sync("g", &member, generation, &[(&member, "four")]);
    assert_eq!(world.synced(refused).unwrap_err(), Error::CoordinatorNotAvailable);
    world.shard.set_room(4);
    let synced = world.sync("g", &member, generation, &[(&member, "four")]);
    assert_eq!(world.synced(synced).unwrap().assignment, "four");
}
