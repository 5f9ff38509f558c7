//! Several controllers on one store that loses answers, delays and repeats writes, with a Lease that everybody holds.
//!
//! Whatever happens: per epoch one session writes (A1), versions go up by one (A4), epochs of partitions never fall
//! (A5), nothing is answered that is not stored, and no producer id is given twice. When the storm is over somebody
//! leads and decides.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A small generator of its own, so that one seed is one story.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Something under way between a controller and the store.
#[derive(Clone, Debug)]
enum Flying {
    Deliver(Event),
    Read(DocumentId, u64),
    Write(Write),
    /// A copy of a write whose answer nobody waits for any more.
    Ghost(Write),
}

#[derive(Default)]
struct Seen {
    lost_answers: usize,
    ghosts_that_landed: usize,
    conflicts: usize,
    depositions: usize,
    answered: usize,
}

struct World {
    dice: Dice,
    now: Instant,
    store: Store,
    machines: Vec<Machine>,
    flying: Vec<(usize, Flying)>,
    /// Once all is calm, who alone holds the Lease.
    calm: Option<usize>,
    asked: u64,
    created: BTreeMap<RequestId, String>,
    owners: BTreeMap<ControllerEpoch, SessionId>,
    producer_ids: BTreeSet<ProducerId>,
    seen: Seen,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64, controllers: i32) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            now: epoch(),
            store: Store::initialised(),
            machines: (1..=controllers).map(|me| Machine::new(config(me, me as u8))).collect(),
            flying: Vec::new(),
            calm: None,
            asked: 0,
            created: BTreeMap::new(),
            owners: BTreeMap::new(),
            producer_ids: BTreeSet::new(),
            seen: Seen::default(),
            trace: Vec::new(),
        };
        for machine in 0..world.machines.len() {
            world.flying.push((machine, Flying::Deliver(Event::Start)));
        }
        world
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.now += Duration::from_millis(self.dice.roll(40));
            match self.dice.roll(14) {
                0 | 1 => self.ask(),
                2 => self.tick(),
                3 => self.present(),
                4 => self.heartbeat(),
                _ => self.one(),
            }
        }
    }

    /// Everything works from here on, and the Lease is what it says: others would depose each other for ever.
    fn calm_down(&mut self) {
        self.calm = usize::try_from(self.store.root().header.writer.get() - 1).ok();
        for step in 0..4000 {
            self.now += Duration::from_millis(20);
            if let Some(holder) = self.calm.filter(|_| step % 500 == 0) {
                // Whoever was deposed and does not know finds out when it writes.
                self.asked += 1;
                self.step(holder, Event::Ask(RequestId(self.asked), Request::AllocateProducerIds));
            }
            self.one();
            self.tick();
            self.present();
        }
    }

    /// Some registered broker says to somebody what it stands on and has seen: what is stored now.
    fn present(&mut self) {
        let members: Vec<Member> = self.store.root().members.values().cloned().collect();
        if members.is_empty() {
            return;
        }
        let member = &members[self.dice.roll(members.len() as u64) as usize];
        let presentation = Presentation {
            broker: member.broker.id,
            cluster: CLUSTER,
            standing: Standing {
                directory: member.broker.directory,
                incarnation: member.broker.incarnation,
                synced: member.synced,
            },
            vector: self
                .store
                .documents
                .values()
                .map(|(document, _)| (document.id(), document.header().seen()))
                .collect(),
        };
        // When all is calm, brokers speak to the controller.
        let machine = self.calm.unwrap_or_else(|| self.pick_machine());
        self.step(machine, Event::Presented(presentation));
    }

    fn heartbeat(&mut self) {
        let broker = BrokerId::new(self.dice.roll(3) as i32 + 1);
        let registered = self.store.root().members.get(&broker).map(|member| member.broker.incarnation);
        let machine = self.pick_machine();
        if let Some(incarnation) = registered {
            self.step(machine, Event::Heartbeat { broker, incarnation, draining: false, synced: Lsn::default() });
        }
    }

    fn tick(&mut self) {
        let machine = self.pick_machine();
        self.step(machine, Event::Tick);
    }

    fn pick_machine(&mut self) -> usize {
        self.dice.roll(self.machines.len() as u64) as usize
    }

    fn registration(&mut self) -> Request {
        let broker = self.dice.roll(3) as i32 + 1;
        registration(broker, self.dice.roll(4) as i64, broker as u8)
    }

    fn ask(&mut self) {
        let machine = self.pick_machine();
        self.asked += 1;
        let id = RequestId(self.asked);
        let name = format!("t{}", self.dice.roll(30));
        let request = match self.dice.roll(5) {
            0 => Request::AllocateProducerIds,
            1 => self.registration(),
            2 => Request::DeleteTopics { topics: vec![TopicRef::Name(name)] },
            _ => {
                let mut topic = named(&name);
                // Every creation is of another topic.
                topic.id = TopicId::from_bytes(u128::from(self.asked).to_be_bytes());
                self.created.insert(id, name);
                Request::CreateTopics { topics: vec![topic], validate_only: false }
            }
        };
        self.step(machine, Event::Ask(id, request));
    }

    /// One thing under way, in any order, comes to its end, or to a worse one.
    fn one(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.dice.roll(self.flying.len() as u64) as usize;
        let (machine, flying) = self.flying.swap_remove(at);
        match flying {
            Flying::Deliver(event) => self.step(machine, event),
            Flying::Read(document, token) => {
                let fails = self.calm.is_none() && self.dice.roll(8) == 0;
                let outcome = if fails { ReadOutcome::Failed } else { self.store.read(document) };
                self.flying.push((machine, Flying::Deliver(Event::Read { document, token, outcome })));
            }
            Flying::Write(write) => self.write(machine, write),
            Flying::Ghost(write) => {
                if matches!(self.apply(&write), WriteOutcome::Done(_)) {
                    self.seen.ghosts_that_landed += 1;
                }
            }
        }
    }

    fn write(&mut self, machine: usize, write: Write) {
        let outcome = match self.dice.roll(if self.calm.is_some() { 1 } else { 6 }) {
            1 => WriteOutcome::NotDone,
            2 => {
                self.seen.lost_answers += 1;
                self.apply(&write);
                WriteOutcome::Unknown
            }
            3 => {
                self.seen.lost_answers += 1;
                self.flying.push((machine, Flying::Ghost(write.clone())));
                WriteOutcome::Unknown
            }
            _ => self.apply(&write),
        };
        let answer = Event::Wrote { document: write.content.id(), write: write.id(), outcome };
        self.flying.push((machine, Flying::Deliver(answer)));
    }

    fn apply(&mut self, write: &Write) -> WriteOutcome {
        let id = write.content.id();
        let before = self.store.documents[&id].0.clone();
        let outcome = self.store.write(write);
        if outcome == WriteOutcome::Conflict {
            self.seen.conflicts += 1;
            return outcome;
        }
        let (old, new) = (before.header(), write.content.header());
        let owner = *self.owners.entry(new.epoch).or_insert(new.write.session);
        assert_eq!(owner, new.write.session, "A1: two sessions wrote in epoch {}", new.epoch);
        assert_eq!(new.version, old.version + 1, "A4");
        assert!(new.epoch >= old.epoch, "A2: an epoch fell");
        if let (Document::Shard(old), Document::Shard(new)) = (&before, &write.content) {
            check_partitions(old, new);
        }
        self.trace.push(format!("{id} {} {}", new.version, new.epoch));
        outcome
    }

    fn step(&mut self, machine: usize, event: Event) {
        let mut effects = Effects::new();
        self.machines[machine].step(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Lease(_) => {
                    let revision = Revision("any".into());
                    // Adversarial: whoever reaches for the Lease has it, until all is calm.
                    let seen = if self.calm.is_none_or(|holder| holder == machine) {
                        LeaseSeen::Ours(revision)
                    } else {
                        LeaseSeen::Theirs { holder: "them".into(), revision, duration: Duration::from_secs(1000) }
                    };
                    self.flying.push((machine, Flying::Deliver(Event::Lease(seen))));
                }
                Effect::Read { document, token } => self.flying.push((machine, Flying::Read(document, token))),
                Effect::Write(write) => self.flying.push((machine, Flying::Write(write))),
                Effect::Answer(id, answer) => self.check_answer(id, &answer),
                Effect::Deposed(_) => self.seen.depositions += 1,
                Effect::Halted(why) => panic!("halted without a reason: {why}"),
                Effect::Publish(image) => self.check_image(&image),
                Effect::Gather(_) | Effect::Leading(_) | Effect::WakeAt(_) => {}
            }
        }
    }

    /// An answer speaks of what is stored: a topic that was answered for is there, or was deleted since.
    fn check_answer(&mut self, id: RequestId, answer: &Answer) {
        if let Answer::CreateTopics(results) = answer
            && let Ok(topic) = &results[0]
        {
            self.seen.answered += 1;
            let stored = self.store.topics().values().any(|known| known.id == topic.id);
            let tombstoned = self.store.documents.values().any(|(document, _)| match document {
                Document::Shard(shard) => shard.tombstones.contains_key(&topic.id),
                Document::Root(_) => false,
            });
            assert!(stored || tombstoned, "{} was promised and is not stored", self.created[&id]);
        }
        if let Answer::AllocateProducerIds(Ok(block)) = answer {
            assert!(self.producer_ids.insert(block.first), "producer ids were given twice");
            assert!(self.store.root().next_producer_id.get() >= block.first.get() + block.count);
        }
    }

    /// What is published has been stored: a version of it at least, in that epoch.
    fn check_image(&self, image: &Image) {
        let stored = self.store.root().header.epoch;
        assert!(image.epoch() <= stored, "published before it was stored");
        let all: usize = image.topics().values().map(|topic| topic.partitions.len()).sum();
        assert_eq!(all, image.partition_count());
    }
}

