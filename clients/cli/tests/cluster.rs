//! The command against a real broker: `ottla dev`, one per test, on any free port.
#![cfg(feature = "dev")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that ends with the test.
struct Dev {
    child: Child,
    bootstrap: String,
    directory: tempfile::TempDir,
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command came to.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {:?}: {}", self.stdout, self.stderr))
    }
}

/// Asks again until `done`, at most [`PATIENCE`].
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "a test that waits for a condition needs a deadline")]
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        #[expect(clippy::disallowed_methods, reason = "a test that waits for a condition needs a deadline")]
        let now = Instant::now();
        assert!(now < deadline, "{what} did not happen within {PATIENCE:?}");
    }
}

impl Dev {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ready = directory.path().join("ready");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(["dev", "--kafka-port", "0", "--http-port", "0"])
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the command is built with its tests");
        let bootstrap = eventually("ottla dev being ready", || {
            if let Some(status) = child.try_wait().expect("a child that can be asked") {
                panic!("ottla dev ended: {status}");
            }
            std::fs::read_to_string(&ready).ok().filter(|text| text.ends_with('\n'))
        });
        Self { child, bootstrap: bootstrap.trim().to_owned(), directory }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["-b", &self.bootstrap]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::new(&self.command(args).stdin(Stdio::null()).output().expect("the command is built with its tests"))
    }

    fn done(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran
    }

    fn fails(&self, args: &[&str], code: i32, says: &str) {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?} should say {says:?}, said {}", ran.stderr);
    }

    fn feed(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command is built with its tests");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("a reader");
        let ran = Ran::new(&child.wait_with_output().expect("a child that ends"));
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a writable directory");
        path
    }

    /// Lines of `consume`, sorted.
    fn read(&self, args: &[&str]) -> Vec<String> {
        let mut all = vec!["consume"];
        all.extend_from_slice(args);
        let mut lines: Vec<String> = self.done(&all).stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

#[test]
fn a_topic_lives_and_dies() {
    let dev = Dev::start();
    let created =
        dev.done(&["topic", "create", "orders", "-p", "3", "-c", "retention.ms=86400000", "-o", "json"]).json();
    assert_eq!((&created[0]["outcome"], &created[0]["partitions"]), (&Value::from("created"), &Value::from(3)));
    dev.fails(&["topic", "create", "orders"], 4, "topic orders exists already");
    dev.done(&["topic", "create", "orders", "--if-not-exists"]);
    dev.fails(&["topic", "create", "bad name"], 6, "topic bad name");
    dev.fails(&["topic", "create", "x", "-c", "retention.mss=1"], 6, "did you mean retention.ms");
    dev.done(&["topic", "create", "y", "--dry-run"]);
    dev.fails(&["topic", "describe", "y"], 3, "topic y does not exist");
    let topics = dev.done(&["topic", "list", "-o", "json"]).json();
    assert_eq!(topics.as_array().map(Vec::len), Some(1));
    let described = dev.done(&["topic", "describe", "orders", "-o", "json"]).json();
    assert_eq!(described[0]["config"]["retention.ms"], "86400000");
    assert_eq!(described[0]["partitions"][2]["end"], 0);
    let set = dev.done(&["topic", "config", "orders", "--set", "max.message.bytes=5000", "-o", "json"]).json();
    assert_eq!((&set[0]["name"], &set[0]["value"]), (&"max.message.bytes".into(), &"5000".into()));
    let grown = dev.done(&["topic", "config", "orders", "--unset", "retention.ms", "--partitions", "5", "-o", "json"]);
    assert_eq!(grown.json().as_array().map(Vec::len), Some(1));
    assert_eq!(dev.done(&["topic", "describe", "orders", "-o", "json"]).json()[0]["partitions"][4]["partition"], 4);
    assert!(
        dev.done(&["topic", "config", "orders", "--all", "-o", "json"])
            .json()
            .as_array()
            .is_some_and(|all| all.len() >= 36)
    );
    dev.done(&["topic", "delete", "orders"]);
    dev.fails(&["topic", "delete", "orders"], 3, "topic orders does not exist");
    dev.done(&["topic", "delete", "orders", "--if-exists"]);
}

#[test]
fn records_come_back_as_they_were_written() {
    let dev = Dev::start();
    dev.done(&["topic", "create", "events", "-p", "4"]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        dev.feed(&["produce", "events", "-z", codec, "-K", ":", "-H", "codec=1"], &format!("{codec}:hello {codec}\n"));
    }
    let read = dev.read(&["events", "--format", "%k %h %s\\n"]);
    let expected = ["gzip", "lz4", "none", "snappy", "zstd"].map(|codec| format!("{codec} codec=1 hello {codec}"));
    assert_eq!(read, expected);
    let lines = concat!(
        r#"{"key":"k","value":{"a":1},"headers":{"h":"1"},"timestamp":1700000000000,"partition":2}"#,
        "\n",
        r#"{"value":null,"partition":2,"timestamp":1700000001000}"#,
        "\n",
        r#"{"value":"/w==","valueEncoding":"base64","partition":2,"timestamp":1700000002000}"#,
        "\n",
    );
    dev.done(&["topic", "create", "json", "copy", "-p", "3"]);
    let file = dev.file("in.jsonl", lines);
    let written =
        dev.done(&["produce", "json", "--format", "json", "-o", "json", file.to_str().expect("a plain path")]);
    assert_eq!(written.json()["partitions"]["2"]["last_offset"], 2);
    let whole = dev.done(&["consume", "json", "-o", "json"]).stdout;
    dev.feed(&["produce", "copy", "--format", "json"], &whole);
    assert_eq!(dev.done(&["consume", "copy", "-o", "json"]).stdout.replace("\"copy\"", "\"json\""), whole);
    let at = |from: &str| dev.read(&["json", "-p", "2", "--from", from, "--format", "%o\\n"]);
    assert_eq!(
        (at("1"), at("-1"), at("@1700000001000"), at("end")),
        (vec!["1".to_owned(), "2".to_owned()], vec!["2".to_owned()], vec!["1".to_owned(), "2".to_owned()], vec![],)
    );
    assert_eq!(dev.read(&["json", "-p", "2", "--until", "1", "--format", "%o\\n"]), ["0"]);
    assert_eq!(dev.read(&["events", "-n", "2"]).len(), 2);
    dev.fails(&["consume", "json", "-p", "7"], 3, "no partition 7");
    dev.fails(&["consume", "json", "-p", "2", "--from", "99"], 3, "has no offset 99");
    dev.fails(&["consume", "nothing"], 3, "topic nothing does not exist");
}

#[test]
fn a_group_goes_on_where_it_stopped() {
    let dev = Dev::start();
    dev.done(&["topic", "create", "jobs", "-p", "3"]);
    let numbers: String = (0..300).map(|number| format!("{number}:{number}\n")).collect();
    dev.feed(&["produce", "jobs", "-K", ":"], &numbers);
    let first = dev.read(&["jobs", "-g", "workers", "-n", "100"]);
    let second = dev.read(&["jobs", "-g", "workers"]);
    let mut all: Vec<u32> = first.iter().chain(&second).map(|text| text.parse().expect("a number")).collect();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>(), "each record is read once by the group");
    let described = dev.done(&["group", "describe", "workers", "-o", "json"]).json();
    assert_eq!((&described[0]["lag"], &described[0]["state"]), (&Value::from(0), &Value::from("Empty")));
    dev.done(&["group", "reset", "workers", "--to", "-10", "--topic", "jobs:0,1"]);
    assert_eq!(dev.done(&["group", "describe", "workers", "-o", "json"]).json()[0]["lag"], 20);
    assert_eq!(dev.read(&["jobs", "-g", "workers"]).len(), 20);
    dev.done(&["group", "delete", "workers", "--offsets", "jobs:2"]);
    let left = dev.done(&["group", "describe", "workers", "-o", "json"]).json();
    assert_eq!(left[0]["partitions"].as_array().map(Vec::len), Some(2));
    assert_eq!(dev.done(&["group", "list", "-o", "json"]).json()[0]["name"], "workers");
    dev.done(&["group", "delete", "workers"]);
    dev.fails(&["group", "describe", "workers"], 3, "group workers does not exist");
}

