//! No file is longer than 600 lines; tests and generated code do not count.

use crate::source::{generated, lines_before_tests, test_file};
use crate::tree::{Finding, Tree};

const LINES_MAX: usize = 600;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        if test_file(path) || generated(path, text) {
            continue;
        }
        let lines = lines_before_tests(text);
        if lines > LINES_MAX {
            found.push(Finding::whole(path, format!("{lines} lines; split it before it has {LINES_MAX}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let found = |path, text: &str| check(&Tree::of(&[(path, text)])).len();
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(found("a/src/b.rs", &long), 1);
        assert_eq!(found("a/src/b.rs", &long[2..]), 0, "exactly the limit");
        assert_eq!(found("a/src/b/tests.rs", &long), 0, "a test file");
        assert_eq!(found("a/tests/b.rs", &long), 0, "an integration test");
        assert_eq!(found("a/src/generated/b.rs", &long), 0, "generated");
        assert_eq!(found("a/src/b.rs", &format!("x\n#[cfg(test)]\nmod tests {{\n{long}}}\n")), 0, "tests do not count");
        assert_eq!(found("a/src/b.rs", &format!("#[cfg(test)]\nmod tests;\n{long}")), 1, "a declaration ends nothing");
    }
}
