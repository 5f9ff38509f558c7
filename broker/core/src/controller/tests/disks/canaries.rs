//! Each broken rule is noticed, by an oracle, within the ordinary seeds.

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

/// All of them.
const CANARIES: [Canary; 9] = [
    Canary::Rule(Rule::ForeignDisksAreExcluded),
    Canary::Rule(Rule::OlderDisksAreSuspect),
    Canary::Rule(Rule::LiveIdsAreRefused),
    Canary::Rule(Rule::RolledBackMetadataStops),
    Canary::Rule(Rule::StaleEpochsAreRefused),
    Canary::Rule(Rule::JoinersAreCurrent),
    Canary::Rule(Rule::ReassignmentWaitsForTargets),
    Canary::Rule(Rule::NewMinimumClearsEligible),
    Canary::LeadersWaitForOlderRuns,
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
fn each_broken_rule_is_noticed_by_an_oracle_within_the_ordinary_seeds() {
    for rule in Rule::EVERY {
        assert!(CANARIES.contains(&Canary::Rule(rule)), "{rule:?} has no canary");
    }
    let mut unnoticed = Vec::new();
    for canary in CANARIES {
        let first = (0..SEEDS).find(|seed| canary.verdict(*seed).is_some());
        println!("{canary:?} is noticed by seed {first:?}");
        if first.is_none() {
            unnoticed.push(canary);
        }
    }
    assert!(unnoticed.is_empty(), "nobody notices when these are broken: {unnoticed:?}");
}
