//! The operator: turns Cluster resources into running brokers, and Topic resources into their topics.
//!
//! Owns the process and its controllers. What should be and what to do next is decided by pure functions; shells look, do
//! and say. State flows one way, from `spec` to the cluster to `status`. Nobody imports this crate.

pub mod args;
pub mod backoff;
pub mod cluster;
pub mod election;
pub mod events;
pub mod http;
pub mod manager;
pub mod metrics;
pub mod schema;
pub mod topic;
pub mod unserved;
pub mod verdict;
