//! What brokers do: start, hear of metadata, follow, lead, ask for other in-sync sets, speak.

use super::*;

impl World {
    pub(super) fn register(&self, broker: usize, standing: Standing) -> Request {
        let Request::Register(registration) = registration(broker as i32 + 1, 0, 0) else { unreachable!("just made") };
        Request::Register(Registration { standing, ..registration })
    }

    pub(super) fn start(&mut self, broker: usize) {
        if self.processes[broker].stage != Stage::Down {
            return;
        }
        let request = self.register(broker, self.processes[broker].disk.standing());
        let machine = self.pick();
        self.present(machine, broker);
        // The answer may come at once, before this returns.
        self.processes[broker].stage = Stage::Registering(RequestId(self.asked + 1));
        self.ask(machine, request);
    }

    pub(super) fn crash(&mut self, broker: usize) {
        if self.roll(12) == 0 {
            self.stop(broker);
        }
    }

    pub(super) fn stop(&mut self, broker: usize) {
        let machine = self.pick();
        if let Some(incarnation) = self.processes[broker].run() {
            let broker = id(broker as i32 + 1);
            self.step(machine, Event::StreamClosed { broker, incarnation, refused: false });
        }
        self.processes[broker].stop();
    }

    /// The broker hears of metadata from a controller that decides; what is older than what it has seen is nothing new.
    pub(super) fn see(&mut self, broker: usize) {
        let Some(run) = self.processes[broker].run() else { return };
        let machine = self.pick();
        let documents = self.take_in(machine, broker);
        for name in TOPICS {
            let of_name = |document: &&Document| document.id() == document_of(name);
            let Some(Document::Shard(shard)) = documents.iter().find(of_name) else { continue };
            if self.is_news(broker, shard) {
                self.take(broker, run, name, shard);
            }
        }
    }

    /// What the controller publishes is copied into the data directory before anything is done for it.
    pub(super) fn take_in(&mut self, machine: usize, broker: usize) -> Vec<Document> {
        let documents: Vec<_> = self.machines[machine].documents().collect();
        let copies = &mut self.processes[broker].disk.copies;
        for document in &documents {
            let known = copies.entry(document.id()).or_insert_with(|| document.clone());
            if known.header().seen() < document.header().seen() {
                *known = document.clone();
            }
        }
        documents
    }

    fn is_news(&mut self, broker: usize, shard: &Shard) -> bool {
        let (document, header) = (DocumentId::Shard(ShardId(shard.index)), &shard.header);
        let seen = self.processes[broker].disk.seen.get(&document).copied().unwrap_or_default();
        let news = header.seen() >= seen;
        if news {
            self.check_line(document, header, seen);
        }
        news
    }

    fn take(&mut self, broker: usize, run: Incarnation, name: &'static str, shard: &Shard) {
        let Some(topic) = shard.topics.get(name) else { return };
        let partition = topic.partitions[0].clone();
        let min_insync = topic.config["min.insync.replicas"].parse().expect("a number");
        let process = &mut self.processes[broker];
        let document = DocumentId::Shard(ShardId(shard.index));
        process.disk.seen.insert(document, shard.header.seen());
        if process.pending.get(name).is_some_and(|(at, _)| *at < partition.partition_epoch) {
            process.pending.remove(name);
        }
        self.check_leader(broker, run, name, &partition, &shard.runs);
        let known = Known { partition, runs: shard.runs.clone(), min_insync };
        self.processes[broker].view.insert(name, known);
    }

    /// A follower makes its log the leader's, if both speak of the same epoch.
    pub(super) fn follow(&mut self, broker: usize) {
        let name = TOPICS[self.roll(TOPICS.len())];
        let Some(leader) = self.leader_in_view(broker, name) else { return };
        let epoch = self.processes[broker].view[name].partition.leader_epoch;
        if self.leads(leader, name) == Some(epoch) && leader != broker {
            let theirs = self.processes[leader].disk.log(name);
            self.processes[broker].disk.write(name, |log| *log = theirs);
        }
    }

    fn leader_in_view(&self, broker: usize, name: &str) -> Option<usize> {
        let process = &self.processes[broker];
        process.run()?;
        Some(process.view.get(name)?.partition.leader?.get() as usize - 1)
    }

    /// The epoch in which the broker believes to lead.
    pub(super) fn leads(&self, broker: usize, name: &str) -> Option<LeaderEpoch> {
        let process = &self.processes[broker];
        let (run, known) = (process.run()?, process.view.get(name)?);
        let me = id(broker as i32 + 1);
        let leads = known.partition.leader == Some(me) && known.runs.get(&me) == Some(&run);
        leads.then_some(known.partition.leader_epoch)
    }

