//! The store against a model that remembers everything, on the simulated disk: crashes at any operation, torn, dropped
//! and reordered writes, hints that vanish. Every acked batch must be readable at its offset, in order, once.
//!
//! One seed is one history. A failure prints its seed; `OTTLA_MODEL_SEED=n` runs that one, `OTTLA_MODEL_SEEDS=n` so many.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by ending")]

mod model {
    pub(crate) mod follow;
    pub(crate) mod oracle;
    pub(crate) mod world;
}

use model::world::{Plan, World};

/// Seeds that found something once.
const FOUND: [u64; 14] = [16, 21, 40, 45, 58, 69, 114, 117, 187, 208, 421, 468, 638, 672];

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("OTTLA_MODEL_SEED") {
        return vec![seed];
    }
    match number("OTTLA_MODEL_SEEDS") {
        Some(count) => (0..count).collect(),
        None => (0..10).chain(FOUND).collect(),
    }
}

fn explore(what: &str, plan: Plan) {
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| World::new(seed, plan).run());
        if let Err(panic) = outcome {
            eprintln!("{what}: failed with OTTLA_MODEL_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn acked_batches_survive_power_loss_at_any_operation() {
    explore("power loss", Plan { crashes: true, ..Plan::default() });
}

#[test]
fn acked_batches_survive_kills() {
    explore("kill", Plan { kills: true, opted_out: true, ..Plan::default() });
}

#[test]
fn hints_may_vanish_at_any_crash() {
    explore("hints", Plan { crashes: true, kills: true, drop_hints: true, ..Plan::default() });
}

#[test]
fn a_full_disk_loses_nothing() {
    explore("full disk", Plan { full: true, kills: true, ..Plan::default() });
}

#[test]
fn a_disk_that_fails_takes_the_directory_offline_and_loses_nothing() {
    explore("failing disk", Plan { errors: true, crashes: true, ..Plan::default() });
}

#[test]
fn what_was_cut_off_never_comes_back_after_power_loss() {
    explore("cuts, power loss", Plan { cuts: true, crashes: true, ..Plan::default() });
}

#[test]
fn what_was_cut_off_never_comes_back_after_kills() {
    explore("cuts, kill", Plan { cuts: true, kills: true, opted_out: true, ..Plan::default() });
}

#[test]
fn what_was_cut_off_never_comes_back_without_hints() {
    explore("cuts, hints", Plan { cuts: true, crashes: true, kills: true, drop_hints: true, ..Plan::default() });
}

#[test]
fn a_cut_on_a_full_disk_loses_nothing_else() {
    explore("cuts, full disk", Plan { cuts: true, full: true, kills: true, ..Plan::default() });
}

#[test]
fn a_cut_on_a_failing_disk_loses_nothing_else() {
    explore("cuts, failing disk", Plan { cuts: true, errors: true, crashes: true, ..Plan::default() });
}

#[test]
fn one_seed_gives_one_history() {
    let plan = Plan { crashes: true, kills: true, drop_hints: true, cuts: true, ..Plan::default() };
    assert_eq!(World::new(7, plan).run(), World::new(7, plan).run());
}
