//! Who listens on a port: read from /proc, so that a busy port comes with a name.
//!
//! Never fails: on a system without /proc, or for processes of other users, the answer is that it is not known.

use std::fmt;
use std::fs;
use std::path::Path;

/// A process, as a person would look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its command line, shortened.
    pub command: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// A port that another process listens on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {port} is held by {}; stop it, or choose another port with {flag} (0 takes any free one)", who(.holder.as_ref()))]
pub struct Busy {
    /// The port.
    pub port: u16,
    /// Who holds it, if that can be seen.
    pub holder: Option<Process>,
    /// The flag that chooses another one.
    pub flag: &'static str,
}

fn who(holder: Option<&Process>) -> String {
    holder.map_or_else(|| "a process that this user cannot see".to_owned(), Process::to_string)
}

/// The process that listens on a TCP port.
pub fn holder(port: u16) -> Option<Process> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, port))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| holds(*pid, &inodes)).map(process).next()
}

/// Inodes of the sockets that listen on a port, from the text of /proc/net/tcp.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, hex) = fields.get(1)?.rsplit_once(':')?;
        let here = u16::from_str_radix(hex, 16).ok()? == port && *fields.get(3)? == LISTEN;
        here.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().skip(1).filter_map(row).collect()
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| is_one(&target, inodes))
}

fn is_one(target: &Path, inodes: &[String]) -> bool {
    let text = target.to_string_lossy();
    let inode = text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
    inode.is_some_and(|inode| inodes.iter().any(|known| known == inode))
}

/// A process by its id, with what can be seen of it.
pub fn process(pid: u32) -> Process {
    const SHOWN: usize = 80;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
    let mut command = words.join(" ");
    if command.is_empty() {
        command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    }
    if command.chars().count() > SHOWN {
        command = command.chars().take(SHOWN).chain("…".chars()).collect();
    }
    Process { pid, command }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_table_of_the_kernel_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0\n   1: 0100007F:2384 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 777 1 0 20 4 30 10 -1\n   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0\n  bad line\n";
        assert_eq!(listeners(table, 9092), ["12345"]);
        assert_eq!(listeners(table, 22), ["99"]);
        assert!(listeners(table, 23).is_empty());
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = holder(port).expect("this very process");
        assert_eq!(found.pid, std::process::id());
        assert!(found.command.contains("ottla_dev"), "{found}");
        let error = Busy { port, holder: Some(found.clone()), flag: "--kafka-port" }.to_string();
        assert!(error.starts_with(&format!("port {port} is held by process {} (", found.pid)), "{error}");
    }
}