pub(super) fn check_partitions(old: &Shard, new: &Shard) {
    for (name, after) in &new.topics {
        let Some(before) = old.topics.get(name).filter(|before| before.id == after.id) else { continue };
        assert!(after.partitions.len() >= before.partitions.len());
        for (old, new) in before.partitions.iter().zip(&after.partitions) {
            assert!(new.leader_epoch >= old.leader_epoch && new.partition_epoch >= old.partition_epoch, "A5");
            assert!(old == new || new.partition_epoch > old.partition_epoch, "A5: changed without an epoch");
            if old.leader != new.leader && new.leader.is_some() {
                assert!(new.leader_epoch > old.leader_epoch, "A5: two leaders in one epoch");
            }
        }
    }
}

#[test]
fn one_seed_is_one_story() {
    let trace = |seed| {
        let mut world = World::new(seed, 3);
        world.run(1500);
        world.trace
    };
    assert!(!trace(11).is_empty());
    assert_eq!(trace(11), trace(11));
}

#[test]
fn rare_things_happen_in_the_storm() {
    let mut seen = Seen::default();
    for seed in 0..10 {
        let mut world = World::new(seed, 2);
        world.run(2000);
        seen.lost_answers += world.seen.lost_answers;
        seen.ghosts_that_landed += world.seen.ghosts_that_landed;
        seen.conflicts += world.seen.conflicts;
        seen.depositions += world.seen.depositions;
        seen.answered += world.seen.answered;
    }
    assert!(seen.lost_answers > 0 && seen.ghosts_that_landed > 0 && seen.conflicts > 0);
    assert!(seen.depositions > 0 && seen.answered > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_storm_breaks_what_was_promised(seed: u64, controllers in 1_i32..4) {
        let mut world = World::new(seed, controllers);
        world.run(1500);
        world.calm_down();
        let acting = world.machines.iter().filter(|machine| machine.phase() == &Phase::Acting).count();
        prop_assert!(acting >= 1, "when all is calm somebody leads");
        let owner = world.store.root().header.write.session;
        let leader = world.machines.iter().find(|machine| {
            machine.phase() == &Phase::Acting && machine.config.session == owner
        });
        let leader = leader.expect("the owner of the root leads");
        prop_assert_eq!(leader.image().topics(), &world.store.topics());
    }
}
