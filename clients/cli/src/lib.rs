//! The `ottla` command: one tool for people and scripts on any Kafka cluster.
//!
//! Owns arguments, words, tables and exit codes. Talks to clusters through `ottla-client` only; `log verify` reads a data
//! directory through `ottla-log`, and `dev` hands over to `ottla-dev`. Results go to stdout, everything else to stderr.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

mod args;
mod commands;
mod context;
mod failure;
mod output;
mod progress;
pub mod reference;
mod signals;
mod text;

use args::Ottla;
use failure::{Exit, Failure};

/// Runs the command that `args` name, and says in the exit code how it went.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let ottla = match Ottla::try_parse_from(args) {
        Ok(ottla) => ottla,
        Err(error) => {
            // A closed pipe behind `--help` is nobody's concern.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() };
        }
    };
    match commands::run(ottla) {
        Ok(()) => Exit::Done.code(),
        Err(failure) => report(&failure),
    }
}

/// The whole command line, for completions and the reference.
pub fn command() -> clap::Command {
    Ottla::command()
}

fn report(failure: &Failure) -> ExitCode {
    if !failure.is_silent() {
        // Where stderr is closed there is nobody to tell.
        let _ = failure.write(&mut std::io::stderr().lock());
    }
    failure.exit().code()
}
