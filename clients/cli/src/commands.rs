//! The commands, one file each.
//!
//! Owns what runs on which runtime: everything that talks to a cluster runs on tokio; the rest needs none.

use std::future::Future;

use crate::args::{Command, Global, Ottla};
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};

pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod consume;
pub(crate) mod group;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod produce;
pub(crate) mod topic;

/// Runs the command that was given.
pub(crate) fn run(ottla: Ottla) -> Result<()> {
    let Ottla { global, command } = ottla;
    match command {
        Command::Completions(args) => completions::run(&args),
        #[cfg(feature = "dev")]
        Command::Dev(args) => ottla_dev::main(*args).map_err(|error| Failure::new(Exit::Failed, format!("{error:#}"))),
        Command::Log(command) => {
            log_to_stderr(&global);
            log::run(&global, command)
        }
        Command::Topic(command) => with(&global, async |cx| topic::run(&cx, command).await),
        Command::Produce(args) => with(&global, async |cx| produce::run(&cx, *args).await),
        Command::Consume(args) => with(&global, async |cx| consume::run(&cx, *args).await),
        Command::Group(command) => with(&global, async |cx| group::run(&cx, command).await),
        Command::Cluster(command) => with(&global, async |cx| cluster::run(&cx, command).await),
    }
}

/// Runs `work` with a cluster at hand.
fn with<F: Future<Output = Result<()>>>(global: &Global, work: impl FnOnce(Context) -> F) -> Result<()> {
    log_to_stderr(global);
    let cx = Context::new(global)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(work(cx));
    // A thread that is stuck in a name lookup or in reading a terminal must not keep the command from ending.
    runtime.shutdown_background();
    result
}

fn log_to_stderr(global: &Global) {
    let level = match global.verbose {
        0 => return,
        1 => "ottla=info,ottla_client=debug",
        _ => "trace",
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let filter = tracing_subscriber::EnvFilter::new(level);
    // Only the first call in a process has an effect, and there is only one.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).try_init();
}
