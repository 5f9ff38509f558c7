//! Offsets: committed, fetched, forgotten.

use std::time::Duration;

use super::harness::{SHARD, World, commit, join, partition, subscription};
use crate::group::message::{Commit, CommitPartition, Fetch, Join};
use crate::group::*;
use crate::table::{Durability, Table};
use crate::types::{LeaderEpoch, Offset, TopicId};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn nobody() -> MemberId {
    "".into()
}

#[test]
fn anyone_may_commit_to_a_group_without_members_and_only_members_to_others() {
    let mut world = World::new();
    world.admin_commit("g", "t", 7);
    assert_eq!(world.fetch("g", "t"), Ok(Some(7)));
    let (member, generation) = world.stable("g");
    assert_eq!(world.commit_offset("g", &nobody(), Generation::NONE, 8), Err(Error::UnknownMemberId));
    assert_eq!(world.commit_offset("g", &member, generation, 9), Ok(vec![None]));
    assert_eq!(world.commit_offset("g", &member, Generation::new(7), 1), Err(Error::IllegalGeneration));
    assert_eq!(world.commit_offset("g", &"m".into(), generation, 1), Err(Error::UnknownMemberId));
    assert_eq!(world.fetch("g", "t"), Ok(Some(9)));
    assert_eq!(world.fetch("g", "u"), Ok(None));
    assert_eq!(world.fetch("nobody", "t"), Ok(None), "an unknown group has committed nothing");
}

#[test]
fn commits_to_unknown_groups_need_no_generation() {
    let mut world = World::new();
    let generation = Generation::new(3);
    assert_eq!(world.commit_offset("g", &"m".into(), generation, 1), Err(Error::GroupIdNotFound));
    let old = Commit { generation, unknown_group_named: false, ..commit("g", "t", 0, 1) };
    let token = world.commit_token(old);
    assert_eq!(world.reply(token), Some(Reply::Commit(Err(Error::IllegalGeneration))));
    assert_eq!(world.state("g"), None);
}

#[test]
fn a_commit_between_join_and_sync_is_put_off() {
    let mut world = World::new();
    let (member, token) = world.enter("g");
    world.pass(world.config.initial_rebalance_delay);
    let generation = world.joined(token).generation;
    assert_eq!(world.commit_offset("g", &member, generation, 1), Err(Error::RebalanceInProgress));
}

#[test]
fn commits_of_the_last_generation_hold_while_members_join_again() {
    let mut world = World::new();
    let (member, generation) = world.stable("g");
    let _ = world.enter("g");
    assert_eq!(world.state("g"), Some(State::PreparingRebalance));
    assert_eq!(world.commit_offset("g", &member, generation, 4), Ok(vec![None]));
    assert_eq!(world.fetch("g", "t"), Ok(Some(4)));
}

#[test]
fn notes_that_are_too_long_are_refused_one_by_one_and_negative_offsets_are_kept() {
    let mut world = World::new();
    let entry = |index: i32, metadata: String| CommitPartition {
        topic_id: TopicId::ZERO,
        partition: partition("t", index),
        offset: Offset::new(-2),
        leader_epoch: LeaderEpoch::new(5),
        metadata: Some(metadata),
    };
    let partitions = vec![entry(0, "é".repeat(4_096)), entry(1, "x".repeat(4_097)), entry(2, String::new())];
    let token = world.commit_token(Commit { partitions, ..commit("g", "t", 0, 0) });
    let expected = vec![None, Some(Error::OffsetMetadataTooLarge), None];
    assert_eq!(world.reply(token), Some(Reply::Commit(Ok(expected))));
    assert_eq!(world.fetch_all("g"), [("t".to_owned(), 0, -2), ("t".to_owned(), 2, -2)]);
}

#[test]
fn a_fetch_sees_what_is_committed_and_waits_if_it_must() {
    let mut world = World::new();
    world.admin_commit("g", "t", 1);
    world.commits_at_once = false;
    let commit = world.commit_token(commit("g", "t", 0, 2));
    assert!(world.is_waiting(commit), "the answer waits for the log");
    assert_eq!(world.fetch("g", "t"), Ok(Some(1)));
    let stable = world.send(Request::Fetch(Fetch { group: "g".into(), topics: None, require_stable: true }));
    assert!(world.is_waiting(stable));
    world.commit();
    assert_eq!(world.reply(commit), Some(Reply::Commit(Ok(vec![None]))));
    let Some(Reply::Fetch(Ok(topics))) = world.reply(stable) else { panic!("no answer") };
    assert_eq!(topics[0].partitions[0].1.as_ref().unwrap().offset, Offset::new(2));
}

#[test]
fn offsets_and_groups_are_deleted_only_when_unused() {
    let mut world = World::new();
    let (member, generation) = world.stable("g");
    assert_eq!(world.commit_offset("g", &member, generation, 4), Ok(vec![None]));
    assert_eq!(world.delete("g"), Err(Error::NonEmptyGroup));
    assert_eq!(
        world.delete_offsets("g", &["t", "u"]),
        Ok(vec![Some(Error::GroupSubscribedToTopic), None]),
        "the members read t"
    );
    assert_eq!(world.leave("g", &[(member.as_str(), None)]), Ok(vec![None]));
    assert_eq!(world.delete_offsets("g", &["t"]), Ok(vec![None]));
    assert_eq!(world.fetch_all("g"), []);
    world.admin_commit("g", "t", 9);
    assert_eq!(world.delete("g"), Ok(()));
    assert_eq!(world.delete("g"), Err(Error::GroupIdNotFound));
    assert_eq!(world.delete_offsets("g", &["t"]), Err(Error::GroupIdNotFound));
    world.restart_without_view();
    assert_eq!((world.fetch("g", "t"), world.state("g")), (Ok(None), None), "tombstones outlive the process");
}

