//! What happens when records do not get into the log: nobody was promised anything, and state is as before.

use std::time::Duration;

use super::harness::{World, commit, join};
use crate::group::message::Join;
use crate::group::*;

#[test]
fn a_commit_that_was_not_written_is_not_acked_and_not_seen() {
    let cases = [
        (AppendError::NotLeader, Error::NotCoordinator),
        (AppendError::Storage, Error::NotCoordinator),
        (AppendError::UnknownPartition, Error::CoordinatorNotAvailable),
        (AppendError::NotEnoughReplicas, Error::CoordinatorNotAvailable),
        (AppendError::Unavailable, Error::CoordinatorNotAvailable),
        (AppendError::TooLarge, Error::Unknown),
    ];
    for (cause, told) in cases {
        let mut world = World::new();
        world.fails = Some(cause);
        let token = world.commit_token(commit("g", "t", 0, 1));
        assert_eq!(world.reply(token), Some(Reply::Commit(Err(told))));
        assert_eq!((world.state("g"), world.list(&[], &[])), (None, vec![]));
        world.fails = None;
        assert_eq!(world.fetch("g", "t"), Ok(None));
        world.admin_commit("g", "t", 2);
        assert_eq!(world.fetch("g", "t"), Ok(Some(2)));
    }
}

#[test]
fn a_group_whose_first_record_was_not_written_never_existed() {
    let mut world = World::new();
    world.fails = Some(AppendError::NotEnoughReplicas);
    let token = world.join(Join { member_id_required: false, ..join("g") });
    assert_eq!(world.joined(token).error, Some(Error::CoordinatorNotAvailable));
    world.fails = None;
    assert_eq!(world.state("g"), None);
    world.pass(Duration::from_secs(400));
    world.stable("g");
}

#[test]
fn an_assignment_that_was_not_written_is_not_given() {
    let mut world = World::new();
    let (member, token) = world.enter("g");
    world.pass(world.config.initial_rebalance_delay);
    let generation = world.joined(token).generation;
    world.fails = Some(AppendError::NotEnoughReplicas);
    let sync = world.sync("g", &member, generation, &[(&member, "all")]);
    assert_eq!(world.synced(sync), Err(Error::CoordinatorNotAvailable));
    assert_eq!(world.state("g"), Some(State::PreparingRebalance));
    world.fails = None;
    let again = world.join(Join { member: member.clone(), ..join("g") });
    let joined = world.joined(again);
    assert_eq!(joined.generation, Generation::new(2));
    let sync = world.sync("g", &member, joined.generation, &[(&member, "all")]);
    assert_eq!(world.synced(sync).unwrap().assignment, "all");
}

#[test]
fn an_assignment_that_came_too_late_is_not_given_either() {
    let mut world = World::new();
    let (member, token) = world.enter("g");
    world.pass(world.config.initial_rebalance_delay);
    let generation = world.joined(token).generation;
    world.commits_at_once = false;
    let sync = world.sync("g", &member, generation, &[(&member, "all")]);
    assert!(world.is_waiting(sync), "persist before you promise");
    let (_, _second) = world.enter("g");
    assert_eq!(world.synced(sync), Err(Error::RebalanceInProgress));
    world.commit();
    assert_eq!(world.state("g"), Some(State::PreparingRebalance));
}

#[test]
fn a_group_whose_tombstone_was_not_written_is_still_there() {
    let mut world = World::new();
    world.admin_commit("g", "t", 1);
    world.fails = Some(AppendError::Unavailable);
    assert_eq!(world.delete("g"), Err(Error::CoordinatorNotAvailable));
    world.fails = None;
    assert_eq!((world.state("g"), world.fetch("g", "t")), (Some(State::Empty), Ok(Some(1))));
    assert_eq!(world.delete("g"), Ok(()));
}

#[test]
fn when_everything_on_its_way_is_lost_what_was_committed_stays() {
    let mut world = World::new();
    world.admin_commit("g", "t", 1);
    world.commits_at_once = false;
    let tokens: Vec<_> = (2..5).map(|offset| world.commit_token(commit("g", "t", 0, offset))).collect();
    let other = world.commit_token(commit("h", "t", 0, 1));
    world.lose(AppendError::Storage);
    for token in tokens.into_iter().chain([other]) {
        assert_eq!(world.reply(token), Some(Reply::Commit(Err(Error::NotCoordinator))));
    }
    assert_eq!((world.fetch("g", "t"), world.state("h")), (Ok(Some(1)), None));
}

#[test]
fn the_last_members_leaving_is_answered_when_it_is_written() {
    let mut world = World::new();
    let (member, _) = world.stable("g");
    world.fails = Some(AppendError::Storage);
    assert_eq!(world.leave("g", &[(member.as_str(), None)]), Err(Error::NotCoordinator));
    assert_eq!(world.state("g"), Some(State::Empty), "the member is gone all the same");
}

/// G1: otherwise a restart would bring back the second assignment, while the first was given to some.
#[test]
fn a_generation_takes_one_assignment_even_if_the_leader_asks_twice() {
    let mut world = World::new();
    let (member, token) = world.enter("g");
    world.pass(world.config.initial_rebalance_delay);
    let generation = world.joined(token).generation;
    world.commits_at_once = false;
    let first = world.sync("g", &member, generation, &[(&member, "first")]);
    let second = world.sync("g", &member, generation, &[(&member, "second")]);
    assert_eq!(world.synced(first), Err(Error::RebalanceInProgress));
    world.commit();
    assert_eq!(world.synced(second).unwrap().assignment, "first");
    world.restart_without_view();
    let again = world.sync("g", &member, generation, &[]);
    assert_eq!(world.synced(again).unwrap().assignment, "first");
}
