//! The controller of Topics: `Topic` resources become topics of their Cluster, one way.
//!
//! Decisions are pure (`claims`, `plan`, `replicas`, `status`); only `observe`, `perform`, `turn` and `rounds` await. What is
//! worked on at a time is a Cluster with all of its Topics: one connection, one look, requests in batches. Must never write a
//! user's `spec`, labels or annotations; its own are one finalizer and one annotation.

pub mod addresses;
pub mod claims;
pub mod declared;
mod news;
pub mod observe;
mod perform;
pub mod plan;
pub mod reason;
mod replicas;
pub mod rounds;
pub mod status;
mod turn;
pub mod world;
