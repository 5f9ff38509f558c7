//! Doing: the steps of a plan that are done at the cluster's own brokers, as any administrator's tool would.
//!
//! Owns the connections, one per Cluster, and what a broker's answer means. A move that was not throttled does not begin.
//! Must never decide what is done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use ottla_client::types::{BrokerId, PartitionIndex};
use ottla_client::{Client, ClientConfig, ConfigChange, ErrorCode, NamedPartition, Operation, Resource, Settled};
use ottla_crds::Cluster;
use parking_lot::Mutex;

use super::apply::Failure;
use super::balance::Move;
use super::layout::{RATES, THROTTLED, THROTTLES};
use super::names::MANAGER;
use super::plan::{Step, Throttle};
use crate::topic::addresses::Addresses;

/// How long one call to the brokers may take, with the client's own retries.
const CALL: Duration = Duration::from_secs(10);

/// A Cluster by namespace and name.
type Key = (String, String);

/// Where the brokers of Clusters are asked.
pub struct Brokers {
    addresses: Arc<dyn Addresses>,
    connections: Mutex<HashMap<Key, (Vec<String>, Client)>>,
}

impl Brokers {
    /// Nobody is connected to yet.
    pub fn new(addresses: Arc<dyn Addresses>) -> Self {
        Self { addresses, connections: Mutex::default() }
    }

    /// Ends the connection to the brokers of a Cluster.
    pub(super) fn forget(&self, key: &Key) {
        self.connections.lock().remove(key);
    }

    fn client(&self, cluster: &Cluster) -> Option<Client> {
        let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let bootstrap = self.addresses.bootstrap(cluster);
        if bootstrap.is_empty() {
            return None;
        }
        let mut connections = self.connections.lock();
        if let Some((known, client)) = connections.get(&key)
            && *known == bootstrap
        {
            return Some(client.clone());
        }
        let client = Client::new(ClientConfig {
            bootstrap: bootstrap.clone(),
            client_id: MANAGER.to_owned(),
            call_timeout: CALL,
            connect_timeout: Duration::from_secs(3),
            ..ClientConfig::default()
        });
        connections.insert(key, (bootstrap, client.clone()));
        Some(client)
    }

    /// Does `step`.
    ///
    /// # Errors
    /// [`Failure`]
    pub(super) async fn perform(&self, cluster: &Cluster, step: &Step) -> Result<(), Failure> {
        let failed = |why: String| Failure::Failed { what: step.to_string(), why };
        let Some(client) = self.client(cluster) else {
            return Err(failed("there is no Internal listener for the operator: add one".to_owned()));
        };
        let done = match step {
            Step::Move { moves, throttle } => relocate(&client, moves, throttle).await,
            Step::Pace { rate, brokers } => alter(&client, of_brokers(brokers), RATES, Some(rate)).await,
            Step::Release { topics, brokers } => {
                // The rates last: they are what a half-done release is found by.
                match alter(&client, topics.iter().cloned().map(Resource::Topic), THROTTLES, None).await {
                    Ok(()) => alter(&client, of_brokers(brokers), RATES, None).await,
                    failed => failed,
                }
            }
            Step::Unregister { broker } => unregister(&client, *broker).await,
            Step::CreateMetadata
            | Step::CreateShards
            | Step::Apply { .. }
            | Step::Certify { .. }
            | Step::Mend { .. }
            | Step::Delete { .. } => Ok(()),
        };
        done.map_err(failed)
    }
}

async fn unregister(client: &Client, broker: i32) -> Result<(), String> {
    match client.unregister_broker(BrokerId::new(broker)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) if refused.code == ErrorCode::BROKER_ID_NOT_REGISTERED => Ok(()),
        Ok(Err(refused)) => Err(refused.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn of_brokers(ids: &[i32]) -> impl Iterator<Item = Resource> {
    ids.iter().map(|id| Resource::Broker(BrokerId::new(*id)))
}

/// Throttles what is about to move, then has it moved. The topics first: by them rates are known for this operator's own.
async fn relocate(client: &Client, moves: &[Move], throttle: &Throttle) -> Result<(), String> {
    alter(client, throttle.topics.iter().cloned().map(Resource::Topic), THROTTLES, Some(THROTTLED)).await?;
    alter(client, of_brokers(&throttle.brokers), RATES, Some(&throttle.rate)).await?;
    let target = |one: &Move| {
        let partition = NamedPartition::new(one.topic.clone(), PartitionIndex::new(one.partition));
        (partition, one.replicas.iter().map(|id| BrokerId::new(*id)).collect())
    };
    let targets: Vec<(NamedPartition, Vec<BrokerId>)> = moves.iter().map(target).collect();
    settled(client.reassign(&targets).await)
}

/// Sets both keys of every resource, or takes them back.
async fn alter(
    client: &Client,
    resources: impl Iterator<Item = Resource>,
    keys: [&str; 2],
    value: Option<&str>,
) -> Result<(), String> {
    let operation = value.map_or(Operation::Unset, |value| Operation::Set(value.to_owned()));
    let change = keys.map(|name| ConfigChange { name: name.to_owned(), operation: operation.clone() });
    let changes: Vec<(Resource, Vec<ConfigChange>)> = resources.map(|one| (one, change.to_vec())).collect();
    if changes.is_empty() {
        return Ok(());
    }
    settled(client.alter_configs(&changes, false).await)
}

/// The first thing that was refused. What changed meanwhile is seen by the next look.
fn settled(answer: ottla_client::Result<Vec<Settled<()>>>) -> Result<(), String> {
    let passes = [
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::REASSIGNMENT_IN_PROGRESS,
        ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
    ];
    let answers = answer.map_err(|error| error.to_string())?;
    let refused = answers.into_iter().filter_map(Result::err).find(|refused| !passes.contains(&refused.code));
    refused.map_or(Ok(()), |refused| Err(refused.to_string()))
}
