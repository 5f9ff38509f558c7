//! The replica machine, one decision at a time. How it fares among others is the simulation's to find out.

use std::time::Duration;

use super::*;
use crate::types::{Incarnation, PartitionEpoch, PartitionIndex, TopicId};

mod harness;
mod seldom;

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
                // Nothing is older in the leader's log: nothing can be compared.
                Comparison::TooOld { start } => follower.truncate(start),
            }
            assert!(round < 5);
        }
        assert_eq!(follower.len(), left, "{leader:?}");
    }
}

/// What a leader has removed may have differed: a log that ends where the leader's begins is not proven to be a prefix.
#[test]
fn where_the_leaders_log_begins_proves_nothing() {
    let leader = Epochs::of(&[2, 2, 4, 4]).from(2);
    let start = Offset::new(2);
    assert_eq!(compare(&leader, Some(LeaderEpoch::new(3)), Offset::new(2)), Comparison::TooOld { start });
    assert_eq!(compare(&leader, Some(LeaderEpoch::new(3)), Offset::new(3)), Comparison::TooOld { start });
    assert_eq!(compare(&leader, Some(LeaderEpoch::new(4)), Offset::new(3)), Comparison::Prefix);
    assert_eq!(compare(&leader, None, Offset::new(2)), Comparison::Prefix, "nothing is in it");
    let empty = Epochs::of(&[2, 2]).from(2);
    assert_eq!(compare(&empty, Some(LeaderEpoch::new(2)), Offset::new(2)), Comparison::TooOld { start });
}

/// Retention may pass a follower by that is far behind: it is told to ask again, and starts over.
#[test]
fn who_lacks_what_was_removed_opens_another_session() {
    let mut leader = Harness::leader(&[1, 2], &[1], 1);
    leader.append(5);
    leader.opens_only(2, 0);
    leader.removes_below(3);
    leader.verdicts();
    leader.event(Event::Room(id(2)));
    assert!(!leader.effects.iter().any(|effect| matches!(effect, Effect::Push { .. })));
    assert_eq!(leader.verdicts(), [Verdict::Refused]);
}

/// An empty log that begins later than the leader's stands for records that may have been others, before an unclean
/// election. A member's does not, and a member that dropped it would be elected without them.
#[test]
fn an_empty_log_that_begins_later_starts_over_unless_its_replica_is_a_member() {
    for (isr, verdict) in [(&[1][..], Verdict::StartOver(Offset::new(0))), (&[1, 2], Verdict::PushFrom(Offset::new(3)))]
    {
        let mut leader = Harness::leader_with(5, &[1, 2], isr, 1);
        leader.opens_empty(2, 3);
        assert_eq!(leader.verdicts(), [verdict]);
    }
}

/// What a follower removed before an unclean election was committed then, and may not be now: as a leader it would say that
/// everything below its start is. A member's start is committed, and a member that dropped its log would be elected.
#[test]
fn a_log_that_begins_above_what_is_committed_since_an_unclean_election_starts_over() {
    let over = Verdict::StartOver(Offset::new(0));
    let on = Verdict::PushFrom(Offset::new(5));
    let cases: &[(Option<i32>, &[i32], usize, Verdict)] = &[
        (Some(4), &[1], 3, over),
        (Some(2), &[1], 3, over),
        (Some(4), &[1], 0, on),
        (Some(4), &[1, 2], 3, on),
        // Its log has something of that epoch: it has been through the election.
        (Some(1), &[1], 3, on),
        (None, &[1], 3, on),
    ];
    for &(unclean, isr, start, verdict) in cases {
        let isr = isr.iter().map(|&member| id(member)).collect();
        let unclean = unclean.map(LeaderEpoch::new);
        let mut leader = Harness::given(5, Assignment { isr, min_insync: 3, unclean, ..led_by(1, 4) });
        leader.opens_kept(2, start, 5);
        assert_eq!(leader.verdicts(), [verdict], "{unclean:?} {start}");
    }
    // It begins where this leader's log does, which may itself be above what this leader knows to be committed.
    let unclean = Some(LeaderEpoch::new(4));
    let mut leader = Harness::given(5, Assignment { isr: vec![id(1)], min_insync: 3, unclean, ..led_by(1, 4) });
    leader.removes_below(3);
    leader.opens_kept(2, 3, 5);
    assert_eq!(leader.verdicts(), [on]);
}

