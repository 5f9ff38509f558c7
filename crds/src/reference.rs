//! The reference of the resources, as the page of the documentation: every field of `spec`, from the definitions.
//!
//! Owns the layout only. Sentences, defaults and bounds are those that the API server has.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{API_VERSION, declarable};

/// Kubernetes' own types: named, not repeated.
const FOREIGN: &[&str] = &["affinity", "tolerations", "securityContext", "resources"];

/// The page, in Markdown.
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated from crds/src by `OTTLA_UPDATE=1 cargo test -p ottla-crds`; do not edit. -->\n# Resources\n\n",
    );
    let _ = writeln!(
        page,
        "Group and version of all of them: `{API_VERSION}`. The same files go to `kubectl apply` and to `ottla dev -f`.\n\
         Inside a version fields are added, never renamed or removed.\n\n\
         `ottla dev` acts on Topic and on `spec.config` of Cluster, and names what it leaves out; User and Connector are\n\
         read and checked only. The operator acts on Cluster and Topic, as far as [its page](../how-to/operator.md) says."
    );
    for definition in declarable() {
        let value = serde_json::to_value(&definition.spec.versions[0]).expect("a definition is plain data");
        let schema = &value["schema"]["openAPIV3Schema"];
        let names = &definition.spec.names;
        let short = names.short_names.as_deref().unwrap_or_default().join(", ");
        let about = schema["description"].as_str().unwrap_or_default();
        let _ =
            writeln!(page, "\n## {}\n\n{about} `kubectl get {}.ottla.dev`, or `{short}`.\n", names.kind, names.plural);
        let _ = writeln!(page, "| field | type | default | meaning |\n|---|---|---|---|");
        rows(&mut page, &schema["properties"]["spec"], "spec");
        rules(&mut page, schema);
    }
    page
}

fn rows(page: &mut String, schema: &Value, path: &str) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields: Vec<(&String, &Value)> = schema["properties"].as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| *name);
    for (name, field) in fields {
        let here = format!("{path}.{name}");
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            Value::String(text) => format!("`{text}`"),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_)) => format!("`{other}`"),
        };
        let meaning = field["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `{here}` | {} | {default} | {} |", kind(field), cell(meaning));
        if !FOREIGN.contains(&name.as_str()) {
            rows(page, field, &here);
            rows(page, &field["items"], &format!("{here}[]"));
        }
    }
}

/// The type of a field, with its words or bounds.
fn kind(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    let words: Vec<String> = field["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|word| format!("`{word}`"))
        .collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    let name = match field["type"].as_str().unwrap_or("any") {
        "object" => "map",
        "array" => "list",
        "boolean" => "bool",
        "integer" => "number",
        "string" if field["pattern"] == crate::value::DURATION_PATTERN => "duration",
        other => other,
    };
    match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
        (Some(low), Some(high)) => format!("{name}, {low} to {high}"),
        (Some(low), None) => format!("{name}, from {low}"),
        (None, Some(high)) => format!("{name}, up to {high}"),
        (None, None) => name.to_owned(),
    }
}

/// The rules that span fields.
fn rules(page: &mut String, schema: &Value) {
    let mut sentences = Vec::new();
    collect(schema, &mut sentences);
    if !sentences.is_empty() {
        let _ = writeln!(page, "\nRules:");
        for sentence in sentences {
            let _ = writeln!(page, "* {sentence}");
        }
    }
}

fn collect<'a>(schema: &'a Value, sentences: &mut Vec<&'a str>) {
    let own = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    sentences.extend(own.filter_map(|rule| rule["message"].as_str()));
    let mut fields: Vec<(&String, &Value)> = schema["properties"].as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| *name);
    fields.into_iter().for_each(|(_, field)| collect(field, sentences));
    if schema["items"].is_object() {
        collect(&schema["items"], sentences);
    }
}

fn cell(text: &str) -> String {
    // Kubernetes' own descriptions can be pages; the first sentence is what a table holds.
    let text = if text.len() > 400 { text.split_inclusive(". ").next().unwrap_or(text) } else { text };
    text.trim().replace('|', "\\|")
}
