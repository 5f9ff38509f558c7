//! The same brokers after every document was lost or put back, and made again from their disks (A8).
//!
//! All of them stop, the store loses what it likes, a plan is made of the disks, and the storm goes on. What the plan does
//! not call at risk is held as before: R1, R3, one leader in one epoch (A5), no run twice (A6), and no controller finds
//! that anything went back. What it does call at risk is lost in some seeds: the plan is not merely cautious.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::controller::recover::{Directory, Plan, Stored, plan};

/// Counts elections of leaders that lack what was acknowledged, where a plan had said so.
pub(super) const LOST: &str = "leaders that lack something";
/// As the ordinary storm is, but shorter.
const STORM: usize = 2000;

/// What happens to a world before the storm goes on.
#[derive(Clone, Copy, Default)]
struct Story {
    /// The disk of one broker, which was the last to go on, is not given.
    leave_out: bool,
    /// Nobody looks at what the plan calls at risk.
    unexcused: bool,
}

#[derive(Default)]
struct Told {
    complete: usize,
    doubted: usize,
    commits: usize,
    lost: usize,
}

impl World {
    /// All others die, and this one goes on for a while: what it is told then, nobody else has.
    fn goes_on_alone(&mut self, broker: usize) {
        let others = self.processes.iter_mut().enumerate().filter(|(other, _)| *other != broker);
        others.for_each(|(_, process)| process.stop());
        for _ in 0..1200 {
            self.now += Duration::from_millis(self.dice.roll(40));
            match self.roll(8) {
                0 => self.start(broker),
                1 => self.see(broker),
                2 => self.lead(broker),
                3 => self.speak(broker),
                4 => self.step(self.holder, Event::Tick),
                _ => self.one(true),
            }
        }
    }

    /// What the store holds is not what it was.
    fn lose_documents(&mut self, backup: &Store) {
        match self.roll(3) {
            0 => self.store.documents.clear(),
            1 => self.store.documents.clone_from(&backup.documents),
            _ => {
                let dice = &mut self.dice;
                self.store.documents.retain(|_, _| dice.roll(2) == 0);
            }
        }
    }

    fn directories(&self, left_out: Option<usize>) -> Vec<Directory> {
        let disks = self.processes.iter().enumerate().filter(|(broker, _)| Some(*broker) != left_out);
        let of_broker = |(broker, process): (usize, &Process)| Directory {
            name: format!("disk {}", broker + 1),
            cluster: CLUSTER,
            standing: process.disk.standing(),
            copies: process.disk.copies.clone(),
            damaged: false,
        };
        disks.map(of_broker).collect()
    }

    /// Everybody stops, the metadata is made again, other controllers start. The brokers' directories are enough: what a
    /// controller alone has seen, nobody has acted on.
    fn recover(&mut self, backup: &Store, story: Story) -> Plan {
        let left_out = story.leave_out.then(|| self.roll(self.processes.len()));
        if let Some(broker) = left_out {
            self.goes_on_alone(broker);
        }
        self.processes.iter_mut().for_each(Process::stop);
        self.forget_controllers();
        self.lose_documents(backup);
        let found = self.store.documents.iter().map(|(id, (document, _))| (*id, Stored::Document(document.clone())));
        let plan = plan(&self.directories(left_out), &found.collect(), &BTreeSet::new()).expect("one line of states");
        for document in plan.documents([self.sessions; 8]) {
            self.store.writes += 1;
            self.store.documents.insert(document.id(), (document, self.store.writes));
        }
        if !story.unexcused {
            let at_risk = |name: &&str| plan.at_risk.iter().any(|one| one.name.topic == **name);
            self.excused.extend(TOPICS.into_iter().filter(|name| at_risk(name)));
        }
        (self.went_back, self.halted) = (None, false);
        self.start_controllers();
        plan
    }
}

/// A storm, a recovery, a storm, another recovery, and a last one.
fn tell(seed: u64, story: Story) -> Told {
    let mut world = World::new(seed, Rules::ALL);
    let mut told = Told::default();
    for _ in 0..2 {
        world.run(STORM);
        let backup = world.store.clone();
        world.run(STORM / 2);
        let plan = world.recover(&backup, story);
        told.complete += usize::from(plan.is_complete());
        told.doubted += usize::from(!plan.is_complete());
    }
    let counted = |world: &World, what: &str| world.counts.0.get(what).copied().unwrap_or_default();
    let before = counted(&world, "commits");
    world.run(2 * STORM);
    told.commits = counted(&world, "commits") - before;
    told.lost = counted(&world, LOST);
    told
}

fn all(seeds: std::ops::Range<u64>, story: Story) -> Told {
    seeds.map(|seed| tell(seed, story)).fold(Told::default(), |sum, one| Told {
        complete: sum.complete + one.complete,
        doubted: sum.doubted + one.doubted,
        commits: sum.commits + one.commits,
        lost: sum.lost + one.lost,
    })
}

#[test]
fn a_cluster_is_made_again_from_its_disks() {
    let told = all(0..30, Story::default());
    assert!(told.complete > 0, "every set of disks was doubted");
    assert!(told.commits > 0, "nobody ever wrote again");
}

#[test]
fn only_what_the_plan_calls_at_risk_is_ever_lost() {
    let told = all(100..140, Story { leave_out: true, ..Story::default() });
    assert!(told.doubted > 0 && told.commits > 0);
    assert!(told.lost > 0, "nothing was ever lost: the plan is too cautious");
}

#[test]
fn whoever_does_not_look_at_what_is_at_risk_loses_records() {
    let story = Story { leave_out: true, unexcused: true };
    let said = (100..140).find_map(|seed| catch_unwind(AssertUnwindSafe(|| tell(seed, story))).err());
    let said = said.and_then(|said| said.downcast_ref::<String>().cloned()).unwrap_or_default();
    assert!(said.starts_with("R1: ") || said.starts_with("R3: "), "nobody notices what is lost: {said}");
}
