//! What the rules need to know of a Cargo.toml.

use toml::{Table, Value};

/// One package's manifest.
pub(crate) struct Manifest {
    /// Of the manifest itself.
    pub(crate) path: String,
    /// Of the package, `""` or ending in `/`.
    pub(crate) folder: String,
    pub(crate) name: String,
    table: Table,
}

/// Which dependencies of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// In the product or in what builds it.
    Built,
    /// Only in its tests.
    Dev,
}

impl Manifest {
    pub(crate) fn parse(path: &str, text: &str) -> Option<Self> {
        let table: Table = text.parse().ok()?;
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        let folder = path.strip_suffix("Cargo.toml")?.to_owned();
        Some(Self { path: path.to_owned(), folder, name, table })
    }

    /// Whether `[lints] workspace = true`.
    pub(crate) fn inherits_lints(&self) -> bool {
        self.table.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) == Some(true)
    }

    /// Names of dependencies as crates.io knows them (a renamed one by its real name), platform tables included.
    pub(crate) fn dependencies(&self) -> Vec<(Kind, String)> {
        let mut tables = vec![&self.table];
        if let Some(targets) = self.table.get("target").and_then(Value::as_table) {
            tables.extend(targets.values().filter_map(Value::as_table));
        }
        let mut found = Vec::new();
        for table in tables {
            for (key, kind) in
                [("dependencies", Kind::Built), ("build-dependencies", Kind::Built), ("dev-dependencies", Kind::Dev)]
            {
                let Some(dependencies) = table.get(key).and_then(Value::as_table) else { continue };
                for (name, value) in dependencies {
                    let real = value.get("package").and_then(Value::as_str).unwrap_or(name);
                    found.push((kind, real.to_owned()));
                }
            }
        }
        found
    }

    /// Files that cargo compiles by itself: declared with a path, relative to the package.
    pub(crate) fn declared_roots(&self) -> Vec<String> {
        let mut roots = Vec::new();
        for key in ["bin", "test", "bench", "example"] {
            let targets = self.table.get(key).and_then(Value::as_array).into_iter().flatten();
            roots.extend(targets.filter_map(|target| target.get("path")?.as_str().map(str::to_owned)));
        }
        roots.extend(self.table.get("lib").and_then(|lib| lib.get("path")?.as_str().map(str::to_owned)));
        roots
    }
}
