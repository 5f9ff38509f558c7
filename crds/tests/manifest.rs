//! What people read about their files: the sentence for each mistake, and what is read when there is none.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use ottla_crds::manifest;

const CLUSTER: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec:
  pools:
  - name: a
    replicas: 1
    storage: {volumes: [{name: data, size: 1Gi}]}
";

const TOPIC: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec:
  clusterRef: {name: c}
";

/// What is appended to a manifest, and what is wrong with it.
const CASES: &[(&str, &str, &str)] = &[
    ("a field that is nearly right", TOPIC, "  partitons: 12\n"),
    ("a field that nothing comes close to", TOPIC, "  compaction: true\n"),
    ("a field of another place", CLUSTER, "  size: 100Gi\n"),
    ("a field of another case", TOPIC, "  topicname: x\n"),
    ("a number in words", TOPIC, "  partitions: twelve\n"),
    ("a number in quotes", TOPIC, "  partitions: \"12\"\n"),
    ("a fraction", TOPIC, "  partitions: 1.5\n"),
    ("too few", TOPIC, "  partitions: 0\n"),
    ("too many", TOPIC, "  partitions: 99999999999\n"),
    ("an unknown word", TOPIC, "  deletionPolicy: retain\n"),
    ("a version that YAML takes for a number", CLUSTER, "  version: 0.1\n"),
    ("yes for true", CLUSTER, "  networkPolicy: {enabled: yes}\n"),
    ("no quantity", CLUSTER, "  rebalance: {throttle: 50 MB}\n"),
    ("no duration", CLUSTER, "  repair: {replaceLostAfter: 30}\n"),
    ("a duration in days", CLUSTER, "  repair: {replaceLostAfter: 1d}\n"),
    ("a config that is a list", TOPIC, "  config: {cleanup.policy: [delete, compact]}\n"),
    ("configs that are a list", TOPIC, "  config:\n  - retention.ms=1\n"),
    (
        "a reserved field",
        "",
        "apiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {name: t}\nspec:\n  clusterRef:\n    name: c\n    namespace: other\n",
    ),
    ("an invalid topic name", TOPIC, "  topicName: \"my orders\"\n"),
    ("a topic named after a folder", TOPIC, "  topicName: \"..\"\n"),
    ("a listener open to the world", CLUSTER, "  listeners:\n  - {name: external, port: 9094, type: NodePort}\n"),
    ("two listeners on a port", CLUSTER, "  listeners:\n  - {name: one, port: 9092}\n  - name: two\n    port: 9092\n"),
    ("two listeners of a name", CLUSTER, "  listeners:\n  - {name: one, port: 9092}\n  - {name: one, port: 9093}\n"),
    (
        "two ways to a certificate",
        CLUSTER,
        "  listeners:\n  - {name: one, port: 9092, tls: {secretName: s, issuerRef: {name: i}}}\n",
    ),
    ("no pools", "", "apiVersion: ottla.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec: {pools: []}\n"),
    (
        "two volumes",
        "",
        "apiVersion: ottla.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec:\n  pools:\n  - name: a\n    replicas: 1\n    storage:\n      volumes:\n      - {name: a, size: 1Gi}\n      - {name: b, size: 1Gi}\n",
    ),
    (
        "a long name",
        "",
        "apiVersion: ottla.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a-cluster-with-a-name-that-no-service-can-bear}\nspec: {pools: [{name: a, replicas: 1, storage: {volumes: [{name: data, size: 1Gi}]}}]}\n",
    ),
    ("no spec", "", "apiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {name: t}\n"),
    (
        "no name",
        "",
        "apiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {labels: {a: b}}\nspec: {clusterRef: {name: c}}\n",
    ),
    (
        "a name that Kubernetes refuses",
        "",
        "apiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {name: my_orders}\nspec: {clusterRef: {name: c}}\n",
    ),
    ("no kind", "", "apiVersion: ottla.dev/v1alpha1\nmetadata: {name: t}\n"),
    ("an unknown kind", "", "apiVersion: ottla.dev/v1alpha1\nkind: Topics\nmetadata: {name: t}\n"),
    ("an unknown version", "", "apiVersion: ottla.dev/v1\nkind: Topic\nmetadata: {name: t}\n"),
    ("a group that is nearly ours", "", "apiVersion: otla.dev/v1alpha1\nkind: Topic\nmetadata: {name: t}\n"),
    ("a list at the top", "", "- a\n- b\n"),
    (
        "a mistake in the second document",
        TOPIC,
        "  partitions: 3\n---\n# the next\napiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata:\n  name: payments\nspec:\n  clusterRef: {name: c}\n  replica: 3\n",
    ),
    ("two mistakes", TOPIC, "  partitons: 12\n  replicas: many\n"),
    (
        "a name twice",
        TOPIC,
        "---\napiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {name: orders}\nspec: {clusterRef: {name: c}}\n",
    ),
    (
        "a topic twice",
        TOPIC,
        "---\napiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {name: again}\nspec: {clusterRef: {name: c}, topicName: orders}\n",
    ),
    ("a field twice", TOPIC, "  partitions: 1\n  partitions: 2\n"),
    ("broken YAML", TOPIC, "  config: {a: b\n"),
    ("a tab", TOPIC, "\tpartitions: 1\n"),
    ("a tag", TOPIC, "  partitions: !twelve 12\n"),
    ("a key that is a number", TOPIC, "  config: {1: 2}\n"),
];

