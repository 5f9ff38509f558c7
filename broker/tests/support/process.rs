//! The broker as a process of its own, and what the kernel knows of it: memory, descriptors, system calls, wake-ups.
//!
//! Owns the child: it is killed when the test is done with it, however that ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::peer::{DEADLINE, soon};

/// A running `ottla-broker`.
pub(crate) struct Process {
    child: Child,
    /// Where it listens for clients.
    pub(crate) address: SocketAddr,
    /// Its warnings and errors that nobody has waited for.
    complaints: UnboundedReceiver<String>,
}

impl Process {
    /// Starts a broker on `directory` and waits until it listens.
    pub(crate) async fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[]).await
    }

    /// The same with `extra` keys.
    pub(crate) async fn start_with(directory: &Path, extra: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ottla-broker"))
            .args(["--listeners", "PLAINTEXT://127.0.0.1:0", "--ottla.http.listener", "127.0.0.1:0"])
            .args(["--group.initial.rebalance.delay.ms", "0", "--log.dirs"])
            .arg(directory)
            .args(extra.iter().flat_map(|(key, value)| [format!("--{key}"), (*value).to_owned()]))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker's binary runs");
        let log = child.stderr.take().expect("standard error is a pipe");
        let (said, mut heard) = unbounded_channel();
        let (complains, complaints) = unbounded_channel();
        // Reads to the end: a broker whose log nobody reads would wait for ever.
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if let Some(address) = line.split("address=").nth(1).filter(|_| line.contains("listening")) {
                    let _nobody_waits = said.send(address.trim().parse::<SocketAddr>().expect("an address"));
                } else if line.contains("WARN") || line.contains("ERROR") {
                    eprintln!("{line}");
                    let _nobody_waits = complains.send(line);
                }
            }
        });
        let address = soon("start", heard.recv()).await.expect("the broker says where it listens before it ends");
        Self { child, address, complaints }
    }

    /// The next warning or error with these words, once it is written.
    pub(crate) async fn complains(&mut self, words: &str) -> String {
        soon(words, async {
            loop {
                let line = self.complaints.recv().await.expect("the broker runs");
                if line.contains(words) {
                    return line;
                }
            }
        })
        .await
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).expect("the broker runs")
    }

    /// Memory that is the process's own: no mapped file, nothing shared.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        number(&self.read("smaps_rollup"), "Pss_Anon:") * 1024
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.path("fd")).expect("the broker runs").count()
    }

    /// System calls that read, and that write, so far.
    pub(crate) fn calls(&self) -> (u64, u64) {
        let io = self.read("io");
        (number(&io, "syscr:"), number(&io, "syscw:"))
    }

    /// How often its threads have gone to sleep by themselves so far: each is woken as often.
    pub(crate) fn wake_ups(&self) -> u64 {
        let threads = std::fs::read_dir(self.path("task")).expect("the broker runs");
        let status = |thread: std::io::Result<std::fs::DirEntry>| {
            let path = thread.expect("a thread").path().join("status");
            // A thread may end in between.
            std::fs::read_to_string(path).map_or(0, |status| number(&status, "voluntary_ctxt_switches:"))
        };
        threads.map(status).sum()
    }

    /// Waits until `reading` stands still, and returns it.
    pub(crate) async fn settled<T: PartialEq>(&self, what: &str, reading: impl Fn(&Self) -> T) -> T {
        let mut before = reading(self);
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = reading(self);
            if now == before {
                return now;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what} does not come to rest within {DEADLINE:?}");
            before = now;
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the broker runs");
        self.child.wait().expect("the broker ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn number(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("no {label} in {text}"));
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{label} in {text}"))
}
