//! The group coordinator in a whole broker: its log, journal, view and owners, asked as its handlers ask it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/positions.rs"]
mod positions;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::config::Config;
use ottla_broker::groups::OFFSETS_TOPIC;
use ottla_broker::node::{Node, Running};
use ottla_core::group::message::{Commit, Fetch, Heartbeat, Join, List, Sync};
use ottla_core::group::{Error, Generation, GroupId, MemberId, State, TopicName};
use ottla_core::types::PartitionIndex;
use positions::commit;

/// A broker on `folder` that answers nobody but this process.
async fn start(folder: &Path) -> Running {
    let settings = [
        ("log.dirs", folder.to_str().unwrap()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("ottla.http.listener", ""),
        ("offsets.topic.num.partitions", "5"),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let (config, unknown) = Config::new(settings).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    Running::start(config).await.unwrap()
}

/// Asks until the answer is not "come back later".
async fn patiently<T, F: Future<Output = Result<T, Error>>>(mut ask: impl FnMut() -> F) -> Result<T, Error> {
    let tries = async {
        loop {
            match ask().await {
                Err(Error::LoadInProgress | Error::NotCoordinator | Error::CoordinatorNotAvailable) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                settled => return settled,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.expect("an answer within a minute")
}

async fn fetch(node: &Node, group: &GroupId) -> Option<i64> {
    let topics = Some(vec![(TopicName::from("t"), vec![PartitionIndex::new(0)])]);
    let wanted = Fetch { group: group.clone(), topics, require_stable: false };
    let topics = patiently(|| node.groups.fetch(wanted.clone())).await.unwrap();
    topics[0].partitions[0].1.as_ref().map(|value| value.offset.get())
}

fn join(group: &GroupId, member: &MemberId) -> Join {
    Join {
        group: group.clone(),
        member: member.clone(),
        instance: None,
        client_id: "test".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        member_id_required: true,
        assignment_skippable: true,
        fresh: uuid::Uuid::new_v4(),
    }
}

/// One member with its assignment.
async fn stable_member(node: &Node, group: &GroupId) -> (MemberId, Generation) {
    node.groups.find(group).await.unwrap();
    let told = node.groups.join(join(group, &MemberId::from(""))).await;
    assert_eq!(told.error, Some(Error::MemberIdRequired));
    let joined = node.groups.join(join(group, &told.member)).await;
    assert_eq!((joined.error, joined.leader.as_str()), (None, told.member.as_str()));
    let sync = Sync {
        group: group.clone(),
        member: told.member.clone(),
        instance: None,
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: vec![(told.member.clone(), "all".into())],
    };
    assert_eq!(node.groups.sync(sync).await.unwrap().assignment, "all");
    (told.member, joined.generation)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_group_creates_the_topic_as_kafka_does() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let node = &broker.node;
    assert!(node.metadata.image().topic(OFFSETS_TOPIC).is_none(), "not before it is needed");
    let found = node.groups.find(&"g".into()).await.unwrap();
    assert_eq!(found.broker, node.id());
    let image = node.metadata.image();
    let topic = image.topic(OFFSETS_TOPIC).unwrap();
    assert!(topic.internal);
    assert_eq!(topic.partitions.len(), 5);
    let expected = [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", "104857600")];
    let expected: BTreeMap<_, _> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(topic.config, expected);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_offsets_outlive_the_process_with_and_without_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let group = GroupId::from("g");
    let (member, generation) = stable_member(&broker.node, &group).await;
    let mine = Commit { member: member.clone(), generation, ..commit(&group, 41) };
    assert_eq!(broker.node.groups.commit(mine).await, Ok(vec![None]));
    broker.stop().await;

    for without_view in [false, true] {
        if without_view {
            std::fs::remove_dir_all(folder.path().join("state")).unwrap();
        }
        let broker = start(folder.path()).await;
        let node = &broker.node;
        assert_eq!(fetch(node, &group).await, Some(41));
        let described = patiently(|| node.groups.describe(&group)).await.unwrap();
        assert_eq!((described.state, described.members.len()), (State::Stable, 1));
        let beat = Heartbeat { group: group.clone(), member: member.clone(), instance: None, generation };
        assert_eq!(patiently(|| node.groups.heartbeat(beat.clone())).await, Ok(()));
        let listed = patiently(|| async { node.groups.list(&List::default()).await }).await.unwrap();
        assert_eq!(listed.len(), 1);
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_group_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let group = GroupId::from("g");
    broker.node.groups.find(&group).await.unwrap();
    assert_eq!(broker.node.groups.commit(commit(&group, 7)).await, Ok(vec![None]));
    assert_eq!(broker.node.groups.delete(&group).await, Ok(()));
    assert_eq!(broker.node.groups.delete(&group).await, Err(Error::GroupIdNotFound));
    broker.stop().await;
    let broker = start(folder.path()).await;
    assert_eq!(fetch(&broker.node, &group).await, None);
    assert_eq!(patiently(|| broker.node.groups.describe(&group)).await, Err(Error::GroupIdNotFound));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_what_is_not_committed_yet() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let node = &broker.node;
    let group = GroupId::from("g");
    node.groups.find(&group).await.unwrap();
    assert!(node.create_on_demand(vec!["t".to_owned()]).await.is_empty());
    assert_eq!(node.groups.commit(commit(&group, 0)).await, Ok(vec![None]));
    let lags = node.groups.lags(10);
    assert_eq!((lags.entries.len(), lags.truncated), (1, false));
    let lag = &lags.entries[0];
    assert_eq!((&lag.group, lag.topic.as_str(), lag.records), (&group, "t", Some(0)));
    broker.stop().await;
}

/// G2: every acked commit is found again, whatever happens to the view meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn deleting_the_view_under_load_loses_nothing() {
    const GROUPS: usize = 12;
    const COMMITS: i64 = 150;
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path()).await;
    let node = Arc::clone(&broker.node);
    let acked: Arc<Vec<AtomicI64>> = Arc::new((0..GROUPS).map(|_| AtomicI64::new(0)).collect());
    let done = Arc::new(AtomicBool::new(false));
    node.groups.find(&name(0)).await.unwrap();

    let committers = (0..GROUPS).map(|number| {
        let (node, acked) = (Arc::clone(&node), Arc::clone(&acked));
        tokio::spawn(async move {
            let group = name(number);
            for offset in 1..=COMMITS {
                let outcome = patiently(|| node.groups.commit(commit(&group, offset))).await;
                assert_eq!(outcome, Ok(vec![None]));
                acked[number].store(offset, Ordering::SeqCst);
                let found = fetch(&node, &group).await;
                assert!(found >= Some(offset), "{group}: {offset} was acked, but {found:?} was fetched");
            }
        })
    });
    let committers: Vec<_> = committers.collect();
    let vandal = {
        let (node, done, acked) = (Arc::clone(&node), Arc::clone(&done), Arc::clone(&acked));
        tokio::spawn(async move {
            let mut seen = 0;
            while !done.load(Ordering::SeqCst) {
                let total: i64 = acked.iter().map(|offset| offset.load(Ordering::SeqCst)).sum();
                if total >= seen + 25 {
                    seen = total;
                    node.groups.drop_view().unwrap();
                }
                tokio::task::yield_now().await;
            }
        })
    };
    for committer in committers {
        committer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    vandal.await.unwrap();
    assert!(node.groups.counters().views_rebuilt.load(Ordering::Relaxed) > 0, "the view was lost at least once");
    for number in 0..GROUPS {
        assert_eq!(fetch(&node, &name(number)).await, Some(COMMITS));
    }
    drop(node);
    broker.stop().await;
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let broker = start(folder.path()).await;
    for number in 0..GROUPS {
        assert_eq!(fetch(&broker.node, &name(number)).await, Some(acked[number].load(Ordering::SeqCst)));
    }
    broker.stop().await;
}

fn name(number: usize) -> GroupId {
    GroupId::new(format!("group-{number}"))
}
