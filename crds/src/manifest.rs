//! Reading manifests: the YAML files that people write, checked against the definitions as the API server would.
//!
//! Owns every sentence that a person reads about a mistake in a file: which file, which line, which field, what was
//! expected and what may have been meant. All mistakes of all files are found in one pass. Must never guess: a manifest
//! is taken whole or refused whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube::ResourceExt;

use crate::{Cluster, Connector, Topic, User};

mod check;
mod document;
mod locate;
mod path;
mod problem;
mod rules;
mod schema;

pub use path::{FieldPath, Segment};
pub use problem::{Fact, Problem, Problems, nearest};

/// Everything that a set of files declares.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The Clusters, in the order of the files.
    pub clusters: Vec<Declared<Cluster>>,
    /// The Topics, in the order of the files.
    pub topics: Vec<Declared<Topic>>,
    /// The Users, in the order of the files.
    pub users: Vec<Declared<User>>,
    /// The Connectors, in the order of the files.
    pub connectors: Vec<Declared<Connector>>,
    /// Resources of other groups, which were not read.
    pub skipped: Vec<Skipped>,
}

/// A resource and where it stands.
#[derive(Clone, Debug)]
pub struct Declared<T> {
    /// The resource.
    pub resource: T,
    /// Where it stands.
    pub source: Source,
}

/// A resource of another group, which was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: String,
    /// The line of its first field.
    pub line: usize,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
}

/// Where a document stands: enough to find the line of any of its fields again.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// How many lines of the file stand before the document.
    lines_before: usize,
    /// The document.
    text: Arc<str>,
}

impl Source {
    /// The line of a field in its file, or of the nearest field around it that exists.
    pub fn line(&self, path: &FieldPath) -> usize {
        self.lines_before + locate::line(&self.text, path)
    }

    /// A problem with a field of this document.
    pub fn problem(&self, path: FieldPath, fact: Fact) -> Problem {
        Problem { file: self.file.to_string(), line: Some(self.line(&path)), path, fact }
    }
}

/// Reads files and folders (their `.yaml`, `.yml` and `.json` files, not those of folders within).
pub fn load(paths: &[PathBuf]) -> Result<Manifest, Problems> {
    let mut manifest = Manifest::default();
    let mut problems = Vec::new();
    for path in paths {
        match files(path) {
            Ok(files) => {
                for file in files {
                    match fs::read_to_string(&file) {
                        Ok(text) => read(&mut manifest, &mut problems, &file.display().to_string(), &text),
                        Err(error) => {
                            problems.push(Problem::file(&file, Fact::Unreadable { error: error.to_string() }))
                        }
                    }
                }
            }
            Err(fact) => problems.push(Problem::file(path, fact)),
        }
    }
    finish(manifest, problems)
}

/// Reads the text of one file.
pub fn parse(file: &str, text: &str) -> Result<Manifest, Problems> {
    let mut manifest = Manifest::default();
    let mut problems = Vec::new();
    read(&mut manifest, &mut problems, file, text);
    finish(manifest, problems)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Fact> {
    let unreadable = |error: std::io::Error| Fact::Unreadable { error: error.to_string() };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let known =
            file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|name| extension == *name));
        if known && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() { Err(Fact::EmptyFolder) } else { Ok(files) }
}

fn read(manifest: &mut Manifest, problems: &mut Vec<Problem>, file: &str, text: &str) {
    let file: Arc<str> = file.into();
    for document in document::split(text) {
        let source =
            Source { file: Arc::clone(&file), lines_before: document.lines_before, text: document.text.into() };
        if let Err(mut found) = document::read(manifest, source) {
            problems.append(&mut found);
        }
    }
}

fn finish(manifest: Manifest, mut problems: Vec<Problem>) -> Result<Manifest, Problems> {
    check_twice(&manifest, &mut problems);
    if problems.is_empty() { Ok(manifest) } else { Err(Problems(problems)) }
}

/// A name may be declared once; a topic may be declared by one resource only.
fn check_twice(manifest: &Manifest, problems: &mut Vec<Problem>) {
    names("Cluster", &manifest.clusters, problems);
    names("Topic", &manifest.topics, problems);
    names("User", &manifest.users, problems);
    names("Connector", &manifest.connectors, problems);
    let mut first: BTreeMap<(Option<String>, &str, &str), &Declared<Topic>> = BTreeMap::new();
    for topic in &manifest.topics {
        let key =
            (topic.resource.namespace(), topic.resource.spec.cluster_ref.name.as_str(), topic.resource.topic_name());
        match first.get(&key) {
            Some(other) if other.resource.metadata.name != topic.resource.metadata.name => {
                let path = FieldPath::root().field("spec").field("topicName");
                let what = format!("topic {:?}", topic.resource.topic_name());
                problems.push(topic.source.problem(path.clone(), Fact::twice(what, &other.source, &path)));
            }
            Some(_) => {}
            None => {
                first.insert(key, topic);
            }
        }
    }
}

fn names<T: ResourceExt>(kind: &str, declared: &[Declared<T>], problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<(Option<String>, String), &Source> = BTreeMap::new();
    for one in declared {
        let path = FieldPath::root().field("metadata").field("name");
        let name = one.resource.name_any();
        if let Some(other) = first.get(&(one.resource.namespace(), name.clone())) {
            problems.push(one.source.problem(path.clone(), Fact::twice(format!("{kind} {name:?}"), other, &path)));
        } else {
            first.insert((one.resource.namespace(), name), &one.source);
        }
    }
}
