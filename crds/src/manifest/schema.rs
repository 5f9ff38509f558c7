//! The schemas that manifests are checked against: those of the definitions, and Kubernetes' own of `metadata`.

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The schema of one kind.
pub(super) struct Kind {
    /// Its name.
    pub(super) name: String,
    /// Its whole schema, `metadata` included.
    pub(super) schema: Value,
}

/// Every kind of the group.
pub(super) fn kinds() -> &'static [Kind] {
    static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| crate::declarable().into_iter().map(kind).collect());
    &KINDS
}

fn kind(
    definition: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> Kind {
    let name = definition.spec.names.kind.clone();
    let mut version = serde_json::to_value(&definition.spec.versions[0]).expect("a definition is plain data");
    let mut schema = version.pointer_mut("/schema/openAPIV3Schema").map(Value::take).unwrap_or_default();
    let text = |description: &str| json!({"type": "string", "description": description});
    schema["properties"]["apiVersion"] = text("Group and version of the resource: ottla.dev/v1alpha1.");
    schema["properties"]["kind"] = text("Kind of the resource.");
    schema["properties"]["metadata"] = metadata();
    schema["required"] = json!(["metadata", "spec"]);
    Kind { name, schema }
}

fn metadata() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<ObjectMeta>().to_value();
    schema["required"] = json!(["name"]);
    schema["description"] = json!("Kubernetes' metadata: name, namespace, labels, annotations.");
    // Kubernetes' own description of this field is a page long, and a manifest must have a name.
    schema["properties"]["name"] = json!({
        "type": "string",
        "description": "Name of the resource.",
        "minLength": 1,
        "maxLength": 253,
        "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    });
    schema
}

/// Paths of every field called `name` in `schema`, as a person would write them.
pub(super) fn homes(schema: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(schema, name, "", &mut found);
    found
}

fn collect(schema: &Value, name: &str, path: &str, found: &mut Vec<String>) {
    // Kubernetes' own types are deep, and nobody misplaces their fields.
    let foreign = ["metadata", "status", "affinity", "tolerations", "securityContext", "resources"];
    for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
        let here = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
        if field == name {
            found.push(here.clone());
        }
        if !foreign.contains(&field.as_str()) {
            collect(inner, name, &here, found);
        }
    }
    if schema["items"].is_object() {
        collect(&schema["items"], name, &format!("{path}[]"), found);
    }
}
