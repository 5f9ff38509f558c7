//! `kubectl ottla`: what people ask of a Cluster every day, from where they sit.
//!
//! Owns arguments, words and exit codes, and the proxy that lets clients outside reach brokers inside. Talks to the API server
//! only, with the rights of whoever calls it. Must never write a `spec`, read a Secret, or run another program.

use std::ffi::OsString;
use std::io::Write as _;

use clap::{CommandFactory, Parser};

mod args;
mod asking;
mod brokers;
mod conditions;
mod connect;
mod exec;
mod failure;
mod logs;
mod place;
mod redact;
mod report;
mod rights;
mod status;
mod table;
mod tunnel;
mod waiting;

use args::{Command, Ottla};
use failure::{Exit, Failure, Result};
use place::Place;

/// Runs the command that `args` name; what it returns is the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let ottla = match Ottla::try_parse_from(args) {
        Ok(ottla) => ottla,
        Err(error) => {
            // A closed pipe behind `--help` is nobody's concern.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage as i32 } else { Exit::Done as i32 };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return told(&Failure::new(Exit::Failed, format!("no thread can be started: {error}"))),
    };
    let code = runtime.block_on(perform(ottla)).unwrap_or_else(|failure| told(&failure));
    // What is printed belongs to who asked, also when the last line has no end.
    let _ = std::io::stdout().flush();
    runtime.shutdown_background();
    code
}

/// The whole command line, for those who document it.
pub fn command() -> clap::Command {
    Ottla::command()
}

async fn perform(ottla: Ottla) -> Result<i32> {
    let place = Place::open(&ottla.global).await?;
    match ottla.command {
        Command::Connect(args) => connect::run(place, args).await,
        Command::Exec(args) => exec::run(&place, args).await,
        Command::Status(args) => status::run(&place, args).await,
        Command::Restart(args) => asking::restart(&place, args).await,
        Command::Hibernate(args) => asking::hibernate(&place, args).await,
        Command::Wake(args) => asking::wake(&place, args).await,
        Command::Pause(args) => asking::pause(&place, args).await,
        Command::Resume(args) => asking::resume(&place, args).await,
        Command::Logs(args) => logs::run(&place, args).await,
        Command::Report(args) => report::run(&place, args).await,
    }
}

fn told(failure: &Failure) -> i32 {
    if !failure.is_silent() {
        // Where stderr is closed there is nobody to tell.
        let _ = failure.write(&mut std::io::stderr().lock());
    }
    failure.exit() as i32
}
