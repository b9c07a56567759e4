//! Virtual gateways. A request passes twice through the same Envoy, as it did in App Mesh:
//!
//! ```text
//!  stranger ──▶ gateway's port ── gateway routes ──▶ self_redirect ──▶ egress port ── routers' routes ──▶ node
//!                lds_ingress_…    ingress (pass 1)    cds_ingress_…     lds_egress_…   egress (pass 2)
//! ```
//!
//! The first pass decides for a service and rewrites Host and path; the second is what a node has that calls the
//! service. The services that keep the Host of the request are told apart by a header that the first pass sets and
//! nobody else can.

mod egress;
mod ingress;

use std::num::NonZeroU16;

use signet_xds::pb::envoy::config::cluster::v3::Cluster;

use super::{EGRESS_ADDRESS, Scope, backend::Backend, cluster, naming, scalar::ip_address};
use crate::model::{Listener, VirtualGateway};

pub(super) use self::{egress::egress, ingress::ingress};

/// Which service a request is for whose Host stays as it is: `<service>`, or `<service>:<port>`.
const SERVICE_HEADER: &str = "x-app-mesh-virtual-service";

/// From one of the gateway's ports to its own egress. What the port's pool bounds is bounded here.
pub(super) fn self_redirect(scope: &Scope<'_>, gateway: &VirtualGateway, listener: &Listener) -> Cluster {
    let name = cluster_name(scope, gateway, listener);
    let egress = ip_address(EGRESS_ADDRESS, scope.proxy.egress_port);
    cluster::on_this_host(name, egress, listener)
}

fn cluster_name(scope: &Scope<'_>, gateway: &VirtualGateway, listener: &Listener) -> String {
    let port = (gateway.listeners.len() > 1).then_some(listener.port_mapping.port);
    let protocol = listener.port_mapping.protocol;
    naming::self_redirect_cluster(&scope.proxy.workload, port, protocol, scope.proxy.egress_port)
}

/// What callers of a port of a service are told apart by on the second pass: the service's name, and the port's
/// number where it is not the one that is meant by the name alone.
fn authority(service: &str, port: NonZeroU16, first: Option<NonZeroU16>) -> String {
    if first == Some(port) { service.to_owned() } else { format!("{service}:{port}") }
}

/// The port of a service that its name alone means.
fn first_port(backend: &Backend<'_>) -> Option<NonZeroU16> {
    backend.ports.first().map(|port| port.mapping.port)
}
