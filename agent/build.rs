//! Generates the client of the node service from the wire definition that the CA owns.

const PROTO: &str = "signet/node/v1/node.proto";
const INCLUDE: &str = "../ca/proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={INCLUDE}/{PROTO}");
    let descriptors = protox::compile([PROTO], [INCLUDE])?;
    tonic_prost_build::configure()
        // A token must not be printed by accident.
        .skip_debug([".signet.node.v1.JoinRequest"])
        // The tests play the server.
        .server_mod_attribute(".", "#[cfg(test)]")
        .compile_fds(descriptors)?;
    Ok(())
}
