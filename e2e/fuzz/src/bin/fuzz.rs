#![no_main]
//! libFuzzer's way into one target, which `OTTLA_FUZZ_TARGET` names. `run.sh` builds and starts it.
//!
//! With `OTTLA_FUZZ_SEEDS` it writes the target's seeds into that folder before it begins. Owns no decision.

use std::env;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fn choose() -> &'static Target {
    let names: Vec<&str> = ottla_fuzz::TARGETS.iter().map(|target| target.name).collect();
    let name = env::var("OTTLA_FUZZ_TARGET").unwrap_or_default();
    let target = ottla_fuzz::target(&name).unwrap_or_else(|| panic!("OTTLA_FUZZ_TARGET is one of {names:?}"));
    if let Ok(folder) = env::var("OTTLA_FUZZ_SEEDS") {
        for (index, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(Path::new(&folder).join(format!("seed-{index}")), seed).expect("write a seed");
        }
    }
    target
}

fuzz_target!(init: { TARGET.get_or_init(choose); }, |data: &[u8]| {
    (TARGET.get_or_init(choose).run)(data);
});
