//! The cluster itself: brokers, controller, data directories.
//!
//! Owns the typed forms of DescribeCluster, UnregisterBroker and DescribeLogDirs.

use ottla_core::types::{BrokerId, PartitionIndex};
use ottla_wire::ApiKey;
use ottla_wire::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_wire::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use ottla_wire::messages::unregister_broker_request::UnregisterBrokerRequest;

use super::{Settled, settle};
use crate::client::{Client, Purpose};
use crate::config::NamedPartition;
use crate::error::{Result, check};
use crate::metadata::address;

/// A cluster as it is.
#[derive(Debug, Clone)]
pub struct ClusterDescription {
    /// Its identity.
    pub id: String,
    /// Who is given out as the controller.
    pub controller: Option<BrokerId>,
    /// Its brokers.
    pub brokers: Vec<ClusterNode>,
}

/// A broker as the cluster knows it.
#[derive(Debug, Clone)]
pub struct ClusterNode {
    /// Its id.
    pub id: BrokerId,
    /// `host:port`.
    pub address: String,
    /// Where it stands.
    pub rack: Option<String>,
    /// Whether it is registered but not admitted.
    pub fenced: bool,
}

/// One data directory of one broker.
#[derive(Debug, Clone)]
pub struct DirectoryDescription {
    /// Whose it is.
    pub broker: BrokerId,
    /// Where it is on that broker.
    pub path: String,
    /// Size of the file system, if the broker tells.
    pub total_bytes: Option<i64>,
    /// What is left of it.
    pub usable_bytes: Option<i64>,
    /// What it keeps.
    pub replicas: Vec<ReplicaSize>,
}

/// One replica in a data directory.
#[derive(Debug, Clone)]
pub struct ReplicaSize {
    /// Of which partition.
    pub partition: NamedPartition,
    /// Bytes of its log.
    pub bytes: i64,
    /// How many records it is behind.
    pub lag: i64,
}

impl Client {
    /// Describes the cluster, with fenced brokers where the broker can tell.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let mut retry = self.retry("describing the cluster");
        loop {
            match self.describe_cluster_once().await {
                Ok(description) => return Ok(description),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn describe_cluster_once(&self) -> Result<ClusterDescription> {
        let connection = self.any().await?;
        let api = ApiKey::DescribeCluster;
        let request = DescribeClusterRequest {
            include_fenced_brokers: connection.version(api)? >= 2,
            ..DescribeClusterRequest::default()
        };
        let response = connection.call(&request, self.config().request_timeout).await?;
        check(api, || "the cluster".to_owned(), response.error_code, response.error_message.as_deref())?;
        let node = |broker: DescribeClusterBroker| ClusterNode {
            id: BrokerId::new(broker.broker_id),
            address: address(&broker.host, broker.port),
            rack: broker.rack,
            fenced: broker.is_fenced,
        };
        let mut brokers: Vec<_> = response.brokers.into_iter().map(node).collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(ClusterDescription {
            id: response.cluster_id,
            controller: (response.controller_id >= 0).then(|| BrokerId::new(response.controller_id)),
            brokers,
        })
    }

    /// Has the cluster forget a broker that is gone for good.
    ///
    /// # Errors
    /// When nobody answers; that it lives or holds replicas is a refusal.
    pub async fn unregister_broker(&self, id: BrokerId) -> Result<Settled<()>> {
        let mut retry = self.retry("unregistering a broker");
        let api = ApiKey::UnregisterBroker;
        let request = UnregisterBrokerRequest { broker_id: id.get() };
        loop {
            let error = match self.ask_controller(&request, retry.deadline()).await {
                Ok(answer) => {
                    let settled = settle(api, || format!("broker {id}"), answer.error_code, answer.error_message, ());
                    match settled {
                        Err(refused) if refused.code.retriable() => refused.into(),
                        settled => return Ok(settled),
                    }
                }
                Err(error) => error,
            };
            retry.pause(error).await?;
        }
    }

    /// Describes the data directories of every broker, with the replicas of `topics` (`None`: of all).
    pub async fn describe_log_dirs(&self, topics: Option<&[String]>) -> Result<Vec<Settled<DirectoryDescription>>> {
        let mut chosen = None;
        if let Some(names) = topics {
            let mut list = Vec::new();
            for topic in self.describe_topics(names).await?.into_iter().flatten() {
                list.push(DescribableLogDirTopic {
                    topic: topic.name,
                    partitions: topic.partitions.iter().map(|partition| partition.index.get()).collect(),
                });
            }
            chosen = Some(list);
        }
        let request = DescribeLogDirsRequest { topics: chosen };
        let mut all = Vec::new();
        for broker in self.broker_ids().await? {
            let mut retry = self.retry(format!("describing the data directories of broker {broker}"));
            let response = loop {
                match self.ask_broker(broker, Purpose::Control, &request, retry.deadline()).await {
                    Ok(response) => break response,
                    Err(error) => retry.pause(error).await?,
                }
            };
            let api = ApiKey::DescribeLogDirs;
            check(api, || format!("broker {broker}"), response.error_code, None)?;
            for directory in response.results {
                let mut replicas = Vec::new();
                for topic in directory.topics {
                    for replica in topic.partitions {
                        let index = PartitionIndex::new(replica.partition_index);
                        let partition = NamedPartition::new(topic.name.clone(), index);
                        replicas.push(ReplicaSize {
                            partition,
                            bytes: replica.partition_size,
                            lag: replica.offset_lag,
                        });
                    }
                }
                let description = DirectoryDescription {
                    broker,
                    path: directory.log_dir.clone(),
                    total_bytes: (directory.total_bytes >= 0).then_some(directory.total_bytes),
                    usable_bytes: (directory.usable_bytes >= 0).then_some(directory.usable_bytes),
                    replicas,
                };
                let subject = || format!("directory {} of broker {broker}", directory.log_dir);
                all.push(settle(api, subject, directory.error_code, None, description));
            }
        }
        Ok(all)
    }
}
