//! The journal with its threads, on a real file system.

use super::*;
use crate::disk::real::RealDisk;

/// Checks, as the store would, that waiters find their flushed end moved.
#[derive(Default)]
struct Ends(Mutex<std::collections::BTreeMap<PartitionIndex, Offset>>);

impl GroupObserver for Ends {
    fn synced(&self, frames: &mut Vec<(Lsn, Frame)>) {
        let mut ends = self.0.lock();
        for (_, frame) in frames.drain(..) {
            let before = ends.insert(frame.partition.partition, frame.end);
            assert_eq!(before.unwrap_or_default(), frame.base, "in the order of offsets");
        }
    }

    fn offline(&self, reason: &Offline) {
        panic!("{reason}");
    }
}

fn open(disk: &Arc<dyn Disk>, ends: &Arc<Ends>) -> (Vec<Frame>, Journal) {
    let mut recovery = Recovery::open(Arc::clone(disk), options()).unwrap();
    let mut frames = Vec::new();
    while let Some(step) = recovery.step().unwrap() {
        let Replayed::Frame { frame, .. } = step else { panic!("{step:?}") };
        frames.push(frame);
    }
    let mut random = Random::new(9);
    let journal = recovery.start(Box::new(move || random.next()), Arc::clone(ends) as Arc<dyn GroupObserver>).unwrap();
    (frames, journal)
}

#[test]
fn many_submitters_are_served_by_few_flushes() {
    const APPENDS: i64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::create(directory.path()).unwrap());
    let ends = Arc::new(Ends::default());
    let (frames, journal) = open(&disk, &ends);
    assert_eq!(frames, []);
    journal.spawn().unwrap();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (journal, ends) = (&journal, &ends);
            scope.spawn(move || {
                for offset in (0..APPENDS).map(Offset::new) {
                    let tail = Bytes::from(vec![n as u8; 900]);
                    let epoch = LeaderEpoch::new(0);
                    let frame = Frame::append(partition(n), offset, offset.plus(1), epoch, [1; 61], tail);
                    let lsn = loop {
                        match journal.submit(frame.clone()) {
                            Ok(lsn) => break lsn,
                            Err(SubmitError::Full(Full::Growing | Full::Unreleased)) => {
                                futures_block(journal.room(961)).unwrap();
                            }
                            Err(error) => panic!("{error}"),
                        }
                    };
                    journal.durable(lsn).wait().unwrap();
                    assert!(ends.0.lock()[&PartitionIndex::new(n)] >= offset.plus(1));
                    journal.release(Lsn::new(lsn.get().saturating_sub(50)));
                }
            });
        }
    });
    journal.close().unwrap();
    let (frames, again) = open(&disk, &ends);
    assert!(frames.len() >= 40, "{}", frames.len());
    for n in 0..4 {
        let last = frames.iter().rfind(|frame| frame.partition == partition(n)).map(|frame| frame.end);
        assert!(last.is_none_or(|end| end == Offset::new(APPENDS)), "{last:?}");
    }
    again.close().unwrap();
}
