//! Leases and small versioned documents: what brokers agree through.
//!
//! Owns the trait, its conformance suite and its implementations: `embedded` on an ordered table, for one machine;
//! `kubernetes`, for clusters; and `simulated`, which is as hostile as a network allows. What the documents mean is known
//! to `birth` only, which makes the first ones.

pub mod birth;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod embedded;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod simulated;

pub use embedded::Embedded;
#[cfg(feature = "kubernetes")]
pub use kubernetes::{Access, Kubernetes};
pub use simulated::{Counts, Faults, Simulated};

pub use ottla_core::controller::Revision;

use std::time::Duration;

use bytes::Bytes;

/// The largest document.
const CONTENT_BYTES_MAX: usize = 1024 * 1024;
/// The longest name of a document, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Whether a document may be called so: as Kubernetes names objects.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().next_back().is_some_and(plain);
    ends && name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'.'))
}

/// Who holds a lease: one run of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder(pub String);

/// A lease as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: Holder,
    /// For how long it holds after its last change. Each watcher counts by its own monotonic clock.
    pub duration: Duration,
    /// Changes whenever it is acquired, renewed or released.
    pub revision: Revision,
}

/// A document as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Bytes,
    /// Changes with every write.
    pub revision: Revision,
}

/// What a write expects to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No document of that name: it is created.
    Absent,
    /// The document exactly as it was read.
    At(Revision),
}

/// A write of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Its name.
    pub name: String,
    /// What it shall hold.
    pub content: Bytes,
    /// What it must still be.
    pub expected: Expected,
}

impl Put {
    /// Refuses what no store takes: a name that is none, a content that is too large.
    fn check(&self) -> Result<(), PutError> {
        if !is_name(&self.name) {
            return Err(PutError::NotDone(format!("{:?} is no name of a document", self.name)));
        }
        let bytes = self.content.len();
        if bytes > CONTENT_BYTES_MAX {
            let reason = format!("{bytes} bytes are more than the {CONTENT_BYTES_MAX} of a document");
            return Err(PutError::NotDone(reason));
        }
        Ok(())
    }
}

/// Why a write gave no revision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The document is not as expected. Nothing was written. (It may hold an earlier copy of this very write.)
    #[error("the document is not as expected")]
    Conflict,
    /// Nothing was written, and never will be; another try may help.
    #[error("not written: {0}")]
    NotDone(String),
    /// It may have been written, or may be written later: read it to know.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// It could not be looked at; another try may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("coordination is unavailable: {0}")]
pub struct Unavailable(pub String);

/// Why a lease was not had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// It is not as it was seen: somebody else has it, or changed it.
    #[error("the lease is not as it was seen")]
    Taken,
    /// Nobody knows; observe it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A change that a watch tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The document is now so.
    Put(Document),
    /// The document of that name is gone.
    Gone(String),
}

/// A stream of changes.
pub trait Watch: Send {
    /// The next change, or `None` when `timeout` passed without one.
    ///
    /// Every document's changes come in the order of its writes. Some may be left out, never the last one. What existed
    /// when the watch began comes first.
    ///
    /// # Errors
    /// [`Unavailable`] when the stream broke: begin another one.
    fn next(&mut self, timeout: Duration) -> Result<Option<Change>, Unavailable>;
}

/// Named leases and small documents, agreed upon by everybody who reaches the same store.
///
/// **Leases are advice.** A holder may be paused for longer than its lease holds, so that two believe to hold it. Nobody
/// may rely on a lease for safety: documents are fenced by what they contain and by compare-and-swap. An implementation
/// does not judge expiry: whoever wants a lease observes it, waits until its revision has stood still for its duration
/// by a monotonic clock, and then acquires it *as it was seen*.
///
/// **Documents are linearizable.** A [`get`](Self::get) that begins after a [`put`](Self::put) returned sees it or a
/// later one. A `put` takes effect only if the document still has the expected revision, and is durable when it
/// returns. Revisions are opaque, never used twice for one name, and only compared for equality. Names are lower-case
/// ASCII letters and digits, with `-` and `.` between them; contents are at most 1 MiB.
///
/// **Nothing is retried inside.** A lost answer is said to be lost ([`PutError::Unknown`]); the caller settles it by
/// reading. `list` and `watch` may lag behind, and serve only to look.
///
/// **Every method may block** on disk or network, up to a deadline of the implementation's; async callers hand it to a
/// thread that may.
pub trait Coordination: Send + Sync {
    /// The lease of that name, if somebody has it.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn observe(&self, name: &str) -> Result<Option<Lease>, Unavailable>;

    /// Takes the lease, if it still is as it was `seen` (`None`: if nobody has it).
    ///
    /// # Errors
    /// [`LeaseError::Taken`] when it is not. After [`Unavailable`] it may have been taken: observe it.
    fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        duration: Duration,
        seen: Option<&Revision>,
    ) -> Result<Lease, LeaseError>;

    /// Says that the holder still is there.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire): [`LeaseError::Taken`] when it is not held at `held` any more.
    fn renew(&self, name: &str, holder: &Holder, duration: Duration, held: &Revision) -> Result<Lease, LeaseError>;

    /// Gives the lease back, so that the next one need not wait.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    fn release(&self, name: &str, holder: &Holder, held: &Revision) -> Result<(), LeaseError>;

    /// The document of that name, if there is one.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn get(&self, name: &str) -> Result<Option<Document>, Unavailable>;

    /// Writes documents, each on its own terms: one that fails does not keep another from being written. Given together
    /// they may cost one flush. The answers are in the order of `puts`.
    fn put(&self, puts: Vec<Put>) -> Vec<Result<Revision, PutError>>;

    /// Every document whose name begins with `prefix`, in order of names.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn list(&self, prefix: &str) -> Result<Vec<Document>, Unavailable>;

    /// The documents whose names begin with `prefix`, and every change of them from now on.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, Unavailable>;
}
