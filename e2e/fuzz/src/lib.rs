//! What reads bytes from outside, as functions that a fuzzer calls.
//!
//! Owns the list of targets: every decoder of a client's or a disk's bytes has one. A target feeds the bytes to the
//! decoder and asserts what must hold of anything that it accepts; it may fail only by panicking. `run.sh` builds them
//! with coverage and lets libFuzzer search; `cargo test` runs each on its seeds and on a few thousand mutations.

mod batch;
mod group;
mod message;
pub mod mutate;

/// A decoder under test.
pub struct Target {
    /// Its name on the command line and in the report.
    pub name: &'static str,
    /// What it covers, for the report.
    pub covers: &'static str,
    /// Feeds the bytes; a panic is a finding.
    pub run: fn(&[u8]),
    /// Inputs from which the search starts.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub static TARGETS: &[Target] = &[
    Target {
        name: "message",
        covers: "every request, response and coordinator record, in every version",
        run: message::run,
        seeds: message::seeds,
    },
    Target {
        name: "frame",
        covers: "a client's frame: header, then the request that it names",
        run: message::run_frame,
        seeds: message::frame_seeds,
    },
    Target {
        name: "batch",
        covers: "record batches: checks, walk, placing, records of every compression",
        run: batch::run,
        seeds: batch::seeds,
    },
    Target {
        name: "compression",
        covers: "the four compressions, within their bound",
        run: batch::run_compression,
        seeds: batch::compression_seeds,
    },
    Target { name: "group", covers: "the group coordinator's records", run: group::run, seeds: group::seeds },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Random;

    #[test]
    fn every_target_takes_its_seeds_and_thousands_of_mutations() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            seeds.iter().for_each(|seed| (target.run)(seed));
            let mut random = Random::new(1);
            for _ in 0..5_000 {
                let mutated = random.mutated(&seeds);
                (target.run)(&mutated);
            }
        }
    }
}
