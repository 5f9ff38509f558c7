//! Cuts at every stage of a batch's life, and what a start makes of them.
//!
//! Owns the scenarios; histories at random are the model's. Each one must end in a log that is one of those it may be.

use super::*;
use crate::batch::testing::{placed, produced};
use crate::disk::Disk as _;
use crate::disk::sim::SimDisk;
use crate::partition::replica::tests::{Kit, at, run};
use crate::partition::{AppendError, ReadError};

/// A log of two epochs over several segments, some of it flushed.
fn filled() -> Kit {
    let mut kit = Kit::new();
    kit.push(0, 9, 2).unwrap();
    kit.settle();
    kit.push(90, 9, 3).unwrap();
    kit.pump();
    kit
}

fn old() -> Vec<(i64, i32)> {
    [run(0, 90, 2), run(90, 180, 3)].concat()
}

#[test]
fn a_cut_holds_at_once_and_after_any_crash() {
    for end in [0, 5, 10, 40, 45, 90, 120, 175, 179] {
        for more in [false, true] {
            for stage in 0..4 {
                let mut kit = filled();
                let kept: Vec<_> = old().into_iter().filter(|(base, _)| base + 10 <= end).collect();
                let cut = kit.cut(end).unwrap();
                assert_eq!((cut.end, kit.log.log_end()), (at(end / 10 * 10), cut.end));
                assert!(kit.log.flushed_end() <= cut.end);
                assert_eq!(kit.read(), kept);
                let mut expected = kept;
                if more {
                    kit.push(cut.end.get(), 7, 5).unwrap();
                    expected.extend(run(cut.end.get(), cut.end.get() + 70, 5));
                    assert_eq!(kit.read(), expected);
                }
                if stage > 0 {
                    kit.pump();
                }
                if stage > 1 {
                    kit.settle();
                }
                if stage > 2 {
                    kit.disk.remove("catalogue").unwrap();
                }
                let durable = kit.dir.synced() >= cut.lsn;
                assert_eq!(durable, stage > 0);
                let kit = if end % 2 == 0 { kit.crashed() } else { kit.killed() };
                let found = kit.read();
                assert!(found == expected || !durable && found == old(), "{end} {more} {stage}: {found:?}");
                kit.push(kit.log.log_end().get(), 1, 9).unwrap();
            }
        }
    }
}

#[test]
fn an_end_in_a_batch_takes_the_batch_along_and_one_behind_the_log_nothing() {
    let kit = filled();
    assert_eq!(kit.cut(180).unwrap().end, at(180));
    assert_eq!(kit.cut(500).unwrap().end, at(180));
    assert_eq!(kit.read(), old());
    assert_eq!(kit.cut(111).unwrap().end, at(110));
    assert_eq!(kit.log.epoch_at(at(100)), kit.log.last_epoch());
}

#[test]
fn one_cut_at_a_time_and_none_below_the_start() {
    let mut kit = filled();
    kit.log.delete_records(at(30)).unwrap();
    assert_eq!(kit.cut(20), Err(TruncateError::BelowStart { asked: at(20), start: at(30) }));
    let cut = kit.cut(150).unwrap();
    assert_eq!(kit.cut(140), Err(TruncateError::Cutting { lsn: cut.lsn }));
    assert_eq!(kit.log.start_over(at(7), &[]), Err(TruncateError::Cutting { lsn: cut.lsn }));
    kit.pump();
    assert_eq!(kit.cut(140).unwrap().end, at(140));
}

#[test]
fn batches_that_were_cut_off_are_never_reported() {
    let mut kit = filled();
    kit.push(180, 4, 4).unwrap();
    kit.cut(200).unwrap();
    kit.push(200, 1, 5).unwrap();
    kit.heard.ends.lock().clear();
    kit.pump();
    assert!(kit.heard.ends.lock().iter().all(|&end| end <= 210));
    assert_eq!(kit.log.flushed_end(), at(210));
    // All of them in later groups than the one that was cut off.
    kit.push(210, 4, 5).unwrap();
    kit.cut(0).unwrap();
    kit.heard.ends.lock().clear();
    kit.pump();
    assert!(kit.heard.ends.lock().iter().all(|&end| end == 0));
    assert_eq!(kit.log.flushed_end(), at(0));
}

#[test]
fn starting_over_leaves_nothing() {
    for start in [0, 7, 60, 180, 1_000] {
        for stage in 0..4 {
            let mut kit = filled();
            let lsn = kit.log.start_over(at(start), &[]).unwrap();
            assert_eq!(
                (kit.log.log_start(), kit.log.log_end(), kit.log.flushed_end()),
                (at(start), at(start), at(start))
            );
            assert_eq!((kit.log.last_epoch(), kit.log.producers().len()), (None, 0));
            kit.push(start, 12, 1).unwrap();
            if stage > 0 {
                kit.pump();
            }
            if stage > 1 {
                kit.settle();
            }
            if stage > 2 {
                kit.disk.remove("catalogue").unwrap();
            }
            let durable = kit.dir.synced() >= lsn;
            let kit = if start % 2 == 0 { kit.crashed() } else { kit.killed() };
            let found = kit.read();
            let expected = run(start, start + 120, 1);
            assert!(found == expected || !durable && found == old(), "{start} {stage}: {found:?}");
        }
    }
}

