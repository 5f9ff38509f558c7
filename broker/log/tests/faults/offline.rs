//! One part of the directory fails: nothing is acknowledged by another part (S2).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use ottla_core::types::Lsn;
use ottla_log::partition::AppendError;
use ottla_log::store::{Observer, SyncedEnd};

use super::kit::{Kit, Loss, compare, open, partition, try_append_one};

/// Counts what it is told.
#[derive(Debug, Default)]
struct Listener {
    synced: AtomicUsize,
    offline: AtomicUsize,
}

impl Observer for Listener {
    fn synced(&self, ends: &[SyncedEnd]) {
        assert_eq!(self.offline.load(Ordering::Relaxed), 0, "an end moved after the directory went offline");
        self.synced.fetch_add(ends.len(), Ordering::Relaxed);
    }

    fn offline(&self, _reason: &str) {
        self.offline.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_segment_that_cannot_be_flushed_ends_the_acks_that_wait_for_the_journal() {
    for fails_at in 1..4 {
        let listener = Arc::new(Listener::default());
        let mut kit = Kit::observed(Arc::clone(&listener) as Arc<dyn Observer>);
        kit.fill();
        let waiting = kit.append(0);
        let flushed = kit.dir.partition(partition(0)).unwrap().flushed_end();
        let mut ack = pin!(kit.dir.durable(waiting.lsn));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(ack.as_mut().poll(&mut cx), Poll::Pending);

        kit.disk.fail_after(fails_at);
        let offline = kit.dir.flush().unwrap_err();
        assert!(offline.reason.contains("Input/output error"), "{offline}");
        assert!(matches!(ack.as_mut().poll(&mut cx), Poll::Ready(Err(_))), "the ack does not wait for the journal");
        assert_eq!(listener.offline.load(Ordering::Relaxed), 1);
        kit.dir.close().unwrap_err();
        assert!(matches!(ack.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
        let log = kit.dir.partition(partition(0)).unwrap();
        assert_eq!(log.flushed_end(), flushed, "nor does the end move");
        assert!(matches!(try_append_one(&log, 1).0, Err(AppendError::Offline(_))));

        // What was acked before is all there, and what was not is not.
        let Kit { disk, dir, mut content, .. } = kit;
        drop((log, dir));
        content.get_mut(&partition(0)).unwrap().remove(&waiting.base.get());
        let (dir, _) = open(&disk.crash()).unwrap();
        assert_eq!(compare(&dir, &content), Loss::default());
    }
}

#[test]
fn a_segment_that_cannot_be_written_ends_them_too() {
    let mut kit = Kit::new();
    kit.fill();
    let mut cx = Context::from_waker(Waker::noop());
    let first = kit.append(0);
    let mut ack = pin!(kit.dir.durable(first.lsn));
    // The journal's write and flush succeed, the segment's write does not.
    kit.disk.fail_after(3);
    assert!(!kit.try_pump());
    assert_eq!(ack.as_mut().poll(&mut cx), Poll::Ready(Ok(())), "what was acked stays so");
    let later = Lsn::new(first.lsn.get() + 1);
    assert!(matches!(pin!(kit.dir.durable(later)).poll(&mut cx), Poll::Ready(Err(_))));
    assert!(kit.dir.status().offline.is_some());
    let log = kit.dir.partition(partition(0)).unwrap();
    assert!(matches!(try_append_one(&log, 1).0, Err(AppendError::Offline(_))));
}

#[test]
fn a_disk_that_is_full_when_a_pass_begins_is_used_again_once_there_is_room() {
    let mut kit = Kit::new();
    kit.fill();
    // Both partitions are in an epoch that their list of epochs does not have yet.
    kit.disk.set_capacity(Some(0));
    kit.dir.flush().expect("nothing is lost: the pass is made again");
    kit.disk.set_capacity(None);
    let log = kit.dir.partition(partition(0)).unwrap();
    assert!(
        matches!(try_append_one(&log, 1).0, Err(AppendError::NoSpace)),
        "who is refused has the disk looked at again"
    );
    kit.pump();
    kit.append(0);
    kit.pump();
    kit.dir.flush().expect("there is room");
    drop(log);
    let Kit { disk, dir, content, .. } = kit;
    drop(dir);
    let (dir, _) = open(&disk.crash()).unwrap();
    assert_eq!(compare(&dir, &content), Loss::default());
}
