//! The command against a cluster of its own: `ottla dev`, in another process, as a person runs the two.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use assert_cmd::Command as Assert;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where the command is run.
struct Shell {
    bootstrap: String,
}

/// A running `ottla dev`; ended when dropped.
struct Dev {
    process: Child,
    shell: Shell,
}

impl Dev {
    fn start(folder: &Path) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(["dev", "--kafka-port", "0", "--http-port", "0"])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command is built with its tests");
        // From here on whatever ends the test ends the process.
        let mut dev = Self { process, shell: Shell { bootstrap: String::new() } };
        let stdout = BufReader::new(dev.process.stdout.take().expect("piped"));
        let (told, lines) = channel();
        // Reads to the end: a full pipe would stop the broker.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(told.send(line))));
        while dev.shell.bootstrap.is_empty() {
            let line = lines.recv_timeout(PATIENCE).expect("ottla dev says that it is ready");
            line.strip_prefix("ready: bootstrap ").unwrap_or_default().clone_into(&mut dev.shell.bootstrap);
        }
        dev
    }

    /// Kills it with SIGKILL and leaves the shell.
    fn kill(mut self) -> Shell {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
        Shell { bootstrap: std::mem::take(&mut self.shell.bootstrap) }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Killed already where the test wanted it so.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Shell {
    /// Runs the command and returns code, stdout and stderr.
    fn run(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let mut command = Assert::new(env!("CARGO_BIN_EXE_ottla"));
        command.env("OTTLA_BOOTSTRAP", &self.bootstrap).args(args).write_stdin(input).timeout(PATIENCE);
        let output = command.output().expect("the command is built with its tests");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
    }

    /// Stdout of what must succeed.
    fn ok(&self, args: &[&str], input: &str) -> String {
        let (code, stdout, stderr) = self.run(args, input);
        assert_eq!(code, 0, "{args:?}: {stderr}");
        stdout
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["-o", "json"]].concat(), "")).expect("JSON")
    }

    /// What must fail with `code` and a sentence that has `says` in it.
    fn refuses(&self, args: &[&str], code: i32, says: &str) {
        let (found, _, stderr) = self.run(args, "");
        assert_eq!(found, code, "{args:?}: {stderr}");
        assert!(stderr.contains(says), "{args:?} should say {says:?}, said:\n{stderr}");
    }
}

#[test]
fn topics_are_created_described_configured_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path());
    dev.shell.ok(&["topic", "create", "orders", "--partitions", "3"], "");
    dev.shell.refuses(&["topic", "create", "orders"], 4, "orders exists already");
    dev.shell.ok(&["topic", "create", "orders", "--if-not-exists"], "");
    let topics = dev.shell.json(&["topic", "list"]);
    assert_eq!((&topics[0]["name"], topics.as_array().map(Vec::len)), (&Value::from("orders"), Some(1)), "{topics}");
    dev.shell.ok(&["topic", "config", "orders", "--set", "retention.ms=1000"], "");
    dev.shell.refuses(&["topic", "config", "orders", "--set", "retention.ms=soon"], 6, "retention.ms");
    let described = dev.shell.json(&["topic", "describe", "orders"]);
    assert_eq!(described[0]["config"]["retention.ms"], "1000");
    assert_eq!(described[0]["partitions"].as_array().map(Vec::len), Some(3));
    let cluster = dev.shell.json(&["cluster", "describe"]);
    assert_eq!(cluster["brokers"][0]["address"], dev.shell.bootstrap.as_str());
    dev.shell.ok(&["topic", "delete", "orders", "--yes"], "");
    dev.shell.refuses(&["topic", "describe", "orders"], 3, "orders does not exist");
}

