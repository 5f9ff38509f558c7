//! What of the configuration changes under a broker that runs, by its file: what it comes to, who wins, and what is not
//! taken.

#[path = "support/configs.rs"]
mod configs;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/process.rs"]
mod process;
#[path = "support/records.rs"]
mod records;

use std::path::{Path, PathBuf};
use std::time::Duration;

use configs::{alter, described};
use ottla_broker::node::Running;
use ottla_wire::ErrorCode;
use ottla_wire::record::{BatchBuilder, Compression};
use peer::{Peer, configured, soon};
use process::Process;
use records::KEPT;

const FILE: &str = "ottla.dynamic.config.file";
const SIZE: &str = "message.max.bytes";
const RETENTION: &str = "log.retention.ms";
const TOPIC: &str = "t";

/// Sources, as DescribeConfigs numbers them.
const SET_FOR_BROKER: i8 = 2;
const IN_FILE: i8 = 4;
const DEFAULT: i8 = 5;

/// The file says that from now on, all at once.
fn say(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).expect("written");
    std::fs::rename(&fresh, file).expect("moved");
}

async fn becomes(peer: &mut Peer, key: &str, value: &str, source: i8) {
    let wanted = (Some(value.to_owned()), source);
    soon(&format!("{key}={value}"), async {
        while described(peer, key).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// What is answered to a batch of about so many bytes.
async fn produced(peer: &mut Peer, bytes: usize) -> ErrorCode {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(1_000, None, Some(&vec![7; bytes]), &[]);
    let batch = builder.build().expect("a batch");
    let answer = peer.ask(&records::produce(TOPIC, 0..1, -1, &batch), 9).await;
    ErrorCode::new(answer.responses[0].partition_responses[0].error_code)
}

/// A broker whose configuration says 1,000, and whose file says 3,000.
async fn started(folder: &Path) -> (Process, PathBuf) {
    let file = folder.join("dynamic.properties");
    say(&file, "message.max.bytes=3000\n");
    let keys = [(FILE, file.to_str().expect("text")), (SIZE, "1000"), ("log.retention.hours", "5")];
    (Process::start_with(&folder.join("data"), &keys).await, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_says_acts_while_the_broker_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, file) = started(folder.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    assert_eq!(records::create(&mut peer, TOPIC, 1, KEPT).await.error_code, 0);
    becomes(&mut peer, SIZE, "3000", IN_FILE).await;
    assert_eq!(produced(&mut peer, 2000).await, ErrorCode::NONE);
    assert_eq!(produced(&mut peer, 5000).await, ErrorCode::MESSAGE_TOO_LARGE);

    say(&file, "message.max.bytes=6000\nlog.retention.ms=7000\n");
    becomes(&mut peer, SIZE, "6000", IN_FILE).await;
    assert_eq!(produced(&mut peer, 5000).await, ErrorCode::NONE, "what is described acts");
    assert_eq!(described(&mut peer, RETENTION).await, (Some("7000".to_owned()), IN_FILE));

    assert_eq!(alter(&mut peer, SIZE, Some("3000")).await, ErrorCode::NONE);
    say(&file, "message.max.bytes=9000\nlog.retention.ms=7001\n");
    becomes(&mut peer, RETENTION, "7001", IN_FILE).await;
    assert_eq!(described(&mut peer, SIZE).await, (Some("3000".to_owned()), SET_FOR_BROKER), "what is set wins");
    assert_eq!(produced(&mut peer, 5000).await, ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(alter(&mut peer, SIZE, None).await, ErrorCode::NONE);
    becomes(&mut peer, SIZE, "9000", IN_FILE).await;
    assert_eq!(produced(&mut peer, 8000).await, ErrorCode::NONE);

    say(&file, "# nothing\n");
    becomes(&mut peer, SIZE, "1048588", DEFAULT).await;
    assert_eq!(described(&mut peer, RETENTION).await, (None, DEFAULT));
    assert_eq!(described(&mut peer, "log.retention.hours").await, (Some("5".to_owned()), IN_FILE), "the rest stays");

    say(&file, "max.connections.per.ip=1\n");
    becomes(&mut peer, "max.connections.per.ip", "1", IN_FILE).await;
    assert!(Peer::connect(broker.address).await.is_closed().await, "there is one already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_changes_nothing_and_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut broker, file) = started(folder.path()).await;
    let mut peer = Peer::connect(broker.address).await;
    for (text, problem) in [
        ("message.max.bytes=many\nlog.retention.ms=1\n", "message.max.bytes"),
        ("log.retention.ms=2\n=3\n", "line 2"),
        ("", "it is empty"),
    ] {
        say(&file, text);
        let line = broker.complains("is not followed").await;
        assert!(line.contains(problem) && line.contains(FILE), "{line}");
        assert_eq!(described(&mut peer, SIZE).await, (Some("3000".to_owned()), IN_FILE));
        assert_eq!(described(&mut peer, RETENTION).await, (None, DEFAULT));
    }
    // What a start alone may change, and what nobody knows, stays where it is; the rest is taken.
    say(&file, "unclean.leader.election.enable=true\nmin.insync.replicas=3\na.later.key=1\nlog.retention.ms=4\n");
    becomes(&mut peer, RETENTION, "4", IN_FILE).await;
    for key in ["a.later.key", "min.insync.replicas", "unclean.leader.election.enable"] {
        let line = broker.complains(FILE).await;
        assert!(line.contains(key) && line.contains("ignored"), "{line}");
    }
    assert_eq!(described(&mut peer, "unclean.leader.election.enable").await, (Some("false".to_owned()), DEFAULT));
    assert_eq!(described(&mut peer, "min.insync.replicas").await, (Some("1".to_owned()), DEFAULT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_does_not_start_with_less_than_its_file_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dynamic.properties");
    let path = file.to_str().expect("text");
    let refused = async || {
        let config = configured(&folder.path().join("data"), &[(FILE, path)]);
        let refused = soon("start", Running::start(config)).await.err().expect("it does not start").to_string();
        assert!(refused.starts_with(&format!("{FILE} {path}: ")), "{refused}");
        refused
    };
    assert!(refused().await.contains("No such file"));
    say(&file, "log.retention.ms=long\n");
    assert!(refused().await.contains("log.retention.ms"));
}
