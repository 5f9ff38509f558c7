//! What the oracles say of histories made by hand: what they have to notice, and what is nobody's fault.

use ottla_core::types::PartitionEpoch;

use super::*;

fn id(id: i32) -> BrokerId {
    BrokerId::new(id)
}

fn epoch(epoch: i32) -> LeaderEpoch {
    LeaderEpoch::new(epoch)
}

/// A durable log of one record for each of these epochs. Equal epochs at equal offsets are equal records.
fn log(epochs: &[i32]) -> SimLog {
    let mut log = SimLog::default();
    for &of in epochs {
        log.append(epoch(of), 0);
    }
    log.sync(log.end());
    log
}

fn seen(broker: i32, log: &SimLog) -> Seen<'_> {
    Seen { id: id(broker), registered: true, log }
}

/// Broker `leader` leads, alone in sync, with `elr` beside it.
fn version(leader: i32, of: i32, elr: &[i32]) -> Assignment {
    Assignment {
        leader: Some((id(leader), Incarnation::new(1))),
        leader_epoch: epoch(of),
        partition_epoch: PartitionEpoch::new(of),
        replicas: vec![id(1), id(2), id(3)],
        isr: vec![id(leader)],
        elr: elr.iter().copied().map(id).collect(),
        min_insync: 1,
        unclean: None,
    }
}

fn broken(checked: Checked) -> Option<&'static str> {
    checked.err().map(|violation| violation.invariant)
}

/// Broker 1 appends in epoch 2 and dies; broker 2, which lacks that, leads in epoch 3 and answers broker 3, which stands
/// still. Broker 1 leads again in epoch 4, and commits what it had. Then broker 3 goes on, and takes the answer.
#[test]
fn who_is_no_member_may_cut_what_only_a_later_epoch_has_committed() {
    let (old, late) = (log(&[1, 1]), log(&[1, 1, 2, 2]));
    for (elr, knows, end, broken_is) in [
        (&[][..], 3, 2, None),
        (&[], 3, 1, Some("R8")),
        (&[], 4, 2, Some("R8")),
        (&[], 4, 4, None),
        // Whoever may be elected has everything, whatever it has heard of.
        (&[3], 3, 2, Some("R8")),
    ] {
        let mut truth = Truth::default();
        assert_eq!(truth.on_watermark((&[id(2)], 1, epoch(1)), seen(2, &old), offset(2), &[]), Ok(()));
        assert_eq!(truth.on_version(&version(1, 4, elr)), Ok(()));
        assert_eq!(truth.on_watermark((&[id(1)], 1, epoch(4)), seen(1, &late), offset(4), &[]), Ok(()));
        assert_eq!(broken(truth.on_cut(epoch(knows), seen(3, &late), offset(end))), broken_is, "{elr:?} {knows} {end}");
    }
}

/// Broker 2 is elected uncleanly, and does not know it. Broker 1, which it follows, has removed what it lacks and tells it to
/// start over. Before it has led it may be out of the ISR again, and eligible.
#[test]
fn what_is_committed_after_an_unclean_election_is_settled_when_somebody_leads() {
    let whole = log(&[1, 1, 1, 1, 1]);
    let mut elected = log(&[1, 1]);
    let mut truth = Truth::default();
    assert_eq!(truth.on_watermark((&[id(1)], 1, epoch(1)), seen(1, &whole), offset(5), &[]), Ok(()));
    truth.on_unclean(epoch(2), &elected);
    assert_eq!(truth.watermark(), offset(2));

    let start_over =
        |log: &mut SimLog, at| log.start_over(offset(at), whole.prefix(offset(at)).unwrap(), BTreeMap::new());
    start_over(&mut elected, 4);
    assert!(truth.is_unsettled(epoch(2)));
    truth.on_unclean(epoch(2), &elected);
    let eligible = Assignment { leader: None, isr: Vec::new(), ..version(2, 3, &[2]) };
    assert_eq!(truth.on_members(&eligible, &[seen(2, &elected)]), Ok(()));
    assert_eq!(truth.watermark(), offset(4), "what lies below its log was committed and removed");

    assert_eq!(truth.on_version(&version(2, 4, &[])), Ok(()));
    assert_eq!(truth.on_leading(0, epoch(4), Incarnation::new(1), seen(2, &elected)), Ok(()));
    assert!(!truth.is_unsettled(epoch(2)));
    start_over(&mut elected, 3);
    assert_eq!(broken(truth.on_members(&eligible, &[seen(2, &elected)])), Some("R3"));
}
