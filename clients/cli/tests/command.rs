//! The command as a script sees it: exit codes and sentences, without any cluster.

use assert_cmd::Command;

fn ottla(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.env_remove("OTTLA_BOOTSTRAP").args(args);
    command
}

/// Runs `args` and compares exit code and, in part, what stderr says.
fn check(args: &[&str], code: i32, says: &str) {
    let output = ottla(args).output().expect("the command is built with its tests");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(says), "{args:?} should say {says:?}, said:\n{stderr}");
}

/// An address at which nobody listens: a port that was free a moment ago.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener").to_string()
}

#[test]
fn usage_is_told_with_code_2() {
    check(&["topic", "lits"], 2, "list");
    check(&["topic", "create"], 2, "<TOPIC>");
    check(&["topic", "create", "t", "-p", "0"], 2, "0 is not in 1..");
    check(&["topic", "config", "t", "--set", "novalue"], 2, "NAME=VALUE");
    check(&["consume", "t", "--from", "middle"], 2, "write beginning, end");
    check(&["consume", "t", "-o", "json", "--format", "%s"], 2, "leave --format");
    check(&["consume", "t", "--format", "%q"], 2, "%q means nothing");
    check(&["produce", "t", "--rate", "never"], 2, "records per second");
    check(&["produce", "t", "--delimiter", ""], 2, "--delimiter is empty");
    check(&["group", "reset", "g", "--to", "end"], 2, "--topic");
    check(&["-b", "host:port", "topic", "list"], 2, "HOST:PORT");
}

#[test]
fn what_is_not_there_is_told_with_code_3() {
    check(
        &["--command-config", "/nonexistent/client.properties", "topic", "list"],
        3,
        "/nonexistent/client.properties",
    );
    check(&["produce", "t", "/nonexistent/file"], 3, "cannot read /nonexistent/file");
}

#[test]
fn a_cluster_that_is_not_there_is_told_with_code_5() {
    let address = nobody();
    check(&["-b", &address, "topic", "list"], 5, "cannot reach any of");
    check(&["-b", &address, "cluster", "describe"], 5, "Is a broker running there?");
}

#[test]
fn security_that_is_not_there_yet_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.properties");
    std::fs::write(&file, "security.protocol=SASL_SSL\n").unwrap();
    check(
        &["--command-config", file.to_str().unwrap(), "topic", "list"],
        2,
        "security.protocol=SASL_SSL is not supported",
    );
}

#[test]
fn help_and_completions_go_to_stdout() {
    for args in [&["--help"][..], &["consume", "--help"], &["completions", "bash"], &["completions", "zsh"]] {
        let output = ottla(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        assert!(output.stdout.len() > 500 && output.stderr.is_empty(), "{args:?}");
    }
    let help = ottla(&["--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("Exit codes:"));
}

#[test]
fn a_closed_pipe_is_nobodys_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["completions", "bash"])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stderr, "");
}
