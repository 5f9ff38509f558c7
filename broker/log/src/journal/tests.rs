//! Tests of the journal as a whole, on the simulated disk, driven by hand: no threads, no clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_core::types::{LeaderEpoch, Lsn, Offset, PartitionIndex, TopicId, TopicPartition};
use parking_lot::Mutex;

use super::*;
use crate::disk::sim::{Random, SimDisk};
use crate::disk::{Disk, Open};

mod damage;
mod full;
mod model;
mod threads;

/// Remembers what the journal says.
#[derive(Debug, Default)]
struct Witness {
    synced: Mutex<Vec<(Lsn, Frame)>>,
    offline: Mutex<Vec<Offline>>,
}

impl GroupObserver for Witness {
    fn synced(&self, frames: &mut Vec<(Lsn, Frame)>) {
        self.synced.lock().append(frames);
    }

    fn offline(&self, reason: &Offline) {
        self.offline.lock().push(reason.clone());
    }
}

fn options() -> Options {
    Options {
        file_bytes: 64 * 1024,
        first_file_bytes: 48 * 1024,
        bytes_max: 1024 * 1024,
        group_bytes: 16 * 1024,
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn partition(n: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes(*b"the only topic 1"), PartitionIndex::new(n))
}

/// An append that is unlike every other: `n` is in all of it.
fn append(n: u64, bytes: usize) -> Frame {
    let base = Offset::new(n.cast_signed());
    let mut random = Random::new(n);
    let tail: Vec<u8> = (0..bytes).map(|_| random.next().to_le_bytes()[0]).collect();
    Frame::append(partition((n % 5) as i32), base, base.plus(1), LeaderEpoch::new(1), [n as u8; 61], Bytes::from(tail))
}

/// A journal that is driven by hand.
struct Driven {
    disk: SimDisk,
    journal: Journal,
    witness: Arc<Witness>,
    now: Instant,
    replayed: VecDeque<Replayed>,
    report: Report,
}

impl Driven {
    fn open(disk: &SimDisk, options: Options) -> Result<Self, OpenError> {
        let mut recovery = Recovery::open(Arc::new(disk.clone()), options)?;
        let mut replayed = VecDeque::new();
        while let Some(step) = recovery.step()? {
            replayed.push_back(step);
        }
        let report = recovery.report().clone();
        let witness = Arc::new(Witness::default());
        let entropy = disk.clone();
        let entropy: Entropy = Box::new(move || entropy.random(u64::MAX));
        let journal = recovery.start(entropy, Arc::clone(&witness) as Arc<dyn GroupObserver>)?;
        #[expect(clippy::disallowed_methods, reason = "only the beginning of this test's own time")]
        let now = Instant::now();
        Ok(Self { disk: disk.clone(), journal, witness, now, replayed, report })
    }

    fn pump(&mut self) -> Result<Pumped, Offline> {
        self.now += Duration::from_millis(1);
        self.journal.pump(self.now)
    }

    /// Writes everything that was submitted.
    fn flush(&mut self) {
        while matches!(self.pump(), Ok(Pumped::Wrote { .. })) {}
    }

    fn keep(&self) {
        while matches!(self.journal.keep(), Ok(true)) {}
    }

    fn idle(&mut self) {
        self.now += Duration::from_secs(1);
        self.flush();
    }

    fn frames(&self) -> Vec<(Lsn, Frame)> {
        let frames = self.replayed.iter().filter_map(|step| match step {
            Replayed::Frame { lsn, frame } => Some((*lsn, frame.clone())),
            Replayed::Hole(_) => None,
        });
        frames.collect()
    }

    fn stat(&self, name: &str) -> u64 {
        self.journal.stats().read().into_iter().find(|(known, _)| *known == name).expect("a known counter").1
    }
}

fn lsns(range: std::ops::RangeInclusive<u64>) -> Vec<Lsn> {
    range.map(Lsn::new).collect()
}

#[test]
fn what_was_synced_is_replayed_in_order() {
    let disk = SimDisk::new(1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    assert_eq!((driven.frames(), driven.report.last), (vec![], Lsn::new(0)));
    let frames = [
        Frame::create(partition(1), Offset::new(0), LeaderEpoch::new(3), Bytes::from_static(b"name")),
        append(0, 100),
        append(1, 0),
        Frame::truncate(partition(1), Offset::new(1), LeaderEpoch::new(4)),
        Frame::log_start(partition(1), Offset::new(1)),
        Frame::flushed_end(partition(1), Offset::new(1)),
        Frame::delete(partition(1)),
    ];
    let numbers: Vec<Lsn> = frames.iter().map(|frame| driven.journal.submit(frame.clone()).unwrap()).collect();
    assert_eq!(numbers, lsns(1..=7));
    assert_eq!((driven.journal.submitted(), driven.journal.synced()), (Lsn::new(7), Lsn::new(0)));
    assert_eq!(driven.pump(), Ok(Pumped::Wrote { frames: 7 }), "one group");
    assert_eq!(driven.journal.synced(), Lsn::new(7));
    assert_eq!(driven.journal.durable(Lsn::new(7)).wait(), Ok(()));
    let expected: Vec<_> = numbers.into_iter().zip(frames).collect();
    assert_eq!(*driven.witness.synced.lock(), expected);
    let again = Driven::open(&disk.crash(), options()).unwrap();
    assert_eq!(again.frames(), expected);
    assert_eq!((again.report.last, again.report.frames, again.report.holes.len()), (Lsn::new(7), 7, 0));
    assert_eq!(again.journal.submit(append(9, 1)), Ok(Lsn::new(8)), "numbers go on");
}

#[test]
fn one_group_is_one_write_and_one_flush() {
    let disk = SimDisk::new(1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    driven.keep();
    let count = |name| disk.stats().read().into_iter().find(|(known, _)| *known == name).unwrap().1;
    for round in 0..3 {
        let before = (count("writes"), count("syncs"));
        for n in 0..10 {
            driven.journal.submit(append(round * 10 + n, 50)).unwrap();
        }
        driven.flush();
        assert_eq!((count("writes"), count("syncs")), (before.0 + 1, before.1 + 1));
    }
    assert_eq!((driven.stat("groups"), driven.stat("frames")), (3, 30));
}

#[test]
fn an_idle_journal_writes_one_closing_frame() {
    let disk = SimDisk::new(1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    assert_eq!(driven.pump(), Ok(Pumped::Idle { wake_at: None }), "nothing to close");
    driven.journal.submit(append(0, 10)).unwrap();
    driven.pump().unwrap();
    let wake_at = driven.now + options().idle;
    assert_eq!(driven.pump(), Ok(Pumped::Idle { wake_at: Some(wake_at) }));
    assert_eq!(driven.journal.pump(wake_at), Ok(Pumped::Wrote { frames: 1 }));
    driven.idle();
    assert_eq!(driven.pump(), Ok(Pumped::Idle { wake_at: None }));
    assert_eq!(driven.stat("closing_frames"), 1);
    assert_eq!(driven.witness.synced.lock().len(), 1, "the closing frame is nobody else's business");
    let again = Driven::open(&disk.crash(), options()).unwrap();
    assert_eq!((again.frames().len(), again.report.last), (1, Lsn::new(2)));
}

#[test]
fn closing_writes_what_was_submitted_and_refuses_the_rest() {
    let disk = SimDisk::new(1);
    let driven = Driven::open(&disk, options()).unwrap();
    let lsn = driven.journal.submit(append(0, 10)).unwrap();
    driven.journal.close().unwrap();
    assert_eq!(driven.journal.durable(lsn).wait(), Ok(()));
    assert!(driven.witness.offline.lock().is_empty());
    let refused = driven.journal.submit(append(1, 10)).unwrap_err();
    assert_eq!(refused.to_string(), "the data directory is offline: closed");
    assert_eq!(Arc::strong_count(&driven.witness), 1, "the observer is let go");
    assert_eq!(Driven::open(&disk.crash(), options()).unwrap().frames().len(), 1);
}

#[test]
fn released_frames_are_not_replayed_and_their_files_begin_again() {
    let disk = SimDisk::new(3);
    let mut driven = Driven::open(&disk, options()).unwrap();
    for n in 0..400 {
        driven.keep();
        let lsn = driven.journal.submit(append(n, 3000)).unwrap();
        driven.flush();
        driven.journal.release(Lsn::new(lsn.get().saturating_sub(20)));
    }
    assert!(driven.stat("files_recycled") > 10, "{}", driven.stat("files_recycled"));
    assert_eq!(driven.stat("files_made_late"), 0);
    assert!(disk.files().len() < 9, "{:?}", disk.files());
    let again = Driven::open(&disk.crash(), options()).unwrap();
    let first = again.frames()[0].0;
    assert!(first >= Lsn::new(350) && first <= Lsn::new(400 - 20), "{first}");
    assert_eq!(again.report.holes, []);
    assert_eq!(again.frames().iter().map(|(lsn, _)| *lsn).collect::<Vec<_>>(), lsns(first.get()..=400));
}

#[test]
fn a_full_journal_frees_itself_once_frames_are_released() {
    let disk = SimDisk::new(3);
    let mut driven = Driven::open(&disk, options()).unwrap();
    let mut n = 0;
    while n < 1000 {
        match driven.journal.submit(append(n, 5000)) {
            Ok(_) => n += 1,
            Err(SubmitError::Full(Full::Growing)) => driven.keep(),
            Err(refused) => {
                assert_eq!(refused, SubmitError::Full(Full::Unreleased));
                break;
            }
        }
        driven.flush();
    }
    assert!(n > 100 && n < 1000, "{n}");
    for round in 0..50 {
        let control = driven.journal.submit(Frame::flushed_end(partition(0), Offset::new(1)));
        assert!(control.is_ok(), "room is kept for what frees room: {round}");
    }
    let room = driven.journal.room(5000);
    let waiter = std::thread::spawn(move || futures_block(room));
    driven.flush();
    driven.journal.release(Lsn::new(n / 2));
    driven.flush();
    assert_eq!(waiter.join().unwrap(), Ok(()));
    driven.journal.submit(append(n, 5000)).unwrap();
    driven.flush();
    assert_eq!(driven.stat("files_made_late"), 0);
}

/// Waits for a future on this thread.
fn futures_block<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

#[test]
fn every_start_begins_a_new_file_and_idle_starts_use_none() {
    let mut disk = SimDisk::new(1);
    for _ in 0..20 {
        let driven = Driven::open(&disk, options()).unwrap();
        driven.keep();
        disk = disk.crash();
    }
    assert!(disk.files().len() <= 2, "{:?}", disk.files());
    for n in 0..4 {
        let mut driven = Driven::open(&disk, options()).unwrap();
        driven.keep();
        driven.journal.submit(append(n, 10)).unwrap();
        driven.flush();
        disk = disk.crash();
    }
    assert_eq!(Driven::open(&disk, options()).unwrap().frames().len(), 4);
}

#[test]
fn a_newer_version_is_refused_with_a_sentence() {
    let disk = SimDisk::new(1);
    let mut driven = Driven::open(&disk, options()).unwrap();
    driven.journal.submit(append(0, 10)).unwrap();
    driven.flush();
    let disk = disk.kill();
    let path = disk.files()[0].clone();
    let file = disk.open(&path, Open::Write).unwrap();
    let mut block = file.read_bytes(0, 4096).unwrap().to_vec();
    block[8] = 9;
    let crc = format::crc(&[&block[..12], &block[16..]]);
    block[12..16].copy_from_slice(&crc.to_le_bytes());
    file.write_at(0, &[std::io::IoSlice::new(&block)]).unwrap();
    let error = Recovery::open(Arc::new(disk), options()).unwrap_err().to_string();
    assert!(error.contains("00000001.jnl has format 9; this build reads up to 1"), "{error}");
}

#[test]
fn known_frames_that_are_gone_are_damage() {
    let disk = SimDisk::new(1);
    let options = Options { known_synced: Lsn::new(10), ..options() };
    let driven = Driven::open(&disk, options).unwrap();
    assert_eq!(driven.report.holes, [Hole { first: Lsn::new(1), last: Lsn::new(10) }]);
    assert_eq!(driven.journal.submit(append(0, 1)), Ok(Lsn::new(11)));
}

#[test]
fn without_direct_writes_it_is_buffered_and_counted() {
    let disk = SimDisk::new(1);
    disk.refuse_direct();
    let mut driven = Driven::open(&disk, options()).unwrap();
    driven.journal.submit(append(0, 10)).unwrap();
    driven.flush();
    assert_eq!(driven.stat("buffered_files"), 1);
    assert_eq!(Driven::open(&driven.disk.crash(), options()).unwrap().frames().len(), 1);
}
