//! `ottla topic`: topics of a cluster.

use crate::context::Context;
use crate::failure::Result;

mod config;
mod create;
mod delete;
mod describe;
mod list;

/// What can be done with topics.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List topics
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show a topic's partitions, leaders, offsets and configuration
    #[command(visible_alias = "show")]
    Describe(describe::Args),
    /// Create topics
    Create(create::Args),
    /// Delete topics with all their records
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
    /// Show or change a topic's configuration or number of partitions
    Config(config::Args),
}

pub(crate) async fn run(cx: &Context, command: Command) -> Result<()> {
    match command {
        Command::List(args) => list::run(cx, &args).await,
        Command::Describe(args) => describe::run(cx, &args).await,
        Command::Create(args) => create::run(cx, args).await,
        Command::Delete(args) => delete::run(cx, &args).await,
        Command::Config(args) => config::run(cx, args).await,
    }
}
