//! Finding damage before a client does, and replacing what is damaged by what another replica holds.
//!
//! Owns the scrubber, which reads every partition within `ottla.scrub.interval.ms`, and the decision when a damaged log
//! gives up its place: only while somebody else is in sync. The replica's machine does the rest: it leaves its role, asks
//! for a new epoch, and starts over from the leader of that (R12). Must never give up a log that may be the only one with
//! what was acknowledged: where nobody else is in sync, damage stays quarantined, and every other offset is served (S3).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_core::config::broker;
use ottla_core::metadata::Image;
use ottla_core::replica::Event;
use ottla_core::types::{BrokerId, Offset, TopicPartition};
use ottla_log::partition::{Partition, ReadError};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::node::Node;
use crate::partitions::Replica;

/// What is read at once.
const STEP_BYTES: usize = 256 * 1024;
/// The longest sleep between two steps: what changes meanwhile is noticed by then.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether a damaged log may be given up by now.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Reads everything, again and again, until the broker stops.
pub async fn scrub(node: Arc<Node>) {
    let Some(interval) = interval(&node) else { return };
    loop {
        // In another order in each run: a broker that is restarted often gets to all of them, too.
        let replicas = node.partitions.all();
        let bytes: u64 = replicas.iter().map(|replica| replica.log.size_bytes()).sum();
        // What comes into being during a pass waits for the next one.
        let pace = Pace { interval: interval / 2, bytes: bytes.max(1) };
        for replica in replicas {
            tokio::select! {
                () = pace.read(&replica.log) => {}
                () = node.shutdown.cancelled() => return,
            }
        }
        tokio::select! {
            // Where there is nothing to read, a pass takes no time.
            () = sleep(interval / 1000) => {}
            () = node.shutdown.cancelled() => return,
        }
    }
}

/// Within which time everything is read; `None` if never.
fn interval(node: &Node) -> Option<Duration> {
    let milliseconds = node.config.values().long(&broker::OTTLA_SCRUB_INTERVAL_MS)?;
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// So many bytes in that time.
struct Pace {
    interval: Duration,
    bytes: u64,
}

impl Pace {
    /// How long that many of them may take.
    fn of(&self, bytes: u64) -> Duration {
        self.interval.mul_f64(bytes as f64 / self.bytes as f64)
    }

    /// Everything that lies in segments, a step at a time. What is damaged is passed over: it is quarantined by then.
    async fn read(&self, log: &Arc<Partition>) {
        let mut at = log.log_start();
        loop {
            let reader = Arc::clone(log);
            let read = spawn_blocking(move || step(&reader, at)).await;
            let Ok(Some((next, bytes))) = read else { return };
            at = next;
            let mut left = self.of(bytes);
            while !left.is_zero() {
                let now = left.min(SLEEP_MAX);
                sleep(now).await;
                left -= now;
            }
        }
    }
}

/// Where to go on and how much was read; `None` at the end, or where the disk refuses.
fn step(log: &Arc<Partition>, at: Offset) -> Option<(Offset, u64)> {
    let end = log.flushed_end();
    if at >= end {
        return None;
    }
    match log.read(at, end, STEP_BYTES, true) {
        Ok(read) if read.bytes > 0 => Some((read.next, read.bytes as u64)),
        Ok(_) => None,
        // Records were removed meanwhile.
        Err(ReadError::OutOfRange { start, .. }) if start > at => Some((start, 0)),
        Err(ReadError::Damaged { range }) => Some((range.upto, 0)),
        Err(ReadError::OutOfRange { .. } | ReadError::Io(_)) => None,
    }
}

/// Gives up damaged logs where others are in sync, until the broker stops.
pub async fn run(node: Arc<Node>) {
    let Some(mut found) = node.partitions.take_damaged() else { return };
    let mut damaged: BTreeSet<TopicPartition> = BTreeSet::new();
    loop {
        tokio::select! {
            Some(partition) = found.recv() => { damaged.insert(partition); }
            () = sleep(LOOK_AGAIN), if !damaged.is_empty() => {}
            () = node.shutdown.cancelled() => return,
        }
        take_up(&mut found, &mut damaged);
        let image = node.metadata.image();
        damaged.retain(|id| {
            let Some(replica) = node.partitions.get(*id) else { return false };
            !replica.log.damage().is_empty() && !is_given_up(&replica, &image, node.id())
        });
    }
}

fn take_up(found: &mut mpsc::UnboundedReceiver<TopicPartition>, damaged: &mut BTreeSet<TopicPartition>) {
    while let Ok(partition) = found.try_recv() {
        damaged.insert(partition);
    }
}

/// Has the log replaced if that costs nobody anything; whether it is on its way.
fn is_given_up(replica: &Arc<Replica>, image: &Image, me: BrokerId) -> bool {
    let id = replica.log.id();
    let Some(topic) = image.topic_by_id(id.topic) else { return false };
    let Some(partition) = topic.partition(id.partition) else { return false };
    if replica.is_alone() || !partition.isr.iter().any(|&member| member != me) {
        return false;
    }
    tracing::warn!(partition = %id, name = topic.name, "its log is damaged here, and is copied anew from another replica");
    replica.handle(Event::LogSuspect);
    true
}
