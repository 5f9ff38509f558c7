//! `make sim SEEDS=N`: many seeds, on every core, with progress.
//!
//! Owns the command line. The first seed runs twice before any is believed; the lowest seed that breaks something ends the
//! search with its story. It judges nothing itself.
//!
//!   ottla-sim --seeds N    so many seeds (100)
//!             --from S     the first one (0)
//!             --list yes   instead: one line for each seed that breaks something, without an end at the first
//!             --mutants N  instead: the table of mutants, searched for in at most N seeds each, on standard output

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ottla_sim::mutants::{self, Mutant, Row};
use ottla_sim::{Failure, rare, repeats, run};

#[derive(Default)]
struct Found {
    counts: BTreeMap<&'static str, u64>,
    done: u64,
    failure: Option<Box<Failure>>,
}

fn main() -> ExitCode {
    let Some(Arguments { from, seeds, mutants, list }) = arguments() else {
        eprintln!("ottla-sim [--seeds N] [--from S] [--mutants N | --list yes]");
        return ExitCode::from(2);
    };
    if let Some(limit) = mutants {
        print!("{}", mutants::write(&mutant_rows(limit)));
        return ExitCode::SUCCESS;
    }
    if list {
        return if list_failures(from, seeds) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Err(what) = repeats(from) {
        eprintln!("{what}");
        return ExitCode::FAILURE;
    }
    println!("seed {from} does the same twice");
    let found = search(from, seeds);
    for (what, count) in &found.counts {
        println!("{count:>10}  {what}");
    }
    for what in rare::never(&found.counts) {
        println!("         0  {what}: these seeds do not test it");
    }
    match found.failure {
        Some(failure) => {
            eprintln!("{failure}");
            eprintln!("again: make sim SEEDS=1 FROM={}", failure.seed);
            ExitCode::FAILURE
        }
        None => {
            println!("{} seeds from {from} on break nothing", found.done);
            ExitCode::SUCCESS
        }
    }
}

struct Arguments {
    from: u64,
    seeds: u64,
    mutants: Option<u64>,
    list: bool,
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments { from: 0, seeds: 100, mutants: None, list: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--from" => arguments.from = value.parse().ok()?,
            "--seeds" => arguments.seeds = value.parse().ok()?,
            "--mutants" => arguments.mutants = Some(value.parse().ok()?),
            "--list" => arguments.list = value == "yes",
            _ => return None,
        }
    }
    (arguments.seeds > 0).then_some(arguments)
}

/// Says what every seed breaks; whether none does.
fn list_failures(from: u64, seeds: u64) -> bool {
    let (next, broken) = (AtomicU64::new(from), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    if let Err(failure) = run(seed, None) {
                        broken.fetch_add(1, Ordering::Relaxed);
                        println!("{seed} {}: {}", failure.violation.invariant, failure.violation.what);
                    }
                }
            });
        }
    });
    let broken = broken.into_inner();
    println!("{broken} of {seeds} seeds from {from} on break something");
    broken == 0
}

fn mutant_rows(limit: u64) -> Vec<Row> {
    let all = Mutant::all();
    let (next, rows) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(&mutant) =
                    usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|index| all.get(index))
                {
                    let row = mutants::search(mutant, limit);
                    eprintln!("{row:?}");
                    rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    rows.sort_by_key(|row| all.iter().position(|mutant| *mutant == row.mutant));
    rows
}

/// Threads take seeds in order, so that no lower seed is left out when one is found.
fn search(from: u64, seeds: u64) -> Found {
    let next = AtomicU64::new(from);
    let found = Mutex::new(Found::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || !note(&found, seeds, run(seed, None)) {
                        // Everybody else ends with the seed that it is at.
                        next.fetch_max(from + seeds, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether to go on.
fn note(found: &Mutex<Found>, seeds: u64, result: Result<ottla_sim::Report, Box<Failure>>) -> bool {
    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match result {
        Ok(report) => {
            for (what, count) in report.counts {
                *found.counts.entry(what).or_default() += count;
            }
            found.done += 1;
            if found.done.is_multiple_of((seeds / 20).max(1)) {
                println!("{} of {seeds} seeds", found.done);
            }
            true
        }
        Err(failure) => {
            if found.failure.as_ref().is_none_or(|other| failure.seed < other.seed) {
                found.failure = Some(failure);
            }
            false
        }
    }
}
