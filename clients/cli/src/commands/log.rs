//! `ottla log`: a data directory on this machine, offline.

use crate::args::Global;
use crate::failure::Result;

mod verify;

/// What can be done with a data directory.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check every byte of a data directory that no broker is using
    Verify(verify::Args),
}

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Verify(args) => verify::run(global, &args),
    }
}
