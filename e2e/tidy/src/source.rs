//! How the rules read a Rust file: what is generated, what is a test.

/// Whether nobody wrote this file by hand.
pub(crate) fn generated(path: &str, text: &str) -> bool {
    path.contains("/generated/")
        || path.ends_with("/generated.rs")
        || text.lines().take(5).any(|l| l.contains("@generated"))
}

/// Whether the whole file is a test, a benchmark or an example; the conformance suite of a trait is a test too.
pub(crate) fn test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples"))
        || path.ends_with("/tests.rs")
        || path.ends_with("/conformance.rs")
}

/// How many lines come before the file's own test module.
pub(crate) fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let starts = |index: usize| {
        lines[index].trim() == "#[cfg(test)]"
            && lines[index + 1..].iter().find(|line| !line.trim_start().starts_with("#[")).is_some_and(|line| {
                let line = line.trim();
                line.starts_with("mod ") && line.ends_with('{')
            })
    };
    (0..lines.len()).find(|index| starts(*index)).unwrap_or(lines.len())
}

/// The lines that become part of the product: numbered from 0, tests and comments left out.
pub(crate) fn product_lines<'a>(path: &str, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let end = if test_file(path) { 0 } else { lines_before_tests(text) };
    text.lines().enumerate().take(end).filter(|(_, line)| !line.trim_start().starts_with("//"))
}
