//! What can be wrong with a manifest, one fact each, and the sentences that say so.

use std::fmt;
use std::path::Path;

use super::{FieldPath, Source};

/// One mistake and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1; `None` if the file could not be read.
    pub line: Option<usize>,
    /// The field; the root if the whole document is meant.
    pub path: FieldPath,
    /// What is wrong.
    pub fact: Fact,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fact {
    /// The file cannot be read.
    #[error("cannot be read: {error}")]
    Unreadable {
        /// Why.
        error: String,
    },
    /// A folder without manifests.
    #[error("the folder has no .yaml, .yml or .json file")]
    EmptyFolder,
    /// The text is not YAML.
    #[error("not YAML: {error}")]
    Syntax {
        /// What the parser said.
        error: String,
    },
    /// A field that the resource does not have.
    #[error("no such field{}", meant(.nearest.as_deref(), .known))]
    UnknownField {
        /// The whole path of the field that was probably meant.
        nearest: Option<String>,
        /// Every field that could stand here.
        known: Vec<String>,
    },
    /// A kind that the group does not have.
    #[error("no such kind of ottla.dev: {found:?}{}", meant(.nearest.as_deref(), .known))]
    UnknownKind {
        /// What stands there.
        found: String,
        /// The kind that was probably meant.
        nearest: Option<String>,
        /// Every kind there is.
        known: Vec<String>,
    },
    /// A version of the group that this build does not read, or a misspelt group.
    #[error("no such version: {found:?}; this build reads {expected}")]
    UnknownVersion {
        /// What stands there.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    Mistyped {
        /// What belongs here.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A text that is none of the allowed words.
    #[error("{found:?} is none of {}{}", .allowed.join(", "), hint(.nearest.as_deref()))]
    NotOneOf {
        /// What stands there.
        found: String,
        /// The words that may.
        allowed: Vec<String>,
        /// The word that was probably meant.
        nearest: Option<String>,
    },
    /// A field that must be there.
    #[error("is missing: {description}")]
    Missing {
        /// What it is for.
        description: String,
    },
    /// A number, length or count outside its bounds.
    #[error("{what} must be {bound}, found {found}")]
    OutOfBounds {
        /// What is measured.
        what: &'static str,
        /// What it may be.
        bound: String,
        /// What it is.
        found: String,
    },
    /// A rule that spans more than one field.
    #[error("{0}")]
    Rule(String),
    /// Something that may be declared once.
    #[error("{what} is declared twice; the first time in {file}:{line}")]
    Twice {
        /// What.
        what: String,
        /// Where the first declaration stands.
        file: String,
        /// On which line.
        line: usize,
    },
}

impl Fact {
    pub(super) fn twice(what: String, first: &Source, path: &FieldPath) -> Self {
        Self::Twice { what, file: first.file.to_string(), line: first.line(path) }
    }
}

fn meant(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name}?"),
        None if known.is_empty() => String::new(),
        None => format!("; what can stand here: {}", known.join(", ")),
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

impl Problem {
    /// A problem with a whole file.
    pub(super) fn file(file: &Path, fact: Fact) -> Self {
        Self { file: file.display().to_string(), line: None, path: FieldPath::root(), fact }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.segments().is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.fact)
    }
}

/// Every mistake that was found, in the order of the files.
#[derive(Clone, Debug, PartialEq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let line_break = if at > 0 { "\n" } else { "" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// The candidate that was most likely meant by `word`, if any comes close.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().min(lower.chars().count()) / 4)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}
