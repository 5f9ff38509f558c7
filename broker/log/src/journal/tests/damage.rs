//! Damage and torn tails, one at a time.

use super::*;

/// Three groups of two frames (1 to 6), then a closing frame.
fn three_groups() -> SimDisk {
    let disk = SimDisk::new(5);
    let mut driven = Driven::open(&disk, options()).unwrap();
    for n in 0..3 {
        driven.journal.submit(append(2 * n, 500)).unwrap();
        driven.journal.submit(append(2 * n + 1, 500)).unwrap();
        driven.flush();
    }
    driven.idle();
    disk.kill()
}

const FILE: &str = "journal/00000001.jnl";
const BLOCK: usize = 4096;

/// What is found after some bytes of the file were changed: the frames, and the holes.
fn found(corrupt: &[usize]) -> (Vec<u64>, Vec<(u64, u64)>) {
    let disk = three_groups();
    for &byte in corrupt {
        assert!(disk.corrupt(FILE, byte, |value| value ^ 0x10));
    }
    let driven = Driven::open(&disk, options()).unwrap();
    let holes = driven.report.holes.iter().map(|hole| (hole.first.get(), hole.last.get())).collect();
    (driven.frames().iter().map(|(lsn, _)| lsn.get()).collect(), holes)
}

#[test]
fn intact_it_is_whole() {
    assert_eq!(found(&[]), (vec![1, 2, 3, 4, 5, 6], vec![]));
}

#[test]
fn a_damaged_frame_is_a_hole_of_one() {
    assert_eq!(found(&[BLOCK + 64 + 100]), (vec![2, 3, 4, 5, 6], vec![(1, 1)]));
    assert_eq!(found(&[BLOCK + 64 + 4]), (vec![2, 3, 4, 5, 6], vec![(1, 1)]), "even if its length is damaged");
    assert_eq!(found(&[2 * BLOCK + 64 + 625 + 100]), (vec![1, 2, 3, 5, 6], vec![(4, 4)]));
}

#[test]
fn a_damaged_group_header_loses_no_frame() {
    assert_eq!(found(&[2 * BLOCK + 10]), (vec![1, 2, 3, 4, 5, 6], vec![]));
}

#[test]
fn a_damaged_file_header_loses_nothing() {
    assert_eq!(found(&[17]), (vec![1, 2, 3, 4, 5, 6], vec![]));
    assert_eq!(found(&[17, BLOCK + 10]), (vec![1, 2, 3, 4, 5, 6], vec![]), "any group tells where the file began");
}

#[test]
fn the_last_group_is_vouched_for_by_the_closing_frame() {
    assert_eq!(found(&[3 * BLOCK + 100]), (vec![1, 2, 3, 4, 6], vec![(5, 5)]));
    assert_eq!(found(&[4 * BLOCK + 10]), (vec![1, 2, 3, 4, 5, 6], vec![]), "the closing frame itself is torn");
    assert_eq!(found(&[4 * BLOCK + 10, 3 * BLOCK + 100]), (vec![1, 2, 3, 4], vec![]), "and then nobody does");
}

#[test]
fn a_file_that_is_gone_is_a_hole() {
    let disk = SimDisk::new(5);
    let mut driven = Driven::open(&disk, options()).unwrap();
    for n in 0..100 {
        driven.keep();
        driven.journal.submit(append(n, 3000)).unwrap();
        driven.flush();
    }
    let disk = disk.kill();
    let files: Vec<String> = disk.files();
    for lost in [0, 2] {
        disk.remove(&files[lost]).unwrap();
    }
    let driven = Driven::open(&disk, options()).unwrap();
    let holes = &driven.report.holes;
    assert_eq!(holes.len(), 2);
    assert_eq!(holes[0].first, Lsn::new(1));
    let lost: u64 = holes.iter().map(|hole| hole.last.get() + 1 - hole.first.get()).sum();
    assert_eq!(lost + driven.report.frames, 100);
    assert_eq!(driven.report.last, Lsn::new(100));
}

#[test]
fn a_file_that_was_cut_has_lost_at_least_one_frame() {
    for (length, kept) in [(2 * BLOCK + 700, 2), (BLOCK + 1, 0), (BLOCK - 1, 0), (0, 0)] {
        let disk = three_groups();
        disk.cut(FILE, length);
        let mut driven = Driven::open(&disk, options()).unwrap();
        let next = Lsn::new(kept + 1);
        assert_eq!((driven.frames().len() as u64, driven.report.last), (kept, Lsn::new(kept)), "cut to {length}");
        assert_eq!(driven.report.holes, [Hole { first: next, last: next }], "cut to {length}");
        assert_eq!(driven.journal.submit(append(10, 500)).unwrap(), next.next(), "no number twice: cut to {length}");
        driven.flush();
    }
}

#[test]
fn a_torn_tail_never_comes_back() {
    let disk = SimDisk::new(5);
    let mut driven = Driven::open(&disk, options()).unwrap();
    driven.journal.submit(append(0, 500)).unwrap();
    driven.flush();
    // A group of three: the first is torn, those behind it are whole.
    for n in 1..4 {
        driven.journal.submit(append(n, 500)).unwrap();
    }
    driven.flush();
    let disk = disk.kill();
    disk.corrupt(FILE, 2 * BLOCK + 64 + 100, |value| value ^ 1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    assert_eq!((driven.report.last, driven.report.holes.len()), (Lsn::new(1), 0));
    assert!(driven.report.torn_bytes > 0);
    let lsn = driven.journal.submit(append(10, 500)).unwrap();
    assert_eq!(lsn, Lsn::new(2), "its number is given to another");
    driven.flush();
    let driven = Driven::open(&disk.kill(), options()).unwrap();
    assert_eq!(driven.frames(), [(Lsn::new(1), append(0, 500)), (Lsn::new(2), append(10, 500))]);
}

#[test]
fn an_unreadable_directory_is_an_error_and_not_an_empty_journal() {
    let disk = three_groups();
    disk.stop_after(0);
    assert!(matches!(Recovery::open(Arc::new(disk), options()), Err(OpenError::Disk(_))));
}
