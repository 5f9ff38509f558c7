//! The controller against a store in memory that answers at once: what it decides, refuses and writes.
//!
//! `adversary` runs it against a store that loses answers, repeats writes and lets several believe that they lead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{
    AlterConfigError, CreatePartitionsError, CreateTopicError, DeleteTopicError, InvalidAssignment, InvalidPartitions,
    InvalidReplicationFactor, InvalidRequest, RegisterError, Standing,
};
use super::*;
use crate::config::{Alteration, ConfigError};
use crate::metadata::{Endpoint, ExplicitConfig, Partition, Topic};
use crate::topic_name::InvalidName;
use crate::types::{DirectoryId, Incarnation, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId, TopicId};

mod adversary;
mod cluster;
mod disks;
mod doubts;
mod growth;
mod metadata_went_back;
mod moving;
mod preemption;
mod requests;

/// Some moment to count from.
#[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; its value does not matter")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

/// Documents with revisions, and a compare-and-swap.
#[derive(Clone, Debug, Default)]
struct Store {
    documents: BTreeMap<DocumentId, (Document, u64)>,
    writes: u64,
}

impl Store {
    fn initialised() -> Self {
        let mut store = Self::default();
        for document in document::initial(CLUSTER) {
            store.writes += 1;
            store.documents.insert(document.id(), (document, store.writes));
        }
        store
    }

    fn read(&self, id: DocumentId) -> ReadOutcome {
        let found = self.documents.get(&id).cloned();
        found.map_or(ReadOutcome::Missing, |(content, at)| ReadOutcome::Found(content, Revision(at.to_string())))
    }

    fn write(&mut self, write: &Write) -> WriteOutcome {
        let id = write.content.id();
        let at = self.documents.get(&id).map(|(_, at)| at.to_string()).unwrap_or_default();
        if at != write.expected.0 {
            return WriteOutcome::Conflict;
        }
        self.writes += 1;
        self.documents.insert(id, (write.content.clone(), self.writes));
        WriteOutcome::Done(Revision(self.writes.to_string()))
    }

    fn root(&self) -> &Root {
        match &self.documents[&DocumentId::Root].0 {
            Document::Root(root) => root,
            Document::Shard(_) => unreachable!("stored under its id"),
        }
    }

    /// Another controller claims the root, and gets no further.
    fn claim_root(&mut self, session: SessionId) {
        let mut root = self.root().clone();
        let epoch = ControllerEpoch::new(root.header.epoch.get() + 1);
        let version = root.header.version + 1;
        let claims = root.header.claims_with(epoch, version, session);
        root.header = Header { epoch, version, write: WriteId { session, number: 1 }, claims, ..root.header };
        self.writes += 1;
        self.documents.insert(DocumentId::Root, (Document::Root(Arc::new(root)), self.writes));
    }

    fn topics(&self) -> BTreeMap<String, Arc<Topic>> {
        let topics = |(document, _): &(Document, u64)| match document {
            Document::Root(_) => BTreeMap::new(),
            Document::Shard(shard) => shard.topics.clone(),
        };
        self.documents.values().flat_map(topics).collect()
    }
}

/// One controller, a perfect store, and what came out.
struct Bench {
    now: Instant,
    store: Store,
    machine: Machine,
    answers: BTreeMap<RequestId, Answer>,
    halted: Option<Halt>,
    /// Who was last asked what it has seen.
    gathered: Vec<BrokerId>,
    /// The Lease cannot be reached.
    lease_away: bool,
    writes: usize,
    asked: u64,
}

fn config(me: i32, session: u8) -> Config {
    Config {
        me: BrokerId::new(me),
        session: SessionId([session; 16]),
        cluster: CLUSTER,
        broker: BrokerConfig::default(),
        lease: Duration::from_secs(10),
        floor: BTreeMap::new(),
        tuning: Tuning::default(),
    }
}

