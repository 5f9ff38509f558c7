//! What `make test` says of suites that pass, fail, take too long or cannot run. Starts `e2e/run-suite` on budgets of its
//! own; no real suite runs here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The summary's lines and the exit code of a budget with these suites.
fn run(name: &str, budget: &str) -> (Vec<String>, Option<i32>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    fs::write(&file, budget).expect("the target's folder can be written");
    let output = Command::new(root.join("e2e/run-suite")).arg(&file).output().expect("python3 runs the script");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = text.split("=== summary").nth(1).unwrap_or_default();
    (summary.lines().map(str::to_owned).collect(), output.status.code())
}

fn suite(name: &str, command: &str, more: &str) -> String {
    format!("[[suite]]\nname = \"{name}\"\ncommand = \"{command}\"\n{more}\n")
}

fn line<'a>(summary: &'a [String], name: &str) -> &'a str {
    summary.iter().find(|line| line.starts_with(name)).map_or("", String::as_str)
}

#[test]
fn counts_of_all_suites_are_added_up() {
    let budget = suite("cargo", "echo test result: ok. 12 passed\\\\; 0 failed\\\\; 1 ignored", "minutes = 1")
        + &suite("own", "echo 3 passed, 0 failed", "minutes = 1")
        + &suite("silent", "true", "minutes = 1");
    let (summary, code) = run("counts", &budget);
    assert_eq!(summary.last().map(String::as_str), Some("16 passed, 0 failed"), "{summary:?}");
    assert_eq!(code, Some(0));
}

#[test]
fn a_failed_case_or_a_bad_exit_fails_the_whole() {
    let budget = suite("cases", "echo 3 passed, 2 failed", "minutes = 1") + &suite("crashed", "exit 3", "minutes = 1");
    let (summary, code) = run("failed", &budget);
    assert!(line(&summary, "cases").ends_with("failed cases"), "{summary:?}");
    assert!(line(&summary, "crashed").ends_with("exit code 3"), "{summary:?}");
    assert_eq!(summary.last().map(String::as_str), Some("3 passed, 3 failed"));
    assert_eq!(code, Some(1));
}

#[test]
fn a_suite_over_twice_its_budget_is_stopped_with_what_it_started() {
    let mark = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("survived");
    let slow = format!("(sleep 600; touch {}) & sleep 600", mark.display());
    let (summary, code) = run("slow", &suite("slow", &slow, "minutes = 0.005"));
    assert!(line(&summary, "slow").contains("over twice its budget"), "{summary:?}");
    assert_eq!(code, Some(1));
    assert!(!mark.exists());
}

#[test]
fn what_comes_after_a_failure_is_not_run_and_counts_as_failed() {
    let budget = suite("build", "false", "minutes = 1")
        + &suite("unit", "echo 5 passed, 0 failed", "minutes = 1\nafter = \"build\"");
    let (summary, code) = run("after", &budget);
    assert!(line(&summary, "unit").ends_with("not run: build failed"), "{summary:?}");
    assert_eq!(summary.last().map(String::as_str), Some("0 passed, 2 failed"));
    assert_eq!(code, Some(1));
}
