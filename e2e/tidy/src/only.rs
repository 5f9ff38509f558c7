//! What may be known in one place only: RocksDB, Kubernetes' client library, Kafka's sockets; and what the pure crates
//! must never touch.

use crate::manifest::Kind;
use crate::source::product_lines;
use crate::tree::{Finding, Tree};

/// A library of others and the folders whose crates may depend on it.
const LIBRARIES: &[(&[&str], &[&str])] = &[
    (&["rocksdb", "librocksdb-sys"], &["broker/state/"]),
    (&["kube", "k8s-openapi"], &["broker/coordination/", "operator/", "crds/", "clients/kubectl/", "e2e/"]),
    (&["rdkafka", "rdkafka-sys"], &["clients/kafka/"]),
    (&["kafka-protocol"], &[]), // an oracle in tests: it reserves memory from counts that nobody checked
    (&["openssl", "openssl-sys", "ring", "native-tls"], &[]),
];

/// Crates that perform no IO, and what would let them.
const PURE: &[&str] = &["broker/core/", "broker/wire/"];
const IMPURE_LIBRARIES: &[&str] = &["tokio", "rand", "rustix", "socket2", "mio", "async-std"];
const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant::now",
    "async fn",
    ".await",
    "Mutex<",
    "RwLock<",
];

/// The in-memory `Table` is a shell that lives beside its trait.
const NOT_PURE: &str = "broker/core/src/table.rs";

/// Opening a connection to somebody's listener.
const CONNECTS: &[&str] = &[concat!("TcpStream", "::connect"), concat!("TcpSocket", "::new")];

/// Brokers knock at each other's gRPC address, which is no Kafka listener.
const KNOCKS: &str = "broker/rpc/src/transport.rs";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for manifest in tree.packages() {
        for (kind, used) in manifest.dependencies() {
            let pure = PURE.contains(&manifest.folder.as_str());
            if kind == Kind::Dev && used != "rocksdb" {
                continue;
            }
            if pure && IMPURE_LIBRARIES.contains(&used.as_str()) {
                found.push(Finding::whole(&manifest.path, format!("{} is pure: no {used}", manifest.name)));
            }
            for (libraries, folders) in LIBRARIES {
                if libraries.contains(&used.as_str()) && !folders.iter().any(|at| manifest.folder.starts_with(at)) {
                    found.push(Finding::whole(&manifest.path, format!("{} must not know {used}", manifest.name)));
                }
            }
        }
    }
    for (path, text) in tree.rust() {
        for (index, line) in product_lines(path, text) {
            if PURE.iter().any(|folder| path.starts_with(&format!("{folder}src/")))
                && path != NOT_PURE
                && let Some(word) = IMPURE_WORDS.iter().find(|word| contains_word(line, word))
            {
                found.push(Finding::at(path, index, format!("`{word}`: this crate is pure")));
            }
            if !path.starts_with("clients/kafka/")
                && path != KNOCKS
                && let Some(word) = CONNECTS.iter().find(|word| line.contains(**word))
            {
                found.push(Finding::at(path, index, format!("`{word}`: only clients/kafka opens a Kafka socket")));
            }
        }
    }
    found
}

/// `.await` is one, `.awaits` is not.
fn contains_word(line: &str, word: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !word.ends_with(goes_on) || !line[at + word.len()..].starts_with(goes_on))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(folder: &str, dependencies: &str) -> usize {
        let text = format!("[package]\nname = \"x\"\n{dependencies}");
        check(&Tree::of(&[(&format!("{folder}/Cargo.toml"), &text)])).len()
    }

    #[test]
    fn a_library_in_the_wrong_crate_is_found() {
        assert_eq!(manifest("broker/state", "[dependencies]\nrocksdb.workspace = true\n"), 0);
        assert_eq!(manifest("broker/log", "[dependencies]\nrocksdb.workspace = true\n"), 1);
        assert_eq!(manifest("broker/log", "[dev-dependencies]\nrocksdb.workspace = true\n"), 1, "not in tests either");
        assert_eq!(manifest("crds", "[dependencies]\nkube.workspace = true\n"), 0);
        assert_eq!(manifest("broker", "[dependencies]\nkube.workspace = true\n"), 1);
        assert_eq!(manifest("broker/wire", "[dev-dependencies]\nkafka-protocol.workspace = true\n"), 0);
        assert_eq!(manifest("broker/wire", "[dependencies]\nkafka-protocol.workspace = true\n"), 1);
        assert_eq!(manifest("clients/dev", "[dependencies]\nopenssl = \"1\"\n"), 1);
    }

    #[test]
    fn a_pure_crate_that_touches_the_world_is_found() {
        assert_eq!(manifest("broker/core", "[dependencies]\ntokio.workspace = true\n"), 1);
        assert_eq!(manifest("broker/log", "[dependencies]\ntokio.workspace = true\n"), 0);
        let found = |path, text| check(&Tree::of(&[(path, text)])).len();
        assert_eq!(found("broker/core/src/group.rs", "let now = Instant::now();\n"), 1);
        assert_eq!(found("broker/core/src/group.rs", "// never Instant::now()\n"), 0);
        assert_eq!(found("broker/core/src/group/tests.rs", "let now = Instant::now();\n"), 0);
        assert_eq!(found("broker/core/src/group.rs", "group.awaiting_join.next.await?;\n"), 1);
        assert_eq!(found("broker/core/src/group.rs", "if group.awaiting_join > 0 {\n"), 0);
        assert_eq!(found("broker/wire/src/lib.rs", "pub async fn read() {}\n"), 1);
        assert_eq!(found("broker/log/src/lib.rs", "use std::fs;\n"), 0);
    }

    #[test]
    fn a_second_kafka_client_is_found() {
        let found = |path, text| check(&Tree::of(&[(path, text)])).len();
        assert_eq!(found("clients/cli/src/main.rs", "let s = TcpStream::connect(a)?;\n"), 1);
        assert_eq!(found("clients/kafka/src/lib.rs", "let s = TcpStream::connect(a).await?;\n"), 0);
        assert_eq!(found("broker/tests/garbage.rs", "let s = TcpStream::connect(a)?;\n"), 0, "tests send garbage");
    }
}
