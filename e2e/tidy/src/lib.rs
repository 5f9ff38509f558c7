//! The rules of the house, as tests.
//!
//! Owns what can be checked about the tree without building it: layers, sizes, headers, modules, words, lints, who may
//! know what. A rule is a function from a `Tree` to findings, so that each is tested twice: on the real tree, where it
//! finds nothing, and on a small tree that breaks it on purpose. It must never change a file, and never look outside
//! the checkout.

mod authorization;
mod functions;
mod headers;
mod layers;
mod lints;
mod manifest;
mod modules;
mod only;
mod sizes;
mod source;
mod tree;
mod words;

pub use tree::{Finding, Tree};

/// A rule: its name, what it wants in one sentence, and the check itself.
pub struct Rule {
    /// Short and stable; findings and tests carry it.
    pub name: &'static str,
    /// What the rule wants.
    pub wants: &'static str,
    /// Every place where it does not hold.
    pub check: fn(&Tree) -> Vec<Finding>,
}

/// Every rule. `tests/tidy.rs` runs each on the checkout.
pub const RULES: &[Rule] = &[
    Rule { name: "layers", wants: "imports between our crates point down", check: layers::check },
    Rule {
        name: "only",
        wants: "RocksDB, Kubernetes and Kafka sockets are known in one place each",
        check: only::check,
    },
    Rule { name: "lints", wants: "every crate inherits the workspace's lints and allows nothing", check: lints::check },
    Rule { name: "headers", wants: "every file says first what it owns", check: headers::check },
    Rule { name: "sizes", wants: "no file is longer than 600 lines, tests apart", check: sizes::check },
    Rule { name: "functions", wants: "no function is longer than 70 lines", check: functions::check },
    Rule { name: "modules", wants: "foo.rs stands beside foo/, and every file is a module", check: modules::check },
    Rule { name: "words", wants: "nothing unfinished, ignored, slept on, or tied to one machine", check: words::check },
    Rule { name: "authorization", wants: "every API says what it needs to be allowed", check: authorization::check },
];
