//! What has to happen before seeds prove anything.
//!
//! Owns the list of rare events: a set of seeds during which one of them never happened has not tested what it is for.

use std::collections::BTreeMap;

/// Counted by name in [`crate::Report::counts`].
pub const RARE: &[&str] = &[
    "acked all",
    "acked by the leader",
    "answer held: unconfirmed",
    "crash with an unacked tail",
    "damage in a crash",
    "deaf before it died",
    "election with an unacked tail",
    "disk restored",
    "elr election",
    "empty disk",
    "failed write",
    "five brokers",
    "flapping",
    "freeze",
    "gap",
    "held until its time was up",
    "held until the next epoch",
    "isr expand",
    "isr shrink",
    "late loop",
    "leadership ended",
    "one-way partition",
    "planned stop",
    "power loss",
    "pushed on the catch-up connection",
    "refused: epoch ends",
    "refused: too few in sync",
    "refused: unconfirmed leader",
    "removed as the leader has",
    "retention",
    "retry found in the log",
    "settling a change",
    "silent controller",
    "slow leader hands over",
    "split",
    "stale ack ignored",
    "stalled before it died",
    "stale assignment ignored",
    "stale message ignored",
    "start over",
    "suspect at the start",
    "suspect log",
    "timed out",
    "told that the write failed",
    "truncation",
    "unclean election",
    "watermark not shown after an election",
];

/// Which rare events are not among `counts`.
pub fn never(counts: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    RARE.iter().copied().filter(|what| !counts.contains_key(what)).collect()
}
