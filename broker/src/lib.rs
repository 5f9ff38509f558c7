//! The broker process: server, transport and composition root.
//!
//! Owns what a broker is made of and how it runs as a process. Decisions live in `ottla-core`, bytes on disk in
//! `ottla-log`; this crate connects them to sockets. Must never be imported by a client, `ottla dev` excepted.

pub mod advertised;
pub mod applier;
pub mod args;
pub mod certificates;
pub mod clock;
pub mod cold;
pub mod config;
pub mod controller;
pub mod data;
pub mod dynamic;
pub mod followed;
pub mod groups;
pub mod handlers;
pub mod http;
pub mod leader_hint;
pub mod logging;
pub mod lookup;
pub mod metadata;
pub mod metrics;
pub mod node;
pub mod partitions;
pub mod repair;
pub mod server;
pub mod transport;

mod process;

pub use process::run;
