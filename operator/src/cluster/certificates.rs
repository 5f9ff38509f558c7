//! Certificates of a cluster: its authority, what brokers and the operator show, and how all of them are replaced.
//!
//! Owns the Secrets that hold them ([`State`] is what they say), what brokers say that they have loaded ([`Reported`]), and
//! the steps of a rotation. Nothing is remembered: a rotation that was interrupted goes on from what the Secrets and the
//! brokers say. Must never take an authority away that somebody still needs, nor restart a broker.

mod ask;
mod issue;
mod plan;
mod state;
#[cfg(test)]
mod tests;

pub use ask::{ask, credentials};
pub(super) use issue::data;
pub use issue::{Issue, Order, issue};
pub use plan::{Course, Process, Stage, course};
pub use state::{Authority, Holder, Reported, State};
pub(super) use state::{CA_KEY, word};
