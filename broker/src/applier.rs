//! From an image of the cluster to the partitions of this broker.
//!
//! Owns the order: a partition serves before the image that names its leader is in force, and an image is in force
//! before anything that it deletes is gone. Replica data is deleted for a tombstone with its topic id, or because the
//! partition names this broker as one that it left, never because something is absent.

use std::sync::Arc;

use ottla_core::config::TopicConfig;
use ottla_core::metadata::{Image, Topic};
use ottla_core::types::{BrokerId, PartitionIndex, TopicPartition};
use ottla_log::store::{LogDir, StoreError};

use crate::metadata::MetadataCell;
use crate::partitions::Partitions;

/// Brings this broker's partitions in line with images.
#[derive(Debug)]
pub struct Applier {
    me: BrokerId,
    log: Arc<LogDir>,
    partitions: Arc<Partitions>,
    metadata: Arc<MetadataCell>,
}

impl Applier {
    /// Applies to `log` and `partitions`, publishes in `metadata`.
    pub fn new(me: BrokerId, log: Arc<LogDir>, partitions: Arc<Partitions>, metadata: Arc<MetadataCell>) -> Self {
        Self { me, log, partitions, metadata }
    }

    /// Creates, reconfigures, publishes, then deletes. Called by one thread at a time, in the order of images.
    ///
    /// # Errors
    /// When the data directory refuses a partition; the image is not in force then.
    pub fn apply(&self, image: Arc<Image>) -> Result<(), StoreError> {
        let before = self.metadata.image();
        let delta = image.delta_since(&before);
        for topic in &delta.created {
            self.bring_up(&image, topic)?;
        }
        for (_, topic) in &delta.changed {
            self.bring_up(&image, topic)?;
        }
        if delta.broker_configs {
            for topic in image.topics().values() {
                self.bring_up(&image, topic)?;
            }
        }
        self.metadata.publish(Arc::clone(&image));
        for topic in &delta.deleted {
            self.delete(&before, *topic)?;
        }
        for topic in delta.created.iter().chain(delta.changed.iter().map(|(_, topic)| topic)) {
            self.delete_moved(topic)?;
        }
        Ok(())
    }

    /// Has every partition of `topic` that belongs here serve under its present configuration and epoch.
    fn bring_up(&self, image: &Image, topic: &Arc<Topic>) -> Result<(), StoreError> {
        let config = TopicConfig::resolve(&topic.config, &self.metadata.config_under(image), topic.internal);
        let config = Arc::new(config);
        for (index, partition) in topic.indexed() {
            if !partition.replicas.contains(&self.me) {
                continue;
            }
            let id = TopicPartition::new(topic.id, index);
            if let Some(replica) = self.partitions.get(id) {
                replica.configure(Arc::clone(&config));
                replica.log.begin_epoch(partition.leader_epoch)?;
                continue;
            }
            let log = match self.log.partition(id) {
                Some(log) => log,
                None => self.log.create(id, &topic.name, partition.leader_epoch)?,
            };
            log.begin_epoch(partition.leader_epoch)?;
            self.partitions.add(log, Arc::clone(&config));
        }
        Ok(())
    }

    /// Deletes replicas that moved away. The metadata names this broker as one that has to, which absence never does.
    fn delete_moved(&self, topic: &Topic) -> Result<(), StoreError> {
        for (index, partition) in topic.indexed() {
            let id = TopicPartition::new(topic.id, index);
            if partition.leaving.contains(&self.me) && !partition.replicas.contains(&self.me) {
                self.partitions.remove(id);
                if self.log.partition(id).is_some() {
                    self.log.delete(id)?;
                }
            }
        }
        Ok(())
    }

    /// Deletes what this broker holds of a topic that has a tombstone.
    fn delete(&self, before: &Image, topic: ottla_core::types::TopicId) -> Result<(), StoreError> {
        let known = before.topic_by_id(topic).map_or(0, |topic| topic.partitions.len());
        let mut ids: Vec<TopicPartition> = (0..known)
            .filter_map(|index| i32::try_from(index).ok())
            .map(|index| TopicPartition::new(topic, PartitionIndex::new(index)))
            .collect();
        if ids.is_empty() {
            // The tombstone was met at start: the directory alone knows what is left of the topic.
            ids = self.log.partitions().iter().map(|log| log.id()).filter(|id| id.topic == topic).collect();
        }
        for id in ids {
            self.partitions.remove(id);
            if self.log.partition(id).is_some() {
                self.log.delete(id)?;
            }
        }
        Ok(())
    }
}
