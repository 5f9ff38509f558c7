//! Positions, and one fetch in flight per leader.
//!
//! Owns where reading goes on. The next fetch runs while the caller works on the last one; what arrives for a partition
//! that was moved or taken away meanwhile is dropped. `poll` is cancel-safe: fetches run on tasks of their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ottla_core::types::{BrokerId, Offset, Timestamp};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Fetched;
use super::fetch::{Answer, Outcome, Wanted, fetch};
use crate::admin::OffsetSpec;
use crate::client::Client;
use crate::config::{ConsumerConfig, NamedPartition, Reset};
use crate::error::{Error, Refused, Result, Retriable, Terminal};

/// Where to begin on a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    At(Offset),
    /// At the oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record of this time or later; after the newest if there is none.
    Time(Timestamp),
}

/// Reads partitions that it is told to read.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    positions: BTreeMap<NamedPartition, Position>,
    busy: BTreeSet<BrokerId>,
    flying: JoinSet<(BrokerId, Vec<NamedPartition>, Result<Vec<Answer>>)>,
    ready: VecDeque<Fetched>,
    turn: usize,
}

/// Where a partition stands.
#[derive(Debug)]
struct Position {
    /// `None` until the cluster has said where `start` is.
    next: Option<Offset>,
    /// Up to where the caller has been given records; behind `next` while some wait.
    given: Option<Offset>,
    start: Start,
    flying: bool,
    /// Set while the partition answers with errors: since when, how often, and when to ask again.
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    pause: Duration,
    until: Instant,
}

impl Consumer {
    /// A consumer that reads nothing yet.
    pub fn new(client: Client, config: ConsumerConfig) -> Self {
        Self {
            client,
            config,
            positions: BTreeMap::new(),
            busy: BTreeSet::new(),
            flying: JoinSet::new(),
            ready: VecDeque::new(),
            turn: 0,
        }
    }

    /// Reads `partition` from `start` on, in addition to what is read already.
    pub fn add(&mut self, partition: NamedPartition, start: Start) {
        let next = match start {
            Start::At(offset) => Some(offset),
            Start::Earliest | Start::Latest | Start::Time(_) => None,
        };
        self.ready.retain(|fetched| fetched.partition != partition);
        self.positions.insert(partition, Position { next, given: next, start, flying: false, trouble: None });
    }

    /// Reads `partition` no more.
    pub fn remove(&mut self, partition: &NamedPartition) {
        self.positions.remove(partition);
        self.ready.retain(|fetched| fetched.partition != *partition);
    }

    /// What is read.
    pub fn partitions(&self) -> impl Iterator<Item = &NamedPartition> {
        self.positions.keys()
    }

    /// The offset after the last record that was given out, or where reading begins; `None` until that is known.
    pub fn position(&self, partition: &NamedPartition) -> Option<Offset> {
        self.positions.get(partition).and_then(|position| position.given)
    }

