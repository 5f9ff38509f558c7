//! Members come, are assigned, stay, go, and are lost.

use std::time::Duration;

use super::harness::{World, join, subscription};
use crate::group::message::Join;
use crate::group::*;

const SECOND: Duration = Duration::from_secs(1);

/// Two members with their assignments: `one` leads.
fn pair(world: &mut World, group: &str) -> (MemberId, MemberId, Generation) {
    let (one, first) = world.enter(group);
    let (two, second) = world.enter(group);
    world.pass(world.config.initial_rebalance_delay * 2);
    let (first, second) = (world.joined(first), world.joined(second));
    assert_eq!((first.generation, second.generation), (Generation::new(1), Generation::new(1)));
    let generation = first.generation;
    let (leader, follower) = if first.leader == one.as_str() { (one, two) } else { (two, one) };
    let waits = world.sync(group, &follower, generation, &[]);
    assert!(world.is_waiting(waits), "a follower waits for the leader");
    let leads = world.sync(group, &leader, generation, &[(&leader, "a"), (&follower, "b")]);
    assert_eq!(world.synced(leads).unwrap().assignment, "a");
    assert_eq!(world.synced(waits).unwrap().assignment, "b");
    (leader, follower, generation)
}

#[test]
fn a_new_member_is_told_its_id_first_and_an_old_client_joins_at_once() {
    let mut world = World::new();
    let (member, token) = world.enter("new");
    assert!(member.as_str().starts_with("client-"));
    assert!(world.is_waiting(token), "the first rebalance waits for more members");
    let old = world.join(Join { member_id_required: false, ..join("old") });
    assert!(world.is_waiting(old));
    world.pass(world.config.initial_rebalance_delay);
    let (new, old) = (world.joined(token), world.joined(old));
    assert_eq!((new.error, new.generation, new.leader.as_str()), (None, Generation::new(1), member.as_str()));
    assert_eq!(new.members.len(), 1, "the leader hears of everyone");
    assert_eq!((new.protocol.as_deref(), new.protocol_type.as_deref()), (Some("range"), Some("consumer")));
    assert_eq!(old.generation, Generation::new(1));
}

#[test]
fn the_first_rebalance_waits_longer_while_members_come_but_not_forever() {
    let mut world = World::new();
    let short = |member| Join { member, rebalance_timeout_ms: 7_000, ..join("g") };
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let first = world.join(Join { rebalance_timeout_ms: 7_000, ..join("g") });
        let member = world.joined(first).member;
        tokens.push(world.join(short(member)));
        world.pass(2 * SECOND);
    }
    assert!(tokens.iter().all(|token| !world.is_waiting(*token)), "seven seconds are over");
    let generations: Vec<_> = tokens.into_iter().map(|token| world.joined(token).generation.get()).collect();
    assert_eq!(generations, [1, 1, 1, 1]);
}

#[test]
fn session_timeouts_out_of_bounds_and_empty_names_are_refused() {
    let mut world = World::new();
    for session_timeout_ms in [-1, 0, 5_999, 1_800_001] {
        let token = world.join(Join { session_timeout_ms, ..join("g") });
        assert_eq!(world.joined(token).error, Some(Error::InvalidSessionTimeout));
    }
    let token = world.join(join(""));
    assert_eq!(world.joined(token).error, Some(Error::InvalidGroupId));
    assert_eq!(world.heartbeat("", &"m".into(), Generation::NONE), Err(Error::InvalidGroupId));
    let token = world.join(Join { member: "made up".into(), ..join("g") });
    assert_eq!(world.joined(token).error, Some(Error::UnknownMemberId));
    assert_eq!(world.state("g"), None, "none of these made a group");
}

#[test]
fn protocols_must_overlap_and_votes_choose() {
    let mut world = World::new();
    let knows = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), subscription(&["t"]))).collect();
    let join_with = |world: &mut World, names: &[&str]| {
        world.join(Join { protocols: knows(names), member_id_required: false, ..join("g") })
    };
    let tokens = [
        join_with(&mut world, &["range", "sticky", "range"]),
        join_with(&mut world, &["sticky", "range"]),
        join_with(&mut world, &["sticky", "range", "mine"]),
    ];
    let foreign = join_with(&mut world, &["mine"]);
    assert_eq!(world.joined(foreign).error, Some(Error::InconsistentGroupProtocol));
    let other_type = world.join(Join { protocol_type: "connect".to_owned(), member_id_required: false, ..join("g") });
    assert_eq!(world.joined(other_type).error, Some(Error::InconsistentGroupProtocol));
    let nothing = world.join(Join { protocols: Vec::new(), ..join("h") });
    assert_eq!(world.joined(nothing).error, Some(Error::InconsistentGroupProtocol));
    world.pass(10 * SECOND);
    for token in tokens {
        assert_eq!(world.joined(token).protocol.as_deref(), Some("sticky"), "two votes against one");
    }
}

