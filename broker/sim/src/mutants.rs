//! Canary mutants: with one rule less an oracle has to notice, under the ordinary seeds.
//!
//! Owns the table of who is noticed when, kept in MUTANTS.md: `make sim-mutants` writes it, a test checks every row. A
//! mutant that is only seen at the end of a run, because something does not come right, does not count as noticed.

use ottla_core::replica::{Rule, Rules};

use crate::{Violation, run};

/// The table as it is kept.
pub const TABLE: &str = include_str!("../MUTANTS.md");

const HEAD: &str = "# Canary mutants

Each row is the replication machine with one rule less (`Rule` in broker/core/src/replica/rules.rs), the oracle that notices
first, and how many of the ordinary seeds, from 0 on, it takes. A survivor is a bug in the simulation. Written by
`make sim-mutants`; a test runs the last seed of every row.

| without | noticed by | seeds needed |
|---|---|---|
";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The rule that is missing.
    pub rule: Rule,
    /// The invariant whose oracle notices; `None` for a survivor.
    pub oracle: Option<String>,
    /// How many seeds it takes: the last one notices.
    pub seeds: u64,
}

/// What an oracle says of one seed without one rule; a seed that breaks something with every rule in place says nothing.
pub fn notice(rule: Rule, seed: u64) -> Option<Violation> {
    let violation = run(seed, Rules::without(rule)).err()?.violation;
    let counts = violation.invariant != "Liveness" && run(seed, Rules::default()).is_ok();
    counts.then_some(violation)
}

/// Searches the seeds from 0 on, at most `limit` of them.
pub fn search(rule: Rule, limit: u64) -> Row {
    let found = (0..limit).find_map(|seed| notice(rule, seed).map(|violation| (seed, violation)));
    match found {
        Some((seed, violation)) => Row { rule, oracle: Some(violation.invariant.to_owned()), seeds: seed + 1 },
        None => Row { rule, oracle: None, seeds: limit },
    }
}

/// The whole page.
pub fn write(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    for Row { rule, oracle, seeds } in rows {
        page += &format!("| {rule:?} | {} | {seeds} |\n", oracle.as_deref().unwrap_or("nobody"));
    }
    page
}

/// The rows of a page; lines that are none are left out.
pub fn read(page: &str) -> Vec<Row> {
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (name, oracle, seeds) = (cells.next()?, cells.next()?, cells.next()?.parse().ok()?);
        let rule = Rule::ALL.into_iter().find(|rule| format!("{rule:?}") == name)?;
        Some(Row { rule, oracle: (oracle != "nobody").then(|| oracle.to_owned()), seeds })
    };
    page.lines().filter_map(row).collect()
}
