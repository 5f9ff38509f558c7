//! Every crate inherits the workspace's lints, and no file switches one off without a reason.

use crate::source::generated;
use crate::tree::{Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for manifest in tree.packages() {
        if !manifest.inherits_lints() {
            found.push(Finding::whole(&manifest.path, "add `[lints] workspace = true`"));
        }
    }
    for (path, text) in tree.rust().filter(|(path, text)| !generated(path, text)) {
        for (index, line) in text.lines().enumerate() {
            if switches_off(line) {
                found.push(Finding::at(path, index, "use #[expect(..., reason = \"...\")]"));
            }
        }
    }
    found
}

fn switches_off(line: &str) -> bool {
    let line = line.trim_start();
    [concat!("#[al", "low("), concat!("#![al", "low(")].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_does_not_inherit_is_found() {
        let found =
            |lints: &str| check(&Tree::of(&[("a/Cargo.toml", &format!("[package]\nname = \"a\"\n{lints}"))])).len();
        assert_eq!(found("[lints]\nworkspace = true\n"), 0);
        assert_eq!(found("lints.workspace = true\n"), 1, "that is package.lints, which means nothing");
        assert_eq!(found("[lints]\nworkspace = false\n"), 1);
        assert_eq!(found("[lints.rust]\nunsafe_code = \"forbid\"\n"), 1);
        assert_eq!(found(""), 1);
    }

    #[test]
    fn a_lint_that_is_switched_off_is_found() {
        let found = |line: &str| check(&Tree::of(&[("a/src/lib.rs", line)])).len();
        assert_eq!(found(concat!("    #[al", "low(dead_code)]")), 1);
        assert_eq!(found(concat!("#![al", "low(missing_docs)]")), 1);
        assert_eq!(found("#[expect(dead_code, reason = \"the next commit uses it\")]"), 0);
    }
}
