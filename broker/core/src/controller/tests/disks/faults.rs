//! What goes wrong or is changed: disks, second processes, documents, placements, minimums.

use super::*;

impl World {
    /// A disk is copied, restored or emptied while nobody runs on it.
    pub(super) fn spoil(&mut self, broker: usize) {
        // Not often: a partition that lost its last member has no leader for the rest of the story.
        let choice = self.roll(12);
        let known = self.store.root().members.get(&id(broker as i32 + 1)).map(|member| member.synced);
        let vouch = self.vouching();
        let process = &mut self.processes[broker];
        // While a document is older than it was, the disks are what proves it. With too few of them no controller begins.
        let down = process.stage == Stage::Down && self.went_back.is_none() && vouch > BROKERS as usize / 2;
        match choice {
            0 | 1 => process.kept = Some(process.disk.clone()),
            2 if down => self.empty(broker),
            3 if down => {
                let Some(kept) = process.kept.clone() else { return };
                if kept.recorded < process.disk.served {
                    process.disk = kept;
                    self.counts.count("restored disks of an earlier run");
                } else if known.is_some_and(|known| kept.synced < known.get()) {
                    // One that was made during the last run is told from the disk itself by its journal's position, once
                    // the root states a later one. What is younger than that cannot be told, and is left out here.
                    process.disk = Disk { served: process.disk.served, ..kept };
                    self.counts.count("restored disks of the last run");
                }
            }
            _ => {}
        }
    }

    fn empty(&mut self, broker: usize) {
        self.directories += 1;
        let disk = &mut self.processes[broker].disk;
        *disk = Disk { directory: self.directories, served: disk.served, ..Disk::default() };
        self.counts.count("emptied disks");
    }

    /// A broker is lost at the very moment at which it is asked to be in sync; the question may still be under way when
    /// another process has its id, and an empty disk.
    pub(super) fn lose(&mut self, broker: usize) {
        let vouched = self.vouching() > BROKERS as usize / 2 && self.went_back.is_none();
        if vouched && self.roll(4) == 0 {
            self.stop(broker);
            self.empty(broker);
        }
    }

    /// How many brokers stand on the disk that the root knows.
    fn vouching(&self) -> usize {
        let members = &self.store.root().members;
        let stands = |(broker, process): &(usize, &Process)| {
            let member = members.get(&id(*broker as i32 + 1));
            member.is_some_and(|member| member.reaches(process.disk.standing()))
        };
        self.processes.iter().enumerate().filter(stands).count()
    }

    /// Another process starts under the id of one that runs, on an empty disk, and is gone soon.
    pub(super) fn start_twin(&mut self, broker: usize) {
        if self.roll(8) > 0 {
            return;
        }
        let Some(run) = self.processes[broker].run() else { return };
        let machine = self.pick();
        let heard = self.heard.get(&(machine, broker));
        let is_heard = heard.is_some_and(|(heard, at)| *heard == run && self.now.duration_since(*at) < SILENCE_MAX);
        let is_registered = self.knows_run(machine, broker, run);
        self.directories += 1;
        let disk = Disk { directory: self.directories, ..Disk::default() };
        let request = self.register(broker, disk.standing());
        self.twins.insert(RequestId(self.asked + 1), is_heard && is_registered);
        self.ask(machine, request);
        self.counts.count("second processes");
    }

    /// Whether the run is the registered one, as far as that controller knows and is about to write.
    pub(super) fn knows_run(&self, machine: usize, broker: usize, run: Incarnation) -> bool {
        let root = self.machines[machine].root.latest();
        let member = root.and_then(|root| root.members.get(&id(broker as i32 + 1)));
        member.is_some_and(|member| member.broker.incarnation == run)
    }

    /// Somebody restores a document to an older state, of which most brokers have seen a later one.
    pub(super) fn roll_back(&mut self) {
        if self.went_back.is_some() || self.roll(40) > 0 {
            return;
        }
        let document = document_of(TOPICS[self.roll(TOPICS.len())]);
        let versions = self.history.get(&document).map_or(0, Vec::len);
        if versions == 0 {
            return;
        }
        let version = self.roll(versions);
        let old = self.history[&document][version].clone();
        let at = old.header().seen();
        let is_ahead = |process: &&Process| process.disk.seen.get(&document).is_some_and(|seen| *seen > at);
        if self.processes.iter().filter(is_ahead).count() <= self.processes.len() / 2 {
            return;
        }
        self.store.writes += 1;
        let newest = self.store.documents.insert(document, (old, self.store.writes));
        self.went_back = newest.map(|(newest, _)| newest);
        self.counts.count("documents that went back");
        self.hand_lease_over();
    }

    /// A person puts the newest state of the document back, at a higher epoch, and starts the controllers again.
    pub(super) fn repair(&mut self) {
        self.halted = false;
        let Some(newest) = self.went_back.take() else { return };
        let headers = self.store.documents.values().map(|(document, _)| document.header());
        let epoch = ControllerEpoch::new(headers.map(|header| header.epoch.get()).max().unwrap_or_default() + 1);
        let root = Document::Root(Arc::new(self.store.root().clone()));
        for document in [newest, root] {
            let found = self.store.documents[&document.id()].0.header().version;
            self.store.writes += 1;
            let raise = |header: &mut Header| {
                header.version = header.version.max(found) + 1;
                header.epoch = epoch;
                header.write = WriteId { session: SessionId([255; 16]), number: self.store.writes };
            };
            let (id, raised) = match document {
                Document::Root(mut root) => {
                    raise(&mut Arc::make_mut(&mut root).header);
                    (DocumentId::Root, Document::Root(root))
                }
                Document::Shard(mut shard) => {
                    raise(&mut Arc::make_mut(&mut shard).header);
                    (DocumentId::Shard(ShardId(shard.index)), Document::Shard(shard))
                }
            };
            self.store.documents.insert(id, (raised, self.store.writes));
        }
        self.forget_controllers();
        for process in self.processes.iter_mut().filter(|process| process.run().is_none()) {
            process.stop();
        }
        self.start_controllers();
        self.counts.count("repairs");
    }

    /// The controllers' processes end. What was written and not answered may still arrive.
    pub(super) fn forget_controllers(&mut self) {
        let flying = std::mem::take(&mut self.flying).into_iter();
        let ghost = |(machine, flying)| match flying {
            Flying::Write(write) | Flying::Ghost(write) => Some((machine, Flying::Ghost(write))),
            Flying::Deliver(_) | Flying::Read(..) => None,
        };
        self.flying = flying.filter_map(ghost).collect();
        self.heard.clear();
        self.twins.clear();
    }

    pub(super) fn change_minimum(&mut self) {
        if self.roll(4) > 0 {
            return;
        }
        let name = TOPICS[self.roll(TOPICS.len())];
        let minimum = (self.roll(3) + 1).to_string();
        let change = ConfigChange::Replace([("min.insync.replicas".to_owned(), minimum)].into());
        let resources = vec![(ConfigTarget::Topic(name.to_owned()), change)];
        let machine = self.pick();
        self.ask(machine, Request::AlterConfigs { resources, validate_only: false });
        self.counts.count("new minimums");
    }

    pub(super) fn move_something(&mut self) {
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
}
