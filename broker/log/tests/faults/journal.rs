//! Damage in the journal while it is needed: nothing of it is in a segment, or nothing of it is flushed.

use std::collections::BTreeMap;

use ottla_core::types::{Offset, TopicPartition};
use ottla_log::disk::Disk;
use ottla_log::disk::sim::SimDisk;
use ottla_log::store::Suspicion;

use super::kit::{Content, Harm, Kit, compare, files, harm, open, partition, restart};

/// A directory whose process was killed, or whose machine lost its power, with acked batches that only the journal has for
/// certain.
fn interrupted(power: bool) -> (SimDisk, BTreeMap<TopicPartition, Content>) {
    let mut kit = Kit::new();
    kit.fill();
    kit.dir.flush().unwrap();
    kit.fill_more();
    kit.idle();
    let Kit { disk, dir, content, .. } = kit;
    drop(dir);
    (if power { disk.crash() } else { disk.kill() }, content)
}

/// Every batch that is missing is named, or its partition is known to be suspect.
fn check(what: &str, disk: &SimDisk, content: &BTreeMap<TopicPartition, Content>) -> usize {
    let (dir, recovered, loss) = restart(disk, content);
    for id in &loss.short {
        let suspect = recovered.suspect.contains(&(*id, Suspicion::JournalHole));
        assert!(suspect, "{what}: {id} is short and nobody suspects it: {recovered:?}");
    }
    drop(dir);
    loss.batches
}

#[test]
fn an_interrupted_directory_loses_nothing() {
    for power in [false, true] {
        let (disk, content) = interrupted(power);
        assert_eq!(check("no harm", &disk, &content), 0);
    }
}

#[test]
fn damage_in_the_middle_is_named_or_the_segments_make_up_for_it() {
    let mut lost = 0;
    for power in [false, true] {
        let (template, _) = interrupted(power);
        for file in files(&template, ".jnl") {
            let length = template.size(&file).unwrap().unwrap();
            for bit in (0..length * 8).step_by(8 * 1201 + 1) {
                let (disk, content) = interrupted(power);
                assert!(disk.flip_bit(&file, bit));
                lost += check(&format!("{file} bit {bit}, power loss: {power}"), &disk, &content);
            }
        }
    }
    assert!(lost > 0, "none of it met a batch that only the journal had");
}

#[test]
fn a_journal_file_that_is_gone_is_noticed() {
    for power in [false, true] {
        let (template, _) = interrupted(power);
        for file in files(&template, ".jnl") {
            let (disk, content) = interrupted(power);
            disk.remove(&file).unwrap();
            check(&format!("{file}, power loss: {power}"), &disk, &content);
        }
    }
}

/// A torn tail leaves a file as long as it was made: one that is shorter has lost something.
#[test]
fn a_journal_file_that_is_cut_is_named_and_the_rest_is_served() {
    for power in [false, true] {
        let (template, _) = interrupted(power);
        for file in files(&template, ".jnl") {
            for hundredths in [0, 3, 7, 12, 20, 33, 50, 80] {
                let (disk, content) = interrupted(power);
                assert!(harm(&disk, &file, Harm::Cut(hundredths)));
                check(&format!("{file} cut at {hundredths} %, power loss: {power}"), &disk, &content);
            }
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_nothing_acked_is_in_it() {
    let mut kit = Kit::new();
    kit.fill();
    for n in 1..40 {
        let (disk, content) = (kit.disk.clone(), kit.content.clone());
        kit.append(0);
        disk.stop_after(n % 4 + 1);
        let acked = kit.try_pump();
        let disk = disk.crash();
        let (dir, recovered) = open(&disk).unwrap();
        assert_eq!((&recovered.damaged[..], &recovered.suspect[..]), (&[][..], &[][..]), "round {n}");
        assert!(recovered.journal.holes.is_empty(), "round {n}: {recovered:?}");
        // The last batch was not acked unless the pump said so: it may be there or not, and is never half there.
        let there = dir.partition(partition(0)).unwrap().log_end().get();
        let last = kit.content[&partition(0)].values().map(|(end, _)| *end).max().unwrap();
        assert!(!acked || there == last, "round {n}: acked up to {last}, ends at {there}");
        let expected = if there == last { kit.content.clone() } else { content };
        assert_eq!(compare(&dir, &expected).batches, 0, "round {n}");
        kit = kit.resumed(disk, dir, expected);
    }
}

#[test]
fn released_and_recycled_frames_do_not_come_back_whatever_they_hold() {
    let build = || {
        let mut kit = Kit::new();
        let recycled = |kit: &Kit| {
            let stats = kit.dir.journal_stats().unwrap().read();
            stats.iter().any(|(name, count)| *name == "files_recycled" && *count > 0)
        };
        while !recycled(&kit) {
            kit.fill_more();
            kit.dir.flush().unwrap();
            kit.pump();
        }
        kit.dir.close().unwrap();
        let Kit { disk, dir, content, .. } = kit;
        drop(dir);
        (disk.crash(), content)
    };
    let (template, _) = build();
    for file in files(&template, ".jnl") {
        let length = template.size(&file).unwrap().unwrap();
        for bit in (0..length * 8).step_by(8 * 9973 + 5) {
            let (disk, content) = build();
            assert!(disk.flip_bit(&file, bit));
            let (_, recovered, loss) = restart(&disk, &content);
            assert_eq!((loss.batches, recovered.batches), (0, 0), "{file} bit {bit}: {recovered:?}");
            assert_eq!(&recovered.damaged[..], &[][..], "{file} bit {bit}");
        }
    }
}

/// A catalogue is older than what retention has removed since: the files do not come back, not even half-made.
#[test]
fn a_kill_after_segments_were_removed_brings_none_of_them_back() {
    let build = || {
        let mut kit = Kit::new();
        kit.fill();
        kit.dir.flush().unwrap();
        kit.fill_more();
        kit.idle();
        let before = files(&kit.disk, ".log");
        for index in 0..2 {
            let log = kit.dir.partition(partition(index)).unwrap();
            let (start, _) = log.delete_records(Offset::new(log.log_end().get() - 2)).unwrap();
            kit.content.get_mut(&partition(index)).unwrap().retain(|_, (end, _)| *end > start.get());
        }
        kit.pump();
        let left = files(&kit.disk, ".log");
        let removed: Vec<String> = before.into_iter().filter(|file| !left.contains(file)).collect();
        assert!(removed.len() > 4, "{removed:?}");
        let Kit { disk, dir, content, .. } = kit;
        drop(dir);
        (disk.kill(), content, removed)
    };
    for operations in 1.. {
        let (disk, content, removed) = build();
        disk.stop_after(operations);
        let opened = open(&disk).is_ok();
        let present = disk.files();
        assert!(!removed.iter().any(|file| present.contains(file)), "after {operations} operations: {present:?}");
        let disk = disk.kill();
        let (_, recovered, loss) = restart(&disk, &content);
        assert_eq!((loss.batches, &recovered.damaged[..]), (0, &[][..]), "after {operations} operations");
        if opened {
            return;
        }
    }
}
