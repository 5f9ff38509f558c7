//! The `ottla-operator` process: arguments, log, run. Must never hold anything else.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match ottla_operator::manager::run(ottla_operator::args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
