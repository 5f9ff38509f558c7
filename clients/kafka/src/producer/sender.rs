//! The task behind a producer: gathers records into batches, sends them, repeats what may be repeated.
//!
//! Owns every batch and the producer's identity. Per partition one batch is away at a time, per leader up to five
//! requests. A batch whose fate stays unknown past its deadline makes the identity doubtful: then nothing new leaves until
//! every batch that has left is settled, and a new epoch begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_core::types::{BrokerId, Sequence, Timestamp};
use ottla_wire::record::Header;
use ottla_wire::{ApiKey, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Receipt;
use super::batch::Batch;
use super::identity::{Identity, advance};
use super::lane::Lane;
use super::request::{Outcome, Parcel, send};
use crate::client::Client;
use crate::config::{NamedPartition, ProducerConfig};
use crate::error::{Error, Refused, Result, Retriable, Terminal};

/// Requests away per leader.
const REQUESTS_PER_LEADER_MAX: usize = 5;
/// Records taken from the queue at once.
const TAKE_MAX: usize = 1024;
/// How long the task sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

pub(super) enum Command {
    Send(Pending),
    Flush(oneshot::Sender<()>),
}

/// A record with everything decided.
pub(super) struct Pending {
    pub(super) partition: NamedPartition,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<Header>,
    pub(super) room: OwnedSemaphorePermit,
    pub(super) done: oneshot::Sender<Result<Receipt>>,
}

struct Sender {
    client: Client,
    config: ProducerConfig,
    room: Arc<Semaphore>,
    lanes: BTreeMap<NamedPartition, Lane>,
    away: JoinSet<(BrokerId, Vec<(Parcel, Outcome)>)>,
    requests: BTreeMap<BrokerId, usize>,
    identity: Option<Identity>,
    doubtful: bool,
    flushes: Vec<(Instant, oneshot::Sender<()>)>,
    closing: bool,
}

/// Runs until every handle is gone and everything has met its fate.
pub(super) async fn run(
    client: Client,
    config: ProducerConfig,
    mut commands: mpsc::Receiver<Command>,
    room: Arc<Semaphore>,
) {
    let mut sender = Sender {
        client,
        config,
        room,
        lanes: BTreeMap::new(),
        away: JoinSet::new(),
        requests: BTreeMap::new(),
        identity: None,
        doubtful: false,
        flushes: Vec::new(),
        closing: false,
    };
    let mut taken = Vec::with_capacity(TAKE_MAX);
    while !(sender.closing && sender.lanes.values().all(Lane::is_idle)) {
        sender.expire();
        sender.launch().await;
        sender.answer_flushes();
        let wake = sender.wake();
        tokio::select! {
            count = commands.recv_many(&mut taken, TAKE_MAX), if !sender.closing => {
                sender.closing = count == 0;
                for command in taken.drain(..) {
                    sender.take(command);
                }
            }
            Some(back) = sender.away.join_next(), if !sender.away.is_empty() => {
                if let Ok((leader, outcomes)) = back {
                    sender.land(leader, outcomes);
                }
            }
            () = sleep_until(wake) => {}
        }
    }
}

impl Sender {
    fn take(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Send(record) => {
                let bytes = record.room.num_permits();
                let lane = match self.lanes.get_mut(&record.partition) {
                    Some(lane) => lane,
                    None => self.lanes.entry(record.partition.clone()).or_default(),
                };
                lane.push(record, bytes, &self.config, now);
            }
            Command::Flush(done) => self.flushes.push((now, done)),
        }
    }

    /// Whether batches leave without waiting for company.
    fn hurry(&self) -> bool {
        self.closing || !self.flushes.is_empty() || self.room.available_permits() < self.config.batch_bytes
    }

    fn wake(&self) -> Instant {
        let now = Instant::now();
        let next = self.lanes.values().filter_map(|lane| lane.wake(&self.config, now)).min();
        // A lane that is due but could not leave waits for an answer, not for time; look again after a moment anyway.
        next.unwrap_or(now + IDLE).max(now + Duration::from_millis(1))
    }

    fn answer_flushes(&mut self) {
        let lanes = &self.lanes;
        let open = |time: Instant| lanes.values().any(|lane| lane.has_older(time));
        for (time, done) in std::mem::take(&mut self.flushes) {
            if open(time) {
                self.flushes.push((time, done));
            } else {
                let _ = done.send(());
            }
        }
    }

    /// Gives up what is past its deadline.
    fn expire(&mut self) {
        let now = Instant::now();
        for (partition, lane) in &mut self.lanes {
            for batch in lane.expired(&self.config, now) {
                self.doubtful |= self.config.idempotent && batch.attempts > 0;
                let last = batch.trouble.clone().unwrap_or_else(|| Retriable::Silent {
                    address: format!("the leader of partition {partition}"),
                    api: ApiKey::Produce.name(),
                    after: self.config.delivery_timeout,
                });
                batch.fail(&overdue(partition, &self.config, last));
            }
        }
    }

    /// Sends what is ready.
    async fn launch(&mut self) {
        let now = Instant::now();
        let hurry = self.hurry();
        let ready = |(partition, lane): (&NamedPartition, &Lane)| {
            lane.is_ready(&self.config, hurry, now).then(|| partition.clone())
        };
        let mut ready: Vec<NamedPartition> = self.lanes.iter().filter_map(ready).collect();
        if ready.is_empty() {
            return;
        }
        if self.config.idempotent && !self.prepare_identity(&mut ready).await {
            return;
        }
        let mut by_leader: BTreeMap<BrokerId, Vec<NamedPartition>> = BTreeMap::new();
        for partition in ready {
            match self.client.leader(&partition).await {
                Ok(leader) => by_leader.entry(leader).or_default().push(partition),
                Err(error) => self.rest(&partition, error),
            }
        }
        for (leader, partitions) in by_leader {
            self.send_to(leader, partitions);
        }
    }

    /// Makes sure that there is an identity to send with, and narrows `ready` to what may leave under it.
    async fn prepare_identity(&mut self, ready: &mut Vec<NamedPartition>) -> bool {
        if self.doubtful {
            if self.lanes.values().any(Lane::is_uncertain) {
                let lanes = &self.lanes;
                ready.retain(|partition| lanes.get(partition).is_some_and(Lane::is_uncertain));
                return true;
            }
        } else if self.identity.is_some() {
            return true;
        }
        match Identity::obtain(&self.client, self.identity).await {
            Ok(identity) => {
                tracing::debug!(id = %identity.id, epoch = %identity.epoch, "producer identity");
                self.identity = Some(identity);
                self.doubtful = false;
                for lane in self.lanes.values_mut() {
                    lane.sequence = Sequence::new(0);
                }
                true
            }
            Err(error) => {
                for lane in self.lanes.values_mut() {
                    for batch in lane.drain() {
                        batch.fail(&error);
                    }
                }
                false
            }
        }
    }

    fn send_to(&mut self, leader: BrokerId, partitions: Vec<NamedPartition>) {
        let mut parcels = Vec::new();
        let mut bytes = 0;
        let known = self.client.known();
        for partition in partitions {
            let Some(lane) = self.lanes.get_mut(&partition) else { continue };
            if self.requests.get(&leader).copied().unwrap_or_default() >= REQUESTS_PER_LEADER_MAX {
                break;
            }
            if !parcels.is_empty() && bytes + lane.front_bytes() > self.config.request_bytes_max {
                let full = std::mem::take(&mut parcels);
                Self::spawn(&mut self.away, &mut self.requests, &self.client, &self.config, leader, full);
                bytes = 0;
            }
            let sequence = self.identity.filter(|_| self.config.idempotent).map(|identity| (identity, lane.sequence));
            bytes += lane.front_bytes();
            let Some(batch) = lane.take() else { continue };
            let topic = known.topics.get(&partition.topic).map(|topic| topic.id).unwrap_or_default();
            parcels.push(Parcel { partition, topic, sequence, batch });
        }
        if !parcels.is_empty() {
            Self::spawn(&mut self.away, &mut self.requests, &self.client, &self.config, leader, parcels);
        }
    }

    fn spawn(
        away: &mut JoinSet<(BrokerId, Vec<(Parcel, Outcome)>)>,
        requests: &mut BTreeMap<BrokerId, usize>,
        client: &Client,
        config: &ProducerConfig,
        leader: BrokerId,
        parcels: Vec<Parcel>,
    ) {
        *requests.entry(leader).or_default() += 1;
        away.spawn(send(client.clone(), config.clone(), leader, parcels));
    }

    /// Takes an answer in.
    fn land(&mut self, leader: BrokerId, outcomes: Vec<(Parcel, Outcome)>) {
        if let Some(count) = self.requests.get_mut(&leader) {
            *count = count.saturating_sub(1);
        }
        for (parcel, outcome) in outcomes {
            let Parcel { partition, batch, .. } = parcel;
            match outcome {
                Outcome::Stored { base, append_time } => {
                    if let Some(lane) = self.lanes.get_mut(&partition) {
                        lane.sequence = advance(lane.sequence, batch.count());
                        lane.settled();
                    }
                    batch.acknowledge(&partition, base, append_time);
                }
                Outcome::Refused { code, message } => self.refused(partition, batch, code, message),
                Outcome::Unknown(error) | Outcome::Unsent(error) => self.again(&partition, batch, error),
            }
        }
    }

    fn refused(&mut self, partition: NamedPartition, mut batch: Batch, code: ErrorCode, message: Option<String>) {
        let refused = Refused::new(ApiKey::Produce, format!("partition {partition}"), code, message);
        let too_large = [ErrorCode::MESSAGE_TOO_LARGE, ErrorCode::RECORD_LIST_TOO_LARGE].contains(&code);
        if too_large && let Ok(Some((first, second))) = batch.split() {
            if let Some(lane) = self.lanes.get_mut(&partition) {
                let now = Instant::now();
                lane.put_back(second, None, now);
                lane.put_back(first, None, now);
            }
            return;
        }
        let forgotten = [
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ErrorCode::UNKNOWN_PRODUCER_ID,
            ErrorCode::INVALID_PRODUCER_EPOCH,
        ];
        if forgotten.contains(&code) {
            // The broker counts differently. If this was the first attempt the batch is certainly not stored, and may go
            // again under a new epoch; otherwise nobody can tell.
            self.doubtful = true;
            if batch.attempts == 1 && batch.reopen().is_ok() {
                if let Some(lane) = self.lanes.get_mut(&partition) {
                    lane.put_back(batch, None, Instant::now());
                }
                return;
            }
        }
        if code == ErrorCode::UNKNOWN_TOPIC_ID {
            return self.again(&partition, batch, Retriable::Refused(refused).into());
        }
        self.again(&partition, batch, refused.into());
    }

    /// Puts a batch back to be sent again, or gives it up.
    fn again(&mut self, partition: &NamedPartition, mut batch: Batch, error: Error) {
        let now = Instant::now();
        let pauses = (self.client.config().backoff, self.client.config().backoff_max);
        self.client.forget_topic(&partition.topic);
        let Some(lane) = self.lanes.get_mut(partition) else { return };
        match error {
            Error::Retriable(last) if now < batch.created + self.config.delivery_timeout => {
                tracing::debug!(%partition, error = %last, attempts = batch.attempts, "sending again");
                batch.trouble = Some(last);
                lane.put_back(batch, Some(pauses), now);
            }
            Error::Retriable(last) => {
                lane.settled();
                self.doubtful |= self.config.idempotent && batch.attempts > 0;
                batch.fail(&overdue(partition, &self.config, last));
            }
            Error::Terminal(_) => {
                lane.settled();
                batch.fail(&error);
            }
        }
    }

    /// Lets a partition rest that has no leader to send to.
    fn rest(&mut self, partition: &NamedPartition, error: Error) {
        let Some(batch) = self.lanes.get_mut(partition).and_then(Lane::take) else { return };
        self.again(partition, batch, error);
    }
}

fn overdue(partition: &NamedPartition, config: &ProducerConfig, last: Retriable) -> Error {
    let what = format!("writing to partition {partition}");
    Terminal::DeadlinePassed { what, after: config.delivery_timeout, last: Box::new(last) }.into()
}
