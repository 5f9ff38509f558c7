//! Brokers with logs on disks, leaders that commit, and controllers that elect, while everything goes wrong.
//!
//! Processes crash, disks are emptied and restored, brokers act on old metadata, answers are lost, several controllers
//! believe to lead. Whatever happens, a running leader holds everything that was acknowledged (R1), so do the running
//! members of ISR and ELR (R3), one epoch has one leader (A5), and one run of a broker is let in at a time (A6). Each
//! canary breaks one rule, and some seed of the ordinary ones shows it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::adversary::{Dice, check_partitions};
use super::cluster::{id, ids};
use super::*;
use crate::types::TopicPartition;

const BROKERS: i32 = 4;
const TOPICS: [&str; 3] = ["a", "b", "c"];

/// One record: the epoch in which it was written, and its number.
type Record = (i32, u64);

/// What outlives a process.
#[derive(Clone, Default)]
struct Disk {
    directory: u8,
    recorded: i64,
    /// The last run of the broker that was let in, by whatever disk: none after it wrote anything.
    served: i64,
    logs: BTreeMap<&'static str, Vec<Record>>,
    seen: Vector,
}

#[derive(Clone, PartialEq)]
enum Stage {
    Down,
    Registering(RequestId),
    Admitting(RequestId, Incarnation),
    Running(Incarnation),
}

/// One broker.
struct Process {
    disk: Disk,
    /// An older state of its disk, that somebody kept.
    kept: Option<Disk>,
    stage: Stage,
    view: BTreeMap<&'static str, (Partition, BTreeMap<BrokerId, Incarnation>)>,
    /// In-sync sets that were asked for: until it is known what came of it, their members count (R4).
    pending: BTreeMap<&'static str, (PartitionEpoch, Vec<BrokerId>)>,
    directories: u8,
}

#[derive(Clone)]
enum Flying {
    Deliver(Event),
    Read(DocumentId, u64),
    Write(Write),
    Ghost(Write),
}

#[derive(Default)]
struct Counts {
    elections: usize,
    unacked_tails: usize,
    commits: usize,
    emptied: usize,
    restored: usize,
    joined: usize,
    moved: usize,
}

struct World {
    dice: Dice,
    now: Instant,
    store: Store,
    machines: Vec<Machine>,
    flying: Vec<(usize, Flying)>,
    processes: Vec<Process>,
    acked: BTreeMap<&'static str, Vec<Record>>,
    /// Per topic and epoch, who led and as which run.
    led: BTreeMap<(&'static str, LeaderEpoch), (BrokerId, Incarnation)>,
    /// Who really holds the Lease; the one before may not know yet.
    holder: usize,
    /// Requests that arrive when everything may have changed.
    late: Vec<Request>,
    asked: u64,
    records: u64,
    topics: BTreeMap<&'static str, TopicId>,
    counts: Counts,
}

impl World {
    fn new(seed: u64, rules: Rules) -> Self {
        let tuning = Tuning { rules, ..Tuning::default() };
        let machine = |me: i32| Machine::new(Config { tuning, ..config(me, me as u8) });
        let process = |broker: i32| Process {
            disk: Disk { directory: broker as u8 * 20, ..Disk::default() },
            kept: None,
            stage: Stage::Down,
            view: BTreeMap::new(),
            pending: BTreeMap::new(),
            directories: broker as u8 * 20,
        };
        let mut world = Self {
            dice: Dice(seed),
            now: epoch() + Duration::from_secs(1000),
            store: Store::initialised(),
            // Controllers of ids that are no brokers' here: they only decide.
            machines: vec![machine(101), machine(102)],
            flying: vec![(0, Flying::Deliver(Event::Start))],
            processes: (1..=BROKERS).map(process).collect(),
            acked: BTreeMap::new(),
            led: BTreeMap::new(),
            holder: 0,
            late: Vec::new(),
            asked: 0,
            records: 0,
            topics: BTreeMap::new(),
            counts: Counts::default(),
        };
        world.begin();
        world
    }

