//! A function fits a screen: 70 lines from its first word to its closing brace.
//!
//! Relies on rustfmt's shape (a closing brace stands under the first word), which `make check` has already asked for.

use crate::source::{generated, lines_before_tests, test_file};
use crate::tree::{Finding, Tree};

const LINES_MAX: usize = 70;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.rust() {
        if test_file(path) || generated(path, text) {
            continue;
        }
        let lines: Vec<&str> = text.lines().take(lines_before_tests(text)).collect();
        for (start, line) in lines.iter().enumerate() {
            let Some((indent, name)) = function(line) else { continue };
            let end = lines[start..].iter().position(|line| closes(line, indent)).unwrap_or(0);
            if end + 1 > LINES_MAX {
                let what = format!("`{name}` has {} lines; {LINES_MAX} fit a screen", end + 1);
                found.push(Finding::at(path, start, what));
            }
        }
    }
    found
}

/// The indentation and the name of the function that begins on this line.
fn function(line: &str) -> Option<(usize, &str)> {
    let words = line.trim_start();
    let indent = line.len() - words.len();
    let at = if words.starts_with("fn ") { 0 } else { words.find(" fn ")? + 1 };
    let modifiers = words[..at].split_whitespace();
    let plain = |word: &str| matches!(word, "pub" | "async" | "const" | "extern") || word.starts_with("pub(");
    if !modifiers.into_iter().all(|word| plain(word) || word.ends_with(')')) {
        return None;
    }
    // A macro's `fn $name` has the shape that the macro gave it.
    let name = words[at + 3..].split(['(', '<']).next().filter(|name| !name.starts_with('$'))?;
    Some((indent, name))
}

/// The line that ends an item with this indentation: its brace, or the `;` of a declaration without a body.
fn closes(line: &str, indent: usize) -> bool {
    let words = line.trim_start();
    let own = line.len() - words.len() == indent;
    own && (words == "}"
        || words.ends_with('}') && function(line).is_some()
        || words.ends_with(';') && !words.contains("let "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check(&Tree::of(&[("a/src/b.rs", text)])).into_iter().map(|finding| finding.to_string()).collect()
    }

    fn body(lines: usize) -> String {
        "        work();\n".repeat(lines)
    }

    #[test]
    fn a_function_longer_than_a_screen_is_found() {
        let text = format!("impl A {{\n    pub(crate) async fn b(&self) {{\n{}    }}\n}}\n", body(LINES_MAX - 1));
        assert_eq!(found(&text), ["a/src/b.rs:2: `b` has 71 lines; 70 fit a screen"]);
        assert_eq!(found(&text.replacen("        work();\n", "", 1)), [""; 0]);
    }

    #[test]
    fn what_ends_early_does_not_run_into_the_next() {
        let trait_text =
            format!("trait A {{\n    fn b(&self) -> u8;\n    fn c() {{}}\n}}\nstruct D {{\n{}}}\n", body(90));
        assert_eq!(found(&trait_text), [""; 0]);
    }

    #[test]
    fn tests_may_be_long() {
        let text = format!("#[cfg(test)]\nmod tests {{\n    fn b() {{\n{}    }}\n}}\n", body(90));
        assert_eq!(found(&text), [""; 0]);
    }
}
