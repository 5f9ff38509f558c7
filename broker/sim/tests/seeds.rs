//! The ordinary seeds: the same twice, nothing broken, everything rare has happened. `make sim SEEDS=N` runs more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ottla_sim::{Report, rare, repeats, run};

/// So many that everything rare is among them.
const SEEDS: u64 = 160;

/// Whatever broke something once, in the machines, in the shells or in the judgement of them. A seed does other things when
/// faults are added; it costs little to keep.
const BROKE_ONCE: &[u64] = &[143, 166, 251, 366, 379, 503, 586, 927, 1536, 2086, 2135, 3021, 3518];

#[test]
fn one_seed_does_the_same_twice() {
    for seed in [3, 11] {
        let report = repeats(seed).unwrap();
        assert!(report.digest.0 > 100, "a trace without lines proves nothing: {:?}", report.digest);
        assert_ne!(report.digest, run(seed + 1, None).unwrap().digest);
    }
}

#[test]
fn nothing_is_broken_and_everything_rare_happens() {
    // Before any other seed is believed.
    repeats(0).unwrap();
    let seeds: Vec<u64> = (0..SEEDS).chain(BROKE_ONCE.iter().copied()).collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for report in all(&seeds) {
        for (what, count) in report.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    assert_eq!(rare::never(&counts), [""; 0], "{counts:#?}");
}

/// All of them, on every core.
fn all(seeds: &[u64]) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut reports = Vec::new();
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            reports.push(run(seed, None).unwrap_or_else(|failure| panic!("{failure}")));
        }
        reports
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(some)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a seed that breaks something has said so"))
            .collect()
    })
}