    /// All is well: everybody is admitted, the topics are there, the second controller starts.
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
            let broker = self.roll(self.processes.len());
            if self.roll(1500) == 0 {
                self.hand_lease_over();
            }
            if !self.late.is_empty() && self.roll(150) == 0 {
                let at = self.roll(self.late.len());
                let (machine, request) = (self.pick(), self.late.swap_remove(at));
                self.ask(machine, request);
            }
            match self.roll(26) {
                0 => self.start(broker),
                1 => self.crash(broker),
                2 => self.spoil(broker),
                3 | 4 => self.see(broker),
                5 | 6 => self.follow(broker),
                7 | 8 => self.lead(broker),
                9 | 10 => self.change_isr(broker),
                11 => self.move_something(),
                12..=14 => self.speak(broker),
                15 => {
                    let machine = self.pick();
                    self.step(machine, Event::Tick);
                }
                _ => self.one(true),
            }
        }
    }

    fn start(&mut self, broker: usize) {
        let process = &self.processes[broker];
        if process.stage != Stage::Down {
            return;
        }
        let Disk { recorded, directory, .. } = process.disk;
        let machine = self.pick();
        // The answer may come at once, before this returns.
        self.processes[broker].stage = Stage::Registering(RequestId(self.asked + 1));
        self.ask(machine, registration(broker as i32 + 1, recorded, directory));
    }

    fn crash(&mut self, broker: usize) {
        if self.roll(5) > 0 {
            return;
        }
        let machine = self.pick();
        if let Stage::Running(incarnation) = self.processes[broker].stage {
            let broker = id(broker as i32 + 1);
            self.step(machine, Event::StreamClosed { broker, incarnation, refused: false });
        }
        let process = &mut self.processes[broker];
        (process.stage, process.view, process.pending) = (Stage::Down, BTreeMap::new(), BTreeMap::new());
    }

    /// A disk is copied, restored or emptied while nobody runs on it.
    fn spoil(&mut self, broker: usize) {
        let choice = self.roll(6);
        let process = &mut self.processes[broker];
        match choice {
            0 | 1 => process.kept = Some(process.disk.clone()),
            2 if process.stage == Stage::Down => {
                process.directories += 1;
                let served = process.disk.served;
                process.disk = Disk { directory: process.directories, served, ..Disk::default() };
                self.counts.emptied += 1;
            }
            3 if process.stage == Stage::Down => {
                // A copy that was made during the last run cannot be told from the disk itself.
                if let Some(kept) = process.kept.clone().filter(|kept| kept.recorded < process.disk.served) {
                    process.disk = kept;
                    self.counts.restored += 1;
                }
            }
            _ => {}
        }
    }

    /// The broker hears of the newest metadata.
    fn see(&mut self, broker: usize) {
        let Stage::Running(run) = self.processes[broker].stage else { return };
        let me = id(broker as i32 + 1);
        for name in TOPICS {
            let document = DocumentId::Shard(document::shard_of(name, document::SHARD_COUNT));
            let (Document::Shard(shard), _) = &self.store.documents[&document] else { unreachable!("a shard") };
            let (header, runs) = (shard.header.clone(), shard.runs.clone());
            let partition = shard.topics[name].partitions[0].clone();
            let process = &mut self.processes[broker];
            process.disk.seen.insert(document, header.seen());
            if process.pending.get(name).is_some_and(|(at, _)| *at < partition.partition_epoch) {
                process.pending.remove(name);
            }
            if partition.leader == Some(me) && runs.get(&me) == Some(&run) {
                let led = *self.led.entry((name, partition.leader_epoch)).or_insert((me, run));
                assert_eq!(led, (me, run), "A5: {name} in epoch {}", partition.leader_epoch);
                let log = self.processes[broker].disk.logs.entry(name).or_default();
                let acked = self.acked.entry(name).or_default();
                assert!(log.starts_with(acked), "R1: {me} leads {name} with {log:?}; acked are {acked:?}");
                if log.len() > acked.len() {
                    self.counts.unacked_tails += 1;
                }
            }
            self.processes[broker].view.insert(name, (partition, runs));
        }
    }

    /// A follower makes its log the leader's, if both speak of the same epoch.
    fn follow(&mut self, broker: usize) {
        let name = TOPICS[self.roll(TOPICS.len())];
        let Some(leader) = self.leader_in_view(broker, name) else { return };
        if self.leads(leader, name) == Some(self.processes[broker].view[name].0.leader_epoch) && leader != broker {
            let log = self.processes[leader].disk.logs.get(name).cloned().unwrap_or_default();
            self.processes[broker].disk.logs.insert(name, log);
        }
    }

    fn leader_in_view(&self, broker: usize, name: &str) -> Option<usize> {
        let process = &self.processes[broker];
        if !matches!(process.stage, Stage::Running(_)) {
            return None;
        }
        let (partition, _) = process.view.get(name)?;
        Some(partition.leader?.get() as usize - 1)
    }

    /// The epoch in which the broker believes to lead.
    fn leads(&self, broker: usize, name: &str) -> Option<LeaderEpoch> {
        let process = &self.processes[broker];
        let Stage::Running(run) = process.stage else { return None };
        let (partition, runs) = process.view.get(name)?;
        let me = id(broker as i32 + 1);
        let leads = partition.leader == Some(me) && runs.get(&me) == Some(&run);
        leads.then_some(partition.leader_epoch)
    }

    /// A leader appends; if every member it has to wait for follows it in its epoch, the record is acknowledged.
    fn lead(&mut self, broker: usize) {
        let name = TOPICS[self.roll(TOPICS.len())];
        let Some(epoch) = self.leads(broker, name) else { return };
        let before = self.processes[broker].disk.logs.get(name).cloned().unwrap_or_default();
        self.records += 1;
        let record = (epoch.get(), self.records);
        self.processes[broker].disk.logs.entry(name).or_default().push(record);
        let partition = self.processes[broker].view[name].0.clone();
        let pending = self.processes[broker].pending.get(name).map(|(_, isr)| isr.clone()).unwrap_or_default();
        let waits_for: BTreeSet<BrokerId> = partition.isr.iter().chain(&pending).copied().collect();
        let me = id(broker as i32 + 1);
        let others = waits_for.iter().filter(|member| **member != me).map(|member| member.get() as usize - 1);
        let follows = |other: &usize| {
            let process = &self.processes[*other];
            let same_epoch = process.view.get(name).is_some_and(|(known, _)| known.leader_epoch == epoch);
            let same_log = process.disk.logs.get(name).map_or(before.is_empty(), |log| *log == before);
            matches!(process.stage, Stage::Running(_)) && same_epoch && same_log
        };
        let (reached, missed): (Vec<usize>, Vec<usize>) = others.partition(follows);
        for other in reached {
            self.processes[other].disk.logs.entry(name).or_default().push(record);
        }
        let minimum = if TOPICS.iter().position(|known| *known == name) == Some(1) { 2 } else { 1 };
        if missed.is_empty() && partition.isr.len() >= minimum {
            let log = self.processes[broker].disk.logs[name].clone();
            self.acked.insert(name, log);
            self.counts.commits += 1;
        }
    }

    fn change_isr(&mut self, broker: usize) {
        let name = TOPICS[self.roll(TOPICS.len())];
        let (Some(_), Stage::Running(incarnation)) = (self.leads(broker, name), &self.processes[broker].stage) else {
            return;
        };
        let (incarnation, me) = (*incarnation, id(broker as i32 + 1));
        let partition = self.processes[broker].view[name].0.clone();
        let (log, epoch) = (self.processes[broker].disk.logs.get(name).cloned(), partition.leader_epoch);
        let mut isr = partition.isr.clone();
        let candidate = id(self.roll(BROKERS as usize) as i32 + 1);
        let other = &self.processes[candidate.get() as usize - 1];
        let caught_up = other.disk.logs.get(name).cloned() == log
            && other.view.get(name).is_some_and(|(known, _)| known.leader_epoch == epoch);
        match isr.iter().position(|member| *member == candidate) {
            Some(at) if candidate != me && self.dice.roll(2) == 0 => drop(isr.remove(at)),
            None if partition.replicas.contains(&candidate) && caught_up => isr.push(candidate),
            Some(_) | None => return,
        }
        let run_of = |member: BrokerId| match self.processes[member.get() as usize - 1].stage {
            Stage::Running(run) => run,
            Stage::Down | Stage::Registering(_) | Stage::Admitting(..) => Incarnation::default(),
        };
        let members = isr.iter().map(|member| (*member, run_of(*member))).collect();
        let pending = &mut self.processes[broker].pending;
        let known = pending.entry(name).or_insert((partition.partition_epoch, Vec::new()));
        known.0 = partition.partition_epoch;
        known.1.extend(&isr);
        let change = IsrChange {
            partition: TopicPartition::new(self.topics[name], PartitionIndex::new(0)),
            leader_epoch: epoch,
            partition_epoch: partition.partition_epoch,
            isr: members,
        };
        let machine = self.pick();
        let request = Request::AlterPartitions { broker: me, incarnation, changes: vec![change] };
        // It arrives late, or now, or both.
        let choice = self.roll(3);
        if choice < 2 && self.late.len() < 20 {
            self.late.push(request.clone());
        }
        if choice > 0 {
            self.ask(machine, request);
        }
    }

    fn move_something(&mut self) {
        if self.roll(12) > 0 {
            return;
        }
        let name = TOPICS[self.roll(TOPICS.len())];
        let machine = self.pick();
        let from = self.roll(BROKERS as usize) as i32;
        let target = (self.roll(4) > 0).then(|| (0..3).map(|at| id((from + at) % BROKERS + 1)).collect());
        let partition = NamedPartition { topic: name.into(), partition: PartitionIndex::new(0) };
        let request = match self.roll(4) {
            0 => Request::ElectLeaders { kind: ElectionKind::Preferred, partitions: None },
            _ => Request::Reassign { moves: vec![Move { partition, target }], may_change_factor: true },
        };
        self.ask(machine, request);
    }

    /// A broker is heard by a controller, says what it stands on, and asks in again if it finds itself fenced.
    fn speak(&mut self, broker: usize) {
        let me = id(broker as i32 + 1);
        let Stage::Running(incarnation) = self.processes[broker].stage else { return };
        let machine = self.pick();
        let disk = &self.processes[broker].disk;
        let standing = Standing {
            directory: DirectoryId::from_bytes([disk.directory; 16]),
            incarnation: Incarnation::new(disk.recorded),
        };
        let vector = disk.seen.clone();
        self.step(machine, Event::Presented(Presentation { broker: me, cluster: CLUSTER, standing, vector }));
        self.step(machine, Event::Heartbeat { broker: me, incarnation, draining: false });
        let registered = self.store.root().members[&me].broker.clone();
        if registered.incarnation != incarnation {
            // It is not the registered run any more: it stops.
            self.processes[broker].stage = Stage::Down;
        } else if registered.fenced {
            self.ask(machine, Request::Admit { broker: me, incarnation });
        }
    }

    fn one(&mut self, storm: bool) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.roll(self.flying.len());
        let (machine, flying) = self.flying.swap_remove(at);
        match flying {
            Flying::Deliver(event) => self.step(machine, event),
            Flying::Read(document, token) => {
                let outcome = self.store.read(document);
                self.flying.push((machine, Flying::Deliver(Event::Read { document, token, outcome })));
            }
            Flying::Write(write) => {
                let outcome = match self.roll(if storm { 12 } else { 1 }) {
                    1 => WriteOutcome::NotDone,
                    2 => {
                        self.apply(&write);
                        WriteOutcome::Unknown
                    }
                    3 => {
                        self.flying.push((machine, Flying::Ghost(write.clone())));
                        WriteOutcome::Unknown
                    }
                    _ => self.apply(&write),
                };
                let wrote = Event::Wrote { document: write.content.id(), write: write.id(), outcome };
                self.flying.push((machine, Flying::Deliver(wrote)));
            }
            Flying::Ghost(write) => drop(self.apply(&write)),
        }
    }

    fn apply(&mut self, write: &Write) -> WriteOutcome {
        let before = self.store.documents[&write.content.id()].0.clone();
        let outcome = self.store.write(write);
        if let (WriteOutcome::Done(_), Document::Shard(old), Document::Shard(new)) = (&outcome, &before, &write.content)
        {
            check_partitions(old, new);
            for (name, topic) in &new.topics {
                let Some(before) = old.topics.get(name) else { continue };
                let (before, after) = (&before.partitions[0], &topic.partitions[0]);
                self.counts.elections += usize::from(before.leader != after.leader && after.leader.is_some());
                self.counts.joined += usize::from(after.isr.iter().any(|member| !before.isr.contains(member)));
                let moved = before.reassignment.is_some() && after.reassignment.is_none();
                self.counts.moved += usize::from(moved);
                let shrinks = before.replicas.iter().any(|replica| !after.replicas.contains(replica));
                if shrinks && after.reassignment.is_none() {
                    let back = before.reassignment.as_ref().is_some_and(|moving| moving.origin == after.replicas);
                    let in_sync = after.replicas.iter().all(|replica| after.isr.contains(replica));
                    assert!(back || in_sync, "L3: {name} moved to {after:?}");
                }
                self.check_members(name, after, &new.runs);
            }
        }
        outcome
    }

    /// R3, of those that run as the run that the entry is of.
    fn check_members(&mut self, name: &str, partition: &Partition, runs: &BTreeMap<BrokerId, Incarnation>) {
        for member in partition.isr.iter().chain(&partition.elr) {
            let process = &self.processes[member.get() as usize - 1];
            let runs_as_entered = matches!(process.stage, Stage::Running(run) if runs.get(member) == Some(&run));
            if !runs_as_entered {
                continue;
            }
            let log = process.disk.logs.get(name).cloned().unwrap_or_default();
            let acked = self.acked.get(name).cloned().unwrap_or_default();
            assert!(log.starts_with(&acked), "R3: {member} is a member of {name} with {log:?}; acked are {acked:?}");
        }
    }

    fn step(&mut self, machine: usize, event: Event) {
        let mut effects = Effects::new();
        self.machines[machine].step(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Lease(_) => {
                    let revision = Revision("any".into());
                    let seen = if machine == self.holder {
                        LeaseSeen::Ours(revision)
                    } else {
                        LeaseSeen::Theirs { revision, duration: Duration::from_secs(1000) }
                    };
                    self.flying.push((machine, Flying::Deliver(Event::Lease(seen))));
                }
                Effect::Read { document, token } => self.flying.push((machine, Flying::Read(document, token))),
                Effect::Write(write) => self.flying.push((machine, Flying::Write(write))),
                Effect::Answer(id, answer) => self.answered(machine, id, answer),
                Effect::Halted(why) => panic!("halted without a reason: {why}"),
                Effect::Publish(_) | Effect::Gather(_) | Effect::Leading(_) | Effect::Deposed | Effect::WakeAt(_) => {}
            }
        }
    }

    fn answered(&mut self, machine: usize, id: RequestId, answer: Answer) {
        let waits = |process: &Process| match process.stage {
            Stage::Registering(waited) | Stage::Admitting(waited, _) => waited == id,
            Stage::Down | Stage::Running(_) => false,
        };
        let Some(broker) = self.processes.iter().position(waits) else { return };
        if let Answer::Register(Ok(Registered { incarnation, .. })) = answer {
            let process = &mut self.processes[broker];
            process.disk.recorded = incarnation.get();
            process.stage = Stage::Admitting(RequestId(self.asked + 1), incarnation);
            let me = BrokerId::new(broker as i32 + 1);
            // Its answer may come at once.
            self.ask(machine, Request::Admit { broker: me, incarnation });
        } else if let (Answer::Admit(Ok(())), Stage::Admitting(_, run)) = (answer, self.processes[broker].stage.clone())
        {
            self.processes[broker].stage = Stage::Running(run);
            self.processes[broker].disk.served = run.get();
        } else {
            self.processes[broker].stage = Stage::Down;
        }
    }
}

