//! `ottla log verify`: every byte of a data directory.

use std::path::PathBuf;

use crate::args::Global;
use crate::failure::{Exit, Failure, Result};

/// Checks a data directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  ottla log verify /var/lib/ottla")]
pub(crate) struct Args {
    /// The data directory
    directory: PathBuf,
}

pub(crate) fn run(_global: &Global, args: &Args) -> Result<()> {
    Err(Failure::new(
        Exit::Damaged,
        format!("{}: checking data directories is not built yet", args.directory.display()),
    ))
}
