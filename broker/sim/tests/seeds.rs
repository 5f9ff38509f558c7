//! The ordinary seeds: the same twice, nothing broken, everything rare has happened. `make sim SEEDS=N` runs more.

use std::collections::BTreeMap;

use ottla_core::replica::Rules;
use ottla_sim::{rare, repeats, run};

const SEEDS: u64 = 24;

/// Whatever broke something once, in the machine or in the judgement of it. A seed does other things when faults are added;
/// it costs little to keep.
const BROKE_ONCE: &[u64] = &[
    25, 40, 107, 124, 155, 198, 256, 354, 471, 484, 579, 640, 794, 849, 866, 892, 912, 1004, 1083, 1161, 1170, 1347,
    1565, 3463, 3981, 6324,
];

#[test]
fn one_seed_does_the_same_twice() {
    for seed in [3, 11] {
        let report = repeats(seed).unwrap();
        assert!(report.digest.0 > 100, "a trace without lines proves nothing: {:?}", report.digest);
        assert_ne!(report.digest, run(seed + 1, Rules::ALL).unwrap().digest);
    }
}

#[test]
fn nothing_is_broken_and_everything_rare_happens() {
    // Before any other seed is believed.
    repeats(0).unwrap();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in (0..SEEDS).chain(BROKE_ONCE.iter().copied()) {
        let report = run(seed, Rules::ALL).unwrap_or_else(|failure| panic!("{failure}"));
        for (what, count) in report.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    assert_eq!(rare::never(&counts), [""; 0], "{counts:#?}");
}
