//! The pure machines of Ottla and the words they share.
//!
//! Owns every decision that a broker, a coordinator or the controller takes. Nothing in here performs IO, awaits,
//! reads a clock, draws a random number, spawns or locks: machines take events and time as arguments and return
//! effects, so that one seed can replay a whole cluster.

pub mod config;
pub mod controller;
pub mod group;
pub mod limits;
pub mod metadata;
pub mod producer;
pub mod replica;
pub mod table;
pub mod topic_name;
pub mod types;
