//! Changing configs of topics and, at run time, of brokers.
//!
//! A change of `min.insync.replicas` clears the eligible replicas of the topic's partitions in the same write wherever
//! the in-sync set reaches the new minimum: it commits from there on without them (KIP-966). Where it does not reach it,
//! nothing is committed until it has grown, and whoever was eligible still holds everything.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::{AlterConfigError, InvalidRequest};
use super::partition_changes::Place;
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
        let [before, after] = [&topic.config, &next].map(|explicit| ReplicaConfig::resolve(explicit, &self.broker));
        let shard = self.shard_of(name);
        if let Some(topic) = self.shard_for(work, shard).topics.get_mut(name) {
            Arc::make_mut(topic).config = next;
        }
        if before != after {
            self.apply_replica_config(work, name, before, after);
        }
        Ok(())
    }

    /// Partitions with eligible replicas are judged by the new minimum; those without a leader may have one now.
    fn apply_replica_config(&mut self, work: &mut Work, name: &str, before: ReplicaConfig, after: ReplicaConfig) {
        let clears = before.min_insync_replicas != after.min_insync_replicas
            && self.config.tuning.rules.new_minimum_clears_eligible;
        let unclean = after.unclean_leader_election_enable && !before.unclean_leader_election_enable;
        let Some(topic) = self.latest_topic(work, name).cloned() else { return };
        for (index, partition) in topic.indexed() {
            if clears && !partition.elr.is_empty() || unclean && partition.leader.is_none() {
                let place = Place { shard: self.shard_of(name), topic: Arc::clone(&topic), index };
                let change = self.change_of(&topic, partition);
                self.change_one(work, &place, change);
            }
        }
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
