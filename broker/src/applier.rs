//! From an image of the cluster to the partitions of this broker.
//!
//! Owns the order: a partition serves before the image that names its leader is in force, and an image is in force
//! before anything that it deletes is gone. Replica data is deleted for a tombstone with its topic id, or because the
//! partition names this broker as one that it left, never because something is absent.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_core::config::{BrokerConfig, TopicConfig};
use ottla_core::metadata::{Image, Partition, Topic};
use ottla_core::replica::{Assignment, Event, Peer};
use ottla_core::types::{BrokerId, PartitionEpoch, PartitionIndex, TopicPartition};
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
    /// What the start found damaged or short: other replicas have more.
    suspect: BTreeSet<TopicPartition>,
}

impl Applier {
    /// Applies to `log` and `partitions`, publishes in `metadata`.
    pub fn new(me: BrokerId, log: Arc<LogDir>, partitions: Arc<Partitions>, metadata: Arc<MetadataCell>) -> Self {
        Self { me, log, partitions, metadata, suspect: BTreeSet::new() }
    }

    /// These logs are damaged or short: where others hold replicas, none of them takes part before it has been filled anew
    /// (R12).
    #[must_use]
    pub fn suspecting(mut self, suspect: impl IntoIterator<Item = TopicPartition>) -> Self {
        self.suspect.extend(suspect);
        self
    }

