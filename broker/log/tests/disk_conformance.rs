//! The contract of `Disk`, checked on the real and on the simulated one.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

use std::io::IoSlice;
use std::sync::Arc;

use ottla_log::disk::aligned::AlignedBuffer;
use ottla_log::disk::real::RealDisk;
use ottla_log::disk::sim::SimDisk;
use ottla_log::disk::{BLOCK_BYTES, Disk, DiskError, Entry, LockError, Open};

/// Runs every case on a fresh directory of both kinds.
fn check(case: impl Fn(&dyn Disk)) {
    let directory = tempfile::tempdir().unwrap();
    case(&RealDisk::create(&directory.path().join("data")).unwrap());
    case(&SimDisk::new(1));
}

fn write(disk: &dyn Disk, path: &str, offset: u64, content: &[u8]) {
    disk.open(path, Open::Create).unwrap().write_at(offset, &[IoSlice::new(content)]).unwrap();
}

fn content(disk: &dyn Disk, path: &str) -> Vec<u8> {
    disk.read_file(path, usize::MAX).unwrap().unwrap().to_vec()
}

#[test]
fn opening_says_what_is_there() {
    check(|disk| {
        assert!(disk.open("a", Open::Read).unwrap_err().is_not_found());
        assert!(disk.open("a", Open::Write).unwrap_err().is_not_found());
        assert!(disk.open("a", Open::Direct).unwrap_err().is_not_found());
        assert!(disk.open("missing/a", Open::Create).unwrap_err().is_not_found());
        assert!(disk.open("a", Open::CreateNew).unwrap().is_empty().unwrap());
        assert!(matches!(disk.open("a", Open::CreateNew).unwrap_err(), DiskError::Exists { .. }));
        assert!(matches!(disk.open("a", Open::CreateNewDirect).unwrap_err(), DiskError::Exists { .. }));
        write(disk, "a", 0, b"kept");
        assert_eq!(disk.open("a", Open::Create).unwrap().len().unwrap(), 4);
        let error = disk.open("b", Open::Read).unwrap_err().to_string();
        assert!(error.contains("open") && error.contains(&format!("{}/b", disk.root().display())), "{error}");
    });
}

