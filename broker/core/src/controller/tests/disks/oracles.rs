//! The store, the way to it, and what must hold of everything that is written, answered and acted on.

use super::super::adversary::check_partitions;
use super::*;

impl World {
    pub(super) fn one(&mut self, storm: bool) {
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
        let document = write.content.id();
        let before = self.store.documents[&document].0.clone();
        let outcome = self.store.write(write);
        if !matches!(outcome, WriteOutcome::Done(_)) {
            return outcome;
        }
        if let (Document::Shard(old), Document::Shard(new)) = (&before, &write.content) {
            check_partitions(old, new);
            for (name, topic) in &new.topics {
                if let Some(before) = old.topics.get(name) {
                    self.check_change(name, &before.partitions[0], &topic.partitions[0]);
                    self.check_members(name, &topic.partitions[0], &new.runs);
                }
            }
        }
        // While a document is older than it was, nobody has the right to write it: no version of it is one to go back to.
        if self.went_back.as_ref().map(Document::id) != Some(document) {
            self.history.entry(document).or_default().push(before);
        }
        outcome
    }

    fn check_change(&mut self, name: &str, before: &Partition, after: &Partition) {
        if before.leader != after.leader && after.leader.is_some() {
            self.counts.count("elections");
            if after.leader.is_some_and(|leader| before.elr.contains(&leader)) {
                self.counts.count("elections of eligible replicas");
            }
        }
        if after.isr.iter().any(|member| !before.isr.contains(member)) {
            self.counts.count("joins");
        }
        if before.reassignment.is_some() && after.reassignment.is_none() {
            self.counts.count("moves");
        }
        let shrinks = before.replicas.iter().any(|replica| !after.replicas.contains(replica));
        // Several changes in one write are each as they must be; what lies between them cannot be seen here.
        let one = after.partition_epoch.get() == before.partition_epoch.get() + 1;
        if shrinks && one && after.reassignment.is_none() {
            let back = before.reassignment.as_ref().is_some_and(|moving| moving.origin == after.replicas);
            let in_sync = after.replicas.iter().all(|replica| after.isr.contains(replica));
            assert!(back || in_sync, "L3: {name} moved to {after:?}");
        }
    }

    /// R3, of those that run as the run that the entry is of.
    fn check_members(&self, name: &str, partition: &Partition, runs: &BTreeMap<BrokerId, Incarnation>) {
        let acked = self.acked.get(name).cloned().unwrap_or_default();
        for member in partition.isr.iter().chain(&partition.elr) {
            let process = &self.processes[member.get() as usize - 1];
            if process.run().is_some() && process.run() == runs.get(member).copied() {
                let log = process.disk.log(name);
                assert!(
                    log.starts_with(&acked) || self.excused.contains(name),
                    "R3: {member} is a member of {name} with {log:?}; acked are {acked:?}"
                );
            }
        }
    }

    /// A5, R1: a broker learns that it leads.
    pub(super) fn check_leader(
        &mut self,
        broker: usize,
        run: Incarnation,
        name: &'static str,
        partition: &Partition,
        runs: &BTreeMap<BrokerId, Incarnation>,
    ) {
        let me = id(broker as i32 + 1);
        if partition.leader != Some(me) || runs.get(&me) != Some(&run) {
            return;
        }
        let led = *self.led.entry((name, partition.leader_epoch)).or_insert((me, run));
        assert_eq!(led, (me, run), "A5: {name} in epoch {}", partition.leader_epoch);
        let (log, acked) = (self.processes[broker].disk.log(name), self.acked.get(name).cloned().unwrap_or_default());
        // A leader of a term that is over may lack what was acknowledged since: it serves nothing that counts (R4, R6).
        let newest = self.led.keys().filter(|(topic, _)| *topic == name).map(|(_, epoch)| *epoch).max();
        if newest == Some(partition.leader_epoch) && self.excused.contains(name) {
            *self.counts.0.entry(recovered::LOST).or_default() += usize::from(!log.starts_with(&acked));
        } else if newest == Some(partition.leader_epoch) {
            assert!(log.starts_with(&acked), "R1: {me} leads {name} with {log:?}; acked are {acked:?}");
        }
        if log.len() > acked.len() {
            self.counts.count("elections with an unacknowledged tail");
        }
    }

    /// A4: what brokers act on is one line of versions.
    pub(super) fn check_line(&mut self, document: DocumentId, header: &Header, seen: Seen) {
        assert!(header.version >= seen.version, "A4: {document} went from {seen:?} to {header:?}");
        let line = *self.acted_on.entry((document, header.version)).or_insert(header.write);
        assert_eq!(line, header.write, "A4: {document} has two versions {}", header.version);
    }

    pub(super) fn step(&mut self, machine: usize, event: Event) {
        let mut effects = Effects::new();
        self.machines[machine].step(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Lease(_) => {
                    let revision = Revision("any".into());
                    let seen = if machine == self.holder {
                        LeaseSeen::Ours(revision)
                    } else {
                        LeaseSeen::Theirs { holder: "them".into(), revision, duration: Duration::from_secs(1000) }
                    };
                    self.flying.push((machine, Flying::Deliver(Event::Lease(seen))));
                }
                Effect::Read { document, token } => self.flying.push((machine, Flying::Read(document, token))),
                Effect::Write(write) => self.flying.push((machine, Flying::Write(write))),
                Effect::Answer(id, answer) => self.answered(machine, id, answer),
                Effect::Halted(Halt::RolledBack { .. }) if self.went_back.is_some() => self.halted = true,
                Effect::Halted(why) => panic!("halted without a reason: {why}"),
                Effect::Publish(_)
                | Effect::Gather(_)
                | Effect::Leading(_)
                | Effect::Deposed(_)
                | Effect::WakeAt(_) => {}
            }
        }
    }

    fn answered(&mut self, machine: usize, id: RequestId, answer: Answer) {
        if let Some(first_lives) = self.twins.remove(&id) {
            let let_in = matches!(answer, Answer::Register(Ok(_)));
            assert!(!(let_in && first_lives), "A6: a second process was let in beside one that is heard");
            return;
        }
        let waits = |process: &Process| match process.stage {
            Stage::Registering(waited) | Stage::Admitting(waited, _) => waited == id,
            Stage::Down | Stage::Running(_) => false,
        };
        let Some(broker) = self.processes.iter().position(waits) else { return };
        if let Answer::Register(Ok(Registered { incarnation, .. })) = answer {
            let highest = self.runs.insert(broker, incarnation);
            assert!(highest.is_none_or(|highest| highest < incarnation), "A6: run {incarnation} was allotted twice");
            // What an answer rests on is published before it.
            self.take_in(machine, broker);
            let process = &mut self.processes[broker];
            process.disk.recorded = incarnation.get();
            process.stage = Stage::Admitting(RequestId(self.asked + 1), incarnation);
            let me = BrokerId::new(broker as i32 + 1);
            // Its answer may come at once.
            self.ask(machine, Request::Admit { broker: me, incarnation, endpoints: None });
        } else if let (Answer::Admit(Ok(())), Stage::Admitting(_, run)) = (answer, self.processes[broker].stage.clone())
        {
            self.processes[broker].stage = Stage::Running(run);
            self.processes[broker].disk.served = run.get();
        } else {
            self.processes[broker].stop();
        }
    }
}
