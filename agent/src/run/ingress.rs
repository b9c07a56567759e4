//! Where a node's listeners must not be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use signet_policies::identity::WorkloadKind;

use super::AgentError;

/// On the application's address, Envoy or the application would find the port taken. Beside a gateway is none.
pub(super) fn check(kind: WorkloadKind, address: IpAddr) -> Result<(), AgentError> {
    if kind == WorkloadKind::VirtualGateway {
        return Ok(());
    }
    let meant = address.to_canonical();
    let is_applications = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&meant);
    match meant.is_unspecified() || is_applications {
        true => Err(AgentError::IngressAddress(address)),
        false => Ok(()),
    }
}
