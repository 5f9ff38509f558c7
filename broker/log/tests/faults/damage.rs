//! A directory that was closed in order, and one file of it that is not what it was.

use ottla_core::types::{LeaderEpoch, Offset};
use ottla_log::disk::Disk;
use ottla_log::store::Recovered;

use super::kit::{HARMS, Harm, Kit, Loss, TOPIC, append_one, files, harm, partition, restart};

/// Every harm to every file of a kind, with the catalogue and without it.
fn each(suffix: &str, mut judge: impl FnMut(&str, Harm, &Recovered, &Loss)) {
    let (template, _) = Kit::closed();
    for file in files(&template, suffix) {
        for scanned in [false, true] {
            for kind in HARMS {
                let (disk, content) = Kit::closed();
                if !harm(&disk, &file, kind) {
                    continue;
                }
                if scanned && file != "catalogue" {
                    disk.remove("catalogue").unwrap();
                }
                let (dir, recovered, loss) = restart(&disk, &content);
                let what = format!("{file} {kind:?}, scanned: {scanned}");
                judge(&what, kind, &recovered, &loss);
                let said = dir.partitions().iter().map(|log| log.damage()).collect::<Vec<_>>();
                dir.close().unwrap();
                drop(dir);
                // What was found out stays known: it is never served later.
                let (dir, _, again) = restart(&disk.crash(), &content);
                assert_eq!((again.batches, again.ranges), (loss.batches, loss.ranges), "{what}");
                assert_eq!(dir.partitions().iter().map(|log| log.damage()).collect::<Vec<_>>(), said, "{what}");
            }
        }
    }
}

#[test]
fn a_damaged_segment_loses_what_is_damaged_and_names_it() {
    each(".log", |what, kind, recovered, loss| {
        // A scan goes by the whole journal, which may have what the file had.
        assert!(loss.batches >= 1 || recovered.scanned, "{what}: nothing was lost, {recovered:?}");
        match kind {
            // Without the catalogue nobody knows that the last file was there, or how far it went.
            Harm::Delete | Harm::Cut(_) if recovered.scanned => {}
            Harm::Flip(_) => assert_eq!((loss.batches, loss.ranges), (1, 1), "{what}"),
            Harm::Delete | Harm::Cut(_) => assert_eq!((loss.ranges, loss.short.len()), (1, 0), "{what}"),
        }
    });
}

#[test]
fn hints_may_be_damaged_in_any_way() {
    for suffix in [".index", ".timeindex", "leader-epoch-checkpoint", "catalogue"] {
        each(suffix, |what, _, recovered, loss| {
            assert_eq!(loss, &Loss::default(), "{what}");
            assert_eq!((&recovered.damaged[..], &recovered.suspect[..]), (&[][..], &[][..]), "{what}");
        });
    }
}

#[test]
fn a_damaged_sidecar_damages_no_batch() {
    each(".sum", |what, _, _, loss| assert_eq!(loss, &Loss::default(), "{what}"));
}

#[test]
fn a_damaged_catalogue_is_not_believed() {
    let (template, _) = Kit::closed();
    let length = template.size("catalogue").unwrap().unwrap();
    for bit in (0..length * 8).step_by(61) {
        let (disk, content) = Kit::closed();
        assert!(disk.flip_bit("catalogue", bit));
        let (_, recovered, loss) = restart(&disk, &content);
        assert!(recovered.scanned, "bit {bit}");
        assert_eq!(loss, Loss::default(), "bit {bit}");
    }
}

#[test]
fn hints_that_vanished_are_written_again() {
    for suffix in [".index", ".timeindex", "leader-epoch-checkpoint"] {
        for scanned in [false, true] {
            let (disk, content) = Kit::closed();
            let hints: Vec<(String, Option<u64>)> =
                files(&disk, suffix).into_iter().map(|file| (file.clone(), disk.size(&file).unwrap())).collect();
            for (file, _) in &hints {
                disk.remove(file).unwrap();
            }
            if scanned {
                disk.remove("catalogue").unwrap();
            }
            let (dir, _, _) = restart(&disk, &content);
            // The checkpoint comes with the next flush.
            for log in dir.partitions() {
                append_one(&log, 2_000_000);
            }
            dir.close().unwrap();
            for (file, length) in hints.iter().filter(|(_, length)| length.is_some_and(|length| length > 0)) {
                let again = disk.size(file).unwrap();
                assert!(
                    again.is_some_and(|again| again > 0),
                    "{file}: {length:?} was, {again:?} is, scanned: {scanned}"
                );
            }
            assert!(disk.size("catalogue").unwrap().is_some());
        }
    }
}

#[test]
fn a_folder_that_does_not_say_whose_it_is_is_named_and_never_overwritten() {
    for kind in HARMS {
        let (disk, content) = Kit::closed();
        let log = "orders-0/00000000000000000000.log";
        let before = disk.read_file(log, 1 << 20).unwrap();
        assert!(harm(&disk, "orders-0/partition.state", kind));
        // The catalogue knows everything that the record says.
        let (dir, _, loss) = restart(&disk, &content);
        assert_eq!(loss, Loss::default(), "{kind:?}");
        drop(dir);

        let (disk, mut content) = Kit::closed();
        assert!(harm(&disk, "orders-0/partition.state", kind));
        disk.remove("catalogue").unwrap();
        let id = partition(0);
        content.remove(&id);
        let (dir, recovered, loss) = restart(&disk, &content);
        assert_eq!(loss, Loss::default(), "{kind:?}");
        assert_eq!(recovered.unreadable_folders, ["orders-0"], "{kind:?}");
        // It is made anew, by the journal or by the broker, and it is written to.
        let log_again = dir.create(id, TOPIC, LeaderEpoch::new(9)).unwrap();
        let (appended, _) = append_one(&log_again, 9);
        dir.close().unwrap();
        let kept = disk
            .files()
            .into_iter()
            .find(|file| file.starts_with("orders-0.") && file.ends_with("/00000000000000000000.log"));
        let kept = kept.expect("the unreadable folder is kept");
        assert_eq!(disk.read_file(&kept, 1 << 20).unwrap(), before, "{kind:?}");
        drop(dir);
        let (dir, recovered, _) = restart(&disk.crash(), &content);
        assert_eq!(recovered.unreadable_folders, Vec::<String>::new(), "the catalogue is what is believed");
        assert_eq!(dir.partition(id).unwrap().log_end(), appended.last.plus(1));
    }
}

#[test]
fn a_folder_that_is_gone_is_damage() {
    let (disk, content) = Kit::closed();
    disk.remove_dir("orders-1").unwrap();
    let (_, _, loss) = restart(&disk, &content);
    assert_eq!((loss.batches, loss.short.len()), (content[&partition(1)].len(), 0));
}

#[test]
fn a_deleted_partition_without_segments_does_not_come_back_with_a_scan() {
    let (disk, mut content) = Kit::closed();
    let id = partition(0);
    let (dir, _, _) = restart(&disk, &content);
    dir.partition(id).unwrap().delete_records(Offset::new(-1)).unwrap();
    dir.close().unwrap();
    drop(dir);
    content.remove(&id);
    let disk = disk.crash();
    let (dir, _, _) = restart(&disk, &content);
    assert_eq!(dir.partition(id).unwrap().segments(), 0);
    dir.delete(id).unwrap();
    dir.close().unwrap();
    drop(dir);
    let disk = disk.crash();
    disk.remove("catalogue").unwrap();
    disk.remove_dir("journal").unwrap();
    let (dir, recovered, _) = restart(&disk, &content);
    assert!(recovered.scanned && dir.partition(id).is_none());
}
