//! The table of mutants says what is so: every rule has a row, and the last seed of each row notices.

use std::thread;

use ottla_core::replica::Rule;
use ottla_sim::Mutant;
use ottla_sim::mutants::{Row, TABLE, notice, read, write};

/// Whom no oracle notices within the seeds that were searched: each has a test of its own beside the machine, named here,
/// until the seeds reach it. Not a way to let a new mutant live.
const TOO_SELDOM: &[(Mutant, &str)] = &[(
    Mutant::Replica(Rule::RemovedWasCommitted),
    "a_log_that_begins_above_what_is_committed_since_an_unclean_election_starts_over",
)];

/// Up to here it is also checked that no earlier seed notices.
const SEARCHED: u64 = 4;

#[test]
fn every_rule_has_a_row_and_no_mutant_survives() {
    let rows = read(TABLE);
    assert_eq!(rows.iter().map(|row| row.mutant).collect::<Vec<_>>(), Mutant::all(), "make sim-mutants");
    assert_eq!(write(&rows), TABLE, "make sim-mutants");
    let survivors: Vec<Mutant> = rows.iter().filter(|row| row.oracle.is_none()).map(|row| row.mutant).collect();
    assert_eq!(survivors, TOO_SELDOM.iter().map(|&(rule, _)| rule).collect::<Vec<_>>());
    let tests = include_str!("../../core/src/replica/tests.rs");
    for (rule, test) in TOO_SELDOM {
        assert!(tests.contains(&format!("fn {test}()")), "{rule:?}: {test} is gone");
    }
}

#[test]
fn every_row_is_what_the_simulation_says() {
    let checks: Vec<_> = read(TABLE).into_iter().map(|row| thread::spawn(move || check(&row))).collect();
    assert!(checks.len() >= 12);
    for check in checks {
        assert_eq!(check.join().unwrap(), Ok(()));
    }
}

fn check(row: &Row) -> Result<(), String> {
    if row.oracle.is_none() {
        // Searched for by `make sim-mutants` only: as many seeds again would take too long here.
        return Ok(());
    }
    let first = if row.seeds <= SEARCHED { 1 } else { row.seeds };
    let found = (first..=row.seeds).find_map(|count| Some((count, notice(row.mutant, count - 1)?)));
    let found = found.map(|(seeds, violation)| (seeds, violation.invariant.to_owned()));
    let expected = row.oracle.clone().map(|oracle| (row.seeds, oracle));
    if found == expected { Ok(()) } else { Err(format!("{row:?} is stale, {found:?}: make sim-mutants")) }
}
