//! Every Rust file opens with `//!`: what it owns, what it must never do.

use crate::tree::{Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().filter(|(_, text)| !opens_with_header(text)).map(|(path, _)| Finding::whole(path, WANTED)).collect()
}

const WANTED: &str = "open the file with `//!`: what it owns and what it must never do";

/// Attributes of the whole crate may come first.
fn opens_with_header(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("#!["));
    lines.next().and_then(|line| line.strip_prefix("//!")).is_some_and(|words| words.trim().len() >= 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_header_is_found() {
        let found = |text| check(&Tree::of(&[("a/src/lib.rs", text)])).len();
        assert_eq!(found("//! Owns the words.\nuse x;\n"), 0);
        assert_eq!(found("#![no_main]\n//! Feeds the decoder.\n"), 0);
        assert_eq!(found("use x;\n//! Owns the words, too late.\n"), 1);
        assert_eq!(found("//!\nuse x;\n"), 1, "an empty header says nothing");
        assert_eq!(found("// Owns the words.\n"), 1);
        assert_eq!(found(""), 1);
    }
}
