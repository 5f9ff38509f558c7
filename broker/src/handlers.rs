//! One file per API, each named after it.
//!
//! Owns what a request means. A handler takes the decoded request and gives the response; versions and permissions
//! stand in the server's table. Must never touch a socket.

pub mod api_versions;
pub mod delete_records;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
