//! The offline check: clean on a clean directory, and a name for each kind of damage.

use std::sync::Arc;

use ottla_log::disk::Disk;
use ottla_log::disk::sim::SimDisk;
use ottla_log::verify::{CatalogueReport, Report, verify};

use super::kit::{HARMS, Harm, Kit, files, harm, partition};

fn check(disk: &SimDisk) -> Report {
    let before = disk.operations();
    let disk_: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = verify(&disk_, |_| {}).unwrap();
    assert_eq!(disk.operations(), before, "a check changes nothing");
    report
}

/// Whether `file` is among the bad ones.
fn names(report: &Report, file: &str) -> bool {
    let partitions = report.partitions.iter().flat_map(|partition| &partition.bad_bytes);
    partitions.chain(&report.bad_files).any(|bad| bad.file == file)
}

fn hints(report: &Report) -> Vec<&str> {
    let hints = report.partitions.iter().flat_map(|partition| &partition.stale_hints);
    hints.map(|hint| &hint.file[..]).collect()
}

#[test]
fn a_clean_directory_is_clean_however_it_ended() {
    let (disk, content) = Kit::closed();
    let report = check(&disk);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.catalogue, CatalogueReport::Sound { partitions: 2, clean: true });
    assert_eq!(hints(&report), Vec::<&str>::new());
    for found in &report.partitions {
        let end = content[&found.id].values().map(|(end, _)| *end).max().unwrap();
        assert_eq!((found.log_end.get(), found.batches as usize), (end, content[&found.id].len()));
    }
    disk.remove("catalogue").unwrap();
    let report = check(&disk);
    assert!(report.is_sound() && report.catalogue == CatalogueReport::Unusable, "{report:?}");

    let mut kit = Kit::new();
    kit.fill();
    kit.dir.flush().unwrap();
    kit.fill_more();
    let end = kit.dir.partition(partition(0)).unwrap().log_end();
    for power in [false, true] {
        let disk = if power { kit.disk.crash() } else { kit.disk.kill() };
        let report = check(&disk);
        assert!(report.is_sound(), "power loss: {power}: {report:?}");
        assert_eq!(report.partitions[0].log_end, end);
    }
}

#[test]
fn every_harm_to_segments_and_their_sums_is_named() {
    for suffix in [".log", ".sum"] {
        for file in files(&Kit::closed().0, suffix) {
            for kind in HARMS {
                let (disk, _) = Kit::closed();
                assert!(harm(&disk, &file, kind));
                let report = check(&disk);
                // Bytes and sums that differ are named by where the bytes lie.
                let log = file.replace(".sum", ".log");
                assert!(names(&report, &file) || names(&report, &log), "{file} {kind:?}: {report:?}");
                assert!(!report.is_sound());
                if suffix == ".log" {
                    let damaged = report.partitions.iter().any(|found| !found.damaged_offsets.is_empty());
                    // The epoch of a batch and bytes of which the sum alone knows cost no offset here.
                    assert!(damaged || matches!(kind, Harm::Flip(_)), "{file} {kind:?}: {report:?}");
                }
            }
        }
    }
}

#[test]
fn identity_record_folder_and_journal_are_named() {
    for kind in HARMS {
        for file in ["ottla.identity", "ottla.identity.copy"] {
            let (disk, _) = Kit::closed();
            assert!(harm(&disk, file, kind));
            let report = check(&disk);
            assert!(names(&report, file) && !report.is_sound(), "{file} {kind:?}: {report:?}");
        }
        let (disk, _) = Kit::closed();
        assert!(harm(&disk, "orders-1/partition.state", kind));
        assert_eq!(check(&disk).unreadable_folders, ["orders-1"], "{kind:?}");
        let (disk, _) = Kit::closed();
        assert!(harm(&disk, "catalogue", kind));
        let report = check(&disk);
        assert!(report.is_sound() && report.catalogue == CatalogueReport::Unusable, "{kind:?}: {report:?}");
    }
    let (disk, content) = Kit::closed();
    disk.remove_dir("orders-1").unwrap();
    let report = check(&disk);
    let end = content[&partition(1)].values().map(|(end, _)| *end).max().unwrap();
    let lost = &report.partitions[1].damaged_offsets;
    assert_eq!((lost[0].from.get(), lost[0].upto.get()), (0, end), "{report:?}");

    let killed = || {
        let mut kit = Kit::new();
        kit.fill();
        kit.idle();
        kit.disk.kill()
    };
    let disk = killed();
    // The second block holds the first group.
    assert!(disk.flip_bit("journal/00000001.jnl", 8 * (4096 + 200)));
    let report = check(&disk);
    assert!(!report.journal.holes.is_empty() && !report.is_sound(), "{report:?}");
    for hundredths in [0, 50, 99] {
        let disk = killed();
        assert!(harm(&disk, "journal/00000001.jnl", Harm::Cut(hundredths)));
        let report = check(&disk);
        assert!(!report.journal.holes.is_empty() && !report.is_sound(), "{hundredths} %: {report:?}");
    }
}

#[test]
fn stale_hints_are_named_and_no_damage() {
    for suffix in [".index", ".timeindex"] {
        for file in files(&Kit::closed().0, suffix) {
            for kind in [Harm::Flip(0), Harm::Cut(0), Harm::Cut(60), Harm::Delete] {
                let (disk, _) = Kit::closed();
                if !harm(&disk, &file, kind) {
                    continue;
                }
                let report = check(&disk);
                assert!(report.is_sound(), "{file} {kind:?}: {report:?}");
                assert!(hints(&report).contains(&&file[..]), "{file} {kind:?}: {report:?}");
            }
        }
    }
}
