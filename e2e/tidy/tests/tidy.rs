//! Runs every rule on this checkout.

use std::path::Path;

use ottla_tidy::{RULES, Tree};

fn check(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = Tree::read(&root).expect("the checkout can be read");
    assert!(tree.text("Cargo.toml").is_some(), "this is the checkout's root");
    let rule = RULES.iter().find(|rule| rule.name == name).expect("the rule exists");
    let findings = (rule.check)(&tree);
    for finding in &findings {
        eprintln!("{finding}");
    }
    assert!(findings.is_empty(), "{} places break the rule `{name}`: {}", findings.len(), rule.wants);
}

macro_rules! rules {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_rule_is_run() {
            let run = [$(stringify!($name)),*];
            let all: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
            assert_eq!(run.as_slice(), all.as_slice());
        }
    };
}

rules!(layers, only, lints, headers, sizes, functions, modules, words, authorization);
