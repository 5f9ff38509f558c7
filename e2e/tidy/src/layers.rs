//! Imports between our crates point down.
//!
//! Owns the table of who may use whom. A crate without a row fails: a new crate is a decision.

use crate::manifest::Kind;
use crate::tree::{Finding, Tree};

/// A crate and those of ours that it may use; `*` is all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("ottla-wire", &[]),
    ("ottla-crds", &[]),
    ("ottla-core", &["ottla-wire"]),
    ("ottla-log", &["ottla-core", "ottla-wire"]),
    ("ottla-state", &["ottla-core", "ottla-wire"]),
    ("ottla-rpc", &["ottla-core", "ottla-wire"]),
    ("ottla-coordination", &["ottla-core", "ottla-crds", "ottla-rpc"]),
    ("ottla-sim", &["ottla-core", "ottla-wire"]),
    ("ottla-broker", &["ottla-wire", "ottla-core", "ottla-log", "ottla-state", "ottla-coordination", "ottla-rpc"]),
    ("ottla-operator", &["ottla-client", "ottla-coordination", "ottla-core", "ottla-crds", "ottla-rpc", "ottla-wire"]),
    ("ottla-client", &["ottla-core", "ottla-wire"]),
    ("ottla-columns", &[]),
    (
        "ottla-cli",
        &[
            "ottla-client",
            "ottla-columns",
            "ottla-rpc",
            "ottla-crds",
            "ottla-log",
            "ottla-core",
            "ottla-wire",
            "ottla-dev",
        ],
    ),
    ("ottla-dev", &["*"]),
    ("ottla-kubectl", &["ottla-columns", "ottla-crds", "ottla-wire"]),
    ("ottla-tidy", &[]),
];

/// What a crate under e2e/ may use: clients like any other, and the decoders that are fuzzed and measured.
const E2E_MAY_USE: &[&str] = &["ottla-client", "ottla-rpc", "ottla-crds", "ottla-wire", "ottla-core", "ottla-log"];

/// Tests may also use the one client, and machines from below, without becoming part of the product.
const TESTS_MAY_USE: &[&str] = &["ottla-client", "ottla-wire", "ottla-core"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for manifest in tree.packages() {
        let row = MAY_USE.iter().find(|(name, _)| *name == manifest.name).map(|(_, may)| *may);
        let Some(may) = row.or(manifest.folder.starts_with("e2e/").then_some(E2E_MAY_USE)) else {
            found.push(Finding::whole(&manifest.path, format!("{} has no row in the table of layers", manifest.name)));
            continue;
        };
        for (kind, used) in manifest.dependencies() {
            let ours = used.starts_with("ottla-");
            let below = may.contains(&"*") || may.contains(&used.as_str());
            let in_tests = kind == Kind::Dev && (TESTS_MAY_USE.contains(&used.as_str()) || used == manifest.name);
            if ours && !below && !in_tests {
                found.push(Finding::whole(&manifest.path, format!("{} must not use {used}", manifest.name)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, folder: &str, dependencies: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"{name}\"\n{dependencies}");
        check(&Tree::of(&[(&format!("{folder}/Cargo.toml"), &manifest)])).into_iter().map(|f| f.what).collect()
    }

    #[test]
    fn an_import_that_points_up_is_found() {
        assert_eq!(found("ottla-log", "broker/log", "[dependencies]\nottla-core.workspace = true\n"), [""; 0]);
        assert_eq!(
            found("ottla-core", "broker/core", "[dependencies]\nottla-log.workspace = true\n"),
            ["ottla-core must not use ottla-log"]
        );
        assert_eq!(
            found("ottla-wire", "broker/wire", "[build-dependencies]\nottla-core = { path = \"../core\" }\n"),
            ["ottla-wire must not use ottla-core"]
        );
        assert_eq!(
            found(
                "ottla-client",
                "clients/kafka",
                "[dependencies]\nx = { package = \"ottla-broker\", path = \"..\" }\n"
            ),
            ["ottla-client must not use ottla-broker"],
            "a new name hides nothing"
        );
        assert_eq!(
            found("ottla-cli", "clients/cli", "[target.'cfg(unix)'.dependencies]\nottla-broker.workspace = true\n"),
            ["ottla-cli must not use ottla-broker"],
            "nor does a platform"
        );
    }

    #[test]
    fn tests_may_use_the_client_and_nothing_above() {
        assert_eq!(found("ottla-broker", "broker", "[dev-dependencies]\nottla-client.workspace = true\n"), [""; 0]);
        assert_eq!(
            found("ottla-broker", "broker", "[dev-dependencies]\nottla-dev.workspace = true\n"),
            ["ottla-broker must not use ottla-dev"]
        );
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        assert_eq!(found("ottla-new", "new", ""), ["ottla-new has no row in the table of layers"]);
        assert_eq!(found("ottla-new", "e2e/new", ""), [""; 0]);
    }
}
