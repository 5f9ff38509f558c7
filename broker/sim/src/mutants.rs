//! Canary mutants: with one rule less an oracle has to notice, under the ordinary seeds.
//!
//! Owns what can be taken away, of the replica machine, of the controller machine, and of what a broker's shell does around
//! them; and the table of who is noticed when, kept in MUTANTS.md: `make sim-mutants` writes it, a test checks every row. A
//! mutant that is only seen at the end of a run, because something does not come right, does not count as noticed.

use ottla_core::controller::rules::Rule as ControllerRule;
use ottla_core::replica::Rule as ReplicaRule;

use crate::{Violation, run};

/// What a broker's shell has to do for its machines, each a value that the simulation can switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShellRule {
    /// Metadata is copied to the disk, durably, before anything is done for it (A2, A4).
    CopiedBeforeActing,
    /// Metadata of a deposed controller, or of an earlier state, is not acted on (A2, A4).
    MetadataGoesForward,
    /// A write whose answer was lost is not taken for done (A4).
    LostAnswersAreUnknown,
    /// Documents are only written over what they are expected to be (A1).
    WritesCompare,
    /// What a broker has taken in since it started counts when it claims (A7).
    OwnMetadataCounts,
    /// The controller is told how far a disk's journal is (A9).
    JournalsAreTold,
    /// The controller is told at the start which logs are damaged (R12).
    SuspectsAreTold,
    /// A controller confirms its own leaders only while most brokers are heard (R13).
    MajorityConfirms,
    /// A broker counts as heard as of when it is known to have followed: what it says may have been under way for long
    /// (R13).
    BeatsAreEchoed,
    /// Who does not decide confirms nobody's leaders (R13).
    WhoDecidesConfirms,
    /// A controller that a later one is known to have succeeded confirms nothing, and nobody follows it (R13).
    SuccessorsEndTerms,
}

impl ShellRule {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::CopiedBeforeActing,
        Self::MetadataGoesForward,
        Self::LostAnswersAreUnknown,
        Self::WritesCompare,
        Self::OwnMetadataCounts,
        Self::JournalsAreTold,
        Self::SuspectsAreTold,
        Self::MajorityConfirms,
        Self::BeatsAreEchoed,
        Self::WhoDecidesConfirms,
        Self::SuccessorsEndTerms,
    ];
}

/// One rule that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Of the replica machine.
    Replica(ReplicaRule),
    /// Of the controller machine.
    Controller(ControllerRule),
    /// Of the shell around them.
    Shell(ShellRule),
}

impl Mutant {
    /// Every mutant.
    pub fn all() -> Vec<Self> {
        let replica = ReplicaRule::ALL.into_iter().map(Self::Replica);
        let controller = ControllerRule::EVERY.into_iter().map(Self::Controller);
        replica.chain(controller).chain(ShellRule::ALL.into_iter().map(Self::Shell)).collect()
    }

    fn rule(self) -> String {
        match self {
            Self::Replica(rule) => format!("{rule:?}"),
            Self::Controller(rule) => format!("{rule:?}"),
            Self::Shell(rule) => format!("{rule:?}"),
        }
    }

    fn of(self) -> &'static str {
        match self {
            Self::Replica(_) => "replica",
            Self::Controller(_) => "controller",
            Self::Shell(_) => "shell",
        }
    }
}

/// The table as it is kept.
pub const TABLE: &str = include_str!("../MUTANTS.md");

const HEAD: &str = "# Canary mutants

Each row is a simulated cluster with one rule less: of the replica machine (`Rule` in broker/core/src/replica/rules.rs), of
the controller machine (broker/core/src/controller/rules.rs), or of the shell around them (broker/sim/src/mutants.rs). Beside
it the oracle that notices first, and how many of the ordinary seeds, from 0 on, it takes. A survivor is a bug in the
simulation, unless the test that reads this table says why not. Written by `make sim-mutants`; a test runs the last seed of
every row.

| of the | without | noticed by | seeds needed |
|---|---|---|---|
";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The rule that is missing.
    pub mutant: Mutant,
    /// The invariant whose oracle notices; `None` for a survivor.
    pub oracle: Option<String>,
    /// How many seeds it takes: the last one notices.
    pub seeds: u64,
}

/// What an oracle says of one seed without one rule; a seed that breaks something with every rule in place says nothing.
pub fn notice(mutant: Mutant, seed: u64) -> Option<Violation> {
    let violation = run(seed, Some(mutant)).err()?.violation;
    let counts = violation.invariant != "Liveness" && run(seed, None).is_ok();
    counts.then_some(violation)
}

/// Searches the seeds from 0 on, at most `limit` of them.
pub fn search(mutant: Mutant, limit: u64) -> Row {
    let found = (0..limit).find_map(|seed| notice(mutant, seed).map(|violation| (seed, violation)));
    match found {
        Some((seed, violation)) => Row { mutant, oracle: Some(violation.invariant.to_owned()), seeds: seed + 1 },
        None => Row { mutant, oracle: None, seeds: limit },
    }
}

/// The whole page.
pub fn write(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    for Row { mutant, oracle, seeds } in rows {
        let (of, rule, oracle) = (mutant.of(), mutant.rule(), oracle.as_deref().unwrap_or("nobody"));
        page += &format!("| {of} | {rule} | {oracle} | {seeds} |\n");
    }
    page
}

/// The rows of a page; lines that are none are left out.
pub fn read(page: &str) -> Vec<Row> {
    let all = Mutant::all();
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (of, name, oracle) = (cells.next()?, cells.next()?, cells.next()?);
        let seeds = cells.next()?.parse().ok()?;
        let mutant = all.iter().copied().find(|mutant| mutant.of() == of && mutant.rule() == name)?;
        Some(Row { mutant, oracle: (oracle != "nobody").then(|| oracle.to_owned()), seeds })
    };
    page.lines().filter_map(row).collect()
}