#[test]
fn reads_return_what_was_written() {
    check(|disk| {
        let file = disk.open("a", Open::CreateNew).unwrap();
        file.write_at(3, &[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")]).unwrap();
        assert_eq!(content(disk, "a"), b"\0\0\0onetwo");
        assert_eq!(file.append(&[IoSlice::new(b"!")]).unwrap(), 9);
        file.write_at(0, &[IoSlice::new(b"zer")]).unwrap();
        assert_eq!(&file.read_bytes(3, 6).unwrap()[..], b"onetwo");
        assert_eq!(&file.read_bytes(8, 100).unwrap()[..], b"o!");
        assert!(file.read_bytes(100, 1).unwrap().is_empty());
        let mut buffer = [0; 4];
        assert_eq!(file.read_at(8, &mut buffer).unwrap(), 2);
        file.read_exact_at(6, &mut buffer).unwrap();
        assert_eq!(&buffer, b"two!");
        assert!(matches!(file.read_exact_at(8, &mut buffer), Err(DiskError::Short { wanted: 4, got: 2, .. })));
        for _ in 0..20 {
            if let Some(cached) = file.try_read_cached(3, 3).unwrap() {
                assert_eq!(&cached[..], b"one");
            }
        }
        file.sync_data().unwrap();
    });
}

#[test]
fn many_buffers_are_one_write() {
    check(|disk| {
        let pieces: Vec<Vec<u8>> = (0..3000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let buffers: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        disk.open("a", Open::Create).unwrap().write_at(1, &buffers).unwrap();
        assert_eq!(content(disk, "a")[1..], pieces.concat());
    });
}

#[test]
fn lengths_change_and_space_is_reserved() {
    check(|disk| {
        let file = disk.open("a", Open::Create).unwrap();
        file.write_at(0, &[IoSlice::new(b"abcdef")]).unwrap();
        file.truncate(3).unwrap();
        file.truncate(5).unwrap();
        assert_eq!(content(disk, "a"), b"abc\0\0");
        file.allocate(0, 1 << 16).unwrap();
        assert_eq!((file.len().unwrap(), disk.size("a").unwrap()), (5, Some(5)));
        file.zero_fill(1, 10).unwrap();
        assert_eq!(content(disk, "a"), b"a\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(disk.size("b").unwrap(), None);
        let space = disk.space().unwrap();
        assert!(space.free > 0 && space.free <= space.total);
    });
}

#[test]
fn direct_files_take_whole_blocks() {
    check(|disk| {
        let file = disk.open("a", Open::CreateNewDirect).unwrap();
        file.zero_fill(0, 3 * BLOCK_BYTES as u64).unwrap();
        let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
        block.as_mut_slice().fill(9);
        file.write_at(BLOCK_BYTES as u64, &[IoSlice::new(block.as_slice())]).unwrap();
        file.sync_data().unwrap();
        let read = content(disk, "a");
        assert_eq!(read.len(), 3 * BLOCK_BYTES);
        assert!(read.iter().enumerate().all(|(at, &byte)| byte == if at / BLOCK_BYTES == 1 { 9 } else { 0 }));
        assert_eq!(disk.stats().buffered_fallbacks.load(std::sync::atomic::Ordering::Relaxed) == 0, file.is_direct());
    });
}

#[test]
fn names_are_listed_renamed_and_removed() {
    check(|disk| {
        disk.create_dir("x/y").unwrap();
        disk.create_dir("x/y").unwrap();
        write(disk, "x/b", 0, b"b");
        write(disk, "x/a", 0, b"a");
        let entry = |name: &str, directory| Entry { name: name.to_owned(), directory };
        assert_eq!(disk.list("x").unwrap(), [entry("a", false), entry("b", false), entry("y", true)]);
        let open = disk.open("x/a", Open::Read).unwrap();
        disk.rename("x/a", "x/b").unwrap();
        assert_eq!(content(disk, "x/b"), b"a");
        disk.rename("x", "z").unwrap();
        disk.sync_dir("z").unwrap();
        disk.sync_dir("").unwrap();
        disk.sync_all().unwrap();
        assert_eq!(disk.list("").unwrap(), [entry("z", true)]);
        disk.remove("z/b").unwrap();
        assert_eq!(&open.read_bytes(0, 9).unwrap()[..], b"a", "an open file outlives its name");
        assert!(disk.remove("z/b").unwrap_err().is_not_found());
        assert!(disk.rename("z/b", "z/c").unwrap_err().is_not_found());
        assert!(disk.list("x").unwrap_err().is_not_found());
        disk.remove_dir("z").unwrap();
        assert!(disk.remove_dir("z").unwrap_err().is_not_found());
    });
}

#[test]
fn small_files_are_replaced_as_a_whole() {
    check(|disk| {
        disk.create_dir("d").unwrap();
        assert_eq!(disk.read_file("d/f", 100).unwrap(), None);
        disk.replace_file("d/f", b"long content").unwrap();
        disk.replace_file("d/f", b"short").unwrap();
        assert_eq!(content(disk, "d/f"), b"short");
        assert_eq!(&disk.read_file("d/f", 2).unwrap().unwrap()[..], b"sh");
        assert_eq!(disk.list("d").unwrap().len(), 1);
    });
}

#[test]
fn one_process_at_a_time() {
    check(|disk| {
        let lock = disk.lock("lock").unwrap();
        let LockError::Held { directory, pid } = disk.lock("lock").unwrap_err() else { panic!("not held") };
        assert_eq!(pid, Some(std::process::id()));
        let error = LockError::Held { directory: Arc::clone(&directory), pid }.to_string();
        assert_eq!(error, format!("data directory {directory} is in use by process {}", std::process::id()));
        drop(lock);
        drop(disk.lock("lock").unwrap());
    });
}
