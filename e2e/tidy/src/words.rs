//! Words that must not be in the tree: unfinished work, tests that do not run, waiting by the clock, and anything that
//! is only true on one machine.

use crate::tree::{Finding, Tree};

/// Written in two halves, so that this file does not contain them.
const IN_RUST: [(&str, &str); 6] = [
    (concat!("to", "do!"), "finish it, or leave it out and say so in the README"),
    (concat!("unimpl", "emented!"), "finish it, or leave it out and say so in the README"),
    (concat!("db", "g!("), "use tracing"),
    (concat!("#[ig", "nore"), "a test that does not run is not a test"),
    (concat!("thread::", "sleep"), "wait for a condition with a deadline"),
    (concat!("panic = \"ab", "ort\""), "panics unwind; the broker's main installs a hook"),
];

const ANYWHERE: [(&str, &str); 11] = [
    (concat!("<<<", "<<<< "), "a merge that was not finished"),
    (concat!(">>>", ">>>> "), "a merge that was not finished"),
    (concat!("FIX", "ME"), "fix it, or say in the README what does not work"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("arti", "factory"), "a host that only one network has"),
    (concat!("registry.np", "mjs.org"), "leave registries to their clients' settings"),
    (concat!("index.crat", "es.io"), "leave registries to their clients' settings"),
    (concat!("repo1.ma", "ven.org"), "leave registries to their clients' settings"),
    (concat!("proxy.gol", "ang.org"), "leave registries to their clients' settings"),
    (concat!("files.pyth", "onhosted.org"), "leave registries to their clients' settings"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.files() {
        let rust = path.ends_with(".rs");
        for (index, line) in text.lines().enumerate() {
            let words = IN_RUST.iter().filter(|_| rust).chain(&ANYWHERE);
            found.extend(
                words
                    .filter(|(word, _)| line.contains(word))
                    .map(|(word, instead)| Finding::at(path, index, format!("`{word}`: {instead}"))),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found() {
        for (word, _) in IN_RUST {
            assert_eq!(check(&Tree::of(&[("a/src/b.rs", &format!("x\n    {word} y"))])).len(), 1, "{word}");
            assert_eq!(check(&Tree::of(&[("a/b.md", word)])).len(), 0, "{word} may be talked about");
        }
        for (word, _) in ANYWHERE {
            assert_eq!(check(&Tree::of(&[("a/b.md", &format!("x {word} y"))])).len(), 1, "{word}");
        }
    }

    #[test]
    fn a_finding_names_the_line() {
        let found = check(&Tree::of(&[("a.sh", concat!("x\ncd /wo", "rk/main\n"))]));
        assert_eq!(found.first().map(|f| f.line), Some(2));
    }
}