/// The first answer may be on its way, and the session counts already: another one would cut what is believed in.
#[test]
fn a_question_that_is_repeated_gets_the_same_answer() {
    let mut leader = Harness::leader_with(5, &[1, 2, 3], &[1, 2], 1);
    leader.opens_empty(2, 3);
    leader.assigned(&[1], 1);
    leader.opens_empty(2, 3);
    assert_eq!(leader.verdicts(), [Verdict::PushFrom(Offset::new(3)); 2]);
}

/// It may be cutting already, though the leader would not tell it to any more: it would be believed to have what it cut.
#[test]
fn a_question_that_was_answered_with_a_cut_is_always_answered_so() {
    let over = Verdict::StartOver(Offset::new(0));
    let mut leader = Harness::leader_with(5, &[1, 2, 3], &[1, 2], 2);
    leader.opens_empty(3, 3);
    leader.assigned(&[1, 2, 3], 2);
    leader.opens_empty(3, 3);
    assert_eq!(leader.verdicts(), [over; 2]);
    assert_eq!(leader.replica.follower_end(id(3)), None);
}

/// A question that comes again after retention has passed the session by ends it; the follower may have had its answer, and
/// takes no other. It would wait for ever for what is not pushed any more.
#[test]
fn a_late_question_that_ends_a_session_is_followed_by_the_news() {
    for ended_before in [false, true] {
        let mut leader = Harness::leader_with(5, &[1, 2], &[1], 1);
        leader.opens(2, 2);
        leader.removes_below(3);
        if ended_before {
            leader.event(Event::PeerRefused(id(2)));
        }
        leader.verdicts();
        leader.opens_only(2, 2);
        assert_eq!(leader.verdicts(), [Verdict::StartOver(Offset::new(3))]);
        for _ in 0..2 {
            leader.passes(Duration::from_millis(500));
            assert_eq!(leader.verdicts(), [Verdict::Refused]);
        }
    }
}

/// The answer to a question about a log of which retention has removed more since is not the answer to the one before.
#[test]
fn a_session_is_asked_for_again_only_with_the_same_log() {
    let mut follower = Harness::given(5, led_by(2, 4));
    follower.passes(Duration::from_millis(500));
    follower.removes_below(3);
    follower.passes(Duration::from_millis(500));
    follower.removes_below(5);
    follower.passes(Duration::from_millis(500));
    assert_eq!(follower.opened(), [1, 1, 2, 3]);
}

/// A follower that never hears that its session is over would wait for ever for what is not pushed any more.
#[test]
fn whose_session_has_ended_is_told_until_it_opens_another_one() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.opens(2, 0);
    leader.verdicts();
    leader.event(Event::PeerRefused(id(2)));
    assert_eq!(leader.verdicts(), [Verdict::Refused]);
    for _ in 0..3 {
        leader.passes(Duration::from_millis(500));
        assert_eq!(leader.verdicts(), [Verdict::Refused]);
    }
    leader.opens(2, 0);
    assert_eq!(leader.verdicts(), [Verdict::PushFrom(Offset::new(0))]);
    leader.passes(Duration::from_millis(500));
    assert_eq!(leader.verdicts(), [] as [Verdict; 0]);
    leader.event(Event::PeerRefused(id(2)));
    leader.fences(2);
    assert_eq!(leader.verdicts(), [Verdict::Refused]);
    leader.passes(Duration::from_millis(500));
    assert_eq!(leader.verdicts(), [] as [Verdict; 0], "it does not run");
}

