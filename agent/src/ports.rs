//! Ports that were left to the agent to choose.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

/// Finds a port on `address` that nobody listens on now. Somebody else may take it before Envoy does; Envoy then
/// ends with an error that says so.
pub(crate) fn free(address: IpAddr) -> io::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::new(address, 0))?;
    Ok(listener.local_addr()?.port())
}
