//! Canary mutants: with one rule less an oracle has to notice, under the ordinary seeds.
//!
//! Each row says which seed is tried first, because it is known to be noticed there today; if that changes, the ordinary
//! seeds are searched from the first one on, up to the row's limit. A mutant that survives is a bug in the tests.
//! `OTTLA_SIM_TABLE=1` searches every one from seed 0 and prints the table.

use std::thread;

use ottla_core::replica::{Rule, Rules};
use ottla_sim::{Violation, run};

/// A rule, the seed that is tried first, and within how many seeds it must be noticed.
const MUTANTS: [(Rule, u64, u64); 17] = [
    (Rule::EndsAreDurable, 0, 10),
    (Rule::EveryInSyncReplicaCounts, 0, 10),
    (Rule::PendingMembersCount, 0, 20),
    // A delayed copy, a refusal of another one, and records in between: seldom, and shown by a unit test as well.
    (Rule::PendingUntilSettled, 2135, 4000),
    (Rule::MinInSync, 0, 20),
    (Rule::ProvenEnds, 0, 10),
    (Rule::DivergenceByEpoch, 0, 10),
    (Rule::SessionOfAck, 227, 500),
    (Rule::NewestAssignment, 4, 30),
    (Rule::DrainBeforeOpen, 0, 10),
    (Rule::EpochStartBeforeJoin, 3, 40),
    (Rule::IncarnationOfJoin, 306, 600),
    (Rule::IncarnationOfLeader, 0, 10),
    (Rule::StopAfterFailedWrite, 12, 60),
    (Rule::Confirmation, 2, 20),
    (Rule::EveryMemberConfirms, 12, 60),
    (Rule::WatermarkAfterElection, 1, 20),
];

/// The first of these seeds under which the mutant is noticed, and by which oracle.
fn noticed(rule: Rule, seeds: impl Iterator<Item = u64>) -> Option<(u64, Violation)> {
    let mut failures = seeds.filter_map(|seed| run(seed, Rules::without(rule)).err());
    failures.next().map(|failure| (failure.seed, failure.violation))
}

fn check(rule: Rule, first: u64, limit: u64) {
    let table = std::env::var_os("OTTLA_SIM_TABLE").is_some();
    let hint = if table { None } else { noticed(rule, std::iter::once(first)) };
    let Some((seed, violation)) = hint.or_else(|| noticed(rule, 0..limit)) else {
        panic!("without {rule:?} nothing is noticed in {limit} seeds");
    };
    println!("| {rule:?} | {} | {seed} |", violation.invariant);
    assert_ne!(violation.invariant, "Liveness", "without {rule:?}: only noticed at the end: {}", violation.what);
}

#[test]
fn every_rule_has_a_mutant() {
    for rule in Rule::ALL {
        assert!(MUTANTS.iter().any(|(mutant, _, _)| *mutant == rule), "{rule:?}");
    }
}

#[test]
fn every_mutant_is_noticed() {
    let checks = MUTANTS.map(|(rule, first, limit)| (rule, thread::spawn(move || check(rule, first, limit))));
    for (rule, check) in checks {
        assert!(check.join().is_ok(), "{rule:?}");
    }
}