    /// The next records, or `None` if there are none within `patience`.
    pub async fn poll(&mut self, patience: Duration) -> Result<Option<Fetched>> {
        let deadline = Instant::now() + patience;
        loop {
            if !self.ready.is_empty() {
                // The next fetch runs while the caller works on this one.
                self.launch().await?;
            }
            if let Some(fetched) = self.ready.pop_front() {
                if let Some(position) = self.positions.get_mut(&fetched.partition) {
                    position.given = Some(fetched.next);
                }
                return Ok(Some(fetched));
            }
            self.resolve().await?;
            self.launch().await?;
            let wake = self.next_try().map_or(deadline, |next| next.min(deadline));
            if self.flying.is_empty() {
                tokio::time::sleep_until(wake).await;
            } else {
                match timeout_at(wake, self.flying.join_next()).await {
                    Ok(Some(Ok((leader, asked, result)))) => self.land(leader, &asked, result)?,
                    Ok(Some(Err(error))) => {
                        return Err(Terminal::Config(format!("a fetch ended before its time: {error}")).into());
                    }
                    Ok(None) | Err(_) => {}
                }
            }
            if self.ready.is_empty() && Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Asks where partitions begin that were not told an offset.
    async fn resolve(&mut self) -> Result<()> {
        let question = |(partition, position): (&NamedPartition, &Position)| {
            let spec = match position.start {
                Start::Earliest => OffsetSpec::Earliest,
                Start::Time(time) => OffsetSpec::At(time),
                Start::At(_) | Start::Latest => OffsetSpec::Latest,
            };
            position.next.is_none().then(|| (partition.clone(), spec))
        };
        let questions: Vec<_> = self.positions.iter().filter_map(question).collect();
        if questions.is_empty() {
            return Ok(());
        }
        let found = self.client.list_offsets(&questions, self.config.read_committed).await?;
        for ((partition, _), found) in questions.into_iter().zip(found) {
            let offset = found.map_err(Error::from)?.offset;
            let Some(position) = self.positions.get_mut(&partition) else { continue };
            match offset {
                Some(offset) => {
                    position.next = Some(offset);
                    position.given = Some(offset);
                }
                // No record is that young: what comes next will be.
                None => position.start = Start::Latest,
            }
        }
        if self.positions.values().any(|position| position.next.is_none()) {
            return Box::pin(self.resolve()).await;
        }
        Ok(())
    }

    /// Sends a fetch to every leader that has none in flight and has something to be asked for.
    async fn launch(&mut self) -> Result<()> {
        let waiting: usize = self.ready.iter().map(|fetched| fetched.bytes).sum();
        if waiting >= self.config.fetch_bytes_max {
            return Ok(());
        }
        let now = Instant::now();
        let mut by_leader: BTreeMap<BrokerId, Vec<Wanted>> = BTreeMap::new();
        let idle: Vec<(NamedPartition, Offset)> = self
            .positions
            .iter()
            .filter(|(_, position)| !position.flying && position.may_ask(now))
            .filter_map(|(partition, position)| position.next.map(|next| (partition.clone(), next)))
            .collect();
        for (partition, from) in idle {
            let leader = match self.client.leader(&partition).await {
                Ok(leader) => leader,
                Err(error) => {
                    self.stumble(&partition, error)?;
                    continue;
                }
            };
            if self.busy.contains(&leader) {
                continue;
            }
            let known = self.client.known();
            let topic = known.topics.get(&partition.topic);
            let epoch = topic.and_then(|topic| topic.partitions.get(&partition.partition)).map(|known| known.epoch);
            by_leader.entry(leader).or_default().push(Wanted {
                topic: topic.map(|topic| topic.id).unwrap_or_default(),
                epoch: epoch.unwrap_or(ottla_core::types::LeaderEpoch::NONE),
                partition,
                from,
            });
        }
        for (leader, mut wanted) in by_leader {
            // A broker fills its answer in the order of the request: everybody is first in turn.
            self.turn = self.turn.wrapping_add(1);
            let first = self.turn % wanted.len();
            wanted.rotate_left(first);
            let asked: Vec<_> = wanted.iter().map(|one| one.partition.clone()).collect();
            for partition in &asked {
                if let Some(position) = self.positions.get_mut(partition) {
                    position.flying = true;
                }
            }
            self.busy.insert(leader);
            let (client, config) = (self.client.clone(), self.config.clone());
            self.flying.spawn(async move { (leader, asked, fetch(client, config, leader, wanted).await) });
        }
        Ok(())
    }

    /// Takes an answer in.
    fn land(&mut self, leader: BrokerId, asked: &[NamedPartition], result: Result<Vec<Answer>>) -> Result<()> {
        self.busy.remove(&leader);
        for partition in asked {
            if let Some(position) = self.positions.get_mut(partition) {
                position.flying = false;
            }
        }
        let answers = match result {
            Ok(answers) => answers,
            Err(error) => {
                for partition in asked {
                    self.stumble(partition, error.clone())?;
                }
                return Ok(());
            }
        };
        for answer in answers {
            let Some(position) = self.positions.get_mut(&answer.partition) else { continue };
            if position.next != Some(answer.from) {
                continue;
            }
            match answer.outcome {
                Outcome::Read { records, next, high_watermark, bytes } => {
                    position.trouble = None;
                    if next != answer.from {
                        position.next = Some(next);
                        let partition = answer.partition;
                        self.ready.push_back(Fetched { partition, records, next, high_watermark, bytes });
                    }
                }
                Outcome::Refused(code) => self.refused(&answer.partition, answer.from, code)?,
            }
        }
        Ok(())
    }

    fn refused(&mut self, partition: &NamedPartition, from: Offset, code: ErrorCode) -> Result<()> {
        let refused = Refused::new(ApiKey::Fetch, format!("offset {from} of partition {partition}"), code, None);
        if code == ErrorCode::OFFSET_OUT_OF_RANGE && self.config.reset != Reset::Fail {
            if let Some(position) = self.positions.get_mut(partition) {
                tracing::warn!(%partition, %from, "the offset is gone; starting again where auto.offset.reset says");
                position.next = None;
                position.start = if self.config.reset == Reset::Earliest { Start::Earliest } else { Start::Latest };
            }
            return Ok(());
        }
        if code == ErrorCode::UNKNOWN_TOPIC_ID || code == ErrorCode::INCONSISTENT_TOPIC_ID {
            return self.stumble(partition, Retriable::Refused(refused).into());
        }
        self.stumble(partition, refused.into())
    }

    /// Remembers that `partition` is in trouble, or fails if that cannot pass or has not passed for too long.
    fn stumble(&mut self, partition: &NamedPartition, error: Error) -> Result<()> {
        let last = match error {
            Error::Terminal(terminal) => return Err(terminal.into()),
            Error::Retriable(retriable) => retriable,
        };
        self.client.forget_topic(&partition.topic);
        let Some(position) = self.positions.get_mut(partition) else { return Ok(()) };
        let now = Instant::now();
        let config = self.client.config();
        let trouble = position.trouble.get_or_insert(Trouble { since: now, pause: config.backoff, until: now });
        if now.duration_since(trouble.since) > config.call_timeout {
            let what = format!("reading partition {partition}");
            return Err(Terminal::DeadlinePassed { what, after: config.call_timeout, last: Box::new(last) }.into());
        }
        tracing::debug!(%partition, error = %last, "reading again");
        trouble.until = now + trouble.pause;
        trouble.pause = (trouble.pause * 2).min(config.backoff_max);
        Ok(())
    }

    /// When a partition in trouble may be asked again.
    fn next_try(&self) -> Option<Instant> {
        self.positions
            .values()
            .filter(|position| !position.flying)
            .filter_map(|position| position.trouble.as_ref().map(|trouble| trouble.until))
            .min()
    }
}

impl Position {
    fn may_ask(&self, now: Instant) -> bool {
        self.trouble.as_ref().is_none_or(|trouble| trouble.until <= now)
    }
}
