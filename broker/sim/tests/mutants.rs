//! The table of mutants says what is so: every rule has a row, and the last seed of each row notices.

use std::thread;

use ottla_core::controller::rules::Rule as ControllerRule;
use ottla_core::replica::Rule;
use ottla_sim::Mutant;
use ottla_sim::mutants::{Row, ShellRule, TABLE, notice, read, write};

/// Whom no oracle notices within the seeds that were searched: each has a test of its own beside the machine, named here,
/// until the seeds reach it. Not a way to let a new mutant live.
const TOO_SELDOM: &[(Mutant, &str)] = &[
    (Mutant::Replica(Rule::PendingUntilSettled), "a_refusal_of_one_of_two_copies_settles_nothing"),
    (Mutant::Replica(Rule::NewestAssignment), "an_older_version_changes_nothing"),
    (Mutant::Replica(Rule::IncarnationOfJoin), "nobody_joins_by_what_an_earlier_run_acknowledged"),
    (Mutant::Replica(Rule::IncarnationOfLeader), "an_epoch_of_an_earlier_run_is_nobodys"),
    (Mutant::Replica(Rule::RunOfReceiver), "an_answer_for_an_earlier_run_is_ignored"),
    (Mutant::Replica(Rule::UncleanRemembered), "an_unclean_election_is_remembered_through_later_epochs"),
    (
        Mutant::Replica(Rule::RemovedWasCommitted),
        "a_log_that_begins_above_what_is_committed_since_an_unclean_election_starts_over",
    ),
    (Mutant::Replica(Rule::HeardInThisRun), "a_suspect_log_is_dropped_only_by_metadata_that_knows_this_run"),
    (
        Mutant::Replica(Rule::ProducersComeAlong),
        "what_is_removed_is_nowhere_but_its_producers_are_known_even_to_an_emptied_replica",
    ),
    (Mutant::Controller(ControllerRule::StaleEpochsAreRefused), CANARIES),
    (Mutant::Controller(ControllerRule::JoinersAreCurrent), CANARIES),
    (Mutant::Controller(ControllerRule::ReassignmentWaitsForTargets), CANARIES),
    (Mutant::Controller(ControllerRule::NewMinimumClearsEligible), CANARIES),
    (Mutant::Shell(ShellRule::OwnMetadataCounts), "what_a_broker_took_in_since_it_started_counts_when_it_claims"),
    (Mutant::Shell(ShellRule::JournalsAreTold), "a_later_controller_knows_how_far_a_journal_was"),
    (Mutant::Shell(ShellRule::SuspectsAreTold), "what_a_broker_lost_is_named_and_the_rest_stays"),
    (Mutant::Shell(ShellRule::SuccessorsEndTerms), "a_controller_that_has_a_successor_is_not_believed_again"),
];

/// The controller alone against an adversary, with each of its rules broken.
const CANARIES: &str = "each_broken_rule_is_noticed_by_an_oracle_within_the_ordinary_seeds";

/// Where those tests stand.
const TESTS: [&str; 8] = [
    include_str!("../../tests/told.rs"),
    include_str!("../../core/src/controller/hearing.rs"),
    include_str!("../../core/src/replica/tests.rs"),
    include_str!("../../core/src/replica/tests/seldom.rs"),
    include_str!("../../core/src/controller/tests/disks/canaries.rs"),
    include_str!("../../core/src/controller/tests/cluster.rs"),
    include_str!("../../core/src/controller/tests/doubts.rs"),
    include_str!("../../core/src/controller/tests/metadata_went_back.rs"),
];

/// Up to here it is also checked that no earlier seed notices.
const SEARCHED: u64 = 4;

#[test]
fn every_rule_has_a_row_and_no_mutant_survives() {
    let rows = read(TABLE);
    assert_eq!(rows.iter().map(|row| row.mutant).collect::<Vec<_>>(), Mutant::all(), "make sim-mutants");
    assert_eq!(write(&rows), TABLE, "make sim-mutants");
    let survivors: Vec<Mutant> = rows.iter().filter(|row| row.oracle.is_none()).map(|row| row.mutant).collect();
    assert_eq!(survivors, TOO_SELDOM.iter().map(|&(rule, _)| rule).collect::<Vec<_>>());
    for (rule, test) in TOO_SELDOM {
        let stands = TESTS.iter().any(|tests| tests.contains(&format!("fn {test}()")));
        assert!(stands, "{rule:?}: {test} is gone");
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
