//! That the simulated disk is as hostile as the contract allows, and not more.

use std::collections::BTreeSet;

use super::*;

fn write(disk: &SimDisk, path: &str, offset: u64, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.open(path, Open::Create).unwrap();
    file.write_at(offset, &[IoSlice::new(bytes)]).unwrap();
    file
}

fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.read_file(path, usize::MAX).unwrap().map(|bytes| bytes.to_vec())
}

/// What is found after a crash, over many seeds.
fn outcomes(case: impl Fn(&SimDisk)) -> BTreeSet<Option<Vec<u8>>> {
    let outcome = |seed| {
        let disk = SimDisk::new(seed);
        case(&disk);
        content(&disk.crash(), "f")
    };
    (0..300).map(outcome).collect()
}

#[test]
fn what_was_synced_survives_every_crash() {
    let found = outcomes(|disk| {
        write(disk, "f", 0, b"synced").sync_data().unwrap();
        disk.sync_dir("").unwrap();
    });
    assert_eq!(found, BTreeSet::from([Some(b"synced".to_vec())]));
    let found = outcomes(|disk| {
        write(disk, "f", 0, b"synced");
        disk.sync_all().unwrap();
    });
    assert_eq!(found, BTreeSet::from([Some(b"synced".to_vec())]));
}

#[test]
fn a_name_that_was_not_synced_may_be_missing() {
    let found = outcomes(|disk| write(disk, "f", 0, b"synced").sync_data().unwrap());
    assert_eq!(found, BTreeSet::from([None, Some(b"synced".to_vec())]));
}

#[test]
fn unsynced_writes_are_dropped_torn_and_reordered() {
    let found = outcomes(|disk| {
        write(disk, "f", 0, &[0; 2048]).sync_data().unwrap();
        disk.sync_dir("").unwrap();
        write(disk, "f", 0, &[1; 1024]);
        write(disk, "f", 512, &[2; 1536]);
    });
    let sectors: BTreeSet<Vec<u8>> = found.iter().flatten().map(|f| f.chunks(512).map(|c| c[0]).collect()).collect();
    for (possible, why) in [
        ([0, 0, 0, 0], "nothing survives"),
        ([1, 2, 2, 2], "everything survives"),
        ([1, 1, 0, 0], "a prefix survives"),
        ([0, 2, 0, 2], "the younger write survives, torn"),
        ([1, 1, 2, 2], "the older write wins"),
    ] {
        assert!(sectors.contains(&possible[..]), "{why}: {sectors:?}");
    }
    assert!(found.iter().flatten().all(|f| f.chunks(512).all(|c| c.iter().all(|b| *b == c[0]))), "sectors are whole");
}

#[test]
fn a_rename_is_old_or_new_and_never_neither() {
    let found = outcomes(|disk| {
        write(disk, "f", 0, b"old").sync_data().unwrap();
        disk.sync_dir("").unwrap();
        write(disk, "g", 0, b"new").sync_data().unwrap();
        disk.rename("g", "f").unwrap();
    });
    assert_eq!(found, BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]));
}

#[test]
fn replaced_files_are_old_or_new_whenever_it_ends() {
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        for operation in 1..=7 {
            let disk = SimDisk::new(seed);
            disk.replace_file("f", b"old").unwrap();
            disk.stop_after(operation);
            let done = disk.replace_file("f", b"new").is_ok();
            let found = content(&disk.crash(), "f").unwrap();
            assert!(found == b"new" || (!done && found == b"old"), "seed {seed}, operation {operation}");
            seen.insert((done, found));
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn a_failed_sync_drops_pages_that_no_later_one_brings_back() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let file = write(&disk, "f", 0, b"data");
        disk.sync_dir("").unwrap();
        disk.fail_after(1);
        assert!(matches!(file.sync_data(), Err(DiskError::Io { errno: EIO, .. })));
        file.sync_data().unwrap();
        assert_eq!(content(&disk, "f").unwrap(), b"data", "the page cache still has it");
        lost += u64::from(content(&disk.crash(), "f").unwrap() != b"data");
    }
    assert!(lost > 0);
}

#[test]
fn a_kill_loses_nothing_and_ends_the_old_handles() {
    let disk = SimDisk::new(1);
    let file = write(&disk, "f", 0, b"data");
    let lock = disk.lock("lock").unwrap();
    let next = disk.kill();
    assert_eq!(content(&next, "f").unwrap(), b"data");
    assert!(file.write_at(0, &[IoSlice::new(b"late")]).is_err());
    assert!(disk.open("f", Open::Read).is_err());
    let _next_lock = next.lock("lock").unwrap();
    drop(lock);
    assert!(next.lock("lock").is_err(), "the dead one's lock frees nothing");
}

#[test]
fn a_full_disk_keeps_what_it_has() {
    let disk = SimDisk::new(1);
    let file = write(&disk, "f", 0, &[1; 4096]);
    disk.set_capacity(Some(8192));
    assert!(file.write_at(4000, &[IoSlice::new(&[2; 8000])]).unwrap_err().is_no_space());
    assert!(file.allocate(0, 10_000).unwrap_err().is_no_space());
    file.allocate(0, 8192).unwrap();
    assert_eq!(content(&disk, "f").unwrap()[..4000], [1; 4000]);
    assert!(disk.open("g", Open::Create).unwrap_err().is_no_space());
    file.write_at(0, &[IoSlice::new(&[3; 8192])]).unwrap();
    disk.remove("f").unwrap();
    assert_eq!(disk.space().unwrap().free, 8192);
}

#[test]
fn a_read_only_disk_says_so() {
    let disk = SimDisk::new(1);
    let file = write(&disk, "f", 0, b"data");
    disk.set_read_only(true);
    let refusals = [
        file.write_at(0, &[IoSlice::new(b"x")]).unwrap_err(),
        disk.open("g", Open::Create).unwrap_err(),
        disk.rename("f", "g").unwrap_err(),
        disk.remove("f").unwrap_err(),
    ];
    assert!(refusals.iter().all(|error| matches!(error, DiskError::ReadOnly { .. })), "{refusals:?}");
    assert_eq!(content(&disk, "f").unwrap(), b"data");
}

#[test]
fn an_unaligned_direct_write_is_refused() {
    let disk = SimDisk::new(1);
    let file = disk.open("f", Open::CreateNewDirect).unwrap();
    let block = super::super::aligned::AlignedBuffer::zeroed(BLOCK_BYTES);
    let slice = block.as_slice();
    assert!(file.write_at(0, &[IoSlice::new(slice)]).is_ok());
    assert!(file.write_at(512, &[IoSlice::new(slice)]).is_err());
    assert!(file.write_at(0, &[IoSlice::new(&slice[..512])]).is_err());
}
