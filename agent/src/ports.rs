//! Ports that were left to the agent to choose.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use rand::Rng as _;

/// The lowest port that is tried.
const LOWEST: u16 = 10_000;
/// How many ports are tried before the system is asked for one of its own choice.
const TRIES: u32 = 64;

/// Finds a port on `address` that nobody listens on now. Somebody else may take it before Envoy does; Envoy then
/// ends, or refuses the listener, with an error that says so.
///
/// The system's own choice would be among the ports that it gives to outgoing connections, so that any of these could
/// take it meanwhile.
pub(crate) fn free(address: IpAddr) -> io::Result<u16> {
    let highest = first_of_outgoing().unwrap_or(32_768);
    let mut rng = rand::rng();
    let tries = (0..TRIES).filter(|_| highest > LOWEST).map(|_| rng.random_range(LOWEST..highest));
    let found = tries.map(|port| bound(address, port)).find_map(Result::ok);
    found.map_or_else(|| bound(address, 0), Ok)
}

/// Whether somebody listens there. Two Envoys that listen on one address share its connections (`SO_REUSEPORT`), and
/// requests of one application would go out with the other's identity.
pub(crate) fn is_taken(address: SocketAddr) -> bool {
    matches!(TcpListener::bind(address), Err(error) if error.kind() == io::ErrorKind::AddrInUse)
}

fn bound(address: IpAddr, port: u16) -> io::Result<u16> {
    Ok(TcpListener::bind(SocketAddr::new(address, port))?.local_addr()?.port())
}

/// Where the ports of outgoing connections start (ip(7), `ip_local_port_range`).
fn first_of_outgoing() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_port_is_free_and_none_that_an_outgoing_connection_could_take() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let first = first_of_outgoing().unwrap();
        assert!(first > LOWEST, "this machine gives low ports to outgoing connections");
        for _ in 0..20 {
            let port = free(address).unwrap();
            assert!((LOWEST..first).contains(&port), "{port}");
            TcpListener::bind((address, port)).unwrap();
        }
    }
}
