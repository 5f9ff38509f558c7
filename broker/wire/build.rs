//! Turns `schema/` into Rust. Owns only the walk over the files; the notation is read by `build/schema.rs` and written
//! out as code by `build/emit.rs`. Reads nothing outside this crate.

#[path = "build/emit.rs"]
mod emit;
#[path = "build/read.rs"]
mod read;
#[path = "build/schema.rs"]
mod schema;
#[path = "build/write.rs"]
mod write;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let apis: Vec<_> = read_all(&root.join("schema/api"), schema::parse_api);
    let records: Vec<_> = read_all(&root.join("schema/records"), schema::parse_records).into_iter().flatten().collect();
    save(&out.join("messages.rs"), &emit::messages(&apis));
    save(&out.join("records.rs"), &emit::records(&records));
    save(&out.join("api_key.rs"), &emit::api_keys(&apis));
}

/// Parses every `.wire` file of `folder`, in the order of names; stops the build at the first mistake.
fn read_all<T>(folder: &Path, parse: fn(&str) -> Result<T, String>) -> Vec<T> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("list schema").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wire"));
    paths.sort();
    let parse_file = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(parse_file).collect()
}

fn save(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
