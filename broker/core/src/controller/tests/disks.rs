//! Brokers with logs on disks, leaders that commit, and controllers that elect, while everything goes wrong.
//!
//! Processes crash and start twice, disks are emptied and restored, documents go back to an older state, brokers act on
//! old metadata, answers are lost, several controllers believe to lead. Whatever happens, a running leader holds
//! everything that was acknowledged (R1), so do the running members of ISR and ELR (R3), one epoch has one leader (A5),
//! one process of a broker is let in at a time (A6), metadata never branches (A4), and a move waits for its targets (L3).
//! Each canary breaks one rule, and some seed of the ordinary ones shows it.

use std::collections::BTreeSet;

use super::adversary::Dice;
use super::cluster::{id, ids};
use super::*;
use crate::types::TopicPartition;

mod brokers;
mod canaries;
mod faults;
mod oracles;
mod recovered;

const BROKERS: i32 = 4;
const TOPICS: [&str; 3] = ["a", "b", "c"];
/// How many stories are told whenever the tests run.
const SEEDS: u64 = 240;
const STEPS: usize = 6000;

/// One record: the epoch in which it was written, and its number.
type Record = (i32, u64);

/// What outlives a process.
#[derive(Clone, Debug, Default, PartialEq)]
struct Disk {
    directory: u64,
    recorded: i64,
    /// The last run of the broker that was let in, by whatever disk: none after it wrote anything.
    served: i64,
    logs: BTreeMap<&'static str, Vec<Record>>,
    /// Grows with everything that is written: the journal's position.
    synced: u64,
    seen: Vector,
    /// The newest state of each document that the broker was told of.
    copies: BTreeMap<DocumentId, Document>,
}

impl Disk {
    fn standing(&self) -> Standing {
        Standing {
            directory: DirectoryId::from_bytes(u128::from(self.directory).to_be_bytes()),
            incarnation: Incarnation::new(self.recorded),
            synced: Lsn::new(self.synced),
        }
    }

    fn log(&self, name: &str) -> Vec<Record> {
        self.logs.get(name).cloned().unwrap_or_default()
    }

    fn write(&mut self, name: &'static str, change: impl FnOnce(&mut Vec<Record>)) {
        change(self.logs.entry(name).or_default());
        self.synced += 1;
    }
}

#[derive(Clone, PartialEq)]
enum Stage {
    Down,
    Registering(RequestId),
    Admitting(RequestId, Incarnation),
    Running(Incarnation),
}

/// What a broker knows of a partition: everything of it comes from one version of one document.
#[derive(Clone)]
struct Known {
    partition: Partition,
    runs: BTreeMap<BrokerId, Incarnation>,
    min_insync: usize,
}

/// One broker.
struct Process {
    disk: Disk,
    /// An older state of its disk, that somebody kept.
    kept: Option<Disk>,
    stage: Stage,
    view: BTreeMap<&'static str, Known>,
    /// In-sync sets that were asked for: until it is known what came of it, their members count (R4).
    pending: BTreeMap<&'static str, (PartitionEpoch, Vec<BrokerId>)>,
}

impl Process {
    fn run(&self) -> Option<Incarnation> {
        match self.stage {
            Stage::Running(run) => Some(run),
            Stage::Down | Stage::Registering(_) | Stage::Admitting(..) => None,
        }
    }

    fn stop(&mut self) {
        (self.stage, self.view, self.pending) = (Stage::Down, BTreeMap::new(), BTreeMap::new());
    }
}

#[derive(Clone)]
enum Flying {
    Deliver(Event),
    Read(DocumentId, u64),
    Write(Write),
    Ghost(Write),
}

/// How often rare things happened.
#[derive(Debug, Default, PartialEq)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    const ALL: [&str; 13] = [
        "elections",
        "elections with an unacknowledged tail",
        "elections of eligible replicas",
        "commits",
        "emptied disks",
        "restored disks of an earlier run",
        "restored disks of the last run",
        "joins",
        "moves",
        "second processes",
        "documents that went back",
        "repairs",
        "new minimums",
    ];

    fn count(&mut self, what: &'static str) {
        assert!(Self::ALL.contains(&what), "{what} is not listed");
        *self.0.entry(what).or_default() += 1;
    }
}

