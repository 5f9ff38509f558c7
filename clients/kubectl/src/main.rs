//! The plugin `kubectl ottla`.

fn main() {
    // Not a return: a thread that still waits for our stdin would keep the process.
    std::process::exit(ottla_kubectl::run(std::env::args_os()));
}
