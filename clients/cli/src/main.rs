//! The `ottla` command.

use std::process::ExitCode;

/// `ottla dev` is a broker, and keeps a broker's bounds.
#[cfg(feature = "dev")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ottla_cli::run(std::env::args_os())
}