/// R6: session numbers of each run begin at one. An answer for the run before would cut what is committed by now.
#[test]
fn an_answer_for_an_earlier_run_is_ignored() {
    let mut follower = Harness::given(5, Assignment { unclean: None, ..led_by(2, 4) });
    follower.effects.clear();
    follower.answered(6, Verdict::TruncateTo { epoch: LeaderEpoch::new(1), end: Offset::new(2) });
    assert!(!follower.effects.iter().any(|effect| matches!(effect, Effect::Truncate(_))), "{:?}", follower.effects);
    follower.answered(7, Verdict::TruncateTo { epoch: LeaderEpoch::new(1), end: Offset::new(2) });
    assert!(follower.effects.contains(&Effect::Truncate(Offset::new(2))));
}

/// R8: a replica that was away during an unclean election hears of it in a later epoch, and must still be able to follow.
#[test]
fn an_unclean_election_is_remembered_through_later_epochs() {
    let cases = [(None, false), (Some(1), false), (Some(3), true), (Some(4), true)];
    for (unclean, cuts) in cases {
        let mut follower = Harness::given(5, Assignment { unclean: unclean.map(LeaderEpoch::new), ..led_by(2, 4) });
        follower.effects.clear();
        follower.pushed_watermark(5);
        follower.event(Event::WriteFailed(Offset::new(5)));
        follower.answered(7, Verdict::TruncateTo { epoch: LeaderEpoch::new(1), end: Offset::new(2) });
        let cut = follower.effects.contains(&Effect::Truncate(Offset::new(2)));
        assert_eq!(cut, cuts, "{unclean:?}: {:?}", follower.effects);
        assert_eq!(follower.effects.contains(&Effect::Noted(Note::CutRefused)), !cuts);
        // What was committed before counts no more, not even as far as the cut.
        assert_eq!(follower.replica.high_watermark() == Offset::new(0), cuts);
    }
}

/// R8: an answer may come late. It cuts what a later epoch may have committed without this replica, which nobody counts on,
/// but nothing that it knows to be committed; and nothing at all once the replica knows of a later epoch.
#[test]
fn a_late_answer_cuts_only_while_its_epoch_is_the_newest_that_is_known() {
    for (knows_of, known, to) in [(4, 0, Some(2)), (4, 2, Some(2)), (4, 3, None), (5, 0, None)] {
        let mut follower = Harness::given(5, led_by(2, 4));
        if known > 0 {
            follower.pushed_watermark(known);
            follower.event(Event::WriteFailed(Offset::new(5)));
        }
        if knows_of > 4 {
            follower
                .event(Event::Assigned(Assignment { partition_epoch: PartitionEpoch::new(9), ..led_by(3, knows_of) }));
        }
        follower.effects.clear();
        follower.answered(7, Verdict::TruncateTo { epoch: LeaderEpoch::new(1), end: Offset::new(2) });
        let cut = |effect: &Effect| if let Effect::Truncate(to) = effect { Some(to.get()) } else { None };
        assert_eq!(follower.effects.iter().find_map(cut), to, "{knows_of} {known}");
    }
}

/// Elected uncleanly, but it does not know yet: its leader of before has removed what it lacks, so that it starts over. It
/// leads only when that is durable, and from there on; whoever has something from before the election starts over too.
#[test]
fn who_starts_over_before_it_hears_of_its_election_leads_from_there() {
    let mut replica = Harness::given(5, led_by(2, 3));
    replica.event(Event::Assigned(Assignment { partition_epoch: PartitionEpoch::new(9), ..led_by(2, 4) }));
    replica.answered(7, Verdict::StartOver(Offset::new(8)));
    assert!(replica.effects.contains(&Effect::StartOver(Offset::new(8))), "{:?}", replica.effects);
    let mut elected = Assignment { partition_epoch: PartitionEpoch::new(10), ..led_by(1, 5) };
    (elected.isr, elected.unclean) = (vec![id(1)], Some(LeaderEpoch::new(5)));
    replica.event(Event::Assigned(elected));
    assert!(!replica.replica.is_leader(), "the cut is not durable");
    replica.starts_over(8);
    assert_eq!(replica.replica.epoch_start(), Some(Offset::new(8)));
    assert_eq!(replica.replica.high_watermark(), Offset::new(8));
    replica.verdicts();
    replica.opens_in(LeaderEpoch::new(5), 2, 8, 9);
    assert_eq!(replica.verdicts(), [Verdict::StartOver(Offset::new(8))]);
}