#[test]
fn records_and_groups_go_the_whole_way() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path());
    dev.shell.ok(&["topic", "create", "orders", "--partitions", "3"], "");
    dev.shell.ok(&["produce", "orders", "-K", ":", "-H", "from=test", "-z", "zstd"], "a:1\nb:2\nc:3\n");
    let lines = dev.shell.ok(&["consume", "orders", "-o", "json"], "");
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a record a line")).collect();
    assert_eq!(records.len(), 3, "{lines}");
    assert!(records.iter().all(|record| record["headers"][0]["key"] == "from"), "{lines}");

    let mut read: Vec<_> =
        dev.shell.ok(&["consume", "orders", "--group", "g", "-F", "%k=%s\n"], "").lines().map(str::to_owned).collect();
    read.sort();
    assert_eq!(read, ["a=1", "b=2", "c=3"]);
    assert_eq!(dev.shell.json(&["group", "describe", "g"])[0]["lag"], 0);
    dev.shell.ok(&["group", "reset", "g", "--to", "beginning", "--all-topics", "--dry-run"], "");
    assert_eq!(dev.shell.json(&["group", "describe", "g"])[0]["lag"], 0, "a dry run changes nothing");
    dev.shell.ok(&["group", "reset", "g", "--to", "beginning", "--all-topics"], "");
    assert_eq!(dev.shell.json(&["group", "describe", "g"])[0]["lag"], 3);
    let again = dev.shell.ok(&["consume", "orders", "--group", "g"], "");
    assert_eq!(again.lines().count(), 3, "it reads on where it was set: {again}");
    dev.shell.ok(&["group", "delete", "g"], "");
    dev.shell.refuses(&["group", "describe", "g"], 3, "g does not exist");
    dev.shell.refuses(&["group", "reset", "g", "--to", "5", "--topic", "absent"], 3, "absent does not exist");
}

#[test]
fn a_data_directory_is_verified_and_a_folder_that_is_none_is_never_sound() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let dev = Dev::start(folder.path());
    dev.shell.ok(&["topic", "create", "orders"], "");
    dev.shell.ok(&["produce", "orders"], "one\ntwo\n");
    dev.shell.refuses(&["log", "verify", &data], 6, "is in use by process");
    let gone = dev.kill();
    let verdict = gone.json(&["log", "verify", &data]);
    assert_eq!(verdict["sound"], true, "{verdict}");
    let partition = verdict["partitions"].as_array().and_then(|all| all.iter().find(|one| one["topic"] == "orders"));
    assert_eq!(partition.map(|one| &one["end"]), Some(&Value::from(2)), "{verdict}");
    gone.refuses(&["log", "verify", &folder.path().display().to_string()], 3, "no data directory");
    gone.refuses(&["log", "verify", "/nonexistent/folder"], 3, "is no directory");
}

#[test]
fn metadata_that_is_gone_is_rebuilt_from_the_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").join("broker-0");
    let (directory, metadata) = (data.display().to_string(), data.join("metadata"));
    let recover = ["cluster", "recover-metadata", "--data-dir", &directory];
    let dev = Dev::start(folder.path());
    dev.shell.ok(&["topic", "create", "orders", "--partitions", "2"], "");
    dev.shell.ok(&["produce", "orders"], "one\ntwo\n");
    dev.shell.refuses(&recover, 6, "is in use by process");
    let gone = dev.kill();
    std::fs::remove_dir_all(&metadata).unwrap();
    let plan = gone.json(&recover);
    assert_eq!(
        (&plan["topics"], &plan["applied"], &plan["doubts"]),
        (&1.into(), &false.into(), &serde_json::json!([]))
    );
    assert_eq!(plan["documents"].as_array().map(Vec::len), Some(17), "{plan}");
    assert!(!metadata.exists(), "a plan makes nothing");
    gone.refuses(&[&recover[..], &["--lost", "7"]].concat(), 6, "broker 7 is not lost");
    let done = gone.ok(&[&recover[..], &["--yes"]].concat(), "");
    assert!(done.ends_with("Start the brokers.\n"), "{done}");
    let dev = Dev::start(folder.path());
    let mut read: Vec<_> = dev.shell.ok(&["consume", "orders"], "").lines().map(str::to_owned).collect();
    read.sort();
    assert_eq!(read, ["one", "two"]);
    dev.shell.ok(&["topic", "create", "more"], "");
}
