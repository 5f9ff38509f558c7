//! The shared handle on a cluster: connections by broker and purpose, metadata, coordinators, retries.
//!
//! Owns which broker is asked. Connections are split by purpose because a broker answers one connection strictly in
//! order: a long poll must not hold up a heartbeat. Cheap to clone; connections close with the last clone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::{ApiKey, ErrorCode, Request};
use tokio::time::Instant;

use crate::config::{ClientConfig, NamedPartition};
use crate::connection::Connection;
use crate::error::{Error, Refused, Result, Retriable, Terminal, check};
use crate::metadata::{Metadata, Topics};

mod retry;

pub(crate) use retry::Retry;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Metadata and administration.
    Control,
    /// Produce.
    Produce,
    /// Fetch.
    Fetch,
    /// Group membership: JoinGroup waits for the other members.
    Group,
    /// Heartbeats and commits, which must not wait behind JoinGroup.
    Heartbeat,
}

/// A handle on a cluster.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    /// Whether any broker ever answered: until then a wrong address is told at once, after that it is an outage.
    reached: AtomicBool,
    connections: Mutex<BTreeMap<(String, Purpose), Slot>>,
    metadata: Mutex<Cached>,
    coordinators: Mutex<BTreeMap<String, BrokerId>>,
}

/// One connection, made when it is first needed and again when it is over.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

#[derive(Debug, Default)]
struct Cached {
    known: Arc<Metadata>,
    asked: BTreeMap<String, Instant>,
}

impl Client {
    /// A client; connects when it is first asked something.
    pub fn new(config: ClientConfig) -> Self {
        let inner = Inner {
            config,
            reached: AtomicBool::new(false),
            connections: Mutex::default(),
            metadata: Mutex::default(),
            coordinators: Mutex::default(),
        };
        Self(Arc::new(inner))
    }

    /// How it was configured.
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// Tries of one call, until its deadline.
    pub(crate) fn retry(&self, what: impl Into<String>) -> Retry {
        Retry::new(what.into(), &self.0.config)
    }

    fn patience(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(Instant::now()).min(self.0.config.request_timeout)
    }