#[test]
fn whoever_leads_holds_what_was_acknowledged() {
    let mut counts = Counts::default();
    for seed in 0..80 {
        let mut world = World::new(seed, Rules::ALL);
        world.run(6000);
        counts.elections += world.counts.elections;
        counts.unacked_tails += world.counts.unacked_tails;
        counts.commits += world.counts.commits;
        counts.emptied += world.counts.emptied;
        counts.restored += world.counts.restored;
        counts.joined += world.counts.joined;
        counts.moved += world.counts.moved;
    }
    let Counts { elections, unacked_tails, commits, emptied, restored, joined, moved } = counts;
    for (count, what) in [
        (elections, "elections"),
        (unacked_tails, "elections with an unacknowledged tail"),
        (commits, "commits"),
        (emptied, "emptied disks"),
        (restored, "restored disks"),
        (joined, "joins"),
        (moved, "moves"),
    ] {
        assert!(count > 0, "there were no {what}");
    }
}

#[test]
fn each_broken_rule_is_noticed() {
    let caught = |rule: Rule| {
        (0..400).find(|seed| {
            let story = || World::new(*seed, Rules::without(rule)).run(6000);
            catch_unwind(AssertUnwindSafe(story)).is_err()
        })
    };
    let rules = [
        Rule::ForeignDisksAreExcluded,
        Rule::JoinersAreCurrent,
        Rule::StaleEpochsAreRefused,
        Rule::ReassignmentWaitsForTargets,
    ];
    let unnoticed: Vec<_> = rules.into_iter().filter(|rule| caught(*rule).is_none()).collect();
    assert!(unnoticed.is_empty(), "nobody notices when these are broken: {unnoticed:?}");
}
