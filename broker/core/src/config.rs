//! Every configuration key that Ottla knows, what it may hold, and what it comes to.
//!
//! Owns the tables of topic keys (`topic`) and broker keys (`broker`), the reading and checking of values, and the
//! order in which an explicit value, a broker's value and a default win. It reads no file and holds no state: the
//! explicit values come from the metadata image and from the broker's configuration file.

use std::fmt;

pub mod broker;
mod error;
mod layers;
pub mod reference;
mod resolved;
pub mod topic;
mod validate;
mod value;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, Conflict, InvalidValue, UnknownKey};
pub use layers::{BrokerConfig, Layered, Source};
pub use resolved::{CleanupPolicy, CompressionType, ReplicaConfig, TimestampType, TopicConfig};
pub use topic::{Synonym, TopicKey};
pub use validate::{Alteration, alter_broker, alter_topic, check_broker, check_topic};
pub use value::{Kind, WireType};

/// Whether a key already does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// It does.
    Now,
    /// It is accepted, checked, stored and described; its work comes with a later feature.
    Later,
}

/// When and for whom a broker key may be changed while brokers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only in the file, at start.
    ReadOnly,
    /// At run time, for one broker.
    PerBroker,
    /// At run time, for one broker or for all.
    ClusterWide,
}

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// As clients and files spell it.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it holds when nobody sets it; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Whether it already acts.
    pub acts: Acts,
    /// Who may change it at run time; topic keys are always changeable.
    pub scope: Scope,
    /// One or two sentences for people.
    pub doc: &'static str,
}

impl Key {
    /// Whether the value is a secret, never shown again.
    pub fn sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
