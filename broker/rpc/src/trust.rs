//! Who is at the other end of a connection between brokers, shown by certificates of the cluster's own authority.
//!
//! Owns names in certificates, what a process shows and whom it believes ([`Material`]), the sockets of both ends, and
//! the closing of connections that were made with what is not valid any more. Peers are known by name, never by address.
//! Must never let a certificate of another cluster pass, nor open a file: whoever runs brokers says what was read.

mod accept;
mod dial;
mod guard;
mod material;
mod name;
mod socket;
#[cfg(test)]
mod tests;
mod warden;

use std::sync::Arc;

use tokio::sync::watch;

pub use accept::accept;
pub use dial::{DialError, connect};
pub use guard::{Callers, Guarded};
pub use material::{
    CA_FILE, Files, Fingerprint, KEY_FILE, LEAF_FILE, MODE_FILE, Material, MaterialError, Mode, describe,
};
pub use name::{Name, names_of};
pub use socket::{Caller, Identity, Socket};
pub use warden::SPREAD;

/// The newest material of this process; `None` where it has none, and everything is plaintext. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Credentials(watch::Receiver<Option<Arc<Material>>>);

impl Credentials {
    /// Nobody shows anything, nobody is asked for anything.
    pub fn plaintext() -> Self {
        Self(watch::channel(None).1)
    }

    /// What `news` says, from now on; the newest is used for each new connection.
    pub fn new(news: watch::Receiver<Option<Arc<Material>>>) -> Self {
        Self(news)
    }

    /// What is newest.
    pub fn newest(&self) -> Option<Arc<Material>> {
        self.0.borrow().clone()
    }

    fn news(&self) -> watch::Receiver<Option<Arc<Material>>> {
        self.0.clone()
    }
}