impl Bench {
    fn on(store: Store, config: Config) -> Self {
        let machine = Machine::new(config);
        let answers = BTreeMap::new();
        let (halted, gathered, lease_away, writes, asked) = (None, Vec::new(), false, 0, 0);
        let mut bench = Self { now: epoch(), store, machine, answers, halted, gathered, lease_away, writes, asked };
        bench.feed(Event::Start);
        bench
    }

    /// One admitted broker, number 1.
    fn ready() -> Self {
        let mut bench = Self::on(Store::initialised(), config(1, 1));
        bench.join(1, 0);
        bench
    }

    /// Registers and admits a broker whose directory records the run `recorded`.
    fn join(&mut self, broker: i32, recorded: i64) -> Registered {
        let request = registration(broker, recorded, u8::try_from(broker).expect("few brokers"));
        let Answer::Register(Ok(registered)) = self.ask(request) else { panic!("refused") };
        let admit =
            Request::Admit { broker: BrokerId::new(broker), incarnation: registered.incarnation, endpoints: None };
        assert_eq!(self.ask(admit), Answer::Admit(Ok(())));
        // Nobody is there to beat: whoever comes under that id next finds it free.
        let (broker, incarnation) = (BrokerId::new(broker), registered.incarnation);
        self.feed(Event::StreamClosed { broker, incarnation, refused: false });
        registered
    }

    fn feed(&mut self, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Effects::new();
            self.machine.step(self.now, event, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Lease(_) if self.lease_away => events.push_back(Event::Lease(LeaseSeen::Failed)),
                    Effect::Lease(_) => events.push_back(Event::Lease(LeaseSeen::Ours(Revision("1".into())))),
                    Effect::Read { document, token } => {
                        events.push_back(Event::Read { document, token, outcome: self.store.read(document) });
                    }
                    Effect::Write(write) => {
                        self.writes += 1;
                        let outcome = self.store.write(&write);
                        events.push_back(Event::Wrote { document: write.content.id(), write: write.id(), outcome });
                    }
                    Effect::Answer(id, answer) => {
                        assert!(self.answers.insert(id, answer).is_none(), "answered twice");
                    }
                    Effect::Halted(why) => self.halted = Some(why),
                    Effect::Gather(brokers) => self.gathered = brokers.into_keys().collect(),
                    Effect::Publish(_) | Effect::Leading(_) | Effect::Deposed(_) | Effect::WakeAt(_) => {}
                }
            }
        }
    }

    fn ask(&mut self, request: Request) -> Answer {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.feed(Event::Ask(id, request));
        self.answers.remove(&id).expect("everything under way has been written")
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<Result<Arc<Topic>, CreateTopicError>> {
        let answer = self.ask(Request::CreateTopics { topics, validate_only: false });
        let Answer::CreateTopics(results) = answer else { panic!("answered {answer:?}") };
        results
    }

    fn create_one(&mut self, topic: NewTopic) -> Result<Arc<Topic>, CreateTopicError> {
        self.create(vec![topic]).remove(0)
    }

    fn topic(&self, name: &str) -> Arc<Topic> {
        self.machine.image().topic(name).expect("exists").clone()
    }
}

fn registration(broker: i32, recorded: i64, directory: u8) -> Request {
    Request::Register(Registration {
        broker: BrokerId::new(broker),
        cluster: CLUSTER,
        standing: Standing {
            directory: DirectoryId::from_bytes([directory; 16]),
            incarnation: Incarnation::new(recorded),
            synced: Lsn::default(),
        },
        rack: None,
        endpoints: BTreeMap::new(),
        features: FeatureRange::SUPPORTED,
        unclean_stop: false,
        unflushed: Vec::new(),
        suspect: Vec::new(),
    })
}

