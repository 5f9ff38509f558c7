//! `foo.rs` stands beside `foo/`, never `mod.rs`; and every Rust file is reached from a root of its crate, because a
//! file that is no module is never compiled and rots unseen.

use std::collections::BTreeSet;

use crate::manifest::Manifest;
use crate::tree::{Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let packages = tree.packages();
    let mut reached = BTreeSet::new();
    for package in &packages {
        for root in roots(tree, package) {
            follow(tree, &root, true, &mut reached);
        }
    }
    for (path, _) in tree.rust() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name == "mod.rs" {
            found.push(Finding::whole(path, format!("name it {folder}.rs")));
        } else if !reached.contains(path) {
            found.push(Finding::whole(path, "dead: no `mod` declaration reaches this file"));
        }
    }
    found
}

/// Where cargo begins to compile a package.
fn roots(tree: &Tree, package: &Manifest) -> Vec<String> {
    let folder = &package.folder;
    let mut roots: Vec<String> = package.declared_roots().iter().map(|path| format!("{folder}{path}")).collect();
    for (path, _) in tree.rust() {
        let Some(inside) = path.strip_prefix(folder.as_str()) else { continue };
        let by_convention = matches!(inside, "src/lib.rs" | "src/main.rs" | "build.rs")
            || ["src/bin/", "tests/", "benches/", "examples/"].iter().any(|start| {
                inside.strip_prefix(start).is_some_and(|rest| !rest.contains('/') || rest.ends_with("/main.rs"))
            });
        if by_convention {
            roots.push(path.to_owned());
        }
    }
    roots
}

/// Marks a file and everything that its `mod` declarations and `include!`s reach.
fn follow(tree: &Tree, path: &str, root: bool, reached: &mut BTreeSet<String>) {
    let Some(text) = tree.text(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.trim_end_matches(".rs");
    let children = if root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut inline = vec![children.clone()];
    let mut path_attribute = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path_attribute = rest.split('"').next();
        } else if let Some(rest) = line.split("include!(\"").nth(1) {
            let included = rest.split('"').next().unwrap_or_default();
            follow(tree, &format!("{folder}/{included}"), false, reached);
        } else if let Some((module, declared)) = module(line) {
            if !declared {
                inline.push(format!("{children}/{module}"));
            } else if let Some(at) = path_attribute.take() {
                follow(tree, &format!("{folder}/{at}"), false, reached);
            } else {
                for parent in inline.clone() {
                    follow(tree, &format!("{parent}/{module}.rs"), false, reached);
                    follow(tree, &format!("{parent}/{module}/mod.rs"), false, reached);
                }
            }
        }
    }
}

/// `mod name;` is declared (its file is elsewhere), `mod name {` is inline.
fn module(line: &str) -> Option<(&str, bool)> {
    let line = line.split("//").next()?.trim();
    let rest = match line.strip_prefix("pub") {
        Some(visible) if visible.starts_with('(') => visible.split_once(')')?.1.trim_start(),
        Some(visible) => visible.trim_start(),
        None => line,
    };
    let rest = rest.strip_prefix("mod ")?;
    if let Some(name) = rest.strip_suffix(';') {
        return Some((name.trim(), true));
    }
    rest.strip_suffix('{').map(|name| (name.trim(), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: (&str, &str) = ("a/Cargo.toml", "[package]\nname = \"a\"\n");

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![PACKAGE];
        all.extend(files);
        check(&Tree::of(&all)).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        assert_eq!(dead(&[("a/src/lib.rs", "mod b;\n"), ("a/src/b.rs", "")]), [""; 0]);
        assert_eq!(dead(&[("a/src/lib.rs", "// mod b;\n"), ("a/src/b.rs", "")]), ["a/src/b.rs"]);
        assert_eq!(dead(&[("a/src/lib.rs", "mod b;\n"), ("a/src/b.rs", ""), ("a/src/b/c.rs", "")]), ["a/src/b/c.rs"]);
    }

    #[test]
    fn every_way_to_reach_a_file_counts() {
        let lib = "pub mod b;\npub(crate) mod c { mod d; }\nmod e {\n    pub(super) mod f;\n}\n#[path = \"odd.rs\"]\nmod g;\n";
        let files = [
            ("a/src/lib.rs", lib),
            ("a/src/b.rs", "mod deep; // with a word\ninclude!(\"table.rs\");\n"),
            ("a/src/b/deep.rs", ""),
            ("a/src/table.rs", ""),
            ("a/src/e/f.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/tests/outside.rs", "mod helper;\n"),
            ("a/tests/helper.rs", ""),
            ("a/build.rs", ""),
        ];
        assert_eq!(dead(&files), [""; 0]);
    }

    #[test]
    fn a_declared_target_is_a_root() {
        let manifest = "[package]\nname = \"a\"\n[[bin]]\nname = \"x\"\npath = \"targets/x.rs\"\n";
        let tree = Tree::of(&[("a/Cargo.toml", manifest), ("a/targets/x.rs", ""), ("a/targets/y.rs", "")]);
        let found: Vec<String> = check(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["a/targets/y.rs"]);
    }

    #[test]
    fn mod_rs_is_found() {
        assert_eq!(dead(&[("a/src/lib.rs", "mod b;\n"), ("a/src/b/mod.rs", "")]), ["a/src/b/mod.rs"]);
    }
}
