//! Three brokers in one process, over loopback gRPC, with one store of metadata.
//!
//! Owns starting, stopping and asking them, and waiting for what they all see. Every wait has a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_broker::node::Running;
use ottla_coordination::{Coordination, Embedded};
use ottla_core::metadata::{Image, Partition};
use ottla_core::table::MemoryTable;
use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::Request;
use ottla_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::record::{BatchBuilder, Compression};

use crate::peer::{self, DEADLINE, Peer, address, configured};

/// What all of them are configured with.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("cluster.id", "MkU3OEVBNTcwNTJENDM2Qg"),
    ("ottla.grpc.listener", "127.0.0.1:0"),
    ("min.insync.replicas", "2"),
    ("default.replication.factor", "3"),
    // The records' time is made up.
    ("log.retention.ms", "-1"),
];

/// Three brokers; one that is stopped leaves a gap.
pub(crate) struct Trio {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) brokers: [Option<Running>; 3],
    coordination: Arc<dyn Coordination>,
    /// What whoever starts is also configured with.
    pub(crate) extra: Vec<(&'static str, String)>,
}

impl Trio {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Each with these keys; `{id}` in a value stands for the broker's id.
    pub(crate) async fn start_with(extra: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let coordination = Arc::new(Embedded::new(MemoryTable::default()).unwrap());
        let extra = extra.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut trio = Self { folder, brokers: [const { None }; 3], coordination, extra };
        for index in 0..3 {
            trio.start_one(index).await;
        }
        trio
    }

    pub(crate) async fn start_one(&mut self, index: usize) {
        let id = index.to_string();
        let extra: Vec<_> = self.extra.iter().map(|(key, value)| (*key, value.replace("{id}", &id))).collect();
        let mut keys = KEYS.to_vec();
        keys.extend(extra.iter().map(|(key, value)| (*key, value.as_str())));
        keys.push(("node.id", &id));
        let config = configured(&self.folder.path().join(&id), &keys);
        let shared = Some(Arc::clone(&self.coordination));
        let started = peer::soon("start", Running::start_beside(config, shared)).await;
        self.brokers[index] = Some(started.unwrap());
    }

    pub(crate) async fn stop_one(&mut self, index: usize) {
        let broker = self.brokers[index].take().unwrap();
        peer::soon("stop", broker.stop()).await;
    }

    pub(crate) async fn stop(mut self) {
        for broker in self.brokers.iter_mut().filter_map(Option::take) {
            peer::soon("stop", broker.stop()).await;
        }
    }

    /// Any broker that runs.
    pub(crate) fn any(&self) -> &Running {
        self.brokers.iter().flatten().next().unwrap()
    }

    pub(crate) async fn peer(&self, index: usize) -> Peer {
        Peer::connect(address(self.brokers[index].as_ref().unwrap())).await
    }

    /// Asks one broker, on a connection of its own.
    pub(crate) async fn ask<R: Request>(&self, index: usize, request: &R, version: i16) -> R::Response {
        self.peer(index).await.ask(request, version).await
    }

    /// Waits until every broker that runs sees what is wanted.
    pub(crate) async fn until_seen(&self, what: &str, wanted: impl Fn(&Image) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !self.brokers.iter().flatten().all(|broker| wanted(&broker.node.metadata.image())) {
            let image = self.any().node.metadata.image();
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", image.topics());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until every broker that runs sees what is wanted of partition 0 of the topic.
    pub(crate) async fn until(&self, topic: &str, what: &str, wanted: impl Fn(&Partition) -> bool) {
        self.until_seen(what, |image| image.partition(topic, PartitionIndex::new(0)).is_some_and(&wanted)).await;
    }

    /// Who leads partition 0 of the topic, as any broker sees it.
    pub(crate) fn leader(&self, topic: &str) -> Option<usize> {
        let image = self.any().node.metadata.image();
        let leader = image.partition(topic, PartitionIndex::new(0))?.leader?;
        Some(usize::try_from(leader.get()).unwrap())
    }

    /// Who decides, once somebody does.
    pub(crate) async fn controller(&self) -> usize {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let decides =
                |broker: &Option<Running>| broker.as_ref().is_some_and(|broker| broker.node.controller.is_controller());
            if let Some(index) = self.brokers.iter().position(decides) {
                return index;
            }
            assert!(tokio::time::Instant::now() < deadline, "nobody decides");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// As the wire has it.
pub(crate) fn id_of(index: usize) -> i32 {
    i32::try_from(index).unwrap()
}

/// The broker of that index.
pub(crate) fn broker(index: usize) -> BrokerId {
    BrokerId::new(id_of(index))
}

/// One record.
pub(crate) fn batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(1_000, None, Some(value.as_bytes()), &[]);
    builder.build().unwrap()
}

/// To partition 0, acknowledged by every replica in sync.
pub(crate) fn produce(topic: &str, batch: &Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(batch.clone()) };
    let data = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![data], ..Default::default() }
}

/// Of partition 0, from an offset, at once.
pub(crate) fn fetch(topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 1_000_000,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..FetchTopic::default() }];
    FetchRequest { max_bytes: 1_000_000, session_epoch: -1, topics, ..FetchRequest::default() }
}