fn named(name: &str) -> NewTopic {
    let mut id = [0_u8; 16];
    id[0] = 1;
    for (at, byte) in name.bytes().enumerate() {
        id[1 + at % 15] = id[1 + at % 15].wrapping_mul(31).wrapping_add(byte);
    }
    NewTopic::named(name, TopicId::from_bytes(id))
}

#[test]
fn a_claim_takes_the_root_first_then_every_shard_and_raises_the_epoch() {
    let bench = Bench::on(Store::initialised(), config(1, 1));
    assert_eq!(bench.machine.phase(), &Phase::Acting);
    assert_eq!(bench.writes, 17);
    for (document, _) in bench.store.documents.values() {
        assert!(document.header().owned_by(ControllerEpoch::new(1), SessionId([1; 16])));
        assert_eq!(document.header().version, 1);
    }
    let again = Bench::on(bench.store, config(1, 2));
    assert_eq!(again.store.root().header.epoch, ControllerEpoch::new(2));
    assert_eq!(again.machine.image().controller(), Some(BrokerId::new(1)));
}

#[test]
fn requests_are_refused_by_who_does_not_lead() {
    let mut machine = Machine::new(config(1, 1));
    let mut out = Effects::new();
    let request = Request::CreateTopics { topics: vec![named("a")], validate_only: false };
    machine.step(epoch(), Event::Ask(RequestId(1), request), &mut out);
    let refused = Answer::CreateTopics(vec![Err(error::NotController.into())]);
    assert_eq!(out, [Effect::Answer(RequestId(1), refused)]);
}

#[test]
fn a_missing_document_stops_the_controller_and_nothing_is_written() {
    for missing in [DocumentId::Root, DocumentId::Shard(ShardId(3))] {
        let mut store = Store::initialised();
        store.documents.remove(&missing);
        let before = store.topics();
        let bench = Bench::on(store, config(1, 1));
        assert_eq!(bench.halted, Some(Halt::Missing(missing.to_string())));
        assert_eq!(bench.store.topics(), before);
        assert!(bench.halted.expect("halted").to_string().starts_with("MetadataRolledBack"));
    }
}

#[test]
fn a_document_older_than_what_was_seen_stops_the_controller() {
    let on = |document: DocumentId, epoch: i64| {
        let mut config = config(1, 1);
        config.floor.insert(document, Seen { epoch: ControllerEpoch::new(epoch), version: 9, ..Seen::default() });
        let bench = Bench::on(Store::initialised(), config);
        assert!(bench.store.documents[&document].0.header().version == 0, "it is as it was");
        bench.halted.expect("stops")
    };
    let shard = DocumentId::Shard(ShardId(0));
    assert!(matches!(on(shard, 0), Halt::RolledBack { seen_version: 9, .. }));
    assert!(matches!(on(DocumentId::Root, 0), Halt::RolledBack { seen_version: 9, .. }));
    // Whatever is of an epoch that the root never was in: the root went back.
    assert!(matches!(on(shard, 4), Halt::TermWentBack { epoch: 0, seen_epoch: 4, .. }));
}

#[test]
fn a_document_of_another_cluster_stops_the_controller() {
    let mut config = config(1, 1);
    config.cluster = ClusterId::from_bytes([8; 16]);
    let bench = Bench::on(Store::initialised(), config);
    assert!(matches!(bench.halted, Some(Halt::OtherCluster { .. })), "{:?}", bench.halted);
}

#[test]
fn an_unreadable_document_stops_the_controller() {
    let mut machine = Machine::new(config(1, 1));
    let mut out = Effects::new();
    machine.step(epoch(), Event::Start, &mut out);
    machine.step(epoch(), Event::Lease(LeaseSeen::Ours(Revision("1".into()))), &mut out);
    let mut tokens =
        out.iter().filter_map(|effect| if let Effect::Read { token, .. } = effect { Some(*token) } else { None });
    let token = tokens.next();
    let outcome = ReadOutcome::Unreadable("format 9 is newer than 1".into());
    let read = Event::Read { document: DocumentId::Root, token: token.expect("reads the root"), outcome };
    machine.step(epoch(), read, &mut out);
    assert!(matches!(out.last(), Some(Effect::Halted(Halt::Unreadable { .. }))), "{out:?}");
    assert_eq!(machine.phase(), &Phase::Halted);
}

