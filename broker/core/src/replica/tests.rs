//! The replica machine, one decision at a time. How it fares among others is the simulation's to find out.

use std::time::Duration;

use super::*;
use crate::types::{Incarnation, PartitionEpoch, PartitionIndex, TopicId};

mod harness;

use harness::{Epochs, Harness, id};

#[test]
fn a_hundred_thousand_replicas_fit() {
    assert!(size_of::<Replica>() <= 320, "{}", size_of::<Replica>());
    let leader = size_of::<Leader>() + 2 * size_of::<leader::FollowerState>();
    assert!(leader <= 1024, "{leader}");
}

/// KIP-101 and KIP-279: a follower's log against a leader's, cut until one is a prefix of the other.
#[test]
fn logs_are_compared_by_epochs() {
    // Leader, follower: the epoch of each record. What is left of the follower's.
    let cases: &[(&[i32], &[i32], usize)] = &[
        (&[], &[], 0),
        (&[1, 1], &[], 0),
        (&[1, 1], &[1], 1),
        (&[1, 1], &[1, 1, 1], 2),
        (&[1, 1, 4], &[1, 1, 3, 3], 2),
        (&[1, 1, 1, 2, 4], &[1, 1, 3, 3, 3], 2),
        (&[1, 1, 1, 2, 4, 4], &[1, 1, 1, 2, 2], 4),
        (&[2, 2], &[1, 1], 0),
        (&[], &[3], 0),
        (&[1], &[1, 2, 3, 3], 1),
    ];
    for &(leader, follower, left) in cases {
        let (leader, mut follower) = (Epochs::of(leader), Epochs::of(follower));
        for round in 0.. {
            match compare(&leader, follower.last_epoch(), follower.log_end()) {
                Comparison::Prefix => break,
                Comparison::Diverged { epoch, end } => {
                    let to = cut(&follower, epoch, end);
                    assert!(to < follower.log_end(), "no progress: {leader:?} {follower:?}");
                    follower.truncate(to);
                }
                Comparison::TooOld { .. } => panic!("{leader:?} {follower:?}"),
            }
            assert!(round < 5);
        }
        assert_eq!(follower.len(), left, "{leader:?}");
    }
}

/// R4: the high watermark waits for every member.
#[test]
fn the_watermark_waits_for_every_member() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 2);
    leader.append(3);
    assert_eq!(leader.replica.high_watermark(), Offset::new(0));
    leader.opens(2, 0);
    leader.opens(3, 0);
    leader.acks(2, 3);
    assert_eq!(leader.replica.high_watermark(), Offset::new(0));
    leader.acks(3, 2);
    assert_eq!(leader.replica.high_watermark(), Offset::new(2));
}

/// R5: a replica at the high watermark of a new leader may still lack what the one before had committed.
#[test]
fn nobody_joins_below_the_start_of_the_epoch() {
    let mut leader = Harness::leader_with(5, &[1, 2, 3], &[1, 2], 1);
    leader.opens(3, 4);
    assert_eq!(leader.alters(), [] as [Vec<BrokerId>; 0]);
    leader.acks(3, 5);
    assert_eq!(leader.alters(), [vec![id(1), id(2), id(3)]]);
}

/// R4: who may have joined counts, whatever became of the question.
#[test]
fn a_refusal_of_one_of_two_copies_settles_nothing() {
    let mut leader = Harness::leader(&[1, 2], &[1], 1);
    leader.opens(2, 0);
    assert_eq!(leader.alters(), [vec![id(1), id(2)]]);
    leader.append(1);
    assert_eq!(leader.replica.high_watermark(), Offset::new(0));
    leader.passes(Duration::from_millis(600));
    assert_eq!(leader.alters(), [vec![id(1), id(2)]], "the second copy");
    leader.altered(Altered::Ineligible);
    assert_eq!(leader.alters(), [vec![id(1)]], "a version that no copy can follow");
    leader.append(1);
    assert_eq!(leader.replica.high_watermark(), Offset::new(0), "one copy may still be committed");
    leader.assigned(&[1], 1);
    leader.append(1);
    assert_eq!(leader.replica.high_watermark(), Offset::new(3));
}

/// R13: one follower's word is not enough.
#[test]
fn every_other_member_confirms() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.opens(2, 0);
    leader.opens(3, 0);
    leader.passes(Duration::from_millis(1100));
    assert!(matches!(leader.admits(Acks::Leader), Err(Refusal::Unconfirmed { .. })));
    leader.event(Event::Solicit);
    leader.acks(2, 0);
    assert!(matches!(leader.admits(Acks::Leader), Err(Refusal::Unconfirmed { .. })));
    leader.acks(3, 0);
    assert!(leader.admits(Acks::Leader).is_ok());
}

/// R7: no offset is assigned in the epoch of a failed write.
#[test]
fn a_failed_write_ends_the_epoch() {
    let mut leader = Harness::leader(&[1, 2], &[1], 1);
    leader.event(Event::WriteFailed(Offset::new(0)));
    assert!(matches!(leader.admits(Acks::All), Err(Refusal::EpochEnds { .. })));
    let asked = |effect: &Effect| matches!(effect, Effect::Ask(Ask::NewEpoch { .. }));
    assert!(leader.effects.iter().any(asked));
}

/// A follower that does not run leaves at once, one that is silent after its time.
#[test]
fn who_does_not_run_leaves_at_once() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.opens(2, 0);
    leader.opens(3, 0);
    leader.event(Event::PeerRefused(id(2)));
    assert_eq!(leader.alters(), [vec![id(1), id(3)]]);
    leader.assigned(&[1, 3], 1);
    leader.append(1);
    leader.passes(Duration::from_secs(29));
    assert_eq!(leader.alters(), [] as [Vec<BrokerId>; 0]);
    leader.passes(Duration::from_secs(2));
    assert_eq!(leader.alters(), [vec![id(1)]]);
}

/// A partition at rest has no timer.
#[test]
fn a_partition_at_rest_asks_for_no_tick() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.opens(2, 0);
    leader.opens(3, 0);
    leader.append(2);
    leader.acks(2, 2);
    leader.acks(3, 2);
    leader.passes(Duration::from_millis(10));
    assert_eq!(leader.replica.deadline(&leader.host), None);
}
