//! Clusters: the application beside the proxy, and the nodes that it calls.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use signet_xds::pb::{
    envoy::{
        config::{
            cluster::v3::{
                CircuitBreakers, Cluster,
                circuit_breakers::Thresholds,
                cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig},
            },
            core::v3::{Address, Http1ProtocolOptions},
            endpoint::v3::{
                ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
            },
        },
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{
                ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
            },
        },
    },
    pack,
};

use super::{
    Dial, Scope,
    backend::Destination,
    naming,
    scalar::{duration, ip_address, same_stream, socket_address, uint},
    tls,
};
use crate::model::{Discovery, DnsResponseType, Listener, Protocol};

/// App Mesh's, of the application beside the proxy.
const LOCAL_CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// App Mesh's, of other nodes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// App Mesh's "no limit".
const UNLIMITED: u32 = 2_147_483_647;
/// The one key that the map of protocol options ever holds.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The application, on loopback.
pub(super) fn local(scope: &Scope<'_>, listener: &Listener) -> Cluster {
    let workload = &scope.proxy.workload;
    let mapping = listener.port_mapping;
    let name = naming::local_cluster(&workload.mesh, &workload.name, mapping);
    on_this_host(name, ip_address(IpAddr::V4(Ipv4Addr::LOCALHOST), mapping.port), listener)
}

/// What a listener's requests go to, on the host that the proxy is on.
pub(super) fn on_this_host(name: String, address: Address, listener: &Listener) -> Cluster {
    Cluster {
        connect_timeout: duration(LOCAL_CONNECT_TIMEOUT),
        ..shaped(name, DiscoveryType::Static, address, listener.port_mapping.protocol)
    }
}

/// A node's listener as its clients see it; nothing where there is no such node or listener.
pub(super) fn target(scope: &Scope<'_>, destination: &Destination<'_>) -> Option<Cluster> {
    let Destination { node, mapping, found } = destination;
    let (listener, discovery) = (*found)?;
    let name = naming::target_cluster(&scope.proxy.workload.mesh, node, *mapping);
    let hostname = discovery.host();
    let literal = hostname.parse::<IpAddr>().is_ok();
    let server_name = hostname.trim_end_matches('.');
    let (discovery, host) = match discovery {
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
    let port = scope.port(node, mapping.port);
    let transport_socket = match scope.in_force.standing(&port, listener, scope.trust_domain).dial {
        Dial::Plaintext => None,
        Dial::Tls { identities } => Some(tls::upstream(&identities, Some(server_name).filter(|_| !literal))),
    };
    let shaped = shaped(name, discovery, socket_address(host, mapping.port), mapping.protocol);
    let cluster = Cluster { transport_socket, ..shaped };
    Some(if discovery == DiscoveryType::Eds { by_eds(cluster) } else { cluster })
}

/// Its endpoints come as a resource of the cluster's own name, over the stream that it came over itself.
fn by_eds(cluster: Cluster) -> Cluster {
    let eds = EdsClusterConfig { eds_config: Some(same_stream()), ..Default::default() };
    Cluster {
        load_assignment: None,
        eds_cluster_config: Some(eds),
        // An instance that is gone is not called any more, also where clients still see it answer.
        ignore_health_on_host_removal: true,
        ..cluster
    }
}

/// App Mesh's dot at the end keeps resolvers from trying their search domains. Envoy does not look up such a name
/// in `/etc/hosts`, so a name of one label, `localhost` for one, goes without: it means nothing as a domain.
fn absolute(name: &str) -> String {
    if name.contains('.') { format!("{name}.") } else { name.to_owned() }
}

fn shaped(name: String, discovery: DiscoveryType, address: Address, protocol: Protocol) -> Cluster {
    let endpoint = Endpoint { address: Some(address), ..Default::default() };
    let host = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![host], ..Default::default() };
    let unlimited = Thresholds {
        max_connections: uint(UNLIMITED),
        max_pending_requests: uint(UNLIMITED),
        max_requests: uint(UNLIMITED),
        max_retries: uint(UNLIMITED),
        ..Default::default()
    };
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        // Listeners bind IPv4 addresses, so an AAAA record beside the A record must not win.
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        connect_timeout: duration(CONNECT_TIMEOUT),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.clone(),
            endpoints: vec![locality],
            ..Default::default()
        }),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![unlimited], ..Default::default() }),
        typed_extension_protocol_options: HashMap::from([(
            HTTP_OPTIONS.to_owned(),
            pack(&http_options(protocol)),
        )]),
        name,
        ..Default::default()
    }
}

fn http_options(protocol: Protocol) -> HttpProtocolOptions {
    let config = match protocol {
        // The API takes no other so far.
        Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tcp => {
            ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())
        }
    };
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })),
        ..Default::default()
    }
}
