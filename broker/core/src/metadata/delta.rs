//! The difference between two images: what a node has to create, reconfigure and delete.
//!
//! Owns the rule that a topic which merely is absent is not deleted: only a tombstone says so.

use std::sync::Arc;

use super::{Image, Topic};
use crate::types::TopicId;

/// A topic before and after a change.
pub type Changed = (Arc<Topic>, Arc<Topic>);

/// What changed between two images. Topics are in order of their names, except `deleted`, in order of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Topics whose id is new.
    pub created: Vec<Arc<Topic>>,
    /// Topics of the same id whose partitions or configs differ: (before, after).
    pub changed: Vec<Changed>,
    /// Topics whose tombstone is new: their replicas are to be deleted.
    pub deleted: Vec<TopicId>,
    /// Whether a broker was added, removed or changed, or the controller did.
    pub brokers: bool,
    /// Whether run-time broker configs changed, or what the cluster fixes for all brokers.
    pub broker_configs: bool,
}

impl Delta {
    /// What has to happen to get from `older` to `newer`.
    pub fn between(older: &Image, newer: &Image) -> Self {
        let mut delta = Self {
            brokers: older.controller != newer.controller || older.brokers != newer.brokers,
            broker_configs: older.broker_defaults != newer.broker_defaults
                || older.broker_configs != newer.broker_configs
                || older.min_insync_replicas != newer.min_insync_replicas,
            ..Self::default()
        };
        if !Arc::ptr_eq(&older.topics, &newer.topics) {
            delta.compare_topics(older, newer);
        }
        if !Arc::ptr_eq(&older.tombstones, &newer.tombstones) {
            let fresh = newer.tombstones.keys().filter(|id| !older.tombstones.contains_key(id));
            delta.deleted.extend(fresh);
        }
        delta
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn compare_topics(&mut self, older: &Image, newer: &Image) {
        for (name, topic) in newer.topics() {
            match older.topic(name) {
                Some(before) if Arc::ptr_eq(before, topic) => {}
                Some(before) if before.id == topic.id => {
                    if before != topic {
                        self.changed.push((before.clone(), topic.clone()));
                    }
                }
                Some(_) | None => self.created.push(topic.clone()),
            }
        }
    }
}
