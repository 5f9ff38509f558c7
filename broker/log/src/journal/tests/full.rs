//! Full disks, failing disks, long frames.

use std::sync::OnceLock;

use super::*;

#[test]
fn a_full_disk_refuses_before_a_number_is_given_out() {
    let disk = SimDisk::new(1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    driven.keep();
    disk.set_capacity(Some(180 * 1024));
    let mut taken = 0;
    let refused = loop {
        match driven.journal.submit(append(taken, 2000)) {
            Ok(lsn) => {
                taken += 1;
                assert_eq!(lsn, Lsn::new(taken));
            }
            Err(SubmitError::Full(Full::Growing)) => driven.keep(),
            Err(refused) => break refused,
        }
        driven.flush();
    };
    assert_eq!(refused, SubmitError::Full(Full::DiskFull));
    assert!(taken > 15, "{taken}");
    assert_eq!(driven.journal.synced(), Lsn::new(taken), "what was taken was written");
    assert_eq!(futures_block(driven.journal.room(2000)), Err(SubmitError::Full(Full::DiskFull)));
    assert!(!disk.files().iter().any(|name| name.ends_with(".tmp")), "nothing half-made is left");

    disk.set_capacity(None);
    assert!(driven.journal.submit(append(taken, 2000)).is_err(), "this one still finds no room, and asks for it");
    driven.keep();
    assert_eq!(driven.journal.submit(append(taken, 2000)), Ok(Lsn::new(taken + 1)));
    driven.flush();
    assert_eq!(Driven::open(&disk.crash(), options()).unwrap().frames().len() as u64, taken + 1);
}

#[test]
fn it_starts_on_a_full_disk() {
    let disk = SimDisk::new(1);
    Driven::open(&disk, options()).unwrap().journal.close().unwrap();
    let mut driven = Driven::open(&disk.kill(), Options { file_bytes: 128 * 1024, ..options() }).unwrap();
    driven.disk.set_capacity(Some(1));
    driven.journal.submit(append(0, 10)).unwrap();
    driven.flush();
    let disk = driven.disk.kill();
    let driven = Driven::open(&disk, options()).unwrap();
    assert_eq!(driven.frames().len(), 1);
    assert_eq!(driven.journal.submit(append(1, 10)), Err(SubmitError::Full(Full::DiskFull)));
    disk.set_capacity(None);
    driven.keep();
    driven.journal.submit(append(1, 10)).unwrap();
}

#[test]
fn the_first_failed_operation_is_the_last_one() {
    // The n-th operation from here fails: writes and flushes, in every combination.
    for failing in 1..=12 {
        let disk = SimDisk::new(failing);
        let mut driven = Driven::open(&disk, options()).unwrap();
        driven.journal.submit(append(0, 300)).unwrap();
        driven.flush();
        driven.keep();
        disk.fail_after(failing);
        let mut acked = Lsn::new(1);
        let offline = loop {
            let lsn = driven.journal.submit(append(driven.journal.submitted().get(), 300)).unwrap();
            let durable = driven.journal.durable(lsn);
            match driven.pump() {
                Ok(_) => acked = lsn,
                Err(offline) => {
                    assert_eq!(durable.wait(), Err(offline.clone()));
                    break offline;
                }
            }
        };
        assert!(offline.reason.contains("Input/output error"), "{offline}");
        assert_eq!(driven.pump(), Err(offline.clone()), "no second try");
        assert_eq!(driven.journal.submit(append(0, 1)), Err(SubmitError::Offline(offline.clone())));
        assert_eq!(driven.journal.durable(acked).wait(), Ok(()), "what was acknowledged stays so");
        assert_eq!(futures_block(driven.journal.room(1)), Err(SubmitError::Offline(offline.clone())));
        assert_eq!(*driven.witness.offline.lock(), [offline]);
        let again = Driven::open(&disk.crash(), options()).unwrap();
        assert!(again.frames().len() as u64 >= acked.get() && again.report.holes.is_empty());
    }
}

#[test]
fn another_part_can_take_the_directory_offline() {
    let mut driven = Driven::open(&SimDisk::new(1), options()).unwrap();
    let lsn = driven.journal.submit(append(0, 1)).unwrap();
    let offline = driven.journal.take_offline(Offline { reason: "a segment failed".into() });
    assert_eq!(driven.journal.durable(lsn).wait(), Err(offline.clone()));
    assert_eq!(driven.journal.offline(), Some(offline.clone()));
    assert_eq!(driven.pump(), Err(offline.clone()));
    assert_eq!(*driven.witness.offline.lock(), [offline]);
}

#[test]
fn a_group_that_is_being_written_when_another_part_fails_is_not_acknowledged() {
    let disk = SimDisk::new(1);
    let recovery = Recovery::open(Arc::new(disk.clone()), options()).unwrap();
    let witness = Arc::new(Witness::default());
    let journal: Arc<OnceLock<Journal>> = Arc::default();
    let failing = Arc::clone(&journal);
    // The writer draws a generation in the middle of its work, with its lock held.
    let entropy: Entropy = Box::new(move || {
        failing.get().unwrap().take_offline(Offline { reason: "a segment failed".into() });
        7
    });
    let opened = recovery.start(entropy, Arc::clone(&witness) as Arc<dyn GroupObserver>).unwrap();
    let journal = journal.get_or_init(|| opened);
    let lsn = journal.submit(append(0, 1)).unwrap();
    #[expect(clippy::disallowed_methods, reason = "only the beginning of this test's own time")]
    let offline = journal.pump(Instant::now()).unwrap_err();
    assert_eq!(&*offline.reason, "a segment failed");
    assert_eq!(journal.durable(lsn).wait(), Err(offline.clone()));
    assert_eq!(journal.synced(), Lsn::new(0));
    assert_eq!(*witness.offline.lock(), [offline]);
}

#[test]
fn frames_longer_than_a_file_get_a_file_of_their_own() {
    let disk = SimDisk::new(1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    driven.keep();
    driven.journal.submit(append(0, 100)).unwrap();
    let long = append(1, 200_000);
    assert_eq!(driven.journal.submit(long.clone()), Err(SubmitError::Full(Full::Growing)));
    driven.keep();
    assert_eq!(driven.journal.submit(long.clone()), Ok(Lsn::new(2)));
    driven.journal.submit(append(2, 100)).unwrap();
    driven.flush();
    assert_eq!(driven.stat("files_made_late"), 0);
    let too_large = driven.journal.submit(append(3, 300_000)).unwrap_err();
    assert!(matches!(too_large, SubmitError::TooLarge { bytes_max: 258_048, .. }), "{too_large}");

    let mut driven = Driven::open(&disk.crash(), options()).unwrap();
    assert_eq!(driven.frames()[1], (Lsn::new(2), long));
    for n in 10..60 {
        driven.keep();
        let lsn = driven.journal.submit(append(n, 4000)).unwrap();
        driven.flush();
        driven.journal.release(lsn);
    }
    driven.keep();
    let longest = disk_longest(&driven.disk);
    assert_eq!(longest, options().file_bytes, "it is not kept");
}

fn disk_longest(disk: &SimDisk) -> u64 {
    disk.files().iter().map(|path| disk.size(path).unwrap().unwrap()).max().unwrap()
}

#[test]
fn frames_that_belong_together_are_taken_all_or_none() {
    let disk = SimDisk::new(1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    driven.keep();
    disk.set_capacity(Some(180 * 1024));
    let three = || (0..3).map(|n| append(n, 2000)).collect::<Vec<_>>();
    let mut taken = 0;
    loop {
        match driven.journal.submit_all(three()) {
            Ok((first, last)) => {
                assert_eq!((first, last), (Lsn::new(taken + 1), Lsn::new(taken + 3)));
                taken += 3;
            }
            Err(SubmitError::Full(Full::Growing)) => driven.keep(),
            Err(refused) => break assert_eq!(refused, SubmitError::Full(Full::DiskFull)),
        }
        assert_eq!(driven.journal.submitted(), Lsn::new(taken));
    }
    assert!(taken > 15, "{taken}");
    driven.flush();
    assert_eq!(driven.journal.submit_all(Vec::new()), Ok((Lsn::new(taken + 1), Lsn::new(taken))));
    assert_eq!(Driven::open(&disk.crash(), options()).unwrap().frames().len() as u64, taken);
}
