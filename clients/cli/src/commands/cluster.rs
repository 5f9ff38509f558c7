//! `ottla cluster`: the cluster itself.

use crate::context::Context;
use crate::failure::Result;

mod describe;
#[cfg(feature = "dev")]
mod init;
#[cfg(feature = "dev")]
mod recover_metadata;

/// What can be done with a cluster.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the cluster's id, brokers, controller and data directories
    #[command(visible_alias = "show")]
    Describe(describe::Args),
    #[cfg(feature = "dev")]
    Init(Box<ottla_dev::InitArgs>),
    #[cfg(feature = "dev")]
    RecoverMetadata(Box<ottla_dev::RecoverArgs>),
}

pub(crate) async fn run(cx: &Context, command: Command) -> Result<()> {
    match command {
        Command::Describe(args) => describe::run(cx, &args).await,
        #[cfg(feature = "dev")]
        Command::Init(args) => init::run(cx, &args).await,
        #[cfg(feature = "dev")]
        Command::RecoverMetadata(args) => recover_metadata::run(cx, &args).await,
    }
}