/// R12: metadata from before this run was registered may not know that an earlier run had joined; what the log holds
/// could be counted on by a later version.
#[test]
fn a_suspect_log_is_dropped_only_by_metadata_that_knows_this_run() {
    let mut replica = Harness::restarted(5);
    replica.event(Event::LogSuspect);
    replica.event(Event::Assigned(Assignment { isr: vec![id(2)], ..led_by(2, 4) }));
    let over = |replica: &Harness| replica.effects.iter().any(|effect| matches!(effect, Effect::StartOver(_)));
    assert!(!over(&replica), "{:?}", replica.effects);
    replica.knows_its_run();
    let next = PartitionEpoch::new(9);
    replica.event(Event::Assigned(Assignment { isr: vec![id(2)], partition_epoch: next, ..led_by(2, 5) }));
    assert!(over(&replica), "{:?}", replica.effects);
}

/// Broker `leader` leads; brokers 1 to 3 hold replicas, all of them in sync.
fn led_by(leader: i32, epoch: i32) -> Assignment {
    Assignment {
        leader: Some((id(leader), Incarnation::new(7))),
        leader_epoch: LeaderEpoch::new(epoch),
        partition_epoch: PartitionEpoch::new(8),
        replicas: vec![id(1), id(2), id(3)],
        isr: vec![id(1), id(2), id(3)],
        elr: Vec::new(),
        min_insync: 1,
        unclean: None,
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

/// What an epoch that ends does to produce requests: they wait for the next one, as long as that may come.
#[test]
fn who_comes_while_the_epoch_ends_waits_for_the_next_one() {
    let ends = |leader: &Harness| matches!(leader.admits(Acks::All), Err(Refusal::EpochEnds { .. }));
    let second = Duration::from_secs(1);
    let stopping = || {
        let mut leader = Harness::leader(&[1, 2], &[1, 2], 1);
        leader.stops();
        assert!(ends(&leader));
        leader.holds(1, 5 * second);
        leader.passes(second - Duration::from_millis(1));
        assert_eq!(leader.answers(), []);
        leader
    };
    let mut leader = stopping();
    leader.event(Event::Assigned(led_by(2, 5)));
    assert_eq!(leader.answers(), [(1, Outcome::LookAgain)]);
    let two = Some(id(2));
    assert!(matches!(leader.admits(Acks::All), Err(Refusal::NotLeader { leader, .. }) if leader == two));

    let mut leader = stopping();
    assert!(leader.replica.deadline(&leader.host).is_some());
    leader.passes(Duration::from_millis(1));
    assert_eq!(leader.answers(), [(1, Outcome::LookAgain)], "nobody took over");
    assert!(leader.admits(Acks::All).is_ok());

    let mut leader = stopping();
    leader.assigned(&[1], 1);
    assert_eq!(leader.answers(), [(1, Outcome::LookAgain)], "nobody can take over");
    leader.holds(2, second);
    assert_eq!(leader.answers(), [(2, Outcome::LookAgain)]);

    let mut leader = Harness::leader(&[1, 2], &[1, 2], 1);
    leader.event(Event::WriteFailed(Offset::new(0)));
    leader.holds(1, 2 * second);
    leader.holds(2, 3 * second);
    leader.passes(2 * second);
    assert_eq!(leader.answers(), [(1, Outcome::TimedOut)], "its own time is up");
    leader.event(Event::Assigned(led_by(1, 5)));
    assert_eq!(leader.answers(), [(2, Outcome::LookAgain)], "it leads on");
    assert!(leader.admits(Acks::All).is_ok());
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

/// What was due is done or given up: a deadline that stays in the past would be rung for without end.
#[test]
fn a_leader_that_has_stopped_is_due_for_nothing_but_its_complaint() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.opens(2, 0);
    leader.event(Event::PeerRefused(id(2)));
    leader.event(Event::WriteFailed(Offset::new(0)));
    for _ in 0..3 {
        leader.passes(Duration::from_millis(500));
        assert!(!leader.is_due());
    }
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

/// R14: what a leader has removed goes everywhere, but never more than is committed and durable.
#[test]
fn a_follower_removes_what_its_leader_has_removed() {
    let removed = |follower: &mut Harness| {
        let effects = std::mem::take(&mut follower.effects);
        let below = |effect| if let Effect::RemoveBelow(start) = effect { Some(start.get()) } else { None };
        effects.into_iter().filter_map(below).collect::<Vec<_>>()
    };
    let mut follower = Harness::given(5, led_by(2, 4));
    follower.pushed_watermark(2);
    follower.pushed(2, 4);
    assert_eq!(removed(&mut follower), [2]);
    follower.removes_below(2);
    follower.pushed(9, 4);
    assert_eq!(removed(&mut follower), [4]);
    follower.removes_below(4);
    follower.pushed(9, 4);
    assert_eq!(removed(&mut follower), []);
}

/// A leader says so at once, and to everybody who was not told.
#[test]
fn a_leader_tells_its_followers_where_its_log_begins() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.append(5);
    leader.opens(2, 0);
    leader.removes_below(3);
    leader.effects.clear();
    leader.event(Event::StartMoved);
    leader.event(Event::StartMoved);
    let told = |effect: &Effect| {
        let Effect::Send { to, message: Message::Push(push) } = effect else { return None };
        Some((to.get(), push.log_start.get()))
    };
    assert_eq!(leader.effects.iter().filter_map(told).collect::<Vec<_>>(), [(2, 3)]);
}

/// DeleteRecords is answered when nobody keeps the records whose broker is in service.
#[test]
fn a_leader_knows_from_where_on_anybody_keeps_records() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    leader.append(5);
    leader.opens(2, 0);
    assert_eq!(leader.low_watermark(), None, "broker 3 has not said");
    leader.opens(3, 0);
    leader.removes_below(3);
    assert_eq!(leader.low_watermark(), Some(0));
    leader.acks_from(2, 3, 3);
    assert_eq!(leader.low_watermark(), Some(0));
    leader.acks_from(3, 4, 4);
    assert_eq!(leader.low_watermark(), Some(3));
    leader.acks_from(2, 0, 4);
    assert_eq!(leader.low_watermark(), Some(3), "a late acknowledgement brings nothing back");
    leader.removes_below(4);
    leader.fences(2);
    assert_eq!(leader.low_watermark(), Some(4), "who is fenced is not waited for");
}

/// The leader waits for it.
#[test]
fn a_follower_says_so_when_it_has_removed_what_its_leader_has() {
    let mut follower = Harness::given(5, led_by(2, 4));
    follower.pushed_watermark(5);
    follower.pushed(5, 4);
    follower.effects.clear();
    follower.removes_below(2);
    follower.event(Event::StartMoved);
    follower.removes_below(4);
    follower.event(Event::StartMoved);
    let said = |effect: &Effect| {
        let Effect::Send { message: Message::Ack(ack), .. } = effect else { return None };
        Some((ack.log_start.get(), ack.end.get()))
    };
    assert_eq!(follower.effects.iter().filter_map(said).collect::<Vec<_>>(), [(4, 5)]);
}