#[test]
fn a_group_of_another_kind_keeps_its_offsets_while_it_has_members() {
    let mut world = World::new();
    let token = world.join(Join {
        protocol_type: "connect".to_owned(),
        protocols: vec![("v1".to_owned(), "?".into())],
        member_id_required: false,
        ..join("g")
    });
    world.pass(world.config.initial_rebalance_delay);
    assert_eq!(world.joined(token).error, None);
    assert_eq!(world.delete_offsets("g", &["t"]), Err(Error::NonEmptyGroup));
}

#[test]
fn a_commit_on_its_way_is_deleted_with_its_group() {
    let mut world = World::new();
    world.commits_at_once = false;
    let commit = world.commit_token(commit("g", "t", 0, 2));
    let delete = world.send(Request::Delete("g".into()));
    world.commit();
    assert_eq!(world.reply(commit), Some(Reply::Commit(Ok(vec![None]))));
    assert_eq!(world.reply(delete), Some(Reply::Delete(Ok(()))));
    assert_eq!(world.fetch("g", "t"), Ok(None));
}

/// G3.
#[test]
fn offsets_expire_with_the_group_and_never_while_it_uses_them() {
    let mut world = World::new();
    let (member, generation) = world.stable("g");
    assert_eq!(world.commit_offset("g", &member, generation, 4), Ok(vec![None]));
    let other = Commit { member: member.clone(), generation, ..commit("g", "unread", 0, 5) };
    let token = world.commit_token(other);
    assert_eq!(world.reply(token), Some(Reply::Commit(Ok(vec![None]))));
    let live = |world: &mut World, time: Duration| {
        for _ in 0..time.as_secs() / 9 {
            world.pass(Duration::from_secs(9));
            assert_eq!(world.heartbeat("g", &member, generation), Ok(()));
        }
    };
    live(&mut world, WEEK + Duration::from_secs(1_200));
    assert_eq!(world.fetch("g", "t"), Ok(Some(4)), "in use");
    assert_eq!(world.fetch("g", "unread"), Ok(None), "no member reads it, and its time is over");
    world.leave("g", &[(member.as_str(), None)]).unwrap();
    world.pass(WEEK - Duration::from_secs(60));
    assert_eq!(world.fetch("g", "t"), Ok(Some(4)), "its time began when the group became empty");
    world.pass(Duration::from_secs(1_200));
    assert_eq!((world.fetch("g", "t"), world.state("g")), (Ok(None), None), "the group went with its offsets");
}

#[test]
fn a_retention_of_the_clients_own_counts() {
    let mut world = World::new();
    world.admin_commit("g", "long", 1);
    let token = world.commit_token(Commit { retention_ms: 60_000, ..commit("g", "short", 0, 2) });
    assert_eq!(world.reply(token), Some(Reply::Commit(Ok(vec![None]))));
    world.restart_without_view();
    world.pass(Duration::from_secs(601));
    assert_eq!((world.fetch("g", "short"), world.fetch("g", "long")), (Ok(None), Ok(Some(1))));
}

#[test]
fn a_group_whose_subscriptions_cannot_be_read_keeps_its_offsets() {
    let mut world = World::new();
    let token =
        world.join(Join { protocols: vec![("range".to_owned(), "?".into())], member_id_required: false, ..join("g") });
    world.pass(world.config.initial_rebalance_delay);
    assert_eq!(world.joined(token).error, None);
    assert_eq!(world.delete_offsets("g", &["x"]), Ok(vec![Some(Error::GroupSubscribedToTopic)]));
    let good = subscription(&["t"]);
    assert!(good.len() > 4);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut world = World::new();
    world.admin_commit("g", "t", 1);
    world.admin_commit("h", "t", 1);
    world.admin_commit("h", "u", 2);
    world.step(Event::TopicsDeleted(vec!["t".into()]));
    assert_eq!(world.fetch_all("g"), []);
    assert_eq!(world.fetch_all("h"), [("u".to_owned(), 0, 2)]);
}

/// G2: a view that was deleted behind the broker's back is noticed, not believed.
#[test]
fn a_lost_view_is_never_read_as_no_offsets() {
    let mut world = World::new();
    world.admin_commit("g", "t", 1);
    world.table.write(View::clear(SHARD), Durability::Lazy).unwrap();
    assert_eq!(world.fetch("g", "t"), Err(Error::LoadInProgress));
    assert_eq!(world.delete("g"), Err(Error::LoadInProgress));
    let token = world.commit_token(commit("g", "t", 0, 2));
    assert_eq!(world.reply(token), Some(Reply::Commit(Ok(vec![None]))), "commits go on");
    world.restart_without_view();
    assert_eq!(world.fetch("g", "t"), Ok(Some(2)));
}

#[test]
fn a_damaged_row_is_never_believed() {
    let mut world = World::new();
    world.admin_commit("g", "t", 1);
    let key = match View::change(SHARD, &world.log[0], Some(&"x".into())) {
        crate::table::Change::Put(key, _) => key,
        other => panic!("{other:?}"),
    };
    world.table.write(vec![crate::table::Change::Put(key, vec![9])], Durability::Lazy).unwrap();
    assert_eq!(world.fetch("g", "t"), Err(Error::LoadInProgress));
    world.step(Event::ViewRebuilt);
    assert_eq!(world.fetch("g", "t"), Err(Error::LoadInProgress), "and asked for again");
}
