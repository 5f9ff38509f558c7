//! The shell on a store in memory, and on one that loses answers: what is answered is stored and served.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ottla_coordination::{Embedded, Faults, Simulated};
use ottla_core::controller::{ConfigChange, ConfigTarget, NewTopic, TopicRef};
use ottla_core::metadata::Image;
use ottla_core::replica::Settings;
use ottla_core::table::MemoryTable;
use ottla_core::types::TopicId;
use ottla_log::disk::Disk;
use ottla_log::disk::sim::SimDisk;
use ottla_rpc::trust::Credentials;
use ottla_wire::ErrorCode;

use super::*;

const CLUSTER: ClusterId = ClusterId::from_bytes([5; 16]);
const ME: BrokerId = BrokerId::new(1);
/// How long a request waits for whoever decides.
const WAIT: Duration = Duration::from_secs(10);

/// Remembers the images that came into force.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Arc<Image>>>>);

impl Seen {
    fn newest(&self) -> Arc<Image> {
        self.0.lock().expect("no panic").last().expect("an image is in force").clone()
    }
}

impl Site for Seen {
    fn apply(&mut self, image: Arc<Image>) -> Result<(), String> {
        self.0.lock().expect("no panic").push(image);
        Ok(())
    }
}

/// What outlives a broker: its store, and the run that its data directory records.
#[derive(Clone)]
struct Ground {
    coordination: Arc<dyn Coordination>,
    recorded: Arc<Mutex<Incarnation>>,
    disk: Arc<SimDisk>,
    endpoints: watch::Sender<Endpoints>,
}

impl Ground {
    fn new(coordination: impl Coordination + 'static) -> Self {
        let disk = Arc::new(SimDisk::new(7));
        let endpoint = Endpoint { host: "localhost".to_owned(), port: 9092 };
        let endpoints = watch::Sender::new(Endpoints::from([("PLAINTEXT".to_owned(), endpoint)]));
        Self { coordination: Arc::new(coordination), recorded: Arc::default(), disk, endpoints }
    }

    async fn start(&self) -> Result<Broker, StartError> {
        let (seen, shutdown, tasks) = (Seen::default(), CancellationToken::new(), TaskTracker::new());
        let setup = Setup {
            me: ME,
            config: BrokerConfig::default(),
            rack: None,
            endpoints: self.endpoints.subscribe(),
            cluster: CLUSTER,
            directory: DirectoryId::from_bytes([6; 16]),
            recorded: *self.recorded.lock().expect("no panic"),
            synced: Lsn::default(),
            doubts: Doubts::default(),
            coordination: Arc::clone(&self.coordination),
            created_elsewhere: None,
            copies: Copies::open(Arc::clone(&self.disk) as Arc<dyn Disk>, CLUSTER)?,
            site: Box::new(seen.clone()),
            partitions: Arc::new(Partitions::new(ME, Settings::default())),
            metadata: Arc::new(MetadataCell::new(CLUSTER, ME, BrokerConfig::default())),
            grpc: None,
            credentials: Credentials::plaintext(),
            clock: Clock,
        };
        let recorded = Arc::clone(&self.recorded);
        let record = move |run| {
            *recorded.lock().expect("no panic") = run;
            Ok(())
        };
        let handle = run(setup, record, &shutdown, &tasks).await?;
        Ok(Broker { handle, seen, shutdown, tasks })
    }
}

