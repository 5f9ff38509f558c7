//! A whole cluster in one thread from one seed: brokers with the production replica machine, disks, network, clocks,
//! clients, and a controller behind a trait.
//!
//! Owns [`run`]: the same seed does the same things at the same times, on every machine. Faults are injected for a while,
//! then everything heals and has to come right. Every invariant is an oracle that is checked while it runs; a broken one
//! ends the run with its name, the seed and the story.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use ottla_core::replica::Rules;

mod client;
pub mod controller;
mod faults;
mod judge;
pub mod log;
mod node;
pub mod oracle;
pub mod rare;
pub mod rng;
mod story;
mod world;

pub use oracle::Violation;

/// What a run that broke nothing has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Lines of the trace and their hash: equal for equal runs.
    pub digest: (u64, u64),
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A run that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// To see it again.
    pub seed: u64,
    /// What was broken.
    pub violation: Violation,
    story: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, violation, story } = self;
        write!(f, "{story}\nseed {seed} breaks {}: {}", violation.invariant, violation.what)
    }
}

/// Runs one seed under these rules.
///
/// # Errors
/// An invariant was broken.
pub fn run(seed: u64, rules: Rules) -> Result<Report, Box<Failure>> {
    let mut world = world::World::new(seed, rules, base());
    world.run();
    match world.violation {
        Some(violation) => Err(Box::new(Failure { seed, violation, story: world.story.tail() })),
        None => Ok(Report { digest: world.story.digest(), counts: world.counts }),
    }
}

/// Runs one seed twice: nothing that a seed says is worth anything if it says something else the next time.
///
/// # Errors
/// The seed broke an invariant, or did not do the same twice.
pub fn repeats(seed: u64) -> Result<Report, String> {
    let first = run(seed, Rules::ALL).map_err(|failure| failure.to_string())?;
    let second = run(seed, Rules::ALL).map_err(|failure| failure.to_string())?;
    if first == second { Ok(first) } else { Err(format!("seed {seed} does not do the same twice")) }
}

/// Some moment to count from.
#[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; its value does not matter")]
fn base() -> Instant {
    Instant::now()
}
