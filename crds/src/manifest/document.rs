//! One document of a file: where it begins, which resource it is, and the resource itself.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::path::FieldPath;
use super::problem::{Fact, Problem, nearest};
use super::schema::kinds;
use super::{Declared, Manifest, Skipped, Source, check, rules};
use crate::{API_VERSION, GROUP};

/// A piece of a file between two markers.
pub(super) struct Document<'a> {
    pub(super) lines_before: usize,
    pub(super) text: &'a str,
}

/// Splits a file at its markers, lines that begin with `---`.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut lines_before) = (0, 0);
    let mut at = 0;
    for (line_number, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if at > start && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            documents.push(Document { lines_before, text: &text[start..at] });
            (start, lines_before) = (at, line_number);
        }
        at += line.len();
    }
    documents.push(Document { lines_before, text: &text[start..] });
    let blank = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line == "..."
    };
    documents.retain(|document| !document.text.lines().all(blank));
    documents
}

/// Reads one document into the manifest.
pub(super) fn read(manifest: &mut Manifest, source: Source) -> Result<(), Vec<Problem>> {
    let value = value(&source)?;
    let Value::Object(fields) = &value else {
        let expected = "a resource: a map with apiVersion, kind, metadata and spec".to_owned();
        let fact = Fact::Mistyped { expected, found: check::describe(&value) };
        return Err(vec![source.problem(FieldPath::root(), fact)]);
    };
    let root = FieldPath::root();
    let text = |name: &str, what: &str| {
        fields.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            let found = fields.get(name).map(check::describe);
            let fact = match found {
                Some(found) => Fact::Mistyped { expected: "a string".to_owned(), found },
                None => Fact::Missing { description: what.to_owned() },
            };
            vec![source.problem(root.field(name), fact)]
        })
    };
    let api_version = text("apiVersion", "the resource's group and version, such as ottla.dev/v1alpha1")?;
    let kind_name = text("kind", "the resource's kind, such as Topic")?;
    if api_version != API_VERSION {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        if group == GROUP || nearest(group, [GROUP]).is_some() || api_version == GROUP {
            let fact = Fact::UnknownVersion { found: api_version, expected: API_VERSION };
            return Err(vec![source.problem(root.field("apiVersion"), fact)]);
        }
        let line = source.line(&root.field("kind"));
        manifest.skipped.push(Skipped { file: source.file.to_string(), line, api_version, kind: kind_name });
        return Ok(());
    }
    let Some(kind) = kinds().iter().find(|kind| kind.name == kind_name) else {
        let known: Vec<String> = kinds().iter().map(|kind| kind.name.clone()).collect();
        let nearest = nearest(&kind_name, known.iter().map(String::as_str));
        let fact = Fact::UnknownKind { found: kind_name, nearest, known };
        return Err(vec![source.problem(root.field("kind"), fact)]);
    };
    let mut found = check::check(&kind.schema, &value);
    if found.is_empty() {
        found = rules::check(&kind_name, &value);
    }
    if !found.is_empty() {
        let mut problems: Vec<Problem> = found.into_iter().map(|(path, fact)| source.problem(path, fact)).collect();
        problems.sort_by_key(|problem| problem.line);
        return Err(problems);
    }
    match kind_name.as_str() {
        "Cluster" => manifest.clusters.push(typed(value, source)?),
        "Topic" => manifest.topics.push(typed(value, source)?),
        "User" => manifest.users.push(typed(value, source)?),
        _ => manifest.connectors.push(typed(value, source)?),
    }
    Ok(())
}

fn typed<T: DeserializeOwned>(value: Value, source: Source) -> Result<Declared<T>, Vec<Problem>> {
    match serde_path_to_error::deserialize(value) {
        Ok(resource) => Ok(Declared { resource, source }),
        Err(error) => {
            let mut path = FieldPath::root();
            for segment in error.path() {
                path = match segment {
                    serde_path_to_error::Segment::Seq { index } => path.item(*index),
                    serde_path_to_error::Segment::Map { key } => path.field(key),
                    serde_path_to_error::Segment::Enum { variant } => path.field(variant),
                    serde_path_to_error::Segment::Unknown => path,
                };
            }
            Err(vec![source.problem(path, Fact::Rule(error.into_inner().to_string()))])
        }
    }
}

/// The document as plain data. Fields that are `null` are left out, as the API server does.
fn value(source: &Source) -> Result<Value, Vec<Problem>> {
    let syntax = |error: serde_yaml::Error| {
        let line = error.location().map(|location| source.lines_before + location.line());
        let text = error.to_string();
        let error = text.split(" at line ").next().unwrap_or(&text).to_owned();
        let fact = Fact::Syntax { error };
        vec![Problem { file: source.file.to_string(), line, path: FieldPath::root(), fact }]
    };
    let mut yaml: serde_yaml::Value = serde_yaml::from_str(&source.text).map_err(syntax)?;
    yaml.apply_merge().map_err(syntax)?;
    let mut found = Vec::new();
    let value = plain(yaml, &FieldPath::root(), &mut found);
    if found.is_empty() {
        Ok(value)
    } else {
        Err(found.into_iter().map(|(path, fact)| source.problem(path, fact)).collect())
    }
}

fn plain(yaml: serde_yaml::Value, path: &FieldPath, found: &mut Vec<(FieldPath, Fact)>) -> Value {
    match yaml {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(value) => Value::Bool(value),
        serde_yaml::Value::String(text) => Value::String(text),
        serde_yaml::Value::Number(number) => serde_json::to_value(&number).unwrap_or_default(),
        serde_yaml::Value::Sequence(items) => {
            let items = items.into_iter().enumerate();
            Value::Array(items.map(|(index, item)| plain(item, &path.item(index), found)).collect())
        }
        serde_yaml::Value::Mapping(entries) => {
            let mut fields = Map::new();
            for (key, value) in entries {
                let Some(name) = key.as_str() else {
                    let found_key = check::describe(&plain(key, path, found));
                    let expected = "field names that are strings".to_owned();
                    found.push((path.clone(), Fact::Mistyped { expected, found: found_key }));
                    continue;
                };
                let value = plain(value, &path.field(name), found);
                if !value.is_null() {
                    fields.insert(name.to_owned(), value);
                }
            }
            Value::Object(fields)
        }
        serde_yaml::Value::Tagged(tagged) => {
            let expected = "a plain value".to_owned();
            found.push((path.clone(), Fact::Mistyped { expected, found: format!("the tag {}", tagged.tag) }));
            Value::Null
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_split_at_its_markers() {
        let text = "# only a comment\n---\na: 1\n--- # second\nb: |\n  ---\n  text\n\n---\n---\n---x: 1\n";
        let found: Vec<_> = split(text).into_iter().map(|one| (one.lines_before, one.text)).collect();
        assert_eq!(found, [(1, "---\na: 1\n"), (3, "--- # second\nb: |\n  ---\n  text\n\n"), (9, "---\n---x: 1\n")]);
        assert!(split("").is_empty());
        assert!(split("\n# nothing\n").is_empty());
    }
}
