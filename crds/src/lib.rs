//! The Kubernetes resources that users write, typed, and the loader that reads them from files.
//!
//! Owns the group `ottla.dev/v1alpha1`: field names, defaults, validation rules and their documentation. The YAML in
//! `yaml/` is generated from these types; a test fails when it is stale. Field names are a public interface: inside
//! `v1alpha1` fields are added, never renamed or removed. Must never do IO beyond reading the files that it is given, nor
//! import another crate of ours.

pub mod cluster;
pub mod connector;
mod finish;
pub mod manifest;
pub mod metadata_shard;
pub mod names;
pub mod reference;
pub mod shared;
pub mod topic;
pub mod user;
pub mod value;

pub use cluster::{Cluster, ClusterSpec, ClusterStatus};
pub use connector::{Connector, ConnectorSpec, ConnectorStatus};
pub use finish::{declarable, definitions, sorted, to_yaml};
pub use metadata_shard::{MetadataShard, MetadataShardSpec};
pub use topic::{Topic, TopicSpec, TopicStatus};
pub use user::{User, UserSpec, UserStatus};

/// The API group of every resource of Ottla.
pub const GROUP: &str = "ottla.dev";
/// The version of the group that this build reads and writes.
pub const VERSION: &str = "v1alpha1";
/// Group and version as a manifest spells them.
pub const API_VERSION: &str = "ottla.dev/v1alpha1";