/// Members of a group that are killed with the test.
struct Members(Vec<Child>);

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn members_share_and_hand_over_their_partitions() {
    let dev = Dev::start();
    dev.done(&["topic", "create", "shared", "-p", "4"]);
    for strategy in ["range", "cooperative-sticky"] {
        let group = format!("team-{strategy}");
        let properties =
            format!("partition.assignment.strategy={strategy}\nheartbeat.interval.ms=200\nsession.timeout.ms=6000\n");
        let file = dev.file(strategy, &properties);
        let file = file.to_str().expect("a plain path");
        let member = || {
            let mut command = dev.command(&["--command-config", file, "consume", "shared", "-g", &group, "-f"]);
            command.stdout(Stdio::null()).spawn().expect("the command is built with its tests")
        };
        let shares = || -> Option<Vec<usize>> {
            let ran = dev.run(&["group", "describe", &group, "-o", "json"]);
            let described: Value = serde_json::from_str(&ran.stdout).ok()?;
            if described[0]["state"] != "Stable" {
                return None;
            }
            let members = described[0]["members"].as_array()?;
            Some(members.iter().map(|member| member["partitions"].as_array().map_or(0, Vec::len)).collect())
        };
        let mut members = Members(vec![member()]);
        eventually("one member with everything", || shares().filter(|shares| *shares == [4]));
        members.0.push(member());
        eventually("two members with two each", || shares().filter(|shares| *shares == [2, 2]));
        dev.fails(&["group", "delete", &group], 6, "still has members");
        dev.fails(&["group", "reset", &group, "--to", "end", "--topic", "shared"], 6, "has active members");
        members.0[0].kill().expect("a child that can be killed");
        eventually("the survivor with everything", || shares().filter(|shares| *shares == [4]));
    }
}

#[test]
fn a_data_directory_can_be_checked() {
    let mut dev = Dev::start();
    dev.feed(&["produce", "checked"], "one\ntwo\n");
    let described = dev.done(&["cluster", "describe", "-o", "json"]).json();
    assert_eq!(described["brokers"].as_array().map(Vec::len), Some(1));
    dev.child.kill().expect("a child that can be killed");
    dev.child.wait().expect("a child that ends");
    let brokers = described["brokers"][0]["directories"].as_array().cloned().unwrap_or_default();
    let path = brokers[0]["path"].as_str().expect("a path").to_owned();
    let verdict = Command::new(env!("CARGO_BIN_EXE_ottla")).args(["log", "verify", &path, "-o", "json"]).output();
    let verdict = Ran::new(&verdict.expect("the command is built with its tests"));
    assert_eq!(verdict.code, 0, "{}", verdict.stderr);
    assert_eq!(verdict.json()["sound"], true);
}
