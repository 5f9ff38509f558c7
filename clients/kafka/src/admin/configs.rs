//! Configurations of topics, brokers and groups: describe, change one key at a time.
//!
//! Owns the names of resource types, sources and operations. Never uses the old AlterConfigs, which replaces everything.

use std::collections::BTreeMap;

use ottla_core::types::BrokerId;
use ottla_wire::ApiKey;
use ottla_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use tokio::time::Instant;

use super::{Settled, Settling, settle, unmentioned};
use crate::client::{Client, Purpose};
use crate::error::Result;

/// What has a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic by name.
    Topic(String),
    /// One broker.
    Broker(BrokerId),
    /// What all brokers share.
    Brokers,
    /// A group by name.
    Group(String),
}

/// One key and its value.
#[derive(Debug, Clone)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value; `None` if it is a secret.
    pub value: Option<String>,
    /// Who says so.
    pub source: ConfigSource,
    /// Whether it cannot be changed this way.
    pub read_only: bool,
    /// Whether the value is kept back.
    pub sensitive: bool,
    /// What it is for, if the broker tells and was asked.
    pub documentation: Option<String>,
}

/// Who says what a value is, most specific first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the group.
    Group,
    /// Set on this broker while it ran.
    DynamicBroker,
    /// Set on all brokers while they ran.
    DynamicDefault,
    /// From the broker's own file.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// Something that this client has no word for.
    Other(i8),
}

impl ConfigSource {
    fn from_wire(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefault,
            4 => Self::StaticBroker,
            5 => Self::Default,
            8 => Self::Group,
            other => Self::Other(other),
        }
    }

    /// A word for people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Group => "group",
            Self::DynamicBroker => "broker",
            Self::DynamicDefault => "brokers",
            Self::StaticBroker => "file",
            Self::Default => "default",
            Self::Other(_) => "other",
        }
    }
}

/// A change of one key.
#[derive(Debug, Clone)]
pub struct ConfigChange {
    /// The key.
    pub name: String,
    /// What to do with it.
    pub operation: Operation,
}

/// What to do with a key.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Give it this value.
    Set(String),
    /// Go back to the default.
    Unset,
    /// Add these to a list.
    Append(String),
    /// Remove these from a list.
    Subtract(String),
}

impl Operation {
    fn code(&self) -> i8 {
        match self {
            Self::Set(_) => 0,
            Self::Unset => 1,
            Self::Append(_) => 2,
            Self::Subtract(_) => 3,
        }
    }

    fn value(&self) -> Option<String> {
        match self {
            Self::Set(value) | Self::Append(value) | Self::Subtract(value) => Some(value.clone()),
            Self::Unset => None,
        }
    }
}

impl Resource {
    fn code(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::Brokers => 4,
            Self::Group(_) => 32,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) | Self::Group(name) => name.clone(),
            Self::Broker(id) => id.to_string(),
            Self::Brokers => String::new(),
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic {name}"),
            Self::Group(name) => format!("group {name}"),
            Self::Broker(id) => format!("broker {id}"),
            Self::Brokers => "the brokers".to_owned(),
        }
    }
}

impl Client {
    /// The configurations of `resources`, by key.
    pub async fn describe_configs(
        &self,
        resources: &[Resource],
        documentation: bool,
    ) -> Result<Vec<Settled<Vec<ConfigEntry>>>> {
        let mut work = Settling::new(self.retry("describing configurations"), resources.to_vec());
        while let Some(open) = work.open() {
            let answer = self.describe_configs_once(&open, documentation, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(work.done())
    }

    async fn describe_configs_once(
        &self,
        resources: &[Resource],
        documentation: bool,
        deadline: Instant,
    ) -> Result<Vec<Settled<Vec<ConfigEntry>>>> {
        let api = ApiKey::DescribeConfigs;
        let mut answers = BTreeMap::new();
        for (broker, resources) in by_broker(resources) {
            let resource = |resource: &Resource| DescribeConfigsResource {
                resource_type: resource.code(),
                resource_name: resource.name(),
                configuration_keys: None,
            };
            let request = DescribeConfigsRequest {
                resources: resources.iter().map(resource).collect(),
                include_synonyms: false,
                include_documentation: documentation,
            };
            let response = match broker {
                Some(id) => self.ask_broker(id, Purpose::Control, &request, deadline).await?,
                None => self.ask_any("describing configurations", &request).await?,
            };
            for answer in response.results {
                answers.insert((answer.resource_type, answer.resource_name.clone()), answer);
            }
        }
        let result = |resource: &Resource| {
            let key = (resource.code(), resource.name());
            let answer = answers.remove(&key).ok_or_else(|| unmentioned(api, resource.subject()))?;
            let mut entries: Vec<_> = answer.configs.into_iter().map(entry).collect();
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            settle(api, || resource.subject(), answer.error_code, answer.error_message, entries)
        };
        Ok(resources.iter().map(result).collect())
    }

    /// Changes configurations, or only checks whether they could be changed.
    pub async fn alter_configs(
        &self,
        changes: &[(Resource, Vec<ConfigChange>)],
        dry_run: bool,
    ) -> Result<Vec<Settled<()>>> {
        let mut work = Settling::new(self.retry("changing configurations"), changes.to_vec());
        while let Some(open) = work.open() {
            let answer = self.alter_configs_once(&open, dry_run, work.deadline()).await;
            work.absorb(answer).await?;
        }
        Ok(work.done())
    }

    async fn alter_configs_once(
        &self,
        changes: &[(Resource, Vec<ConfigChange>)],
        dry_run: bool,
        deadline: Instant,
    ) -> Result<Vec<Settled<()>>> {
        let config = |change: &ConfigChange| AlterableConfig {
            name: change.name.clone(),
            config_operation: change.operation.code(),
            value: change.operation.value(),
        };
        let resource = |(resource, changes): &(Resource, Vec<ConfigChange>)| AlterConfigsResource {
            resource_type: resource.code(),
            resource_name: resource.name(),
            configs: changes.iter().map(config).collect(),
        };
        let request = IncrementalAlterConfigsRequest {
            resources: changes.iter().map(resource).collect(),
            validate_only: dry_run,
        };
        let response = self.ask_controller(&request, deadline).await?;
        let api = ApiKey::IncrementalAlterConfigs;
        let mut answers: BTreeMap<_, _> = response
            .responses
            .into_iter()
            .map(|answer| ((answer.resource_type, answer.resource_name.clone()), answer))
            .collect();
        let result = |(resource, _): &(Resource, Vec<ConfigChange>)| {
            let key = (resource.code(), resource.name());
            let answer = answers.remove(&key).ok_or_else(|| unmentioned(api, resource.subject()))?;
            settle(api, || resource.subject(), answer.error_code, answer.error_message, ())
        };
        Ok(changes.iter().map(result).collect())
    }
}

/// Only a broker itself knows what its own file says; everything else is asked of anybody.
fn by_broker(resources: &[Resource]) -> BTreeMap<Option<BrokerId>, Vec<Resource>> {
    let mut split: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for resource in resources {
        let broker = match resource {
            Resource::Broker(id) => Some(*id),
            Resource::Topic(_) | Resource::Brokers | Resource::Group(_) => None,
        };
        split.entry(broker).or_default().push(resource.clone());
    }
    split
}

fn entry(result: DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: result.name,
        value: result.value,
        source: ConfigSource::from_wire(result.config_source),
        read_only: result.read_only,
        sensitive: result.is_sensitive,
        documentation: result.documentation,
    }
}
