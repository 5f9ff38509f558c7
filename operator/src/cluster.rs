//! The controller of Clusters: what should be, what is, what to do next, and what to say about it.
//!
//! Decisions are pure (`check`, `desired`, `balance`, `plan`, `health`, `status`); only `observe`, `hosts`, `apply`, `brokers`,
//! `reconcile` and `watch` await. Must never write a user's `spec`, labels or annotations, finalizers excepted.

pub mod apply;
pub mod balance;
pub mod brokers;
pub mod certificates;
pub mod check;
pub mod child;
mod classes;
mod depart;
pub mod desired;
pub mod documents;
#[cfg(test)]
pub(crate) mod fixture;
pub mod health;
mod hosts;
pub mod kind;
pub mod layout;
pub mod lost;
pub mod names;
mod news;
mod nodes;
pub mod observe;
pub mod observed;
pub mod outside;
pub mod plan;
pub mod reason;
pub mod reconcile;
mod safety;
pub mod status;
pub mod watch;
pub mod windows;