#[test]
fn changes_that_arrive_while_a_write_is_under_way_go_into_one_write() {
    let mut bench = Bench::ready();
    let shard = document::shard_of("t", document::SHARD_COUNT);
    let names = (0..).map(|n| format!("t{n}")).filter(|name| document::shard_of(name, document::SHARD_COUNT) == shard);
    let names: Vec<String> = names.take(5).collect();
    let mut out = Effects::new();
    for (number, name) in (100..).zip(&names) {
        let request = Request::CreateTopics { topics: vec![named(name)], validate_only: false };
        bench.machine.step(bench.now, Event::Ask(RequestId(number), request), &mut out);
    }
    let [Effect::Write(first)] = &out[..] else { panic!("one write under way, nothing answered: {out:?}") };
    let outcome = bench.store.write(first);
    bench.feed(Event::Wrote { document: first.content.id(), write: first.id(), outcome });
    // The first write held one topic, the second the other four.
    assert_eq!(bench.answers.len(), 5);
    assert_eq!(bench.machine.image().topics().len(), 5);
    let written = bench.store.documents[&DocumentId::Shard(shard)].0.header().version;
    assert_eq!(written, 1 + 2, "the claim and two writes");
}

#[test]
fn a_lost_answer_is_settled_by_reading_the_write_id() {
    for applied in [true, false] {
        let mut bench = Bench::ready();
        let mut out = Effects::new();
        let request = Request::CreateTopics { topics: vec![named("a")], validate_only: false };
        bench.machine.step(bench.now, Event::Ask(RequestId(50), request), &mut out);
        let [Effect::Write(write)] = &out[..] else { panic!("{out:?}") };
        if applied {
            bench.store.write(write);
        }
        let id = write.content.id();
        bench.feed(Event::Wrote { document: id, write: write.id(), outcome: WriteOutcome::Unknown });
        assert_eq!(bench.answers.contains_key(&RequestId(50)), applied);
        // What did not take effect is sent again, the same write.
        bench.now += RETRY;
        bench.feed(Event::Tick);
        assert!(matches!(&bench.answers[&RequestId(50)], Answer::CreateTopics(results) if results[0].is_ok()));
        assert_eq!(bench.store.documents[&id].0.header().write, write.id());
    }
}

#[test]
fn whoever_finds_a_later_owner_stands_down_and_refuses_what_waited() {
    let mut old = Bench::ready();
    let mut out = Effects::new();
    let request = Request::CreateTopics { topics: vec![named("a")], validate_only: false };
    old.machine.step(old.now, Event::Ask(RequestId(50), request), &mut out);
    let [Effect::Write(write)] = &out[..] else { panic!("{out:?}") };
    let write = write.clone();

    let mut new = Bench::on(old.store.clone(), config(2, 2));
    new.feed(Event::Presented(cluster::presentation(1, 1)));
    old.store = new.store;
    let outcome = old.store.write(&write);
    assert_eq!(outcome, WriteOutcome::Conflict);
    old.feed(Event::Wrote { document: write.content.id(), write: write.id(), outcome });
    assert!(matches!(old.machine.phase(), Phase::Backoff(_)));
    let refused = Answer::CreateTopics(vec![Err(error::NotController.into())]);
    assert_eq!(old.answers[&RequestId(50)], refused);
    // It still has the Lease, so it begins again after a while, at the root.
    old.now += Duration::from_secs(1);
    old.feed(Event::Tick);
    assert_eq!(old.machine.phase(), &Phase::Acting);
    assert_eq!(old.store.root().header.epoch, ControllerEpoch::new(3));
}