#[test]
fn a_group_holds_no_more_than_it_may() {
    let mut world = World::with(Config { members_max: 1, ..Config::default() });
    let (_, generation) = world.stable("g");
    let second = world.join(join("g"));
    assert_eq!(world.joined(second).error, Some(Error::GroupMaxSizeReached));
    assert_eq!(generation, Generation::new(1));
}

#[test]
fn a_second_member_makes_everyone_join_again() {
    let mut world = World::new();
    let (one, generation) = world.stable("g");
    let (_, second) = world.enter("g");
    assert_eq!(world.heartbeat("g", &one, generation), Err(Error::RebalanceInProgress));
    let again = world.join(Join { member: one.clone(), ..join("g") });
    let (first, second) = (world.joined(again), world.joined(second));
    assert_eq!((first.generation, second.generation), (Generation::new(2), Generation::new(2)));
    assert_eq!(first.leader, one.as_str(), "the leader stays the leader");
    assert!(second.members.is_empty(), "only the leader hears of everyone");
    assert_eq!(world.heartbeat("g", &one, generation), Err(Error::IllegalGeneration));
    assert_eq!(world.heartbeat("g", &one, first.generation), Ok(()));
    assert_eq!(world.heartbeat("g", &"nobody".into(), first.generation), Err(Error::UnknownMemberId));
}

#[test]
fn a_member_that_does_not_come_back_is_left_behind_and_another_leads() {
    let mut world = World::new();
    let (leader, follower, _) = pair(&mut world, "g");
    let changed = vec![("range".to_owned(), subscription(&["t", "u"]))];
    let again = world.join(Join { member: follower.clone(), protocols: changed, ..join("g") });
    assert!(world.is_waiting(again));
    for _ in 0..12 {
        // The leader lives but does not join; its session is renewed, the rebalance timeout is not.
        world.pass(5 * SECOND);
        let _ = world.heartbeat("g", &leader, Generation::new(1));
    }
    let joined = world.joined(again);
    assert_eq!((joined.generation, joined.leader.as_str()), (Generation::new(2), follower.as_str()));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(world.heartbeat("g", &leader, Generation::new(1)), Err(Error::UnknownMemberId));
}

#[test]
fn a_silent_member_is_taken_for_gone() {
    let mut world = World::new();
    let (member, generation) = world.stable("g");
    for _ in 0..3 {
        world.pass(9 * SECOND);
        assert_eq!(world.heartbeat("g", &member, generation), Ok(()));
    }
    world.pass(10 * SECOND);
    assert_eq!(world.state("g"), Some(State::Empty));
    assert_eq!(world.heartbeat("g", &member, generation), Err(Error::UnknownMemberId));
}

#[test]
fn a_member_that_never_fetches_its_assignment_is_removed() {
    let mut world = World::new();
    let (member, token) = world.enter("g");
    world.pass(3 * SECOND);
    let generation = world.joined(token).generation;
    for _ in 0..13 {
        world.pass(5 * SECOND);
        let _ = world.heartbeat("g", &member, generation);
    }
    assert_eq!(world.heartbeat("g", &member, generation), Err(Error::UnknownMemberId));
    assert_eq!(world.state("g"), Some(State::Empty));
}

#[test]
fn a_pending_member_holds_up_a_rebalance_until_its_session_ends_or_it_leaves() {
    let mut world = World::new();
    let (one, _) = world.stable("g");
    let first = world.join(join("g"));
    let pending = world.joined(first).member;
    let again = world.join(Join { member: one.clone(), ..join("g") });
    assert!(world.is_waiting(again), "the leader asks for a rebalance, and one is still expected");
    assert_eq!(world.leave("g", &[(pending.as_str(), None)]), Ok(vec![None]));
    let generation = world.joined(again).generation;
    assert_eq!(generation, Generation::new(2));
    let token = world.sync("g", &one, generation, &[(&one, "all")]);
    world.synced(token).unwrap();

    let first = world.join(join("g"));
    let _never_comes = world.joined(first).member;
    let again = world.join(Join { member: one, ..join("g") });
    assert!(world.is_waiting(again));
    world.pass(10 * SECOND);
    assert_eq!(world.joined(again).generation, Generation::new(3));
}

#[test]
fn a_follower_that_asks_again_is_told_again_without_a_rebalance() {
    let mut world = World::new();
    let (leader, follower, generation) = pair(&mut world, "g");
    let again = world.join(Join { member: follower.clone(), ..join("g") });
    let joined = world.joined(again);
    assert_eq!((joined.error, joined.generation, joined.leader.as_str()), (None, generation, leader.as_str()));
    let token = world.sync("g", &follower, generation, &[]);
    assert_eq!(world.synced(token).unwrap().assignment, "b");
    assert_eq!(world.state("g"), Some(State::Stable));
}