struct World {
    dice: Dice,
    now: Instant,
    store: Store,
    /// Every version of every document that was ever stored.
    history: BTreeMap<DocumentId, Vec<Document>>,
    rules: Rules,
    /// A canary in the leaders: they do not wait for members whose entries are of an older run.
    older_runs_are_skipped: bool,
    machines: Vec<Machine>,
    sessions: u8,
    flying: Vec<(usize, Flying)>,
    processes: Vec<Process>,
    directories: u64,
    acked: BTreeMap<&'static str, Vec<Record>>,
    /// Topics of which a recovery has said that something may be lost.
    excused: BTreeSet<&'static str>,
    /// The highest run that each broker was ever allotted.
    runs: BTreeMap<usize, Incarnation>,
    /// Per topic and epoch, who led and as which run.
    led: BTreeMap<(&'static str, LeaderEpoch), (BrokerId, Incarnation)>,
    /// Which write every version is that a broker has acted on.
    acted_on: BTreeMap<(DocumentId, u64), WriteId>,
    /// When each controller last heard which run of a broker.
    heard: BTreeMap<(usize, usize), (Incarnation, Instant)>,
    /// Registrations of second processes, and whether the first was alive for all that the controller knew.
    twins: BTreeMap<RequestId, bool>,
    /// Who really holds the Lease; the one before may not know yet.
    holder: usize,
    /// Requests that arrive when everything may have changed.
    late: Vec<Request>,
    /// The newest state of the document that somebody restored to an older one.
    went_back: Option<Document>,
    /// A controller found that out and stopped.
    halted: bool,
    asked: u64,
    records: u64,
    topics: BTreeMap<&'static str, TopicId>,
    counts: Counts,
}

fn document_of(name: &str) -> DocumentId {
    DocumentId::Shard(document::shard_of(name, document::SHARD_COUNT))
}

impl World {
    fn new(seed: u64, rules: Rules) -> Self {
        let process = |broker: i32| Process {
            disk: Disk { directory: broker as u64, ..Disk::default() },
            kept: None,
            stage: Stage::Down,
            view: BTreeMap::new(),
            pending: BTreeMap::new(),
        };
        let mut world = Self {
            dice: Dice(seed),
            now: epoch() + Duration::from_secs(1000),
            store: Store::initialised(),
            history: BTreeMap::new(),
            rules,
            older_runs_are_skipped: false,
            machines: Vec::new(),
            sessions: 0,
            flying: Vec::new(),
            processes: (1..=BROKERS).map(process).collect(),
            directories: 100,
            acked: BTreeMap::new(),
            excused: BTreeSet::new(),
            runs: BTreeMap::new(),
            led: BTreeMap::new(),
            acted_on: BTreeMap::new(),
            heard: BTreeMap::new(),
            twins: BTreeMap::new(),
            holder: 0,
            late: Vec::new(),
            went_back: None,
            halted: false,
            asked: 0,
            records: 0,
            topics: BTreeMap::new(),
            counts: Counts::default(),
        };
        world.start_controllers();
        world.begin();
        world
    }

    /// Two controllers, of ids that are no brokers' here: they only decide.
    fn start_controllers(&mut self) {
        let tuning = Tuning { rules: self.rules, ..Tuning::default() };
        self.machines.clear();
        for me in [101, 102] {
            self.sessions += 1;
            self.machines.push(Machine::new(Config { tuning, ..config(me, self.sessions) }));
        }
        self.flying.push((self.holder, Flying::Deliver(Event::Start)));
    }

    /// All is well: everybody is admitted and the topics are there.
    fn begin(&mut self) {
        for _ in 0..600 {
            self.now += Duration::from_millis(5);
            self.one(false);
            let broker = self.roll(BROKERS as usize);
            self.start(broker);
        }
        for (number, name) in TOPICS.into_iter().enumerate() {
            let mut topic = named(name);
            let replicas: Vec<i32> = (0..3).map(|at| (number as i32 + at) % BROKERS + 1).collect();
            topic.assignments = vec![(PartitionIndex::new(0), ids(&replicas))];
            topic.config = [("min.insync.replicas".to_owned(), (number % 2 + 1).to_string())].into();
            self.topics.insert(name, topic.id);
            self.ask(0, Request::CreateTopics { topics: vec![topic], validate_only: false });
            for _ in 0..20 {
                self.one(false);
            }
        }
        assert_eq!(self.store.topics().len(), TOPICS.len());
    }

    /// The Lease goes to the other one.
    fn hand_lease_over(&mut self) {
        self.holder = 1 - self.holder;
        let held = Event::Lease(LeaseSeen::Ours(Revision("any".into())));
        self.flying.push((self.holder, Flying::Deliver(held)));
    }

    /// Mostly the right controller.
    fn pick(&mut self) -> usize {
        if self.roll(8) == 0 { 1 - self.holder } else { self.holder }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.dice.roll(sides as u64) as usize
    }

    fn ask(&mut self, machine: usize, request: Request) -> RequestId {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.step(machine, Event::Ask(id, request));
        id
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.now += Duration::from_millis(self.dice.roll(12));
            if self.roll(300) == 0 {
                // Nothing happens for long enough that whoever left an in-sync set may join it again.
                self.now += Duration::from_secs(61);
            }
            let broker = self.roll(self.processes.len());
            if self.roll(1500) == 0 {
                self.hand_lease_over();
            }
            if !self.late.is_empty() && self.roll(150) == 0 {
                let at = self.roll(self.late.len());
                let (machine, request) = (self.pick(), self.late.swap_remove(at));
                self.ask(machine, request);
            }
            match self.roll(32) {
                0 | 20 => self.start(broker),
                1 => self.crash(broker),
                2 | 19 => self.spoil(broker),
                3 | 4 => self.see(broker),
                5 | 6 | 21 => self.follow(broker),
                7 | 8 => self.lead(broker),
                9 | 10 => self.change_isr(broker),
                11 => self.move_something(),
                12..=14 => self.speak(broker),
                15 => {
                    let machine = self.pick();
                    self.step(machine, Event::Tick);
                }
                16 => self.start_twin(broker),
                17 => self.roll_back(),
                18 => self.change_minimum(),
                _ => self.one(true),
            }
            if self.halted {
                self.repair();
            }
        }
    }
}

#[test]
fn whoever_leads_holds_what_was_acknowledged() {
    let mut counts = Counts::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Rules::ALL);
        world.run(STEPS);
        for (what, count) in world.counts.0 {
            *counts.0.entry(what).or_default() += count;
        }
    }
    let never: Vec<_> = Counts::ALL.into_iter().filter(|what| !counts.0.contains_key(what)).collect();
    assert!(never.is_empty(), "there were none of {never:?}: {counts:?}");
}

#[test]
fn one_seed_is_one_story() {
    let story = |seed| {
        let mut world = World::new(seed, Rules::ALL);
        world.run(STEPS);
        let disks: Vec<_> = world.processes.into_iter().map(|process| process.disk).collect();
        (world.store.documents, disks, world.acked, world.counts)
    };
    for seed in [3, 4] {
        assert_eq!(story(seed), story(seed));
    }
    assert_ne!(story(3), story(4));
}
