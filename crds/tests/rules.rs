//! The CEL rules of the definitions, evaluated as the API server does, and the loader's own beside them.

use kube::core::cel::Validator;
use serde_json::Value;

const META: &str = "apiVersion: ottla.dev/v1alpha1";

fn schema(kind: &str) -> Value {
    let definitions = ottla_crds::definitions();
    let definition = definitions.iter().find(|one| one.spec.names.kind == kind).expect("a kind of ours");
    serde_json::to_value(
        definition.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()),
    )
    .expect("a definition is plain data")
}

fn resource(kind: &str, name: &str, spec: &str) -> String {
    format!("{META}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// What the rules say about a resource, and about a change from an older one.
fn verdict(text: &str, old: Option<&str>) -> Vec<String> {
    let value = |text: &str| -> Value { serde_yaml::from_str(text).expect("YAML") };
    let new = value(text);
    let schema = schema(new["kind"].as_str().expect("a kind"));
    let old = old.map(value);
    match Validator::new().validate_with_defaults(&schema, &new, old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

/// Both the API server and the loader must say `expected`, or nothing.
fn check(text: &str, expected: Option<&str>) {
    assert_eq!(verdict(text, None), expected.into_iter().collect::<Vec<_>>(), "{text}");
    match (ottla_crds::manifest::parse("f.yaml", text), expected) {
        (Ok(_), None) => {}
        (Err(problems), Some(expected)) => {
            // The loader says it of the field, the rule of the resource; the substance is the same.
            let words = expected.rsplit(": ").next().unwrap_or(expected);
            assert!(problems.to_string().contains(words), "{problems}\n{expected}");
        }
        (Ok(_), Some(expected)) => panic!("the loader takes it: {expected}\n{text}"),
        (Err(problems), None) => panic!("the loader refuses it: {problems}"),
    }
}

fn check_change(old: &str, new: &str, expected: Option<&str>) {
    assert_eq!(verdict(new, Some(old)), expected.into_iter().collect::<Vec<_>>(), "{old}{new}");
}

fn cluster(name: &str, listeners: &str) -> String {
    let pools = "[{name: a, replicas: 1, storage: {volumes: [{name: data, size: 1Gi}]}}]";
    resource("Cluster", name, &format!("{{pools: {pools}, listeners: {listeners}}}"))
}

#[test]
fn listeners_that_strangers_reach_are_secured_or_say_that_they_are_not() {
    let unsecured = Some("a listener that is not Internal needs tls and authentication, or insecure: true");
    let listener = |fields: &str| cluster("c", &format!("[{{name: one, port: 9094{fields}}}]"));
    check(&listener(""), None);
    check(&listener(", type: Internal"), None);
    check(&listener(", type: NodePort"), unsecured);
    check(&listener(", type: LoadBalancer, tls: {}"), unsecured);
    check(&listener(", type: NodePort, authentication: [TLS]"), unsecured);
    check(&listener(", type: NodePort, tls: {}, authentication: [TLS]"), None);
    check(&listener(", type: NodePort, insecure: true"), None);
    check(
        &listener(", tls: {secretName: s, issuerRef: {name: i}}"),
        Some("secretName and issuerRef exclude each other"),
    );
}

#[test]
fn listeners_have_ports_of_their_own() {
    check(&cluster("c", "[{name: one, port: 1}, {name: two, port: 2}]"), None);
    check(&cluster("c", "[{name: one, port: 1}, {name: two, port: 1}]"), Some("two listeners have the same port"));
}

#[test]
fn names_fit_where_they_are_used() {
    let long = "c".repeat(41);
    check(&cluster(&long[1..], "[]"), None);
    check(
        &cluster(&long, "[]"),
        Some("a Cluster's name has at most 40 characters: names of Pods and Services begin with it"),
    );
    let topic = "t".repeat(250);
    check(&resource("Topic", &topic[1..], "{clusterRef: {name: c}}"), None);
    check(&resource("Topic", &topic, "{clusterRef: {name: c}, topicName: short}"), None);
    check(
        &resource("Topic", &topic, "{clusterRef: {name: c}}"),
        Some("a topic name has at most 249 characters: set spec.topicName"),
    );
    check(
        &resource("Topic", "t", "{clusterRef: {name: c}, topicName: \"..\"}"),
        Some("a topic cannot be named . or .."),
    );
}

#[test]
fn a_namespace_in_a_cluster_ref_is_refused() {
    for (kind, rest) in [("Topic", ""), ("User", ", authentication: {type: TLS}"), ("Connector", ", class: x")] {
        check(
            &resource(kind, "t", &format!("{{clusterRef: {{name: c, namespace: other}}{rest}}}")),
            Some("namespace is reserved: a resource belongs to a Cluster of its own namespace"),
        );
    }
}

#[test]
fn what_is_immutable_cannot_change_and_partitions_cannot_shrink() {
    let topic = |fields: &str| resource("Topic", "orders", &format!("{{clusterRef: {{name: c}}{fields}}}"));
    check_change(&topic(", partitions: 3"), &topic(", partitions: 3"), None);
    check_change(&topic(", partitions: 3"), &topic(", partitions: 4"), None);
    check_change(&topic(", partitions: 3"), &topic(", partitions: 2"), Some("partitions may not shrink"));
    check_change(&topic(", partitions: 3"), &topic(""), Some("partitions may not shrink"));

    let renamed = Some("topicName is immutable");
    check_change(&topic(", topicName: a"), &topic(", topicName: a"), None);
    check_change(&topic(", topicName: a"), &topic(", topicName: b"), renamed);
    check_change(&topic(", topicName: a"), &topic(""), renamed);
    check_change(&topic(""), &topic(", topicName: a"), renamed);
    check_change(&topic(""), &topic(", topicName: orders"), None);

    let other = resource("Topic", "orders", "{clusterRef: {name: d}}");
    check_change(&topic(""), &other, Some("clusterRef is immutable"));
}
