//! Changing configs of topics and, at run time, of brokers.
//!
//! A change of `min.insync.replicas` clears the eligible replicas of the topic's partitions in the same write: who was
//! eligible under the old rule need not hold what the new one promises (KIP-966).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{AlterConfigError, InvalidRequest};
use super::{ConfigChange, ConfigTarget, Machine, Work};
use crate::config::{self, ConfigError, ReplicaConfig};
use crate::metadata::ExplicitConfig;
use crate::types::BrokerId;

impl Machine {
    pub(super) fn alter_configs(
        &mut self,
        work: &mut Work,
        resources: &[(ConfigTarget, ConfigChange)],
        validate_only: bool,
    ) -> Vec<Result<(), AlterConfigError>> {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> =
            resources.iter().map(|(target, _)| target).filter(|target| !seen.insert(*target)).collect();
        let mut alter = |(target, change): &(ConfigTarget, ConfigChange)| {
            if twice.contains(target) {
                return Err(InvalidRequest::Duplicate(describe(target)).into());
            }
            check_keys(change)?;
            match target {
                ConfigTarget::Topic(name) => self.alter_topic(work, name, change, validate_only),
                ConfigTarget::Broker(id) => self.alter_broker(work, Some(*id), change, validate_only),
                ConfigTarget::AllBrokers => self.alter_broker(work, None, change, validate_only),
            }
        };
        resources.iter().map(&mut alter).collect()
    }

    fn alter_topic(
        &mut self,
        work: &mut Work,
        name: &str,
        change: &ConfigChange,
        validate_only: bool,
    ) -> Result<(), AlterConfigError> {
        let topic = self.latest_topic(work, name).cloned();
        let topic = topic.ok_or_else(|| AlterConfigError::UnknownName(name.to_owned()))?;
        let next = match change {
            ConfigChange::Replace(all) => all.clone(),
            ConfigChange::Alter(changes) => {
                let changes = changes.iter().map(|(key, change)| (key.as_str(), change));
                config::alter_topic(&topic.config, changes, &self.broker)?
            }
        };
        config::check_topic(&next, &self.broker, topic.internal)?;
        if validate_only || next == topic.config {
            return Ok(());
        }
        let minimum = |explicit| ReplicaConfig::resolve(explicit, &self.broker).min_insync_replicas;
        let clears_elr =
            self.config.tuning.rules.new_minimum_clears_eligible && minimum(&topic.config) != minimum(&next);
        let shard = self.shard_of(name);
        if let Some(topic) = self.shard_for(work, shard).topics.get_mut(name) {
            let topic = Arc::make_mut(topic);
            topic.config = next;
            for partition in topic.partitions.iter_mut().filter(|partition| clears_elr && !partition.elr.is_empty()) {
                partition.elr.clear();
                partition.partition_epoch = partition.partition_epoch.get().saturating_add(1).into();
            }
        }
        Ok(())
    }

    fn alter_broker(
        &mut self,
        work: &mut Work,
        target: Option<BrokerId>,
        change: &ConfigChange,
        validate_only: bool,
    ) -> Result<(), AlterConfigError> {
        let root = self.latest_root(work);
        let current = match target {
            Some(id) if !root.members.contains_key(&id) => return Err(InvalidRequest::UnknownBroker(id).into()),
            Some(id) => root.broker_configs.get(&id).cloned().unwrap_or_default(),
            None => root.broker_defaults.clone(),
        };
        let next = match change {
            ConfigChange::Replace(all) => all.clone(),
            ConfigChange::Alter(changes) => {
                let changes = changes.iter().map(|(key, change)| (key.as_str(), change));
                config::alter_broker(&current, changes)?
            }
        };
        config::check_broker(&next, target)?;
        if !validate_only && next != current {
            self.set_broker_config(work, target, next);
        }
        Ok(())
    }

    fn set_broker_config(&mut self, work: &mut Work, target: Option<BrokerId>, next: ExplicitConfig) {
        let root = self.root_for(work);
        match target {
            None => root.broker_defaults = next,
            Some(id) if next.is_empty() => {
                root.broker_configs.remove(&id);
            }
            Some(id) => {
                root.broker_configs.insert(id, next);
            }
        }
        self.read_broker_config();
    }
}

/// A key twice in one change would make its outcome a matter of order.
fn check_keys(change: &ConfigChange) -> Result<(), AlterConfigError> {
    let ConfigChange::Alter(changes) = change else { return Ok(()) };
    let mut seen = BTreeSet::new();
    for (key, _) in changes {
        if key.is_empty() {
            return Err(ConfigError::NoValue("with an empty name".to_owned()).into());
        }
        if !seen.insert(key) {
            return Err(InvalidRequest::Duplicate(format!("configuration {key}")).into());
        }
    }
    Ok(())
}

fn describe(target: &ConfigTarget) -> String {
    match target {
        ConfigTarget::Topic(name) => format!("topic '{name}'"),
        ConfigTarget::Broker(id) => format!("broker {id}"),
        ConfigTarget::AllBrokers => "the default of all brokers".to_owned(),
    }
}
