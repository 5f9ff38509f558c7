//! What a Topic declares, and what was applied for it before.
//!
//! Owns the record that is kept on the resource itself: without it nobody could tell a changed declaration from a topic
//! that others changed, nor a topic that was made for the declaration from one that existed before, once `status` is gone.

use std::collections::BTreeMap;

use kube::ResourceExt;
use ottla_core::metadata::ExplicitConfig;
use ottla_crds::Topic;
use ottla_crds::topic::Drift;
use serde::{Deserialize, Serialize};

/// Keeps a Topic whose topic goes with it until the topic is deleted.
pub const FINALIZER: &str = "ottla.dev/topic";
/// The annotation that holds the [`Record`]. Written by the operator alone.
pub const RECORD: &str = "ottla.dev/topic";

/// The field of [`Drift`] for the number of partitions.
pub const PARTITIONS: &str = "partitions";
/// The field of [`Drift`] for the number of replicas.
pub const REPLICAS: &str = "replicas";

/// A topic as `spec` declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The topic's name in Kafka.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each; `None` as the cluster's config says.
    pub replicas: Option<i32>,
    /// What is set on it, and nothing else.
    pub config: ExplicitConfig,
}

impl Declared {
    /// What `topic` declares.
    pub fn of(topic: &Topic) -> Self {
        let spec = &topic.spec;
        Self {
            name: topic.topic_name().to_owned(),
            partitions: spec.partitions,
            replicas: spec.replicas,
            config: spec.config.iter().map(|(key, value)| (key.clone(), value.to_string())).collect(),
        }
    }

    /// The record of its having been applied to the topic `id`; `None` if it is about to be created.
    pub fn record(&self, id: Option<&str>) -> Record {
        let (partitions, replicas, config) = (self.partitions, self.replicas, self.config.clone());
        Record { id: id.map(str::to_owned), partitions, replicas, config }
    }
}

/// What was applied for a Topic, the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The topic that it was applied to; another id under the same name is another topic. `None`: the topic was not there
    /// and is being created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How many partitions were declared.
    pub partitions: i32,
    /// How many replicas were declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What was declared to be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: ExplicitConfig,
}

impl Record {
    /// The record on `topic`. One that cannot be read is none: who wrote it was not this operator.
    pub fn of(topic: &Topic) -> Option<Self> {
        serde_json::from_str(topic.annotations().get(RECORD)?).ok()
    }

    /// As it stands on the resource.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can be written as JSON")
    }

    /// Whether it speaks of the topic `id`.
    pub fn is_of(&self, id: &str) -> bool {
        self.id.as_deref().is_none_or(|known| known == id)
    }

    /// What it declared for a field of [`Drift`].
    pub fn says(&self, field: &str) -> Option<String> {
        match field {
            PARTITIONS => Some(self.partitions.to_string()),
            REPLICAS => self.replicas.map(|replicas| replicas.to_string()),
            key => self.config.get(key).cloned(),
        }
    }
}

/// A difference in words.
pub fn words(difference: &Drift) -> String {
    let or_default = |value: &Option<String>| value.clone().unwrap_or_else(|| "the default".to_owned());
    format!(
        "{} is {}, declared is {}",
        difference.field,
        or_default(&difference.actual),
        or_default(&difference.declared)
    )
}
