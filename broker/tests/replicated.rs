//! Three brokers in one process, over loopback gRPC: what is acknowledged is on all of them, and outlives each of them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that does not work")]

#[path = "support/orders.rs"]
mod orders;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;
#[path = "support/positions.rs"]
mod positions;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/trio.rs"]
mod trio;

use std::sync::atomic::Ordering;
use std::time::Duration;

use orders::TOPIC;
use ottla_broker::controller::WAIT_MAX;
use ottla_broker::node::Running;
use ottla_core::config::Alteration;
use ottla_core::controller::{ConfigChange, ConfigTarget};
use ottla_core::group::message::Fetch;
use ottla_core::group::{Error, GroupId};
use ottla_core::metadata::Image;
use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::messages::MetadataRequest;
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use peer::{DEADLINE, with};
use trio::{Trio, batch, fetch};

impl Trio {
    async fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !holds(self) {
            assert!(tokio::time::Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Changes a configuration, at whoever is the controller.
    async fn alter(&self, change: (ConfigTarget, ConfigChange)) {
        let is_controller = |broker: &&Running| broker.node.controller.is_controller();
        self.wait("somebody is the controller", |trio| trio.brokers.iter().flatten().any(|one| is_controller(&one)))
            .await;
        let controller = self.brokers.iter().flatten().find(is_controller).unwrap();
        assert_eq!(controller.node.controller.alter_configs(vec![change], false, WAIT_MAX).await, [Ok(())]);
    }

    /// The high watermark at the leader, once it has one to show.
    async fn watermark(&self) -> i64 {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let answer = self.peer(self.leader(TOPIC).unwrap()).await.ask(&fetch(TOPIC, 0), 12).await;
            let partition = &answer.responses[0].partitions[0];
            if partition.error_code == 0 && partition.high_watermark >= 0 {
                return partition.high_watermark;
            }
            assert!(tokio::time::Instant::now() < deadline, "{}", partition.error_code);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where the log of each broker that runs ends.
    fn ends(&self) -> Vec<i64> {
        let logs = self.brokers.iter().flatten().map(|broker| {
            let image = broker.node.metadata.image();
            let id = image.topic(TOPIC).unwrap().id;
            let id = ottla_core::types::TopicPartition::new(id, PartitionIndex::new(0));
            broker.node.log.partition(id).unwrap().log_end().get()
        });
        logs.collect()
    }

    /// Asks the group's coordinator until it knows what to say; it and its answer.
    async fn coordinator<T, F>(&self, group: &GroupId, ask: impl Fn(ottla_broker::groups::Handle) -> F) -> (usize, T)
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let found = self.any().node.groups.find(group).await;
            let index = found.map(|coordinator| usize::try_from(coordinator.broker.get()).unwrap());
            let broker = index.ok().and_then(|index| Some((index, self.brokers[index].as_ref()?)));
            let said = match broker {
                Some((index, broker)) => ask(broker.node.groups.clone()).await.map(|said| (index, said)),
                None => Err(Error::CoordinatorNotAvailable),
            };
            match said {
                Ok(said) => return said,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_on_every_replica() {
    let trio = Trio::start().await;
    trio.create().await;
    for number in 0..20 {
        trio.produced(&batch(&number.to_string())).await;
    }
    assert_eq!(trio.watermark().await, 20);
    assert_eq!(trio.ends(), [20, 20, 20]);
    trio.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_when_the_leader_stops_and_it_comes_back_in_sync() {
    let mut trio = Trio::start().await;
    trio.create().await;
    trio.produced(&batch("before")).await;
    for round in 0..3 {
        let leader = trio.leader(TOPIC).unwrap();
        trio.stop_one(leader).await;
        let gone = BrokerId::new(i32::try_from(leader).unwrap());
        trio.until(TOPIC, "another leads", |partition| partition.leader.is_some_and(|leader| leader != gone)).await;
        let is_fenced = |image: &Image| image.broker(gone).is_some_and(|broker| broker.fenced);
        trio.until_seen("it is known to be gone", is_fenced).await;
        let asked = with(|topic: &mut MetadataRequestTopic| topic.name = Some(TOPIC.to_owned()));
        let request = with(|request: &mut MetadataRequest| request.topics = Some(vec![asked]));
        let told = trio.ask((leader + 1) % 3, &request, 9).await;
        assert_eq!(told.topics[0].partitions[0].offline_replicas, [gone.get()]);
        trio.produced(&batch(&format!("while {round}"))).await;
        trio.start_one(leader).await;
        trio.until(TOPIC, "in sync again", |partition| partition.isr.len() == 3).await;
    }
    trio.produced(&batch("after")).await;
    assert_eq!(trio.watermark().await, 5);
    assert_eq!(trio.ends(), [5, 5, 5]);
    trio.stop().await;
}

// G2, R13
#[tokio::test(flavor = "multi_thread")]
async fn a_group_keeps_its_positions_when_its_coordinator_stops() {
    let mut trio = Trio::start().await;
    let group = GroupId::from("g");
    for position in 1..=3 {
        let commit = |groups: ottla_broker::groups::Handle| {
            let commit = positions::commit(&group, position);
            async move {
                let outcomes = groups.commit(commit).await?;
                outcomes.into_iter().flatten().next().map_or(Ok(()), Err)
            }
        };
        let (coordinator, ()) = trio.coordinator(&group, commit).await;
        trio.stop_one(coordinator).await;
        let fetch = |groups: ottla_broker::groups::Handle| {
            let fetch = Fetch { group: group.clone(), topics: None, require_stable: false };
            async move { groups.fetch(fetch).await }
        };
        let (other, found) = trio.coordinator(&group, fetch).await;
        assert_ne!(other, coordinator);
        let committed = found[0].partitions[0].1.as_ref().unwrap();
        assert_eq!(committed.offset.get(), position);
        trio.start_one(coordinator).await;
    }
    trio.stop().await;
}

// KIP-73
#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_holds_back_whoever_is_far_behind_and_nobody_else() {
    let slow = [("leader.replication.throttled.rate", "1")];
    let mut trio = Trio::start_with(&slow).await;
    trio.create().await;
    let change = |alteration| {
        let changes = vec![("leader.replication.throttled.replicas".to_owned(), alteration)];
        (ConfigTarget::Topic(TOPIC.to_owned()), ConfigChange::Alter(changes))
    };
    trio.alter(change(Alteration::Set("*".to_owned()))).await;
    let behind = (trio.leader(TOPIC).unwrap() + 1) % 3;
    trio.stop_one(behind).await;
    // More than any leader keeps in memory; both others are in sync, and take it at once.
    let value = "x".repeat(1_000_000);
    for _ in 0..16 {
        trio.produced(&batch(&value)).await;
    }
    trio.start_one(behind).await;
    let held = |broker: &Running| broker.node.partitions.hub().counters.throttled.load(Ordering::Relaxed) > 0;
    trio.wait("a push is held back", |trio| trio.brokers.iter().flatten().any(held)).await;
    let gone = BrokerId::new(i32::try_from(behind).unwrap());
    trio.until(TOPIC, "out of sync", |partition| !partition.isr.contains(&gone)).await;
    trio.produced(&batch("meanwhile")).await;
    trio.alter(change(Alteration::Delete)).await;
    trio.until(TOPIC, "in sync again", |partition| partition.isr.len() == 3).await;
    trio.stop().await;
}

// R12, S3
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_found_without_a_reader_and_copied_anew() {
    let mut trio = Trio::start_with(&[("ottla.scrub.interval.ms", "1000")]).await;
    trio.create().await;
    let value = "x".repeat(900_000);
    for _ in 0..4 {
        trio.produced(&batch(&value)).await;
    }
    let follower = (trio.leader(TOPIC).unwrap() + 1) % 3;
    trio.stop_one(follower).await;
    let folder = trio.folder.path().join(follower.to_string());
    flip(&folder, 2_000_000);
    trio.start_one(follower).await;
    let log = |trio: &Trio| {
        let broker = trio.brokers[follower].as_ref().unwrap();
        let id = ottla_core::types::TopicPartition::new(
            broker.node.metadata.image().topic(TOPIC).unwrap().id,
            PartitionIndex::new(0),
        );
        (
            broker.node.log.partition(id).unwrap(),
            broker.node.partitions.hub().counters.truncations.load(Ordering::Relaxed),
        )
    };
    trio.wait("the log starts over", |trio| log(trio).1 > 0).await;
    trio.wait("everything is copied", |trio| log(trio).0.flushed_end().get() == 4).await;
    trio.until(TOPIC, "in sync again", |partition| partition.isr.len() == 3).await;
    let (copied, _) = log(&trio);
    assert_eq!((copied.damage(), copied.log_start().get(), copied.log_end().get()), (vec![], 0, 4));
    let (at, end) = (copied.log_start(), copied.log_end());
    let read = tokio::task::spawn_blocking(move || copied.read(at, end, 1 << 30, true)).await.unwrap().unwrap();
    assert_eq!(read.next, end, "every record can be read");
    trio.stop().await;
}

/// Changes one byte in the only segment of the topic.
fn flip(folder: &std::path::Path, at: u64) {
    use std::io::{Read, Seek, SeekFrom, Write};
    let mut segments: Vec<_> = walk(folder).filter(|path| path.to_string_lossy().contains(TOPIC)).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "log"));
    let [segment] = segments.as_slice() else { panic!("{segments:?}") };
    let mut file = std::fs::File::options().read(true).write(true).open(segment).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

fn walk(folder: &std::path::Path) -> Box<dyn Iterator<Item = std::path::PathBuf>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    Box::new(entries.flat_map(|path| if path.is_dir() { walk(&path) } else { Box::new(std::iter::once(path)) }))
}
