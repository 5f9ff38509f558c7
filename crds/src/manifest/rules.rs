//! The rules that span fields, as the definitions' CEL rules say them to the API server, and the patterns.
//!
//! A test runs the CEL rules beside these and requires that both say the same.

use serde_json::Value;

use super::check::describe;
use super::path::FieldPath;
use super::problem::Fact;
use crate::value::{DURATION_PATTERN, Duration, QUANTITY_PATTERN, Quantity};

/// Whether a text fits one of the patterns of the definitions. A pattern that is not among them fits everything.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let label = |extra: &[u8]| {
        let bytes = text.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.iter().all(|byte| plain(byte) || extra.contains(byte))
            && bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
    };
    match pattern {
        QUANTITY_PATTERN => Quantity::parse(text).is_ok(),
        DURATION_PATTERN => Duration::parse(text).is_ok(),
        r"^[a-zA-Z0-9._-]+$" => {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" => label(b"-"),
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" => label(b"-."),
        _ => true,
    }
}

/// Finds what the rules of `kind` do not allow in `value`, which fits the kind's schema.
pub(super) fn check(kind: &str, value: &Value) -> Vec<(FieldPath, Fact)> {
    let mut found = Vec::new();
    let spec = &value["spec"];
    let at = FieldPath::root().field("spec");
    let mut rule = |path: FieldPath, text: &str| found.push((path, Fact::Rule(text.to_owned())));
    if !spec["clusterRef"]["namespace"].is_null() {
        rule(
            at.field("clusterRef").field("namespace"),
            "is reserved: a resource belongs to a Cluster of its own namespace",
        );
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    if kind == "Cluster" && name.chars().count() > 40 {
        let path = FieldPath::root().field("metadata").field("name");
        rule(path, "a Cluster's name has at most 40 characters: names of Pods and Services begin with it");
    }
    if kind == "Topic" {
        match spec["topicName"].as_str() {
            Some("." | "..") => rule(at.field("topicName"), "a topic cannot be named . or .."),
            None if name.chars().count() > 249 => {
                rule(at.field("topicName"), "a topic name has at most 249 characters: set spec.topicName");
            }
            Some(_) | None => {}
        }
    }
    if kind == "Cluster" {
        listeners(&spec["listeners"], &at.field("listeners"), &mut rule);
    }
    if kind == "Cluster" || kind == "Topic" {
        for (key, value) in spec["config"].as_object().into_iter().flatten() {
            if value.is_object() || value.is_array() || value.is_null() {
                let expected = "a string, a number or a bool".to_owned();
                found.push((at.field("config").field(key), Fact::Mistyped { expected, found: describe(value) }));
            }
        }
    }
    found
}

fn listeners(listeners: &Value, path: &FieldPath, rule: &mut dyn FnMut(FieldPath, &str)) {
    let list = listeners.as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, listener) in list.iter().enumerate() {
        let here = path.item(index);
        let internal = listener["type"].as_str().is_none_or(|kind| kind == "Internal");
        let secured = !listener["tls"].is_null()
            && listener["authentication"].as_array().is_some_and(|mechanisms| !mechanisms.is_empty());
        if !internal && !secured && listener["insecure"] != true {
            rule(here.clone(), "a listener that is not Internal needs tls and authentication, or insecure: true");
        }
        if !listener["tls"]["secretName"].is_null() && !listener["tls"]["issuerRef"].is_null() {
            rule(here.field("tls"), "secretName and issuerRef exclude each other");
        }
        if list[..index].iter().any(|other| other["port"] == listener["port"]) {
            rule(here.field("port"), "two listeners have the same port");
        }
    }
}
