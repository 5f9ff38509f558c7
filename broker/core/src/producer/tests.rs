//! Unit tests of the producer machine, and a comparison with a model that remembers everything.

use super::*;

fn claim(id: i64, epoch: i16, first: i32, count: i32) -> Claim {
    Claim::of_batch(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(first), count).unwrap()
}

/// Appends at `next` if the machine takes it; the verdict otherwise.
fn step(producers: &mut Producers, next: &mut i64, claim: Claim, count: i32) -> Result<Verdict, Refused> {
    let verdict = producers.check(&claim)?;
    if verdict == Verdict::Append {
        let last = *next + i64::from(count) - 1;
        producers.record(&claim, Offset::new(last), Timestamp::new(7), Timestamp::new(*next));
        *next += i64::from(count);
    }
    Ok(verdict)
}

#[test]
fn a_batch_without_a_producer_claims_nothing() {
    assert_eq!(Claim::of_batch(ProducerId::NONE, ProducerEpoch::new(-1), Sequence::new(-1), 1), None);
}

#[test]
fn any_of_the_last_five_batches_gets_its_original_offset() {
    let (mut producers, mut next) = (Producers::default(), 100);
    for batch in 0..8 {
        assert_eq!(step(&mut producers, &mut next, claim(1, 0, batch * 3, 3), 3), Ok(Verdict::Append));
    }
    for batch in 3..8 {
        let Ok(Verdict::Duplicate(found)) = producers.check(&claim(1, 0, batch * 3, 3)) else {
            panic!("batch {batch} is no duplicate");
        };
        assert_eq!(found.base_offset(), Offset::new(100 + i64::from(batch) * 3));
    }
    for batch in 0..3 {
        let refused = producers.check(&claim(1, 0, batch * 3, 3)).unwrap_err();
        assert!(matches!(refused, Refused::OutOfOrderSequence { expected, .. } if expected.get() == 24));
    }
}

#[test]
fn a_gap_is_refused_and_changes_nothing() {
    let (mut producers, mut next) = (Producers::default(), 0);
    step(&mut producers, &mut next, claim(1, 0, 0, 2), 2).unwrap();
    let before = producers.clone();
    assert_eq!(
        step(&mut producers, &mut next, claim(1, 0, 3, 1), 1),
        Err(Refused::OutOfOrderSequence { id: ProducerId::new(1), got: Sequence::new(3), expected: Sequence::new(2) })
    );
    assert_eq!(producers, before);
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let (mut producers, mut next) = (Producers::default(), 0);
    step(&mut producers, &mut next, claim(1, 0, 0, 2), 2).unwrap();
    assert!(matches!(producers.check(&claim(1, 1, 2, 1)), Err(Refused::OutOfOrderSequence { .. })));
    assert_eq!(step(&mut producers, &mut next, claim(1, 1, 0, 1), 1), Ok(Verdict::Append));
    assert_eq!(
        producers.check(&claim(1, 0, 2, 1)),
        Err(Refused::FencedEpoch {
            id: ProducerId::new(1),
            got: ProducerEpoch::new(0),
            current: ProducerEpoch::new(1)
        })
    );
}

#[test]
fn sequences_wrap_to_zero() {
    let (mut producers, mut next) = (Producers::default(), 0);
    let across = claim(1, 0, i32::MAX - 1, 4);
    assert_eq!(across.last, Sequence::new(1));
    step(&mut producers, &mut next, across, 4).unwrap();
    let Ok(Verdict::Duplicate(batch)) = producers.check(&across) else { panic!("no duplicate") };
    assert_eq!(batch.base_offset(), Offset::new(0));
    assert_eq!(step(&mut producers, &mut next, claim(1, 0, 2, 1), 1), Ok(Verdict::Append));
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    let (mut producers, mut next) = (Producers::default(), 0);
    assert_eq!(step(&mut producers, &mut next, claim(9, 3, 77, 1), 1), Ok(Verdict::Append));
    producers.expire(Timestamp::new(1));
    assert!(producers.is_empty());
}

#[test]
fn a_snapshot_leaves_out_what_is_not_durable() {
    let (mut producers, mut next) = (Producers::default(), 0);
    for batch in 0..4 {
        step(&mut producers, &mut next, claim(1, 0, batch, 1), 1).unwrap();
    }
    step(&mut producers, &mut next, claim(2, 0, 0, 1), 1).unwrap();
    let mut restored = Producers::restore(producers.snapshot(Offset::new(2)));
    assert_eq!(restored.len(), 1);
    assert_eq!(restored.check(&claim(1, 0, 2, 1)), Ok(Verdict::Append));
    // Replaying everything over the snapshot gives the same as never having stopped.
    for batch in 0..4 {
        restored.record(&claim(1, 0, batch, 1), Offset::new(batch.into()), Timestamp::new(7), Timestamp::new(9));
    }
    assert!(matches!(restored.check(&claim(1, 0, 1, 1)), Ok(Verdict::Duplicate(b)) if b.last_offset.get() == 1));
    let mut truncated = producers.clone();
    truncated.truncate(Offset::new(2));
    assert_eq!(truncated.snapshot(Offset::new(99)), producers.snapshot(Offset::new(2)));
}

#[test]
fn a_flood_of_producers_is_bounded_and_the_busy_ones_stay() {
    let (mut producers, mut next) = (Producers::default(), 0);
    for id in 0..20_000 {
        step(&mut producers, &mut next, claim(id, 0, 0, 1), 1).unwrap();
        let turn = i32::try_from(id).unwrap();
        step(&mut producers, &mut next, claim(1_000_000, 0, turn, 1), 1).unwrap();
        assert!(producers.len() <= PRODUCERS_KEPT);
    }
    assert!(matches!(producers.check(&claim(1_000_000, 0, 19_999, 1)), Ok(Verdict::Duplicate(_))));
}

#[test]
fn a_merge_keeps_the_newer_memory_of_each_producer() {
    let (mut old, mut next) = (Producers::default(), 0);
    step(&mut old, &mut next, claim(1, 0, 0, 1), 1).unwrap();
    step(&mut old, &mut next, claim(2, 0, 0, 1), 1).unwrap();
    let mut new = old.clone();
    step(&mut new, &mut next, claim(1, 0, 1, 1), 1).unwrap();
    step(&mut old, &mut next, claim(2, 0, 1, 1), 1).unwrap();
    old.merge(new.snapshot(Offset::new(99)));
    assert!(matches!(old.check(&claim(1, 0, 1, 1)), Ok(Verdict::Duplicate(_))));
    assert!(matches!(old.check(&claim(2, 0, 1, 1)), Ok(Verdict::Duplicate(_))));
}
