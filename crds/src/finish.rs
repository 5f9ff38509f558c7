//! The custom resource definitions as they are installed.
//!
//! Owns the last touches on what the derive generates: what GitOps tools would see as a difference for ever (empty
//! `properties`, `deprecated: false`, `nullable`, formats that Kubernetes does not know) is taken out, and what nobody has
//! looked at yet says so: they would take it for done.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{Cluster, Connector, MetadataShard, Topic, User};

/// The definitions of every resource, in the order of their names.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [Cluster::crd(), Connector::crd(), MetadataShard::crd(), Topic::crd(), User::crd()].map(finish).into()
}

/// The definitions of what people declare in manifests.
pub fn declarable() -> Vec<CustomResourceDefinition> {
    [Cluster::crd(), Connector::crd(), Topic::crd(), User::crd()].map(finish).into()
}

fn finish(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(definition).expect("a definition is plain data");
    if let Some(versions) = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(fields) = version.as_object_mut() {
                fields.retain(|name, field| !(name == "deprecated" && *field == Value::Bool(false)));
            }
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                finish_schema(schema);
                if let Some(status) = schema.pointer_mut("/properties/status").filter(|status| is_observed(status)) {
                    status["default"] = json!({"observedGeneration": -1});
                }
            }
        }
    }
    serde_json::from_value(value).expect("what is left is still a definition")
}

/// Whether a status says of which generation it speaks.
fn is_observed(status: &Value) -> bool {
    status["properties"]["observedGeneration"].is_object()
}

/// Takes out what Kubernetes ignores or what does not survive a round trip, here and below.
fn finish_schema(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("nullable");
    fields.remove("title");
    fields.retain(|name, field| match name.as_str() {
        "properties" => field.as_object().is_some_and(|properties| !properties.is_empty()),
        "required" => field.as_array().is_some_and(|required| !required.is_empty()),
        "format" => matches!(field.as_str(), Some("int32" | "int64" | "float" | "double" | "date-time")),
        _ => true,
    });
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned();
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(finish_schema);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(name) {
            finish_schema(inner);
        }
    }
}

/// A definition as the YAML that is kept in `yaml/` and shipped in the chart.
pub fn to_yaml(definition: &CustomResourceDefinition) -> String {
    let mut value = serde_json::to_value(definition).expect("a definition is plain data");
    whole_numbers(&mut value);
    let body = serde_yaml::to_string(&sorted(value)).expect("a definition is plain data");
    format!("# Generated from crds/src by `OTTLA_UPDATE=1 cargo test -p ottla-crds`; do not edit.\n{body}")
}

/// The same with its fields in order of names, whatever order the JSON library keeps: that depends on what else is built
/// with it.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            Value::Object(fields.into_iter().map(|(name, field)| (name, sorted(field))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// Bounds are floats in the definition's type; the API server gives 1.0 back as 1.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15) {
                *number = serde_json::Number::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
