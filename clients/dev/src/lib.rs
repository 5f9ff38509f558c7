//! A whole Ottla in one process, from the YAML that Kubernetes takes; and the commands that need the broker's own code.
//!
//! Owns `ottla dev`: what manifests mean on one machine (`compose`), what has to be done for them (`plan`), and the
//! shell that does it; `ottla cluster init` (`init`) and `recover-metadata` (`recover`). Must never decide anything that
//! the broker or the controller decides.

mod args;
pub mod compose;
mod fleet;
mod init;
pub mod plan;
pub mod port;
mod reconcile;
pub mod record;
mod recover;
mod run;
pub mod watch;

pub use args::DevArgs as Args;
pub use args::DevArgs;
pub use init::{Init, InitArgs, init};
pub use recover::{
    RecoverArgs, Recovered, RecoveredDirectory, RecoveredDocument, RecoveredPartition, RecoveredState, is_refusal,
    recover,
};
pub use run::{main, run};
