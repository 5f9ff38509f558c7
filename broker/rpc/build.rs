//! Generates Rust types from the .proto files, with a compiler written in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let protos = ["ottla/metadata.proto", "ottla/controller.proto", "ottla/replication.proto"];
    // Small messages now and then: tonic's own codec does.
    let served = protox::compile(["ottla/operations.proto"], ["proto"])?;
    tonic_prost_build::configure().include_file("served.rs").compile_fds(served)?;
    let files = protox::compile(protos, ["proto"])?;
    prost_build::Config::new()
        // Ordered maps: the same content always has the same bytes.
        .btree_map(["."])
        // A document is kept as it came.
        .bytes([".ottla.controller.v1.Documents.documents"])
        .include_file("protos.rs")
        .compile_fds(files)?;
    Ok(())
}
