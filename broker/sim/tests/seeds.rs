//! The ordinary seeds: the same twice, nothing broken, everything rare has happened.
//!
//! `OTTLA_SIM_SEEDS=N` runs N of them instead, `OTTLA_SIM_FROM=S` from another first one.

use std::collections::BTreeMap;

use ottla_core::replica::Rules;
use ottla_sim::run;

const SEEDS: u64 = 24;

/// What a set of seeds that proves something has seen.
const RARE: &[&str] = &[
    "acked all",
    "acked by the leader",
    "answer held: unconfirmed",
    "crash with an unacked tail",
    "election with an unacked tail",
    "elr election",
    "empty disk",
    "failed write",
    "freeze",
    "gap",
    "isr expand",
    "isr shrink",
    "late loop",
    "leadership ended",
    "one-way partition",
    "planned stop",
    "power loss",
    "pushed on the catch-up connection",
    "refused: epoch ends",
    "refused: too few in sync",
    "refused: unconfirmed leader",
    "settling a change",
    "silent controller",
    "slow leader hands over",
    "split",
    "stale ack ignored",
    "stale assignment ignored",
    "stale message ignored",
    "start over",
    "suspect log",
    "timed out",
    "told that the write failed",
    "truncation",
    "watermark not shown after an election",
];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn one_seed_does_the_same_twice() {
    for seed in [3, 11] {
        let (first, second) = (run(seed, Rules::ALL).unwrap(), run(seed, Rules::ALL).unwrap());
        assert_eq!(first, second);
        assert_ne!(first.digest, run(seed + 1, Rules::ALL).unwrap().digest);
    }
}

#[test]
fn nothing_is_broken_and_everything_rare_happens() {
    let (from, seeds) = (number("OTTLA_SIM_FROM", 0), number("OTTLA_SIM_SEEDS", SEEDS));
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in from..from + seeds {
        let report = run(seed, Rules::ALL).unwrap_or_else(|failure| panic!("{failure}"));
        for (what, count) in report.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:#?}");
    let never: Vec<&&str> = RARE.iter().filter(|what| !counts.contains_key(**what)).collect();
    assert!(seeds < SEEDS || never.is_empty(), "never happened: {never:?}");
}
