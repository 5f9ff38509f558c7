//! The journal against a model of it: random appends, releases, crashes, kills and damage, from seeds.
//!
//! The model knows what was submitted under which number and what was acknowledged. After every restart: every
//! acknowledged frame that is still needed is replayed in order, unchanged, or (with damage only) reported; nothing
//! that was cut off, recycled or never submitted appears.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    crashes: u64,
    torn_tails: u64,
    recycled: u64,
    holes: u64,
    reused_numbers: u64,
}

struct Model {
    random: Random,
    driven: Driven,
    /// What the next replay may hold under each number.
    submitted: BTreeMap<Lsn, Frame>,
    acked: Lsn,
    /// Everything up to here is stated as synced by something durable.
    stated: Lsn,
    released: Lsn,
    /// What was reported as damage, and may be again.
    lost: BTreeSet<Lsn>,
    next_frame: u64,
    seen: Seen,
}

impl Model {
    fn new(seed: u64) -> Self {
        let driven = Driven::open(&SimDisk::new(seed), options()).unwrap();
        Self {
            random: Random::new(seed ^ 0x5eed),
            driven,
            submitted: BTreeMap::new(),
            acked: Lsn::new(0),
            stated: Lsn::new(0),
            released: Lsn::new(1),
            lost: BTreeSet::new(),
            next_frame: 0,
            seen: Seen::default(),
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=9 => self.submit(),
            10..=13 => self.pump(),
            14 | 15 => {
                let _ = self.driven.journal.keep();
            }
            16 | 17 => {
                let upto = self.released.get() + self.random.below(self.acked.get() + 2 - self.released.get());
                self.released = Lsn::new(upto);
                self.driven.journal.release(self.released);
            }
            18 => {
                self.driven.now += Duration::from_millis(60);
                self.pump();
            }
            _ => self.driven.disk.stop_after(1 + self.random.below(12)),
        }
    }

    fn submit(&mut self) {
        let bytes = if self.random.one_in(10) { 30_000 } else { 1500 };
        let bytes = self.random.index(bytes);
        let frame = append(self.next_frame, bytes);
        self.next_frame += 1;
        if let Ok(lsn) = self.driven.journal.submit(frame.clone())
            && self.submitted.insert(lsn, frame).is_some()
        {
            self.seen.reused_numbers += 1;
        }
    }

    fn pump(&mut self) {
        let before = self.driven.journal.synced();
        if let Ok(Pumped::Wrote { .. }) = self.driven.pump() {
            self.stated = before;
        }
        for (lsn, frame) in self.driven.witness.synced.lock().drain(..) {
            assert_eq!(self.submitted.get(&lsn), Some(&frame), "synced what was not submitted");
        }
        self.acked = self.driven.journal.synced();
    }

    fn restart(&mut self, flips: u64) {
        self.seen.recycled += self.driven.stat("files_recycled");
        self.seen.crashes += 1;
        let disk = if self.random.one_in(3) { self.driven.disk.kill() } else { self.driven.disk.crash() };
        for _ in 0..flips {
            let files = disk.files();
            let path = &files[self.random.index(files.len())];
            let bits = disk.size(path).unwrap().unwrap() * 8;
            disk.flip_bit(path, self.random.below(bits));
        }
        self.driven = Driven::open(&disk, options()).unwrap();
        self.check(flips);
    }

    fn check(&mut self, flips: u64) {
        let damage = flips > 0;
        let report = self.driven.report.clone();
        assert!(report.released <= self.released, "{report:?}: released more than was said");
        self.seen.torn_tails += u64::from(report.torn_bytes > 0);
        self.seen.holes += report.holes.len() as u64;
        let mut found = BTreeMap::new();
        let mut previous = Lsn::new(0);
        for (lsn, frame) in self.driven.frames() {
            assert!(lsn > previous, "{lsn} behind {previous}");
            assert_eq!(self.submitted.get(&lsn), Some(&frame), "{lsn} came back from nowhere");
            previous = lsn;
            found.insert(lsn, frame);
        }
        let holes = report.holes.iter().flat_map(|hole| (hole.first.get()..=hole.last.get()).map(Lsn::new));
        let lost: BTreeSet<Lsn> = holes.collect();
        assert!(damage || lost.is_subset(&self.lost), "{report:?}, {:?}", self.lost);
        self.lost = lost;
        // Damage to the last group cannot be told from a torn tail until a later one states that it was synced, and if
        // that one is damaged too.
        let promised = match (damage, report.last < self.acked) {
            (false, _) => self.acked,
            (true, false) => self.stated.min(self.acked),
            (true, true) if flips == 1 => self.stated.min(self.acked),
            (true, true) => report.last.min(self.stated),
        };
        for (lsn, _) in self.submitted.range(self.released..=promised.max(self.released)) {
            let reported = report.holes.iter().any(|hole| (hole.first..=hole.last).contains(lsn));
            assert!(*lsn > promised || found.contains_key(lsn) != reported, "{lsn} of {promised}: {report:?}");
        }
        // What was not found is cut off: its numbers are given to others, and it must never come back.
        self.submitted = found;
        self.acked = self.driven.journal.synced();
        // What stated it may be damaged now.
        self.stated = if damage { Lsn::new(0) } else { self.stated.min(self.acked) };
        // Numbers that are gone cannot be released any more, but those before stay so.
        self.released = self.released.min(self.acked.next()).max(report.released);
    }
}

fn run(seed: u64, steps: u64, damage: bool) -> Seen {
    let mut model = Model::new(seed);
    for _ in 0..steps {
        model.step();
        if model.random.one_in(60) {
            let flips = if damage { model.random.below(4) } else { 0 };
            model.restart(flips);
        }
    }
    model.restart(0);
    model.seen
}

/// Runs seeds (as many more as `OTTLA_SEEDS` says) and names the one that fails.
fn explore(first: u64, damage: bool) -> Seen {
    let count = std::env::var("OTTLA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let mut all = Seen::default();
    for seed in first..first + count {
        let result = std::panic::catch_unwind(|| run(seed, 600, damage));
        let Ok(seen) = result else { panic!("seed {seed} fails (damage: {damage})") };
        all.crashes += seen.crashes;
        all.torn_tails += seen.torn_tails;
        all.recycled += seen.recycled;
        all.holes += seen.holes;
        all.reused_numbers += seen.reused_numbers;
    }
    all
}

#[test]
fn no_acknowledged_frame_is_lost_and_none_comes_back() {
    let seen = explore(0, false);
    assert!(seen.crashes > 200 && seen.torn_tails > 10 && seen.recycled > 20, "nothing happened: {seen:?}");
}

#[test]
fn damage_is_reported_and_the_rest_is_replayed() {
    let seen = explore(1_000_000, true);
    assert!(seen.holes > 20 && seen.torn_tails > 10, "nothing happened: {seen:?}");
}

#[test]
fn one_seed_gives_one_history() {
    let history = |seed| {
        let mut model = Model::new(seed);
        (0..300).for_each(|_| model.step());
        model.restart(0);
        (model.driven.frames(), model.driven.report.clone(), model.driven.disk.operations())
    };
    assert_eq!(history(7), history(7));
}
