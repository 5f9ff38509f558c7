//! A whole cluster in one thread from one seed: brokers with the production machines, of replicas and of the controller;
//! disks, network, clocks, clients, and the store through which brokers agree.
//!
//! Owns [`run`]: the same seed does the same things at the same times, on every machine. Faults are injected for a while,
//! then everything heals and has to come right. Every invariant is an oracle that is checked while it runs; a broken one
//! ends the run with its name, the seed and the story.

use std::collections::BTreeMap;
use std::fmt;
use std::panic;
use std::time::Instant;

mod api;
mod client;
mod committed;
mod control;
mod disks;
mod enroll;
mod faults;
mod judge;
mod ledger;
mod lines;
mod link;
mod log;
mod meddling;
pub mod mutants;
mod node;
mod oracle;
mod pushing;
pub mod rare;
mod recovery;
mod rng;
mod store;
mod story;
mod streams;
mod world;

pub use mutants::Mutant;
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

/// Runs one seed, with every rule in place or all but one.
///
/// # Errors
/// An invariant was broken.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Result<Report, Box<Failure>> {
    let mut world = world::World::new(seed, mutant, base());
    // What a machine asserts of itself is an oracle like any other.
    let ended = panic::catch_unwind(panic::AssertUnwindSafe(|| world.run()));
    if let Err(panicked) = ended {
        let said = panicked.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panicked.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        world.fail("Assertion", said.unwrap_or_default());
    }
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
    let first = run(seed, None).map_err(|failure| failure.to_string())?;
    let second = run(seed, None).map_err(|failure| failure.to_string())?;
    if first == second { Ok(first) } else { Err(format!("seed {seed} does not do the same twice")) }
}

/// Some moment to count from.
#[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock; its value does not matter")]
fn base() -> Instant {
    Instant::now()
}
