//! A child process that runs `ottla dev`, and a folder for it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use clap::FromArgMatches;
use ottla_dev::Args;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test fails: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The arguments of the child, one a line.
const ARGUMENTS: &str = "OTTLA_TEST_ARGUMENTS";

/// What the test binary does when it is the child.
pub(crate) fn main() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let command = <Args as clap::Args>::augment_args(clap::Command::new("dev").no_binary_name(true));
    let args = command
        .try_get_matches_from(arguments.lines())
        .and_then(|matches| Args::from_arg_matches(&matches))
        .unwrap_or_else(|error| error.exit());
    match ottla_dev::main(args) {
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("{error:#}");
            process::exit(1);
        }
    }
}

/// A folder of a test's own.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Replaces a file at once, as editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, text).expect("write");
        fs::rename(new, self.0.path().join(name)).expect("rename");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).expect("read")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.path().join(name).exists()
    }
}

/// A running `ottla dev`; killed when it is dropped.
pub(crate) struct Child {
    process: process::Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    seen: Vec<String>,
    told: Vec<String>,
}

impl Child {
    /// Starts in `folder`, with its data in `data` and any free ports unless `arguments` say otherwise.
    pub(crate) fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut all = vec!["--data-dir", "data"];
        for flag in ["--kafka-port", "--http-port"] {
            if !arguments.contains(&flag) {
                all.extend([flag, "0"]);
            }
        }
        all.extend(arguments);
        let mut process = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "process", "--nocapture"])
            .env(ARGUMENTS, all.join("\n"))
            .current_dir(folder.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let stdout = lines(process.stdout.take().expect("piped"));
        let stderr = lines(process.stderr.take().expect("piped"));
        Self { process, stdout, stderr, seen: Vec::new(), told: Vec::new() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it is ready; returns the bootstrap list.
    pub(crate) fn ready(&mut self) -> String {
        let line = wait(&self.stdout, &mut self.seen, |line| line.starts_with("ready: bootstrap "));
        let Some(line) = line else {
            let said = self.rest();
            panic!("not ready: {:#?}\n{said}", self.seen)
        };
        line.trim_start_matches("ready: bootstrap ").to_owned()
    }

    /// Waits until it says this on stderr.
    pub(crate) fn says(&mut self, text: &str) {
        let line = wait(&self.stderr, &mut self.told, |line| line.contains(text));
        assert!(line.is_some(), "it never said {text:?}: {:#?}", self.told);
    }

    /// Waits until it has refused to run; returns what it said.
    pub(crate) fn refused(&mut self) -> String {
        let code = self.wait();
        let said = self.rest();
        assert!(code.is_some_and(|code| code != 0), "{code:?}: {said}");
        said
    }

    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        self.signal(Signal::INT);
        self.wait()
    }

    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.wait(), None);
    }

    /// How many lines on stdout began with this. Only once it has ended.
    pub(crate) fn lines_on_stdout(&mut self, prefix: &str) -> usize {
        self.seen.extend(self.stdout.iter());
        self.seen.iter().filter(|line| line.starts_with(prefix)).count()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("signal");
    }

    /// Waits for the end: both outputs are closed by then. Returns the exit code.
    fn wait(&mut self) -> Option<i32> {
        wait(&self.stdout, &mut self.seen, |_| false);
        wait(&self.stderr, &mut self.told, |_| false);
        self.process.wait().expect("wait").code()
    }

    fn rest(&mut self) -> String {
        self.told.extend(self.stderr.try_iter());
        self.told.join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a line, or for the end; fails after far too long.
fn wait(lines: &Receiver<String>, seen: &mut Vec<String>, wanted: impl Fn(&str) -> bool) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a deadline in a test that waits for a process")]
    let deadline = Instant::now() + PATIENCE;
    loop {
        #[expect(clippy::disallowed_methods, reason = "a deadline in a test that waits for a process")]
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                seen.push(line.clone());
                if wanted(&line) {
                    return Some(line);
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!("nothing happened within {PATIENCE:?}: {seen:#?}")
            }
        }
    }
}