    /// Creates, reconfigures, publishes, then deletes. Called by one thread at a time, in the order of images.
    ///
    /// # Errors
    /// When the data directory refuses a partition; the image is not in force then.
    pub fn apply(&self, image: Arc<Image>) -> Result<(), StoreError> {
        let before = self.metadata.image();
        let delta = image.delta_since(&before);
        // Before the first image of a run nobody is registered; every one that is in force registers this broker.
        let in_force = before.broker(self.me).is_some().then_some(&*before);
        let peers_changed = before.brokers() != image.brokers();
        if peers_changed {
            self.know_peers(&image);
        }
        for topic in &delta.created {
            self.bring_up(&image, in_force, topic)?;
        }
        for (_, topic) in &delta.changed {
            self.bring_up(&image, in_force, topic)?;
        }
        if delta.broker_configs {
            for topic in image.topics().values() {
                self.bring_up(&image, in_force, topic)?;
            }
        }
        if peers_changed {
            for replica in self.partitions.all().iter().filter(|replica| !replica.is_alone()) {
                replica.handle(Event::PeersChanged);
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

    /// Puts another file of this broker in force, for its partitions before anybody is told. It differs in nothing that an
    /// assignment says (`Key::follows_file`).
    pub fn configure(&self, file: BrokerConfig) {
        let image = self.metadata.image();
        self.metadata.replace_file(file);
        let broker = self.metadata.config_under(&image);
        for topic in image.topics().values() {
            let config = Arc::new(TopicConfig::resolve(&topic.config, &broker, topic.internal));
            for (index, _) in topic.indexed() {
                if let Some(replica) = self.partitions.get(TopicPartition::new(topic.id, index)) {
                    replica.configure(Arc::clone(&config));
                }
            }
        }
        self.metadata.publish(image);
    }

    /// Which run of each broker is registered, and whether it is admitted.
    fn know_peers(&self, image: &Image) {
        let mut host = self.partitions.hub().host.write();
        for broker in image.brokers().values() {
            // Who is about to stop is known to the controller, which refuses it.
            let peer = Peer { incarnation: broker.incarnation, fenced: broker.fenced, draining: false };
            host.on_peer(broker.id, peer);
        }
    }

    /// Has every partition of `topic` that belongs here serve under its present configuration and epoch. `before` was in force
    /// until now, if this is not the first image of this run.
    fn bring_up(&self, image: &Image, before: Option<&Image>, topic: &Arc<Topic>) -> Result<(), StoreError> {
        let config = TopicConfig::resolve(&topic.config, &self.metadata.config_under(image), topic.internal);
        let config = Arc::new(config);
        for (index, partition) in topic.indexed() {
            let id = TopicPartition::new(topic.id, index);
            let known = self.partitions.get(id);
            if !partition.replicas.contains(&self.me) {
                if let Some(replica) = known {
                    replica.assign(assignment(image, partition, &config));
                }
                continue;
            }
            let (replica, lost) = match known {
                Some(replica) => {
                    replica.configure(Arc::clone(&config));
                    (replica, false)
                }
                None => {
                    let found = self.log.partition(id);
                    let short = self.suspect.contains(&id) && partition.replicas.len() > 1;
                    let lost = short || found.is_none() && !is_new(before, id) && had_been_here(self.me, partition);
                    let log = match found {
                        Some(log) => log,
                        None => self.log.create(id, &topic.name, partition.leader_epoch)?,
                    };
                    (self.partitions.add(log, Arc::clone(&config)), lost)
                }
            };
            // Followers append what the leader of this epoch has given its epoch to, and nothing newer.
            replica.log.begin_epoch(partition.leader_epoch)?;
            replica.assign(assignment(image, partition, &config));
            if lost {
                tracing::error!(partition = %id, "its log is missing, damaged or short: it is copied anew from another replica");
                replica.handle(Event::LogSuspect);
            }
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

/// What a replica is told of its partition.
fn assignment(image: &Image, partition: &Partition, config: &TopicConfig) -> Assignment {
    let run = |id: BrokerId| image.broker(id).map(|broker| (id, broker.incarnation));
    let min = partition.needed_in_sync(config.min_insync_replicas);
    Assignment {
        leader: partition.leader.and_then(run),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        elr: partition.elr.clone(),
        min_insync: u16::try_from(min).unwrap_or(u16::MAX),
        // The metadata does not say which terms were unclean: where they are allowed, each may have been.
        unclean: config.unclean_leader_election_enable.then_some(partition.leader_epoch),
    }
}

/// Whether no image that this data directory has acted on had the partition, so that it never had a log here: what earlier
/// runs acted on is in the first image of this one (A7). Its controller may have died before anybody else heard of it, and
/// the next one have changed it since.
fn is_new(before: Option<&Image>, id: TopicPartition) -> bool {
    let count = |image: &Image| image.topic_by_id(id.topic).map_or(0, |topic| topic.partitions.len());
    before.is_some_and(|image| usize::try_from(id.partition.get()).is_ok_and(|index| index >= count(image)))
}

/// Whether the metadata counts on a log of this broker that was begun before (R12). Where nobody else has a replica there
/// is nobody to fill it again from, and what is served is what is here.
fn had_been_here(me: BrokerId, partition: &Partition) -> bool {
    let counts = partition.isr.contains(&me) || partition.elr.contains(&me);
    counts && partition.replicas.len() > 1 && partition.partition_epoch > PartitionEpoch::default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_core::types::{ClusterId, TopicId};

    use super::*;

    fn partitions(count: usize) -> Image {
        let partition = Partition {
            replicas: vec![BrokerId::new(0), BrokerId::new(1)],
            isr: vec![BrokerId::new(0), BrokerId::new(1)],
            partition_epoch: PartitionEpoch::new(1),
            ..Partition::default()
        };
        Image::empty(ClusterId::ZERO).with_topic(Topic {
            name: "a".to_owned(),
            id: TOPIC,
            partitions: vec![partition; count],
            config: BTreeMap::new(),
            internal: false,
        })
    }

    const TOPIC: TopicId = TopicId::from_bytes([3; 16]);

    #[test]
    fn what_no_image_before_had_is_new_and_nothing_is_in_the_first_one() {
        let at = |index| TopicPartition::new(TOPIC, PartitionIndex::new(index));
        let before = partitions(3);
        assert!(!is_new(Some(&before), at(2)), "its log is gone: it is filled anew");
        assert!(is_new(Some(&before), at(3)), "it was added, and nobody here has heard of it before");
        let elsewhere = TopicPartition::new(TopicId::from_bytes([4; 16]), PartitionIndex::new(0));
        assert!(is_new(Some(&before), elsewhere), "so was its topic");
        assert!(!is_new(None, at(3)), "an earlier run may have had it");
        let found = before.topic_by_id(TOPIC).unwrap();
        assert!(had_been_here(BrokerId::new(1), &found.partitions[0]), "all of them are counted on");
    }
}
