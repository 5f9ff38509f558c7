//! A whole Ottla in one process, from the YAML that Kubernetes takes; and the commands that need the broker's own code.
//!
//! Owns `ottla dev`: what manifests mean on one machine (`compose`), what has to be done for them (`plan`), and the
//! shell that does it; and `ottla cluster init` (`init`). Must never decide anything that the broker or the controller decides.

mod args;
pub mod compose;
mod init;
pub mod plan;
pub mod port;
mod reconcile;
pub mod record;
mod run;
pub mod watch;

pub use args::DevArgs as Args;
pub use args::DevArgs;
pub use init::{Init, InitArgs, init};
pub use run::{main, run};
