//! The `ottla-broker` process: arguments, log, run.
//!
//! Owns the panic hook: an assertion that fails in a broker means that its memory cannot be trusted any more, and the
//! process ends at once. Must never hold anything else.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    match ottla_broker::run(std::env::args()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