struct Broker {
    handle: Handle,
    seen: Seen,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn memory() -> Embedded<MemoryTable> {
    Embedded::new(MemoryTable::default()).expect("empty")
}

fn named(name: &str) -> NewTopic {
    NewTopic::named(name, fresh_topic_id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_in_force_and_there_after_a_restart() {
    let ground = Ground::new(memory());
    let broker = ground.start().await.expect("starts");
    let created = broker.handle.create_topics(vec![named("a"), named("b b")], false, WAIT).await;
    assert!(created[0].is_ok() && created[1].is_err());
    let image = broker.seen.newest();
    assert_eq!(image.topic("a").expect("in force").partitions[0].leader, Some(ME));
    assert_eq!(image.broker(ME).expect("registered").endpoints["PLAINTEXT"].port, 9092);
    let epoch = image.topic("a").expect("in force").partitions[0].leader_epoch;
    broker.stop().await;

    let broker = ground.start().await.expect("starts again");
    let image = broker.seen.newest();
    let partition = &image.topic("a").expect("in force").partitions[0];
    assert_eq!(partition.leader, Some(ME));
    assert!(partition.leader_epoch > epoch, "a new run leads in a new epoch");
    assert_eq!(image.broker(ME).expect("registered").incarnation, Incarnation::new(2));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_into_force_only_when_the_broker_is_admitted() {
    let ground = Ground::new(memory());
    let broker = ground.start().await.expect("starts");
    let first = broker.seen.0.lock().expect("no panic").first().cloned().expect("one image");
    assert!(!first.broker(ME).expect("registered").fenced);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_vanished_is_not_made_up_again() {
    let ground = Ground::new(memory());
    ground.start().await.expect("starts").stop().await;
    let empty = Ground { recorded: ground.recorded, ..Ground::new(memory()) };
    let refused = empty.start().await.err().expect("refused").to_string();
    assert!(refused.starts_with("MetadataRolledBack"), "{refused}");
    assert!(empty.coordination.list("").expect("readable").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_older_than_the_data_directory_s_copies_is_refused() {
    let ground = Ground::new(memory());
    ground.start().await.expect("starts").stop().await;
    // Another store, in which the cluster is as young as on its first day.
    let young = Ground::new(memory());
    young.start().await.expect("starts").stop().await;
    ground.start().await.expect("starts again").stop().await;
    let rolled_back = Ground { coordination: young.coordination, ..ground };
    let before = rolled_back.coordination.list("").expect("readable");
    let refused = rolled_back.start().await.err().expect("refused").to_string();
    assert!(refused.starts_with("MetadataRolledBack: the metadata document root is at epoch 1"), "{refused}");
    assert_eq!(rolled_back.coordination.list("").expect("readable"), before, "nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_copied_is_not_acted_on() {
    let ground = Ground::new(memory());
    let broker = ground.start().await.expect("starts");
    let image = broker.seen.newest();
    ground.disk.fail_after(1);
    let topics = vec![named("a")];
    let asked =
        tokio::time::timeout(Duration::from_millis(500), broker.handle.create_topics(topics, false, WAIT)).await;
    assert!(!matches!(asked.as_deref(), Ok([Ok(_)])), "nobody is told that it exists");
    assert_eq!(*broker.seen.newest(), *image, "and nothing is served");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_s_tombstone_goes_when_nothing_is_left() {
    let ground = Ground::new(memory());
    let broker = ground.start().await.expect("starts");
    let id = broker.handle.create_topics(vec![named("a")], false, WAIT).await[0].as_ref().expect("created").id;
    let deleted = broker.handle.delete_topics(vec![TopicRef::Id(id)], WAIT).await;
    assert_eq!(deleted, [Ok(("a".to_owned(), id))]);
    // Another change is written after the tombstone was reported gone.
    broker.handle.create_topics(vec![named("b")], false, WAIT).await;
    let had_tombstone = |image: &Arc<Image>| image.tombstones().contains_key(&id);
    assert!(broker.seen.0.lock().expect("no panic").iter().any(had_tombstone));
    while had_tombstone(&broker.seen.newest()) {
        broker.handle.create_topics(vec![named("c")], false, WAIT).await;
        broker.handle.delete_topics(vec![TopicRef::Name("c".to_owned())], WAIT).await;
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_on_demand_and_the_offsets_topic_are_made_as_they_must_be() {
    let ground = Ground::new(memory());
    let broker = ground.start().await.expect("starts");
    let names = ["a", "b b", "__consumer_offsets", "a"].map(str::to_owned).into();
    let failed: BTreeMap<_, _> = broker.handle.create_on_demand(names).await.into_iter().collect();
    assert_eq!(failed.get("b b"), Some(&ErrorCode::INVALID_TOPIC_EXCEPTION));
    let failed = broker.handle.create_on_demand(vec!["__consumer_offsets".to_owned(), "z".to_owned()]).await;
    assert!(failed.is_empty(), "what exists is as good as created");
    let image = broker.seen.newest();
    let offsets = image.topic("__consumer_offsets").expect("made");
    assert_eq!((offsets.partitions.len(), offsets.internal), (50, true));
    assert_eq!(offsets.config["cleanup.policy"], "compact");
    assert!(image.topic("a").is_some() && image.topic("z").is_some());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producer_ids_are_handed_out_once_across_restarts() {
    let ground = Ground::new(memory());
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let broker = ground.start().await.expect("starts");
        for _ in 0..1100 {
            assert!(given.insert(broker.handle.next_producer_id().await.expect("leads")));
        }
        broker.stop().await;
    }
    assert_eq!(given.len(), 3300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_what_is_answered_stays() {
    let store = Arc::new(Simulated::new(9, Faults::default()));
    let ground = Ground { coordination: store.clone(), ..Ground::new(memory()) };
    let broker = ground.start().await.expect("starts");
    store.set_faults(Faults {
        lost_answers: 15,
        late_writes: 5,
        refused_writes: 10,
        failed_reads: 10,
        ..Faults::default()
    });
    let mut made: BTreeMap<String, TopicId> = BTreeMap::new();
    for round in 0..20 {
        let name = format!("t{round}");
        if let Ok(topic) = &broker.handle.create_topics(vec![named(&name)], false, WAIT).await[0] {
            made.insert(name.clone(), topic.id);
        }
        let change = ConfigChange::Replace([("retention.ms".to_owned(), round.to_string())].into());
        broker.handle.alter_configs(vec![(ConfigTarget::Topic(name), change)], false, WAIT).await;
    }
    store.set_faults(Faults::default());
    broker.stop().await;
    assert!(store.counts().lost_answers > 0 && made.len() > 10, "{:?}", store.counts());
    let broker = ground.start().await.expect("starts again");
    let image = broker.seen.newest();
    for (name, id) in made {
        assert_eq!(image.topic(&name).map(|topic| topic.id), Some(id), "{name} was promised");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_on_one_store_never_both_lead() {
    let ground = Ground::new(memory());
    let first = ground.start().await.expect("starts");
    // The second finds the lease held and waits for it to stand still; the first goes on deciding.
    let other = Ground {
        coordination: Arc::clone(&ground.coordination),
        recorded: Arc::clone(&ground.recorded),
        ..Ground::new(memory())
    };
    let second = tokio::spawn(async move { other.start().await.map(|broker| broker.handle) });
    for round in 0..20 {
        assert!(first.handle.create_topics(vec![named(&format!("t{round}"))], false, WAIT).await[0].is_ok());
    }
    assert!(!second.is_finished());
    second.abort();
    first.stop().await;
}
