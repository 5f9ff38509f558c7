//! What a stream brings, taken in on a disk that has no room.

use ottla_core::controller::Document;
use ottla_core::controller::error::NotController;
use ottla_core::controller::{Root, Shard};
use ottla_core::metadata::Image;
use ottla_log::disk::Disk;
use ottla_log::disk::sim::SimDisk;

use super::super::copies::Copies;
use super::super::ledger::Site;
use super::*;

const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);

struct Nowhere;

impl Site for Nowhere {
    fn apply(&mut self, _image: Arc<Image>) -> Result<(), String> {
        Ok(())
    }
}

fn complete(version: u64) -> Intake {
    let mut root = Root { shard_count: 1, ..Root::default() };
    let mut shard = Shard::default();
    for header in [&mut root.header, &mut shard.header] {
        (header.cluster, header.epoch, header.version) = (CLUSTER, ControllerEpoch::new(1), version);
    }
    let documents = [Document::Root(Arc::new(root)), Document::Shard(Arc::new(shard))];
    let documents = documents.iter().map(ottla_rpc::encode).collect();
    Intake::Documents { epoch: ControllerEpoch::new(1), view: version, complete: true, documents }
}

fn answer() -> (Intake, oneshot::Receiver<Answer>) {
    let (reply, answered) = oneshot::channel();
    (Intake::Answer(reply, Box::new(Answer::Admit(Err(NotController.into())))), answered)
}

#[test]
fn what_found_no_room_is_taken_in_with_the_next_stream_and_nothing_behind_it_before() {
    let disk = Arc::new(SimDisk::new(7));
    disk.set_capacity(Some(0));
    let copies = Copies::open(Arc::clone(&disk) as Arc<dyn Disk>, CLUSTER).expect("an empty disk is read");
    let ledger = Arc::new(Mutex::new(Ledger::new(BrokerId::new(1), CLUSTER, copies, Box::new(Nowhere))));
    let (shell, mut told) = mpsc::channel(64);
    let gap = Gap::default();
    let run = |messages: Vec<Intake>| {
        let (sender, taken) = mpsc::unbounded_channel();
        for message in messages {
            sender.send(message).expect("it is taken");
        }
        drop(sender);
        take_in(taken, &ledger, &shell, &gap, Clock);
    };
    let (rests, mut answered) = answer();
    run(vec![Intake::Began, complete(3), rests]);
    assert!(told.try_recv().is_err() && ledger.lock().vector().is_empty(), "nothing is acted on");
    assert!(answered.try_recv().is_err(), "what rests on it is not known either");
    assert!(gap.is_due(Clock.monotonic() + MAKE_ROOM), "the stream has to begin anew");
    disk.set_capacity(None);
    run(vec![complete(4)]);
    assert!(ledger.lock().vector().is_empty(), "of the old stream nothing counts any more");
    let (rests, mut answered) = answer();
    run(vec![Intake::Began, complete(4), rests]);
    assert!(matches!(told.try_recv(), Ok(Input::Event(event)) if matches!(*event, Event::Followed { .. })));
    assert!(ledger.lock().vector().values().all(|seen| seen.version == 4) && answered.try_recv().is_ok());
    assert!(!gap.is_due(Clock.monotonic() + MAKE_ROOM));
}
