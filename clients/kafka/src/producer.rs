//! Writing records: batched, compressed, each stored once.
//!
//! Owns the handle that callers hold: it chooses partitions and bounds memory. A task of its own ([`sender`]) owns the
//! batches and the wire. `send` waits while `buffer.memory` is full; what it returns is the record's own fate.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ottla_core::types::{Offset, PartitionIndex, Timestamp};
use ottla_wire::record::Header;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::client::Client;
use crate::config::{NamedPartition, ProducerConfig};
use crate::error::{Error, Result, Terminal};

mod batch;
mod identity;
mod lane;
mod partitioner;
mod request;
mod sender;

use partitioner::Sticky;
use sender::{Command, Pending};

/// Records that may wait for the sender's attention.
const QUEUE_MAX: usize = 8 * 1024;
/// What a record costs in memory beyond its bytes.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// A record to write.
#[derive(Debug, Clone, Default)]
pub struct NewRecord {
    /// Where to.
    pub topic: String,
    /// Which partition; `None` lets the key choose, or chance if there is no key.
    pub partition: Option<PartitionIndex>,
    /// Null and empty differ.
    pub key: Option<Bytes>,
    /// Null is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// In this order; names may repeat.
    pub headers: Vec<Header>,
    /// `None` is now.
    pub timestamp: Option<Timestamp>,
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The partition.
    pub partition: NamedPartition,
    /// The offset; `None` when nobody was asked to acknowledge, or the broker only knows that it has it already.
    pub offset: Option<Offset>,
    /// When the broker says that it was appended, if the topic has it so.
    pub append_time: Option<Timestamp>,
}

/// The fate of one record, to be awaited. Dropping it changes nothing.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Receipt>>);

impl Future for Delivery {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let fate = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(fate.unwrap_or_else(|_| Err(closed())))
    }
}

/// Writes records. Cheap to clone; the task behind it ends with the last clone, after what it still has.
#[derive(Debug, Clone)]
pub struct Producer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    config: ProducerConfig,
    topics: Mutex<BTreeMap<String, KnownTopic>>,
    room: Arc<Semaphore>,
    queue: mpsc::Sender<Command>,
}

#[derive(Debug)]
struct KnownTopic {
    partitions: Arc<BTreeSet<PartitionIndex>>,
    asked: Instant,
    sticky: Sticky,
}

impl Producer {
    /// A producer on `client`.
    pub fn new(client: Client, config: ProducerConfig) -> Self {
        let (queue, commands) = mpsc::channel(QUEUE_MAX);
        let room = Arc::new(Semaphore::new(config.buffer_bytes));
        tokio::spawn(sender::run(client.clone(), config.clone(), commands, Arc::clone(&room)));
        Self(Arc::new(Inner { client, config, topics: Mutex::default(), room, queue }))
    }

    /// Queues `record`; waits for room, and for metadata the first time a topic is named. Cancelled before it returns, it
    /// has done nothing.
    pub async fn send(&self, record: NewRecord) -> Result<Delivery> {
        let bytes = size(&record);
        if bytes > self.0.config.request_bytes_max {
            let limit = self.0.config.request_bytes_max;
            return Err(Terminal::TooLarge { topic: record.topic, bytes, limit }.into());
        }
        let partition = self.partition(&record, bytes).await?;
        let claim = (bytes + RECORD_OVERHEAD_BYTES).min(self.0.config.buffer_bytes);
        let claim = u32::try_from(claim).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0.room).acquire_many_owned(claim).await.map_err(|_| closed())?;
        let (done, fate) = oneshot::channel();
        let pending = Pending {
            partition: NamedPartition::new(record.topic, partition),
            timestamp: record.timestamp.unwrap_or_else(now),
            key: record.key,
            value: record.value,
            headers: record.headers,
            room,
            done,
        };
        self.0.queue.send(Command::Send(pending)).await.map_err(|_| closed())?;
        Ok(Delivery(fate))
    }

    /// Waits until everything that was queued before has met its fate.
    pub async fn flush(&self) -> Result<()> {
        let (done, flushed) = oneshot::channel();
        self.0.queue.send(Command::Flush(done)).await.map_err(|_| closed())?;
        flushed.await.map_err(|_| closed())
    }

    async fn partition(&self, record: &NewRecord, bytes: usize) -> Result<PartitionIndex> {
        let partitions = self.partitions(&record.topic).await?;
        if let Some(partition) = record.partition {
            if partitions.contains(&partition) {
                return Ok(partition);
            }
            let count = partitions.len();
            let reason = format!("topic {} has no partition {partition}; it has {count}", record.topic);
            return Err(Terminal::NoPartition(reason).into());
        }
        if let Some(key) = &record.key {
            return Ok(partitioner::by_key(key, partitions.len()));
        }
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = topics.get_mut(&record.topic) else { return Ok(PartitionIndex::new(0)) };
        Ok(known.sticky.choose(partitions.len(), bytes, self.0.config.batch_bytes, rand::random()))
    }

    async fn partitions(&self, topic: &str) -> Result<Arc<BTreeSet<PartitionIndex>>> {
        {
            let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = |known: &&KnownTopic| known.asked.elapsed() < self.0.client.config().metadata_age_max;
            if let Some(known) = topics.get(topic).filter(fresh) {
                return Ok(Arc::clone(&known.partitions));
            }
        }
        let partitions: Arc<BTreeSet<_>> = Arc::new(self.0.client.partitions(topic).await?.into_iter().collect());
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh =
            KnownTopic { partitions: Arc::clone(&partitions), asked: Instant::now(), sticky: Sticky::default() };
        let known = topics.entry(topic.to_owned()).or_insert(fresh);
        known.partitions = Arc::clone(&partitions);
        known.asked = Instant::now();
        Ok(partitions)
    }
}

/// What a record takes on the wire, at most.
fn size(record: &NewRecord) -> usize {
    let header = |header: &Header| header.key.len() + header.value.as_ref().map_or(0, Bytes::len) + 10;
    let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    bytes(&record.key) + bytes(&record.value) + record.headers.iter().map(header).sum::<usize>() + 32
}

fn closed() -> Error {
    Terminal::Closed("producer").into()
}

#[expect(clippy::disallowed_methods, reason = "a producer is the shell that stamps records")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::new(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
