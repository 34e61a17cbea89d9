//! Generates the types of `proto/` with a protobuf compiler in pure Rust, so that no `protoc` is needed.

use std::error::Error;
use std::path::Path;

const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
const FILES: [&str; 2] = ["caracal/events/v1/feed.proto", "caracal/events/v1/audit.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={}", Path::new(PROTO).join(file).display());
    }
    let descriptors = protox::compile(FILES, [PROTO])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