#[test]
fn mistakes_are_named_with_file_line_field_and_remedy() {
    let mut sentences = String::new();
    for (title, before, after) in CASES {
        let problems = manifest::parse("orders.yaml", &format!("{before}{after}")).expect_err(title);
        writeln!(sentences, "{title}\n{problems}\n").unwrap();
    }
    insta::assert_snapshot!(sentences);
}

#[test]
fn what_cannot_be_read_is_named_too() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.yaml");
    let problems = manifest::load(&[missing.clone(), folder.path().to_owned()]).unwrap_err().to_string();
    let place = folder.path().display();
    assert_eq!(
        problems,
        format!(
            "{}: cannot be read: No such file or directory (os error 2)\n{place}: the folder has no .yaml, .yml or .json file",
            missing.display()
        )
    );
}

#[test]
fn a_folder_is_read_in_the_order_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("2.yml", TOPIC.replace("orders", "second")),
        ("1.yaml", TOPIC.replace("orders", "first")),
        ("3.json", r#"{"apiVersion": "ottla.dev/v1alpha1", "kind": "Topic", "metadata": {"name": "third"}, "spec": {"clusterRef": {"name": "c"}}}"#.to_owned()),
        ("notes.txt", "not: [yaml".to_owned()),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let manifest = manifest::load(&[folder.path().to_owned()]).unwrap();
    let names: Vec<_> = manifest.topics.iter().map(|topic| topic.resource.topic_name()).collect();
    assert_eq!(names, ["first", "second", "third"]);
}

#[test]
fn resources_of_others_are_skipped_with_a_note() {
    let text = format!("{TOPIC}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {{}}\n");
    let manifest = manifest::parse("all.yaml", &text).unwrap();
    assert_eq!(manifest.topics.len(), 1);
    let note = &manifest.skipped[0];
    assert_eq!((note.kind.as_str(), note.api_version.as_str(), note.line), ("ConfigMap", "v1", 8));
}

#[test]
fn every_field_of_every_kind_is_read_and_written_back() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/whole.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let read = manifest::parse("whole.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((read.clusters.len(), read.topics.len(), read.users.len(), read.connectors.len()), (1, 1, 1, 1));
    let written = [
        serde_yaml::to_string(&read.clusters[0].resource).unwrap(),
        serde_yaml::to_string(&read.topics[0].resource).unwrap(),
        serde_yaml::to_string(&read.users[0].resource).unwrap(),
        serde_yaml::to_string(&read.connectors[0].resource).unwrap(),
    ]
    .join("---\n");
    let again = manifest::parse("again.yaml", &written).unwrap_or_else(|problems| panic!("{problems}\n{written}"));
    assert_eq!(again.clusters[0].resource, read.clusters[0].resource);
    assert_eq!(again.topics[0].resource, read.topics[0].resource);
    assert_eq!(again.users[0].resource, read.users[0].resource);
    assert_eq!(again.connectors[0].resource, read.connectors[0].resource);
    insta::assert_snapshot!(written);
}

#[test]
fn defaults_are_those_of_the_schema() {
    let read = manifest::parse("c.yaml", &format!("{CLUSTER}---\n{TOPIC}")).unwrap();
    insta::assert_snapshot!(serde_yaml::to_string(&read.clusters[0].resource.spec).unwrap());
    insta::assert_snapshot!(serde_yaml::to_string(&read.topics[0].resource.spec).unwrap());
}
