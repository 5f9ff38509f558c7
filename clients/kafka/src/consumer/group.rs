//! Reading as a member of a classic group.
//!
//! Owns the order of things in a rebalance: the caller hears of a loss before anyone else can get the partition, and may
//! commit then. Eager members give up everything first; cooperative ones only what moves, and then join once more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ottla_core::types::Offset;
use ottla_wire::ErrorCode;
use tokio::time::Instant;

use super::heartbeat::{Heartbeat, Signal};
use super::membership::Membership;
use super::{Consumer, Fetched, Start};
use crate::admin::{CommittedOffset, Member};
use crate::client::Client;
use crate::config::{ConsumerConfig, GroupConfig, NamedPartition, Reset};
use crate::error::{Error, Result, Terminal};

/// What a member of a group learns.
#[derive(Debug)]
pub enum Event {
    /// Records.
    Records(Fetched),
    /// These partitions are read from now on.
    Assigned(BTreeSet<NamedPartition>),
    /// These go to somebody else at the next poll: commit now.
    Revoking(BTreeSet<NamedPartition>),
    /// These are gone already; what was not committed will be read again.
    Lost(BTreeSet<NamedPartition>),
    /// Nothing happened in time.
    Idle,
}

/// Reads what its group gives it.
#[derive(Debug)]
pub struct GroupConsumer {
    membership: Membership,
    consumer: Consumer,
    reset: Reset,
    heartbeat: Option<Heartbeat>,
    events: VecDeque<Event>,
    checked: Instant,
}

impl GroupConsumer {
    /// A member of `group` that wants `topics`; joins at the first poll.
    pub fn new(client: Client, config: ConsumerConfig, group: GroupConfig, topics: BTreeSet<String>) -> Self {
        Self {
            membership: Membership::new(client.clone(), group, topics),
            reset: config.reset,
            consumer: Consumer::new(client, config),
            heartbeat: None,
            events: VecDeque::new(),
            checked: Instant::now(),
        }
    }

    /// What happens next, at most `patience` from now; joining may take longer, up to the group's rebalance time-out.
    pub async fn poll(&mut self, patience: Duration) -> Result<Event> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        self.listen().await?;
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        let Some(heartbeat) = &mut self.heartbeat else {
            self.join().await?;
            return Ok(self.events.pop_front().unwrap_or(Event::Idle));
        };
        tokio::select! {
            fetched = self.consumer.poll(patience) => Ok(fetched?.map_or(Event::Idle, Event::Records)),
            _ = heartbeat.signal.changed() => Ok(Event::Idle),
        }
    }

    /// Acts on what the coordinator said.
    async fn listen(&mut self) -> Result<()> {
        let Some(heartbeat) = &self.heartbeat else { return Ok(()) };
        let signal = *heartbeat.signal.borrow();
        match signal {
            Signal::Steady => {
                let age = self.membership.client.config().metadata_age_max;
                if self.checked.elapsed() >= age {
                    self.checked = Instant::now();
                    if self.membership.is_outdated().await? {
                        self.leave_generation();
                    }
                }
            }
            Signal::Rebalance => self.leave_generation(),
            Signal::Lost(ErrorCode::FENCED_INSTANCE_ID) => {
                let instance = self.membership.config.instance.clone().unwrap_or_default();
                let group = &self.membership.config.group;
                let reason = format!("another member of group {group} took over the static id {instance}");
                return Err(Terminal::Config(reason).into());
            }
            Signal::Lost(_) => {
                self.heartbeat = None;
                self.membership.forget();
                let lost = self.drop_all();
                if !lost.is_empty() {
                    self.events.push_back(Event::Lost(lost));
                }
            }
        }
        Ok(())
    }

    /// Prepares to join again: an eager member gives up what it has.
    fn leave_generation(&mut self) {
        self.heartbeat = None;
        if !self.membership.cooperative() {
            let all = self.drop_all();
            if !all.is_empty() {
                self.events.push_back(Event::Revoking(all));
            }
        }
    }

    fn drop_all(&mut self) -> BTreeSet<NamedPartition> {
        let all = std::mem::take(&mut self.membership.owned);
        for partition in &all {
            self.consumer.remove(partition);
        }
        all
    }

    async fn join(&mut self) -> Result<()> {
        let assigned = self.membership.join().await?;
        self.checked = Instant::now();
        let membership = &mut self.membership;
        let had = std::mem::replace(&mut membership.owned, assigned.clone());
        let revoked: BTreeSet<_> = had.difference(&assigned).cloned().collect();
        let added: BTreeSet<_> = assigned.difference(&had).cloned().collect();
        for partition in &revoked {
            self.consumer.remove(partition);
        }
        if revoked.is_empty() {
            let client = membership.client.clone();
            let (config, generation) = (membership.config.clone(), membership.generation);
            self.heartbeat = Some(Heartbeat::start(client, config, generation, membership.member_id.clone()));
        } else {
            // Somebody waits for these: without a heartbeat running, the poll after this event joins again at once.
            self.events.push_back(Event::Revoking(revoked));
        }
        self.begin(&added).await?;
        self.events.push_back(Event::Assigned(added));
        Ok(())
    }

    /// Reads `added` from where the group stands.
    async fn begin(&mut self, added: &BTreeSet<NamedPartition>) -> Result<()> {
        if added.is_empty() {
            return Ok(());
        }
        let group = &self.membership.config.group;
        let committed = self.membership.client.committed(group, Some(added)).await?;
        for partition in added {
            let start = match (committed.get(partition), self.reset) {
                (Some(committed), _) => Start::At(committed.offset),
                (None, Reset::Earliest) => Start::Earliest,
                (None, Reset::Latest) => Start::Latest,
                (None, Reset::Fail) => {
                    let reason = format!("group {group} has no committed offset for partition {partition}");
                    return Err(Terminal::Config(reason).into());
                }
            };
            self.consumer.add(partition.clone(), start);
        }
        Ok(())
    }

    /// What is read now.
    pub fn assigned(&self) -> &BTreeSet<NamedPartition> {
        &self.membership.owned
    }

    /// Whether this member has its share and nothing is about to change.
    pub fn is_settled(&self) -> bool {
        self.heartbeat.is_some() && self.events.is_empty()
    }

    /// The offset after the last record that was given out of `partition`, or where reading begins.
    pub fn position(&self, partition: &NamedPartition) -> Option<Offset> {
        self.consumer.position(partition)
    }

    /// The id that the coordinator gave this member; empty before it joined.
    pub fn member_id(&self) -> &str {
        &self.membership.member_id
    }

    /// Commits as this member. Retries while the coordinator moves or loads.
    pub async fn commit(&self, offsets: &BTreeMap<NamedPartition, CommittedOffset>) -> Result<()> {
        let offsets: Vec<_> = offsets.iter().map(|(one, offset)| (one.clone(), offset.clone())).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let Membership { client, config, generation, member_id, .. } = &self.membership;
        let member = Member { generation: *generation, id: member_id, instance: config.instance.as_deref() };
        let mut retry = client.retry(format!("committing offsets of group {}", config.group));
        loop {
            let answer = client.commit_once(&config.group, member, &offsets, retry.deadline()).await;
            let error: Error = match answer {
                Ok(results) => match results.into_iter().find_map(Result::err) {
                    Some(refused) => refused.into(),
                    None => return Ok(()),
                },
                Err(error) => error,
            };
            client.forget_coordinator(&config.group);
            retry.pause(error).await?;
        }
    }

    /// Leaves the group. Commits nothing.
    pub async fn close(mut self) -> Result<()> {
        self.heartbeat = None;
        self.membership.leave().await
    }
}
