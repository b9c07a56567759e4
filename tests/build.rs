//! Generates the node service's client, for requests that no agent would send.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = "../ca/proto";
    println!("cargo::rerun-if-changed={proto}");
    let descriptors = protox::compile([format!("{proto}/signet/node/v1/node.proto")], [proto])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
