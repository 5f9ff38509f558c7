//! Generates Rust types from the .proto files, with a compiler written in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["ottla/metadata.proto"], ["proto"])?;
    // Ordered maps: the same content always has the same bytes.
    prost_build::Config::new().btree_map(["."]).compile_fds(files)?;
    Ok(())
}
