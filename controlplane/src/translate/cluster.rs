//! Clusters: the application beside the proxy, the nodes that it calls, and whatever else it may reach.

mod health;
mod options;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use signet_xds::pb::envoy::config::{
    cluster::v3::{
        CircuitBreakers, Cluster,
        circuit_breakers::Thresholds,
        cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy},
    },
    core::v3::{Address, TransportSocket},
    endpoint::v3::{
        ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
    },
};

use super::{
    Dial, Scope,
    backend::Destination,
    metadata, naming,
    scalar::{duration, ip_address, same_stream, socket_address, uint},
    tls,
};
use crate::model::{ClientTls, ConnectionPool, Discovery, DnsResponseType, IpPreference, Listener, Protocol};

/// App Mesh's, of the application beside the proxy.
const LOCAL_CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// App Mesh's, of other nodes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Of hosts outside of the mesh, which may be far away.
const PASSTHROUGH_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// App Mesh's "no limit".
const UNLIMITED: u32 = 2_147_483_647;

/// The application, on loopback.
pub(super) fn local(scope: &Scope<'_>, listener: &Listener) -> Cluster {
    let workload = &scope.proxy.workload;
    let mapping = listener.port_mapping;
    let name = naming::local_cluster(&workload.mesh, &workload.name, mapping);
    // There is one address only: nothing falls back between families.
    let application = match scope.ip_preference() {
        Some(IpPreference::Ipv6Preferred | IpPreference::Ipv6Only) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some(IpPreference::Ipv4Preferred | IpPreference::Ipv4Only) | None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    on_this_host(name, ip_address(application, mapping.port), listener)
}

/// What a listener's requests go to, on the host that the proxy is on. The listener's pool bounds it.
pub(super) fn on_this_host(name: String, address: Address, listener: &Listener) -> Cluster {
    let thresholds = listener.connection_pool.map_or_else(unlimited, bounded);
    Cluster {
        connect_timeout: duration(LOCAL_CONNECT_TIMEOUT),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }),
        ..shaped(name, DiscoveryType::Static, address, listener.port_mapping.protocol)
    }
}

/// A node's listener as its clients see it; nothing where there is no such node or listener.
pub(super) fn target(scope: &Scope<'_>, destination: &Destination<'_>) -> Option<Cluster> {
    let Destination { node, mapping, found, .. } = destination;
    let (listener, discovery) = (*found)?;
    let name = destination.cluster(&scope.proxy.workload.mesh);
    let hostname = discovery.host();
    let literal = hostname.parse::<IpAddr>().is_ok();
    let server_name = hostname.trim_end_matches('.');
    let (kind, host) = match discovery {
        Discovery::CloudMap { .. } => (DiscoveryType::Eds, server_name.to_owned()),
        // There is nothing to resolve, and a dot behind an address would make a name of it.
        Discovery::Dns { .. } if literal => (DiscoveryType::Static, hostname.clone()),
        Discovery::Dns { response_type: DnsResponseType::LoadBalancer, .. } => {
            (DiscoveryType::LogicalDns, absolute(server_name))
        }
        Discovery::Dns { response_type: DnsResponseType::Endpoints, .. } => {
            (DiscoveryType::StrictDns, absolute(server_name))
        }
    };
    let preference = discovery.ip_preference().or(scope.mesh.settings.ip_preference);
    let server = scope.port(node, mapping.port).workload;
    let generation = scope.in_force.generations.to_servers.get(&server).copied().unwrap_or_default();
    let cluster = Cluster {
        dns_lookup_family: family(preference).into(),
        transport_socket: transport(scope, destination, listener, server_name),
        health_checks: health::check(listener, server_name).into_iter().collect(),
        outlier_detection: listener.outlier_detection.map(health::outliers),
        // An instance that is gone is not called any more, also where clients still see it answer.
        ignore_health_on_host_removal: listener.health_check.is_some() || kind == DiscoveryType::Eds,
        metadata: metadata::with_generation(Some(metadata::of_target(node)), generation),
        alt_stat_name: destination.stat_name(&scope.proxy.workload.mesh),
        ..shaped(name, kind, socket_address(host, mapping.port), mapping.protocol)
    };
    let by_name = naming::target_cluster(&scope.proxy.workload.mesh, node, *mapping);
    Some(if kind == DiscoveryType::Eds { by_eds(cluster, by_name) } else { cluster })
}