    /// The connection to `address` for `purpose`.
    pub(crate) async fn connection(&self, address: &str, purpose: Purpose) -> Result<Arc<Connection>> {
        let slot = {
            let mut slots = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry((address.to_owned(), purpose)).or_default())
        };
        let mut open = slot.lock().await;
        if let Some(connection) = open.as_ref()
            && !connection.is_over()
        {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(Connection::open(address, &self.0.config).await?);
        self.0.reached.store(true, Ordering::Relaxed);
        *open = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// A connection to some broker: those the metadata names, then the bootstrap list.
    pub(crate) async fn any(&self) -> Result<Arc<Connection>> {
        let known = self.known();
        let named = known.brokers.values().map(|broker| broker.address.clone());
        let mut last = None;
        for address in named.chain(self.0.config.bootstrap.iter().cloned()) {
            match self.connection(&address, Purpose::Control).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        let last = match last {
            Some(Error::Terminal(terminal)) => return Err(terminal.into()),
            Some(Error::Retriable(retriable)) => retriable.to_string(),
            None => "the list is empty".to_owned(),
        };
        let addresses = self.0.config.bootstrap.join(",");
        if self.0.reached.load(Ordering::Relaxed) {
            return Err(Retriable::Away { addresses, last }.into());
        }
        Err(Terminal::Unreachable { addresses, last }.into())
    }

    /// A connection to the broker `id`.
    pub(crate) async fn broker(&self, id: BrokerId, purpose: Purpose) -> Result<Arc<Connection>> {
        if !self.known().brokers.contains_key(&id) {
            self.refresh(Topics::None, false).await?;
        }
        let known = self.known();
        let Some(broker) = known.brokers.get(&id) else {
            let reason = "the cluster does not name it".to_owned();
            return Err(Retriable::Connect { address: format!("broker {id}"), reason }.into());
        };
        self.connection(&broker.address, purpose).await
    }

    /// A connection to the controller, or to whom the metadata gives out as it.
    pub(crate) async fn controller(&self) -> Result<Arc<Connection>> {
        if self.known().controller.is_none() {
            self.refresh(Topics::None, false).await?;
        }
        match self.known().controller {
            Some(id) => self.broker(id, Purpose::Control).await,
            None => self.any().await,
        }
    }

    /// Asks any broker, with retries.
    pub(crate) async fn ask_any<R: Request>(&self, what: &str, request: &R) -> Result<R::Response> {
        let mut retry = self.retry(what);
        loop {
            let answer = match self.any().await {
                Ok(connection) => connection.call(request, self.patience(retry.deadline())).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// Asks the broker `id` once.
    pub(crate) async fn ask_broker<R: Request>(
        &self,
        id: BrokerId,
        purpose: Purpose,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let connection = self.broker(id, purpose).await?;
        connection.call(request, self.patience(deadline)).await
    }

    /// Asks the controller once.
    pub(crate) async fn ask_controller<R: Request>(&self, request: &R, deadline: Instant) -> Result<R::Response> {
        let answer = match self.controller().await {
            Ok(connection) => connection.call(request, self.patience(deadline)).await,
            Err(error) => Err(error),
        };
        // Also one that cannot be connected to: it may have left for good.
        if answer.is_err() {
            self.forget_controller();
        }
        answer
    }

    /// What is known without asking.
    pub(crate) fn known(&self) -> Arc<Metadata> {
        Arc::clone(&self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner).known)
    }

    /// The next call for the controller looks for it first.
    pub(crate) fn forget_controller(&self) {
        let mut cached = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut cached.known).controller = None;
    }

    /// The next call for a leader of `topic` looks for it first.
    pub(crate) fn forget_topic(&self, topic: &str) {
        let mut cached = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        cached.asked.remove(topic);
    }

    /// Asks some broker for metadata once, and remembers it.
    pub(crate) async fn refresh(&self, topics: Topics<'_>, create: bool) -> Result<Arc<Metadata>> {
        let connection = self.any().await?;
        let request = topics.request(create);
        let response = connection.call(&request, self.0.config.request_timeout).await?;
        let fresh = Metadata::from_wire(response)?;
        let now = Instant::now();
        let mut cached = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, topic) in &fresh.topics {
            if topic.error == ErrorCode::NONE {
                cached.asked.insert(name.clone(), now);
            } else {
                cached.asked.remove(name);
            }
        }
        let known = Arc::make_mut(&mut cached.known);
        known.absorb(&fresh);
        Ok(Arc::new(fresh))
    }

    /// Metadata of `topics` that is not older than `metadata.max.age.ms`, with retries.
    pub async fn metadata(&self, topics: Topics<'_>) -> Result<Arc<Metadata>> {
        let mut retry = self.retry("metadata");
        loop {
            match self.refresh(topics, false).await {
                Ok(metadata) => return Ok(metadata),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// The partitions of `topic`, asked for now if need be; creates the topic where the broker does that on demand.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<PartitionIndex>> {
        let mut retry = self.retry(format!("metadata of topic {topic}"));
        loop {
            match self.topic_once(topic, true).await {
                Ok(()) => {
                    let known = self.known();
                    let partitions = known.topics.get(topic).map(|topic| topic.partitions.keys().copied().collect());
                    return Ok(partitions.unwrap_or_default());
                }
                // A topic that is created on demand appears a moment after it was first asked for.
                Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) && retry.attempts() >= 5 => {
                    return Err(settled(error));
                }
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// Who leads `partition`, from what is known or asked once.
    pub(crate) async fn leader(&self, partition: &NamedPartition) -> Result<BrokerId> {
        self.topic_once(&partition.topic, false).await?;
        let known = self.known();
        let leader = known
            .topics
            .get(&partition.topic)
            .and_then(|topic| topic.partitions.get(&partition.partition))
            .ok_or_else(|| {
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                Error::from(Refused::new(ApiKey::Metadata, format!("partition {partition}"), code, None))
            })?
            .leader;
        leader.ok_or_else(|| {
            self.forget_topic(&partition.topic);
            Retriable::NoLeader { topic: partition.topic.clone(), partition: partition.partition.get() }.into()
        })
    }

    /// Makes sure that `topic` is known and fresh.
    async fn topic_once(&self, topic: &str, create: bool) -> Result<()> {
        {
            let cached = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = cached.asked.get(topic);
            if asked.is_some_and(|&asked| asked.elapsed() < self.0.config.metadata_age_max) {
                return Ok(());
            }
        }
        let fresh = self.refresh(Topics::Named(&[topic]), create).await?;
        let code = fresh.topics.get(topic).map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error);
        check(ApiKey::Metadata, || format!("topic {topic}"), code.code(), None)
    }

    /// The next call for the coordinator of `group` looks for it first.
    pub(crate) fn forget_coordinator(&self, group: &str) {
        self.coordinators().remove(group);
    }

    fn coordinators(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BrokerId>> {
        self.0.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker that coordinates `group`, from what is known or asked once.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<BrokerId> {
        if let Some(&known) = self.coordinators().get(group) {
            return Ok(known);
        }
        let connection = self.any().await?;
        let request = FindCoordinatorRequest {
            key_type: 0,
            coordinator_keys: vec![group.to_owned()],
            ..FindCoordinatorRequest::default()
        };
        let response = connection.call(&request, self.0.config.request_timeout).await?;
        let Some(found) = response.coordinators.into_iter().next() else {
            let address = connection.address().to_owned();
            let reason = "it names no coordinator".to_owned();
            return Err(Terminal::Garbled { address, api: ApiKey::FindCoordinator.name(), reason }.into());
        };
        let message = found.error_message.as_deref();
        check(ApiKey::FindCoordinator, || format!("group {group}"), found.error_code, message)?;
        let id = BrokerId::new(found.node_id);
        let mut cached = self.0.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut cached.known).learn(id, &found.host, found.port);
        drop(cached);
        self.coordinators().insert(group.to_owned(), id);
        Ok(id)
    }
}

/// `error`, no longer worth a retry.
fn settled(error: Error) -> Error {
    match error {
        Error::Retriable(Retriable::Refused(refused)) => Terminal::Refused(refused).into(),
        Error::Retriable(_) | Error::Terminal(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;

    use super::*;
    use crate::metadata::Broker;

    #[tokio::test]
    async fn a_controller_that_has_left_is_looked_for_anew() {
        // Nobody listens at port 1.
        let left = Broker { address: "127.0.0.1:1".to_owned(), rack: None };
        let client = Client::new(ClientConfig { bootstrap: vec![left.address.clone()], ..ClientConfig::default() });
        let id = BrokerId::new(1);
        let known = Metadata { controller: Some(id), brokers: [(id, left)].into(), ..Metadata::default() };
        client.0.metadata.lock().unwrap_or_else(PoisonError::into_inner).known = Arc::new(known);
        let deadline = Instant::now() + Duration::from_secs(10);
        client.ask_controller(&UnregisterBrokerRequest::default(), deadline).await.unwrap_err();
        assert_eq!(client.known().controller, None);
    }
}