/// T1: what producers did below the new start is in no batch of this log, in no file, and only in the frame at first.
#[test]
fn starting_over_keeps_what_producers_did_below_the_new_start() {
    let known = {
        let kit = Kit::new();
        let sent: Vec<u8> = (0..3).flat_map(|n| placed(produced(1, 9, 5, 77, 0, n), n.into(), 3)).collect();
        kit.log.append_replica(sent.into(), Timestamp::new(5)).unwrap();
        kit.log.producers_below(at(2))
    };
    assert_eq!((known.len(), known[0].batches.len()), (1, 2));
    for stage in 0..4 {
        for more in [false, true] {
            let mut kit = filled();
            let lsn = kit.log.start_over(at(60), &known).unwrap();
            assert_eq!(kit.log.producers(), known);
            if more {
                kit.push(60, 12, 4).unwrap();
            }
            if stage > 0 {
                kit.pump();
            }
            if stage > 1 {
                kit.settle();
            }
            if stage > 2 {
                kit.disk.remove("catalogue").unwrap();
            }
            let durable = kit.dir.synced() >= lsn;
            assert_eq!(durable, stage > 0);
            let kit = kit.crashed();
            let over = kit.log.log_start() == at(60);
            assert!(over || !durable);
            assert_eq!(kit.log.producers(), if over { known.clone() } else { Vec::new() }, "{stage} {more}");
        }
    }
}

#[test]
fn an_opted_out_partition_keeps_what_comes_behind_a_cut() {
    let mut kit = Kit::opted_out();
    assert!(kit.push(0, 9, 2).unwrap().flushed);
    kit.cut(40).unwrap();
    assert!(!kit.push(40, 2, 3).unwrap().flushed, "a start would replay the cut");
    kit.settle();
    assert!(kit.push(60, 9, 3).unwrap().flushed);
    let kit = kit.killed();
    assert_eq!(kit.read(), [run(0, 40, 2), run(40, 150, 3)].concat());
}

#[test]
fn a_cut_at_a_start_inside_a_batch_leaves_what_is_on_its_way() {
    let mut kit = Kit::new();
    kit.push(0, 3, 2).unwrap();
    kit.pump();
    // The batch 20..30 goes, the start stays: between them there is a gap, and 0..20 may not be in a file yet.
    kit.push(30, 1, 2).unwrap();
    kit.log.delete_records(at(25)).unwrap();
    assert_eq!(kit.cut(25).unwrap().end, at(25));
    kit.push(20, 3, 3).unwrap();
    assert_eq!((kit.log.log_start(), kit.log.epoch_at(at(25))), (at(25), Some(3.into())));
    for _ in 0..2 {
        kit.settle();
        assert_eq!(kit.read(), run(20, 50, 3));
        kit = kit.crashed();
    }
    assert_eq!(kit.log.epoch_at(at(25)), Some(3.into()));
}

#[test]
fn where_a_log_begins_is_in_its_folder() {
    for late in [false, true] {
        let mut kit = Kit::new();
        kit.log.start_over(at(70), &[]).unwrap();
        kit.pump();
        if late {
            // Only the journal knows; the next start makes the folder.
            kit = kit.crashed();
        }
        kit.settle();
        kit.disk.remove("catalogue").unwrap();
        let kit = kit.crashed();
        assert_eq!((kit.log.log_start(), kit.log.log_end()), (at(70), at(70)));
    }
}

#[test]
fn a_catalogue_that_a_start_did_not_find_does_not_come_back_after_it() {
    for operations in 1..25 {
        for seed in 0..6 {
            let mut kit = Kit::opened(SimDisk::new(seed), false);
            kit.push(0, 9, 2).unwrap();
            kit.settle();
            kit.cut(85).unwrap();
            kit.push(80, 3, 3).unwrap();
            kit.settle();
            let expected = kit.read();
            kit.disk.remove("catalogue").unwrap();
            // Without it the start replays the cut, on files that have what was written behind it.
            let kit = kit.stopped_in_start(operations);
            assert_eq!(kit.read(), expected, "{operations} {seed}");
        }
    }
}

#[test]
fn a_log_that_was_cut_to_nothing_lets_the_journal_forget() {
    let mut kit = Kit::new();
    kit.push(0, 3, 2).unwrap();
    kit.cut(0).unwrap();
    kit.settle();
    assert!(kit.log.shared.unsettled.lock().is_empty());
    kit.disk.remove("catalogue").unwrap();
    let kit = kit.crashed();
    assert_eq!(kit.log.log_end(), at(0));
}

/// Pushes, waits, cuts, pushes again, while others read and the segment threads write and flush.
#[test]
fn readers_never_take_a_cut_for_damage() {
    let kit = Kit::with_threads(SimDisk::new(5), false, true);
    let done = std::sync::atomic::AtomicBool::new(false);
    let read_all = || {
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let (mut from, end) = (kit.log.log_start(), kit.log.log_end());
            while from < end {
                match kit.log.read(from, end, 900, true) {
                    Ok(read) if read.next > from => from = read.next,
                    Ok(_) | Err(ReadError::OutOfRange { .. }) => break, // it was cut meanwhile
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(read_all);
        scope.spawn(read_all);
        let mut end = 0;
        for round in 0..60 {
            let replicated = loop {
                match kit.push(end, 20, 1 + round / 8) {
                    // The threads that make room have not come to it.
                    Err(AppendError::Full) => std::thread::yield_now(),
                    other => break other.unwrap(),
                }
            };
            if round % 3 > 0 {
                kit.dir.durable(replicated.lsn).wait().unwrap();
            }
            let cut = loop {
                match kit.cut(end + 10 * i64::from(round % 19)) {
                    Err(TruncateError::Cutting { lsn }) => kit.dir.durable(lsn).wait().unwrap(),
                    other => break other.unwrap(),
                }
            };
            end = cut.end.get();
            if round % 5 == 0 {
                kit.dir.durable(cut.lsn).wait().unwrap();
                assert!(kit.log.flushed_end() <= cut.end);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(kit.log.damage(), []);
    let found = kit.read();
    kit.dir.close().unwrap();
    assert_eq!(kit.killed().read(), found);
}
