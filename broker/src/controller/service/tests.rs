//! Streams to the controller's side, as brokers would open them.

use ottla_core::controller::Presentation;
use ottla_core::controller::error::Standing;
use ottla_core::metadata::Image;
use ottla_core::replica::View;
use ottla_core::types::{ClusterId, DirectoryId, Lsn};
use ottla_log::disk::sim::SimDisk;

use super::super::copies::Copies;
use super::super::ledger::Site;
use super::*;

const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);
const RUN: Incarnation = Incarnation::new(1);

struct Nowhere;

impl Site for Nowhere {
    fn apply(&mut self, _image: Arc<Image>) -> Result<(), String> {
        Ok(())
    }
}

/// A controller in broker 1 that leads brokers 1 to 5.
struct Stage5 {
    service: Arc<Service>,
    stage: watch::Sender<Stage>,
    told: mpsc::Receiver<Input>,
}

impl Stage5 {
    fn new() -> Self {
        let copies = Copies::open(Arc::new(SimDisk::new(7)), CLUSTER).expect("an empty disk is read");
        let ledger = Arc::new(Mutex::new(Ledger::new(BrokerId::new(1), CLUSTER, copies, Box::new(Nowhere))));
        let registered = (1..=5).map(BrokerId::new).collect();
        let published =
            Published { epoch: ControllerEpoch::new(3), view: View(7), documents: BTreeMap::new(), registered };
        let (stage, stages) = watch::channel(Stage::Leading(Arc::new(published)));
        let (shell, told) = mpsc::channel(64);
        let heard = Arc::new(Heard::default());
        let service = Service { me: BrokerId::new(1), stage: stages, shell, ledger, heard, clock: Clock };
        Self { service: Arc::new(service), stage, told }
    }

    async fn follow(&self, broker: i32) -> Peer {
        let ((ups, from_below), (to_below, downs)) = (mpsc::channel(8), mpsc::channel(8));
        let service = Arc::clone(&self.service);
        let stream = tokio_stream::wrappers::ReceiverStream::new(from_below).map(Ok).boxed();
        let caller = Caller::unknown();
        tokio::spawn(async move { service.serve(caller, stream, to_below).await });
        let directory = DirectoryId::from_bytes([6; 16]);
        let standing = Standing { directory, incarnation: RUN, synced: Lsn::default() };
        let (broker, vector) = (BrokerId::new(broker), BTreeMap::new());
        let presentation = Presentation { broker, cluster: CLUSTER, standing, vector };
        ups.send(Up::Hello { version: wire::VERSION, presentation, run: Some(RUN) }).await.expect("it is served");
        Peer { ups, downs }
    }
}

struct Peer {
    ups: mpsc::Sender<Up>,
    downs: mpsc::Receiver<Down>,
}

impl Peer {
    /// How long ago most brokers had followed, as the answer to a beat says.
    async fn beat(&mut self, sequence: u64) -> Option<Duration> {
        let beat = Up::Beat { sequence, run: RUN, view: 0, draining: false, synced: Lsn::default() };
        self.ups.send(beat).await.expect("it is served");
        loop {
            match self.downs.recv().await.expect("it is served") {
                Down::Beat { sequence: answered, most_heard, .. } if answered == sequence => return most_heard,
                Down::Documents { .. } | Down::NotController { .. } | Down::Beat { .. } | Down::Answer { .. } => {}
            }
        }
    }

    async fn echo(&mut self, sequence: u64) {
        self.ups.send(Up::Echo { sequence }).await.expect("it is served");
    }
}

/// R13: what arrives now may have been sent long ago.
#[tokio::test]
async fn a_broker_followed_as_of_the_beat_that_it_echoes_and_not_before() {
    let stage = Stage5::new();
    let (mut two, mut three) = (stage.follow(2).await, stage.follow(3).await);
    assert_eq!(three.beat(1).await, None, "1 and 3 are no majority of five");
    assert_eq!(two.beat(1).await, None, "3 has said something, nobody knows when");
    let before = Clock.monotonic();
    three.beat(2).await;
    three.echo(9).await;
    three.beat(3).await;
    assert_eq!(two.beat(2).await, None, "no such beat has left");
    three.echo(2).await;
    // Everything of one stream is taken in order: with the answer to 4, the echo is in.
    three.beat(4).await;
    let age = two.beat(3).await.expect("1, 2 and 3 have followed");
    assert!(age <= before.elapsed() && age > Duration::ZERO, "{age:?}");
    drop((stage.stage, stage.told));
}
