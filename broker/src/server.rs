//! The Kafka listener: sockets, frames, the table of APIs.
//!
//! Owns everything between a socket and a handler. Must never know what a request means.

pub mod admission;
pub mod connection;
pub mod dispatch;
pub mod frames;
pub mod listener;
pub mod reply;
pub mod session;
pub mod table;
