//! The only Rust Kafka client in the tree: the codec of `ottla-wire` reversed (ADR 0001).
//!
//! Owns connections, metadata, retries, administration, a producer and a consumer. Must never know what the broker is:
//! it speaks the protocol of Kafka 3.1 and newer to anyone. Every call has a deadline; whether an error may pass by
//! itself is part of its type.

mod admin;
mod client;
mod config;
mod connection;
mod consumer;
mod error;
mod metadata;
mod producer;
mod versions;

pub use admin::{
    ClusterDescription, ClusterNode, CommittedOffset, ConfigChange, ConfigEntry, ConfigSource, CreatedTopic,
    DirectoryDescription, FoundOffset, GroupDescription, GroupListing, GroupMember, NewTopic, OffsetSpec, Operation,
    PartitionDescription, Reassignment, ReplicaSize, Resource, Settled, TopicDescription,
};
pub use client::Client;
pub use config::{
    Acks, ClientConfig, ConsumerConfig, GroupConfig, NamedPartition, ProducerConfig, Properties, PropertiesError,
    Reset, Strategy,
};
pub use consumer::{Consumer, Event, Fetched, GroupConsumer, Header, Record, Start};
pub use error::{Error, Refused, Result, Retriable, Terminal};
pub use metadata::{Broker, Metadata, Partition, Topic, Topics};
pub use ottla_core::types;
pub use ottla_wire::record::Compression;
pub use ottla_wire::{ApiKey, ErrorCode};
pub use producer::{Delivery, NewRecord, Producer, Receipt};