#[test]
fn sync_is_checked_against_the_generation_and_the_protocol() {
    let mut world = World::new();
    let (member, generation) = world.stable("g");
    let sync = |protocol_type: Option<&str>, protocol: Option<&str>, generation| {
        Request::Sync(message::Sync {
            group: "g".into(),
            member: member.clone(),
            instance: None,
            generation,
            protocol_type: protocol_type.map(str::to_owned),
            protocol: protocol.map(str::to_owned),
            assignments: Vec::new(),
        })
    };
    let cases = [
        (sync(Some("consumer"), Some("range"), generation), None),
        (sync(Some("connect"), Some("range"), generation), Some(Error::InconsistentGroupProtocol)),
        (sync(None, Some("sticky"), generation), Some(Error::InconsistentGroupProtocol)),
        (sync(None, None, Generation::new(9)), Some(Error::IllegalGeneration)),
    ];
    for (request, expected) in cases {
        let token = world.send(request);
        assert_eq!(world.synced(token).err(), expected);
    }
}

#[test]
fn leaving_is_answered_member_by_member() {
    let mut world = World::new();
    let (leader, follower, _) = pair(&mut world, "g");
    let outcome = world.leave("g", &[("nobody", None), (follower.as_str(), None), ("", Some("no instance"))]);
    assert_eq!(outcome, Ok(vec![Some(Error::UnknownMemberId), None, Some(Error::UnknownMemberId)]));
    assert_eq!(world.state("g"), Some(State::PreparingRebalance));
    assert_eq!(world.leave("g", &[(leader.as_str(), None)]), Ok(vec![None]));
    assert_eq!(world.state("g"), Some(State::Empty));
    assert_eq!(world.leave("none", &[("m", None)]), Ok(vec![Some(Error::UnknownMemberId)]));
}

#[test]
fn groups_are_listed_and_described() {
    let mut world = World::new();
    let (member, _) = world.stable("stable");
    world.admin_commit("simple", "t", 5);
    assert_eq!(world.list(&[], &[]), [("simple".to_owned(), State::Empty), ("stable".to_owned(), State::Stable)]);
    assert_eq!(world.list(&["sTABLE"], &["CLASSIC"]), [("stable".to_owned(), State::Stable)]);
    assert_eq!(world.list(&[], &["consumer"]), []);
    let described = world.describe("stable").unwrap();
    assert_eq!((described.protocol_type.as_str(), described.protocol.as_str()), ("consumer", "range"));
    let shown = &described.members[0];
    assert_eq!((&shown.member, shown.client_host.as_str()), (&member, "/127.0.0.1"));
    assert_eq!((&shown.assignment[..], &shown.metadata), (&b"all"[..], &subscription(&["t"])));
    assert_eq!(world.describe("none"), Err(Error::GroupIdNotFound));
}

#[test]
fn a_restart_keeps_members_and_generation_and_gives_them_a_whole_session() {
    for without_view in [false, true] {
        let mut world = World::new();
        let (leader, follower, generation) = pair(&mut world, "g");
        let before = world.describe("g");
        world.pass(9 * SECOND);
        if without_view {
            world.restart_without_view()
        } else {
            world.restart()
        }
        assert_eq!(world.describe("g"), before);
        world.pass(9 * SECOND);
        assert_eq!(world.heartbeat("g", &leader, generation), Ok(()));
        assert_eq!(world.heartbeat("g", &follower, generation), Ok(()));
        world.pass(10 * SECOND);
        assert_eq!(world.state("g"), Some(State::Empty));
    }
}

#[test]
fn while_loading_heartbeats_are_believed_and_everything_else_is_put_off() {
    let mut world = World::new();
    world.shard = Shard::new(Config::default());
    assert_eq!(world.heartbeat("g", &"m".into(), Generation::new(3)), Ok(()));
    assert_eq!(world.fetch("g", "t"), Err(Error::LoadInProgress));
    assert_eq!(world.describe("g"), Err(Error::LoadInProgress));
    let token = world.join(join("g"));
    assert_eq!(world.joined(token).error, Some(Error::LoadInProgress));
}

#[test]
fn unloading_answers_everyone_who_waits() {
    let mut world = World::new();
    let (_, follower, generation) = pair(&mut world, "g");
    let (_, joining) = world.enter("g");
    let (member, token) = world.enter("h");
    world.pass(3 * SECOND);
    let second = world.joined(token).generation;
    let _ = member;
    assert_eq!(second, Generation::new(1));
    world.step(Event::Unloaded);
    assert_eq!(world.joined(joining).error, Some(Error::NotCoordinator));
    assert_eq!(world.heartbeat("g", &follower, generation), Err(Error::NotCoordinator));
    assert_eq!(world.shard.next_deadline(), None);
}
