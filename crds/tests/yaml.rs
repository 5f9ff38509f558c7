//! The generated definitions in `yaml/` are those of the types, and are what Kubernetes and GitOps tools accept.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yaml")
}

#[test]
fn the_yaml_is_what_the_types_say() {
    let update = std::env::var_os("OTTLA_UPDATE").is_some();
    let mut expected = Vec::new();
    for definition in ottla_crds::definitions() {
        let name = format!("{}.yaml", definition.spec.names.plural);
        let text = ottla_crds::to_yaml(&definition);
        let path = folder().join(&name);
        if update {
            fs::write(&path, &text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "crds/yaml/{name} is stale: run OTTLA_UPDATE=1 cargo test -p ottla-crds");
        expected.push(name);
    }
    let mut found: Vec<String> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_reference_is_what_the_types_say() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/resources.md");
    let expected = ottla_crds::reference::markdown();
    if std::env::var_os("OTTLA_UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/reference/resources.md is stale: run OTTLA_UPDATE=1 cargo test -p ottla-crds");
}

/// Calls `visit` with every schema of every definition and its path.
fn each_schema(visit: &mut dyn FnMut(&str, &Value)) {
    fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), inner, visit);
        }
        for name in ["items", "additionalProperties"] {
            if schema[name].is_object() {
                walk(&format!("{path}[]"), &schema[name], visit);
            }
        }
    }
    for definition in ottla_crds::definitions() {
        let value = serde_json::to_value(&definition).expect("a definition is plain data");
        let kind = definition.spec.names.kind.as_str();
        walk(kind, &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"], visit);
    }
}

#[test]
fn nothing_in_it_is_lost_on_a_round_trip() {
    for definition in ottla_crds::definitions() {
        let text = ottla_crds::to_yaml(&definition);
        for lost in ["deprecated", "properties: {}", "nullable", "required: []", "default: []", "$ref", "anyOf"] {
            assert!(!text.contains(lost), "{}: {lost}", definition.spec.names.kind);
        }
        assert!(text.len() < 256 * 1024, "kubectl apply keeps a copy in an annotation of at most 256 KiB");
    }
}

#[test]
fn every_schema_is_structural() {
    each_schema(&mut |path, schema| {
        let free =
            schema["x-kubernetes-int-or-string"] == true || schema["x-kubernetes-preserve-unknown-fields"] == true;
        assert!(free || schema["type"].is_string(), "{path} has no type: {schema}");
        if schema["type"] == "array" {
            assert!(schema["items"].is_object(), "{path} has no items");
        }
    });
}

#[test]
fn kubectl_explain_has_a_sentence_for_every_field() {
    each_schema(&mut |path, schema| {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let outside =
                [".affinity", ".tolerations", ".securityContext", ".resources"].iter().any(|at| path.contains(at));
            let given = path.matches('.').count() == 0
                && ["spec", "status", "metadata", "apiVersion", "kind"].contains(&name.as_str());
            if !outside && !given {
                assert!(
                    field["description"].as_str().is_some_and(|text| text.ends_with('.')),
                    "{path}.{name}: {field}"
                );
            }
        }
    });
}

#[test]
fn names_are_those_that_people_type() {
    let names: Vec<_> = ottla_crds::definitions()
        .into_iter()
        .map(|definition| {
            let names = definition.spec.names;
            (definition.metadata.name.unwrap(), names.short_names.unwrap(), names.categories.unwrap())
        })
        .collect();
    let expected: Vec<_> =
        [("clusters", "ocl"), ("connectors", "ocn"), ("metadatashards", "oms"), ("topics", "otp"), ("users", "ous")]
            .into_iter()
            .map(|(plural, short)| (format!("{plural}.ottla.dev"), vec![short.to_owned()], vec!["ottla".to_owned()]))
            .collect();
    assert_eq!(names, expected);
}
