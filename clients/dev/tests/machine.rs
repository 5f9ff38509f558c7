//! `ottla dev` as a process: ready, reachable, stopped, started again, watched.
//!
//! The process is this very test binary, started again as a child: what is tested is what the command runs.

#[path = "machine/child.rs"]
mod child;
#[path = "machine/kafka.rs"]
mod kafka;

use child::{Child, Folder};

const CLUSTER: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec:
  pools:
  - {name: a, replicas: 1, storage: {volumes: [{name: data, size: 1Gi}]}}
";

fn topic(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: ottla.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\nspec:\n  clusterRef: {{name: c}}\n{rest}"
    )
}

/// Not a test of its own: what the other tests start.
#[test]
fn process() {
    child::main();
}

#[test]
fn what_is_declared_serves_when_it_is_ready_and_after_every_kind_of_end() {
    let folder = Folder::new();
    folder.write("c.yaml", &format!("{CLUSTER}{}{}", topic("orders", "  partitions: 3\n"), topic("payments", "")));
    let arguments = ["-f", "c.yaml", "--ready-file", "ready"];

    let mut first = Child::start(&folder, &arguments);
    let bootstrap = first.ready();
    assert_eq!(folder.read("ready"), format!("{bootstrap}\n"));
    let found = kafka::topics(&bootstrap);
    assert_eq!(
        found.iter().map(|(name, topic)| (name.as_str(), topic.partitions)).collect::<Vec<_>>(),
        [("orders", 3), ("payments", 1)]
    );
    assert_eq!(first.terminate(), Some(0));
    assert!(!folder.has("ready"), "nobody is ready any more");
    assert_eq!(first.lines_on_stdout("ready:"), 1);

    let mut second = Child::start(&folder, &arguments);
    assert_eq!(kafka::topics(&second.ready()), found, "the same topics with the same ids");
    second.kill();

    let mut third = Child::start(&folder, &arguments);
    assert_eq!(kafka::topics(&third.ready()), found, "after a kill, too");
    assert_eq!(third.interrupt(), Some(0));
}

#[test]
fn a_cluster_of_several_brokers_runs_as_several_and_goes_on_as_several() {
    let folder = Folder::new();
    let three = CLUSTER.replace("replicas: 1", "replicas: 3");
    let replicated = topic("orders", "  partitions: 3\n  replicas: 3\n  config: {min.insync.replicas: 2}\n");
    folder.write("c.yaml", &format!("{three}{replicated}"));

    let mut first = Child::start(&folder, &["-f", "c.yaml"]);
    let bootstrap = first.ready();
    assert_eq!(bootstrap.split(',').count(), 3, "{bootstrap}");
    let found = kafka::topics(&bootstrap);
    assert_eq!(found["orders"].partitions, 3);
    first.kill();

    let mut second = Child::start(&folder, &["-f", "c.yaml"]);
    assert_eq!(kafka::topics(&second.ready()), found, "after a kill of all of them");
    assert_eq!(second.terminate(), Some(0));

    folder.write("c.yaml", &format!("{CLUSTER}{replicated}"));
    let said = Child::start(&folder, &["-f", "c.yaml"]).refused();
    assert!(said.contains("holds 3 brokers and 1 are declared"), "{said}");
}

#[test]
fn without_files_topics_are_made_on_demand_and_nothing_declared_is_touched() {
    let folder = Folder::new();
    folder.write("c.yaml", &format!("{CLUSTER}{}", topic("orders", "  deletionPolicy: Delete\n")));
    let mut declared = Child::start(&folder, &["-f", "c.yaml"]);
    declared.ready();
    declared.terminate();

    let mut plain = Child::start(&folder, &[]);
    let bootstrap = plain.ready();
    kafka::ask_for(&bootstrap, "on-demand");
    let names: Vec<_> = kafka::topics(&bootstrap).into_keys().collect();
    assert_eq!(names, ["on-demand", "orders"]);
    assert_eq!(plain.terminate(), Some(0));
}

#[test]
fn a_second_process_is_told_who_has_the_data_directory() {
    let folder = Folder::new();
    let mut first = Child::start(&folder, &[]);
    first.ready();
    let mut second = Child::start(&folder, &[]);
    let said = second.refused();
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
    assert_eq!(first.terminate(), Some(0));
}

#[test]
fn a_busy_port_is_told_with_its_holder() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let folder = Folder::new();
    let expected = format!("port {port} is held by process {} (", std::process::id());
    for flag in ["--kafka-port", "--http-port"] {
        let said = Child::start(&folder, &[flag, &port]).refused();
        assert!(said.contains(&expected) && said.contains(flag), "{said}");
    }
}

#[test]
fn a_mistake_in_a_file_is_told_before_anything_is_started() {
    let folder = Folder::new();
    folder.write("c.yaml", &format!("{CLUSTER}{}", topic("orders", "  partitons: 3\n")));
    let said = Child::start(&folder, &["-f", "c.yaml"]).refused();
    assert!(said.contains("c.yaml:13: spec.partitons: no such field; did you mean spec.partitions?"), "{said}");
    assert!(!folder.has("data"), "nothing was made");
}

#[test]
fn a_declaration_that_cannot_be_applied_is_told_and_nothing_is_ready() {
    let folder = Folder::new();
    folder.write("c.yaml", &format!("{CLUSTER}{}", topic("orders", "  partitions: 3\n")));
    let mut first = Child::start(&folder, &["-f", "c.yaml"]);
    first.ready();
    first.terminate();
    folder.write("c.yaml", &format!("{CLUSTER}{}", topic("orders", "  partitions: 2\n")));
    let said = Child::start(&folder, &["-f", "c.yaml", "--ready-file", "ready"]).refused();
    assert!(said.contains("topic orders: it has 3 partitions and 2 are declared: partitions may not shrink"), "{said}");
    assert!(!folder.has("ready"));
}

#[test]
fn a_watched_file_is_applied_at_once_and_a_broken_one_changes_nothing() {
    let folder = Folder::new();
    let both = format!("{CLUSTER}{}{}", topic("keep", ""), topic("drop", "  deletionPolicy: Delete\n"));
    folder.write("c.yaml", &both);
    let mut child = Child::start(&folder, &["-f", "c.yaml", "--watch"]);
    let bootstrap = child.ready();

    folder.write("c.yaml", &both.replace("name: keep}", "name: keep}\nspcc: 1"));
    child.says("c.yaml:11: spcc: no such field; did you mean spec?");
    let names = |bootstrap: &str| kafka::topics(bootstrap).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&bootstrap), ["drop", "keep"]);

    folder.write("c.yaml", &format!("{CLUSTER}{}{}", topic("keep", "  partitions: 4\n"), topic("new", "")));
    child.says("topic drop: delete, its declaration is gone (deletionPolicy Delete)");
    assert_eq!(names(&bootstrap), ["keep", "new"]);
    assert_eq!(kafka::topics(&bootstrap)["keep"].partitions, 4);

    // What others change is corrected.
    kafka::delete(&bootstrap, "new");
    child.says("topic new: create with 1 partition");
    assert_eq!(child.terminate(), Some(0));
}
