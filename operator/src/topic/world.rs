//! What was seen of a cluster: brokers, and the topics that somebody declares.
//!
//! Owns the typed form of one look. Holds nothing of topics that nobody declares but how many replicas a broker has.

use std::collections::BTreeMap;

use ottla_core::metadata::ExplicitConfig;

/// A registered broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// Where it stands.
    pub rack: Option<String>,
    /// Whether it serves.
    pub live: bool,
    /// How many replicas it holds, of any topic.
    pub load: usize,
}

/// A topic as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its identity, in Kafka's text form.
    pub id: String,
    /// Whether it belongs to the brokers themselves.
    pub internal: bool,
    /// Who holds each partition, or will once what moves has arrived.
    pub partitions: BTreeMap<i32, Vec<i32>>,
    /// How many of its partitions move now.
    pub moving: usize,
    /// What is set on it; `None` if that could not be read.
    pub config: Option<ExplicitConfig>,
}

impl Found {
    /// How many partitions it has.
    pub fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// How many replicas the partition with the fewest has.
    pub fn factor(&self) -> Option<i32> {
        self.partitions.values().map(|replicas| i32::try_from(replicas.len()).unwrap_or(i32::MAX)).min()
    }
}

/// A cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Its registered brokers.
    pub brokers: BTreeMap<i32, Broker>,
    /// Declared topics that are there, by name.
    pub topics: BTreeMap<String, Found>,
    /// How many partitions move now, of any topic.
    pub moving: usize,
    /// How many brokers its Cluster declares.
    pub declared: usize,
}

impl World {
    /// Whether brokers are on their way, and how many have come, in words.
    pub fn grows(&self) -> Option<String> {
        let (there, declared) = (self.brokers.len(), self.declared);
        (there < declared).then(|| format!("{there} of the Cluster's {declared} broker(s) have joined yet"))
    }
}

/// What is known of a Cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// There is none of that name.
    Missing,
    /// It is being deleted.
    Going,
    /// It sleeps because a person has asked for it: no broker runs, and none is to.
    Asleep,
    /// Its brokers do not answer, with the reason.
    Silent(String),
    /// It was looked at.
    Seen(World),
}
