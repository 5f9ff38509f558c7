//! Metadata that went back to an older state is refused with a sentence, and nothing is deleted or truncated for it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ottla_broker::config::Config;
use ottla_broker::controller::recover::{Home, RecoverError, look};
use ottla_broker::node::Running;
use ottla_core::controller::recover::InStore;
use ottla_wire::messages::MetadataRequest;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use peer::{Peer, address, soon, start, with};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file of the directory that holds records or what was promised about them, with its length.
fn files(root: &Path, folder: &Path, found: &mut BTreeMap<String, u64>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        // The databases keep house by themselves, and a start takes a new journal file.
        if ["metadata", "state", "journal", "ottla.lock"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            files(root, &path, found);
        } else {
            found.insert(name, entry.metadata().unwrap().len());
        }
    }
}

fn listing(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    files(root, root, &mut found);
    found
}

/// Creates `topic`, as a client does that asks for it.
async fn create(broker: &Running, topic: &str) {
    let one = with(|wanted: &mut MetadataRequestTopic| wanted.name = Some(topic.to_owned()));
    let request = with(|request: &mut MetadataRequest| {
        request.topics = Some(vec![one]);
        request.allow_auto_topic_creation = true;
    });
    let answer = Peer::connect(address(broker)).await.ask(&request, 9).await;
    assert_eq!(answer.topics.len(), 1);
}

/// A directory whose broker made the topics `old` and `young`, and whose metadata is as it was in between.
async fn rolled_back() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let (metadata, saved) = (directory.path().join("metadata"), backup.path().join("metadata"));
    let broker = start(directory.path(), &[]).await;
    create(&broker, "old").await;
    soon("stop", broker.stop()).await;
    copy(&metadata, &saved);

    let broker = start(directory.path(), &[]).await;
    create(&broker, "young").await;
    soon("stop", broker.stop()).await;
    fs::remove_dir_all(&metadata).unwrap();
    copy(&saved, &metadata);
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_recovered_from_the_only_data_directory() {
    for is_gone in [false, true] {
        let directory = rolled_back().await;
        let folder = directory.path().join("metadata");
        if is_gone {
            fs::remove_dir_all(&folder).unwrap();
        }
        let (home, directories) = (Home::Folder(folder.clone()), vec![directory.path().to_owned()]);
        let recovery = soon("look", look(&home, directories, BTreeSet::new())).await.unwrap();
        let plan = recovery.plan();
        assert!(plan.is_complete() && plan.can_start() && plan.given_up().count() == 0, "{plan:?}");
        assert_eq!(plan.topics, 2);
        let missing = plan.origins.iter().filter(|origin| origin.in_store == InStore::Missing).count();
        assert_eq!(missing, if is_gone { 17 } else { 0 });
        assert_eq!(folder.exists(), !is_gone, "a plan makes nothing");
        recovery.apply().await.unwrap();
        for _ in 0..2 {
            let broker = start(directory.path(), &[]).await;
            let image = broker.node.metadata.image();
            assert!(image.topic("old").is_some() && image.topic("young").is_some());
            let refused = look(&home, vec![directory.path().to_owned()], BTreeSet::new()).await.err().unwrap();
            assert!(matches!(refused, RecoverError::Running(_)), "{refused}");
            soon("stop", broker.stop()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_restored_from_a_backup_is_refused() {
    let directory = rolled_back().await;
    let before = listing(directory.path());
    let values = [
        ("listeners", "PLAINTEXT://127.0.0.1:0".to_owned()),
        ("ottla.http.listener", String::new()),
        ("log.dirs", directory.path().display().to_string()),
    ];
    let (config, _) = Config::new(values.map(|(key, value)| (key.to_owned(), value)).into()).unwrap();
    let refused = soon("start", Running::start(config)).await.err().expect("refused").to_string();
    assert!(refused.starts_with("MetadataRolledBack"), "{refused}");
    assert!(refused.contains("root") && refused.contains("epoch"), "{refused}");
    assert_eq!(listing(directory.path()), before, "nothing was deleted or truncated");
}