    /// A leader appends, or looks who has caught up; once every member that it has to wait for holds its log in its
    /// epoch, everything in it is acknowledged.
    pub(super) fn lead(&mut self, broker: usize) {
        let name = TOPICS[self.roll(TOPICS.len())];
        let Some(epoch) = self.leads(broker, name) else { return };
        let before = self.processes[broker].disk.log(name);
        let (reached, missed) = self.members_to_wait_for(broker, name, epoch, &before);
        if self.roll(2) == 0 {
            self.records += 1;
            let record = (epoch.get(), self.records);
            for holder in reached.into_iter().chain([broker]) {
                self.processes[holder].disk.write(name, |log| log.push(record));
            }
        }
        let known = &self.processes[broker].view[name];
        if missed == 0 && known.partition.isr.len() >= known.min_insync {
            let log = self.processes[broker].disk.log(name);
            self.acked.insert(name, log);
            self.counts.count("commits");
        }
    }

    /// Members of the in-sync set, those that were asked for included (R4): who follows, and how many do not. An entry
    /// of an older run counts like every other.
    fn members_to_wait_for(
        &self,
        broker: usize,
        name: &str,
        epoch: LeaderEpoch,
        before: &[Record],
    ) -> (Vec<usize>, usize) {
        let process = &self.processes[broker];
        let known = &process.view[name];
        let pending = process.pending.get(name).map(|(_, isr)| isr.clone()).unwrap_or_default();
        let members = self.store.root().members.clone();
        let is_current = |member: &BrokerId| known.runs.get(member) == Some(&members[member].broker.incarnation);
        let all: BTreeSet<BrokerId> = known.partition.isr.iter().chain(&pending).copied().collect();
        let waits_for = all.into_iter().filter(|member| !self.older_runs_are_skipped || is_current(member));
        let others = waits_for.map(|member| member.get() as usize - 1).filter(|other| *other != broker);
        let follows = |other: &usize| {
            let process = &self.processes[*other];
            let same_epoch = process.view.get(name).is_some_and(|known| known.partition.leader_epoch == epoch);
            process.run().is_some() && same_epoch && process.disk.log(name) == before
        };
        let (reached, missed): (Vec<usize>, Vec<usize>) = others.partition(follows);
        (reached, missed.len())
    }

    pub(super) fn change_isr(&mut self, broker: usize) {
        let name = TOPICS[self.roll(TOPICS.len())];
        let candidate = self.roll(BROKERS as usize);
        let Some(joins) = self.ask_for_isr(broker, name, candidate) else { return };
        if joins {
            self.lose(candidate);
        }
    }

    /// The leader asks for an in-sync set with or without the candidate, if there is a reason; says whether it joins.
    fn ask_for_isr(&mut self, broker: usize, name: &'static str, candidate: usize) -> Option<bool> {
        let (epoch, incarnation) = (self.leads(broker, name)?, self.processes[broker].run()?);
        let me = id(broker as i32 + 1);
        let partition = self.processes[broker].view[name].partition.clone();
        let log = self.processes[broker].disk.log(name);
        let mut isr = partition.isr.clone();
        let other = &self.processes[candidate];
        let candidate = id(candidate as i32 + 1);
        let caught_up = other.disk.log(name) == log
            && other.view.get(name).is_some_and(|known| known.partition.leader_epoch == epoch);
        let joins = !isr.contains(&candidate);
        match isr.iter().position(|member| *member == candidate) {
            Some(at) if candidate != me && self.dice.roll(2) == 0 => drop(isr.remove(at)),
            None if partition.replicas.contains(&candidate) && caught_up => isr.push(candidate),
            Some(_) | None => return None,
        }
        let run_of = |member: BrokerId| self.processes[member.get() as usize - 1].run().unwrap_or_default();
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
        Some(joins)
    }

    /// A broker says what it stands on and has seen, whether it was let in or not.
    fn present(&mut self, machine: usize, broker: usize) {
        let disk = &self.processes[broker].disk;
        let (standing, vector) = (disk.standing(), disk.seen.clone());
        let broker = id(broker as i32 + 1);
        self.step(machine, Event::Presented(Presentation { broker, cluster: CLUSTER, standing, vector }));
    }

    /// A broker is heard by a controller, says what it stands on, and asks in again if it finds itself fenced.
    pub(super) fn speak(&mut self, broker: usize) {
        let me = id(broker as i32 + 1);
        let Some(incarnation) = self.processes[broker].run() else { return };
        let machine = self.pick();
        self.present(machine, broker);
        let synced = Lsn::new(self.processes[broker].disk.synced);
        self.step(machine, Event::Heartbeat { broker: me, incarnation, draining: false, synced });
        if self.knows_run(machine, broker, incarnation) {
            self.heard.insert((machine, broker), (incarnation, self.now));
        }
        let registered = self.store.root().members[&me].broker.clone();
        if registered.incarnation != incarnation {
            // It is not the registered run any more: it stops.
            self.processes[broker].stop();
        } else if registered.fenced {
            self.ask(machine, Request::Admit { broker: me, incarnation, endpoints: None });
        }
    }
}
