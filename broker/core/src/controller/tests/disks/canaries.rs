//! Each broken rule is noticed, by an oracle, within so many of the ordinary seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canary {
    /// A rule of the controller.
    Rule(Rule),
    /// The leaders' part of the bargain: an entry of an older run is waited for like any other (R4).
    LeadersWaitForOlderRuns,
}

/// Which canary is caught by which seed at the latest: of so many ordinary stories at least one shows it.
const CAUGHT_WITHIN: [(Canary, u64); 9] = [
    (Canary::Rule(Rule::ForeignDisksAreExcluded), 120),
    (Canary::Rule(Rule::OlderDisksAreSuspect), 120),
    (Canary::Rule(Rule::LiveIdsAreRefused), 120),
    (Canary::Rule(Rule::RolledBackMetadataStops), 120),
    (Canary::Rule(Rule::StaleEpochsAreRefused), 120),
    (Canary::Rule(Rule::JoinersAreCurrent), 120),
    (Canary::Rule(Rule::ReassignmentWaitsForTargets), 120),
    (Canary::Rule(Rule::NewMinimumClearsEligible), 120),
    (Canary::LeadersWaitForOlderRuns, 120),
];

/// The invariants that oracles name.
const ORACLES: [&str; 6] = ["R1: ", "R3: ", "A4: ", "A5: ", "A6: ", "L3: "];

impl Canary {
    fn world(self, seed: u64) -> World {
        match self {
            Self::Rule(rule) => World::new(seed, Rules::without(rule)),
            Self::LeadersWaitForOlderRuns => {
                let mut world = World::new(seed, Rules::ALL);
                world.older_runs_are_skipped = true;
                world
            }
        }
    }

    /// What an oracle says of the story, if it says anything. Only an oracle counts.
    fn verdict(self, seed: u64) -> Option<String> {
        let story = || self.world(seed).run(STEPS);
        let said = catch_unwind(AssertUnwindSafe(story)).err()?;
        let plain = said.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.downcast_ref::<String>().cloned().or(plain).unwrap_or_default();
        // What `assert_eq!` says of itself comes first.
        ORACLES.iter().any(|oracle| said.contains(oracle)).then_some(said)
    }
}

#[test]
fn each_broken_rule_is_noticed_by_an_oracle_within_so_many_seeds() {
    for rule in Rule::EVERY {
        assert!(CAUGHT_WITHIN.iter().any(|(canary, _)| *canary == Canary::Rule(rule)), "{rule:?} has no canary");
    }
    let mut late = Vec::new();
    for (canary, within) in CAUGHT_WITHIN {
        assert!(within <= SEEDS, "{canary:?} needs more than the ordinary seeds");
        let first = (0..within).find(|seed| canary.verdict(*seed).is_some());
        println!("{canary:?} is noticed by seed {first:?}");
        if first.is_none() {
            late.push((canary, within));
        }
    }
    assert!(late.is_empty(), "not noticed within so many seeds: {late:?}");
}
