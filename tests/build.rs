//! Generates the node service: its client, for requests that no agent would send, and its server, for answers that no
//! Signet server would give.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = "../ca/proto";
    println!("cargo::rerun-if-changed={proto}");
    let descriptors = protox::compile([format!("{proto}/signet/node/v1/node.proto")], [proto])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