/// Its endpoints come as a resource over the stream that it came over itself: one for all clusters that lead to the
/// same port.
fn by_eds(cluster: Cluster, endpoints: String) -> Cluster {
    let service_name = if cluster.name == endpoints { String::new() } else { endpoints };
    let eds = EdsClusterConfig { eds_config: Some(same_stream()), service_name };
    Cluster { load_assignment: None, eds_cluster_config: Some(eds), ..cluster }
}

/// App Mesh's decision table: the client's policy where it has one for this port, else what the server takes.
fn transport(
    scope: &Scope<'_>,
    destination: &Destination<'_>,
    listener: &Listener,
    server_name: &str,
) -> Option<TransportSocket> {
    let port = scope.port(destination.node, destination.mapping.port);
    let dial = scope.in_force.standing(&port, listener, scope.trust_domain).dial;
    let protocol = destination.mapping.protocol;
    let canonical = || [port.workload.spiffe_id(scope.trust_domain)].into();
    match (destination.policy, dial) {
        (None, Dial::Plaintext) | (Some(ClientTls { enforce: false, .. }), Dial::Plaintext) => None,
        (None, Dial::Tls { identities }) => Some(tls::to_identities(&identities, server_name, protocol)),
        (None, Dial::Unverified) => Some(tls::to_whoever_answers(server_name, protocol)),
        (Some(policy), Dial::Tls { identities }) => {
            Some(tls::by_policy(policy, &identities, server_name, protocol))
        }
        (Some(policy), Dial::Plaintext | Dial::Unverified) => {
            Some(tls::by_policy(policy, &canonical(), server_name, protocol))
        }
    }
}

/// Everywhere, by the address that the application dialed.
pub(super) fn passthrough(name: String) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())),
        lb_policy: LbPolicy::ClusterProvided.into(),
        connect_timeout: duration(PASSTHROUGH_CONNECT_TIMEOUT),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![unlimited()], ..Default::default() }),
        typed_extension_protocol_options: options::as_the_caller_speaks(),
        name,
        ..Default::default()
    }
}

/// App Mesh's dot at the end keeps resolvers from trying their search domains. Envoy does not look up such a name
/// in `/etc/hosts`, so a name of one label, `localhost` for one, goes without: it means nothing as a domain.
fn absolute(name: &str) -> String {
    if name.contains('.') { format!("{name}.") } else { name.to_owned() }
}

/// Without a preference App Mesh let an AAAA record win; but listeners then bind IPv4 addresses, so here IPv6 is what
/// is taken where there is nothing else.
fn family(preference: Option<IpPreference>) -> DnsLookupFamily {
    match preference {
        None | Some(IpPreference::Ipv4Preferred) => DnsLookupFamily::V4Preferred,
        Some(IpPreference::Ipv6Preferred) => DnsLookupFamily::Auto,
        Some(IpPreference::Ipv4Only) => DnsLookupFamily::V4Only,
        Some(IpPreference::Ipv6Only) => DnsLookupFamily::V6Only,
    }
}

fn unlimited() -> Thresholds {
    Thresholds {
        max_connections: uint(UNLIMITED),
        max_pending_requests: uint(UNLIMITED),
        max_requests: uint(UNLIMITED),
        max_retries: uint(UNLIMITED),
        ..Default::default()
    }
}

fn bounded(pool: ConnectionPool) -> Thresholds {
    match pool {
        ConnectionPool::Http { max_connections, max_pending_requests } => Thresholds {
            max_connections: uint(max_connections),
            max_pending_requests: uint(max_pending_requests.unwrap_or(UNLIMITED)),
            ..unlimited()
        },
        ConnectionPool::Http2 { max_requests } => {
            Thresholds { max_requests: uint(max_requests), ..unlimited() }
        }
        ConnectionPool::Tcp { max_connections } => {
            Thresholds { max_connections: uint(max_connections), ..unlimited() }
        }
    }
}

fn shaped(name: String, discovery: DiscoveryType, address: Address, protocol: Protocol) -> Cluster {
    let endpoint = Endpoint { address: Some(address), ..Default::default() };
    let host = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![host], ..Default::default() };
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        connect_timeout: duration(CONNECT_TIMEOUT),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.clone(),
            endpoints: vec![locality],
            ..Default::default()
        }),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![unlimited()], ..Default::default() }),
        typed_extension_protocol_options: options::of(protocol),
        name,
        ..Default::default()
    }
}
