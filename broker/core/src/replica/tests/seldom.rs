//! Rules whose absence no oracle of the simulation notices soon: what each of them keeps from happening, by hand.

use super::*;

/// Broker 2 opens that session anew, with an empty log.
fn opens_again(leader: &mut Harness, session: u32) {
    let (epoch, incarnation, session) = (LeaderEpoch::new(4), Incarnation::new(7), SessionNumber(session));
    let nothing = Offset::default();
    let open = Open { epoch, incarnation, session, start: nothing, last_epoch: None, end: nothing };
    leader.event(Event::Received { from: id(2), message: Message::Open(open) });
}

/// `NewestAssignment` (R6).
#[test]
fn an_older_version_changes_nothing() {
    let mut leader = Harness::leader(&[1, 2, 3], &[1, 2, 3], 1);
    let older = leader.replica.assignment.clone();
    leader.assigned(&[1, 2], 1);
    leader.event(Event::Assigned(older));
    assert_eq!(leader.replica.assignment.isr, [id(1), id(2)]);
}

/// `SessionOfAck` (R11): what a follower had before it opened another session, it may have cut since.
#[test]
fn an_acknowledgement_of_an_older_session_counts_for_nothing() {
    let mut leader = Harness::leader(&[1, 2], &[1, 2], 1);
    leader.opens(2, 0);
    leader.append(3);
    opens_again(&mut leader, 2);
    leader.acks(2, 3);
    assert_eq!(leader.replica.high_watermark(), Offset::default());
    let mut leader = Harness::leader(&[1, 2], &[1, 2], 1);
    leader.opens(2, 0);
    leader.append(3);
    leader.acks(2, 3);
    assert_eq!(leader.replica.high_watermark(), Offset::new(3), "it counts in its own session");
}

/// `IncarnationOfJoin` (R5): a disk may have been emptied between two runs.
#[test]
fn nobody_joins_by_what_an_earlier_run_acknowledged() {
    for (registered, joins) in [(7, true), (8, false)] {
        let mut leader = Harness::leader_with(1, &[1, 2], &[1], 1);
        leader.opens(2, 0);
        assert_eq!(leader.alters().len(), 0, "it lacks what was there when the epoch began");
        leader.host.on_peer(id(2), Peer { incarnation: Incarnation::new(registered), fenced: false, draining: false });
        leader.acks(2, 1);
        assert_eq!(leader.alters().contains(&vec![id(1), id(2)]), joins, "{registered}");
    }
}

/// `IncarnationOfLeader` (A5): an epoch that an earlier run of this broker was given is not this one's.
#[test]
fn an_epoch_of_an_earlier_run_is_nobodys() {
    for (run, leads) in [(7, true), (6, false)] {
        let mut assignment = led_by(1, 4);
        assignment.leader = Some((id(1), Incarnation::new(run)));
        assert_eq!(Harness::given(3, assignment).replica.is_leader(), leads, "{run}");
    }
}
