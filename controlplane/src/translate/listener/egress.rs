//! Where the application's own calls come in.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU16,
};

use signet_xds::pb::{
    envoy::config::{
        core::v3::TrafficDirection,
        listener::v3::{
            self as envoy, AdditionalAddress, FilterChain, FilterChainMatch, ListenerFilter,
            ListenerFilterChainMatchPredicate, listener_filter_chain_match_predicate::Rule,
        },
    },
    google::protobuf::{BoolValue, UInt32Value},
};

use super::{
    super::{
        EGRESS_ADDRESS, Interception, Scope,
        backend::{Backend, BackendPort, Claim, claims, family},
        metadata, naming,
        scalar::{duration, ip_address},
    },
    SHORT_INSPECTION_TIMEOUT, closed, http, original_destination, tcp, tls_inspector, to_port,
};
use crate::model::EgressFilter;

/// Where AWS's APIs are.
const HTTPS: NonZeroU16 = NonZeroU16::new(443).unwrap();
const AWS: &str = "*.amazonaws.com";

/// Every listener that takes the proxy's own calls.
pub(in super::super) fn egress(scope: &Scope<'_>, backends: &[Backend<'_>]) -> Vec<envoy::Listener> {
    match scope.proxy.interception {
        Interception::None => {
            let tcp = claims(backends);
            let tcp = tcp.iter().filter_map(|(port, claim)| match claim {
                Claim::Http(_) => None,
                Claim::Tcp(service) => on_its_port(scope, *port, service),
            });
            std::iter::once(by_host(scope)).chain(tcp).collect()
        }
        Interception::Redirected { .. } => vec![redirected(scope, backends)],
    }
}

/// HTTP of all services; the Host header says whom.
fn by_host(scope: &Scope<'_>) -> envoy::Listener {
    let port = scope.proxy.egress_port;
    let prefix = naming::EGRESS_STAT_PREFIX.to_owned();
    let filter = http::outbound(scope, prefix.clone(), naming::egress_routes(port));
    envoy::Listener {
        filter_chains: vec![FilterChain { name: prefix, filters: vec![filter], ..Default::default() }],
        ..on_loopback(naming::egress_listener(port), naming::egress_listener_stats(port), port)
    }
}

/// A TCP service, on its own port of loopback; nothing where the application or another listener is there.
fn on_its_port(scope: &Scope<'_>, port: NonZeroU16, service: &BackendPort<'_>) -> Option<envoy::Listener> {
    let is_own = scope.listeners().iter().any(|listener| listener.port_mapping.port == port);
    if is_own || port == scope.proxy.egress_port {
        return None;
    }
    Some(envoy::Listener {
        filter_chains: vec![to_service(scope, port, service, FilterChainMatch::default())],
        // Another proxy on this host must not share the port: each would be given some of the other's calls.
        enable_reuse_port: Some(BoolValue { value: false }),
        ..on_loopback(naming::egress_listener(port), naming::egress_listener_stats(port), port)
    })
}

fn on_loopback(name: String, stat_prefix: String, port: NonZeroU16) -> envoy::Listener {
    envoy::Listener {
        name,
        address: Some(ip_address(EGRESS_ADDRESS, port)),
        stat_prefix,
        traffic_direction: TrafficDirection::Outbound.into(),
        metadata: Some(metadata::of_listener()),
        ..Default::default()
    }
}

/// Whatever the application dials.
fn redirected(scope: &Scope<'_>, backends: &[Backend<'_>]) -> envoy::Listener {
    let port = scope.proxy.egress_port;
    let mut chains: Vec<_> =
        claims(backends).iter().map(|(port, claim)| to_claim(scope, *port, claim)).collect();
    chains.push(to_aws(scope));
    let passthrough = (scope.mesh.settings.egress_filter == EgressFilter::AllowAll).then(|| {
        // What is dialed here was meant for nobody else: passed through, it would come back for ever.
        chains.retain(|chain| dialed(chain) != Some(u32::from(port.get())));
        chains.push(closed("black_hole", to(port)));
        let name = naming::PASSTHROUGH.to_owned();
        let cluster = naming::passthrough_cluster(&scope.proxy.workload.mesh);
        let filter = tcp::to_cluster(scope, naming::PASSTHROUGH_STATS.to_owned(), cluster, None);
        FilterChain { name, filters: vec![filter], ..Default::default() }
    });
    // Redirected packets arrive on loopback, and whoever reaches this listener is given the node's identity.
    let ipv6 = scope.ip_preference().is_some().then(|| AdditionalAddress {
        address: Some(ip_address(IpAddr::V6(Ipv6Addr::LOCALHOST), port)),
        ..Default::default()
    });
    envoy::Listener {
        additional_addresses: ipv6.into_iter().collect(),
        // Who is behind other ports is told by nothing that the client says, so nobody has to wait for it.
        listener_filters: vec![original_destination(), inspector_of(HTTPS)],
        listener_filters_timeout: duration(SHORT_INSPECTION_TIMEOUT),
        continue_on_listener_filters_timeout: true,
        filter_chains: chains,
        default_filter_chain: passthrough,
        ..on_loopback(naming::redirected_egress_listener(port), naming::redirected_listener_stats(port), port)
    }
}

fn dialed(chain: &FilterChain) -> Option<u32> {
    chain.filter_chain_match.as_ref()?.destination_port.map(|port| port.value)
}

fn inspector_of(port: NonZeroU16) -> ListenerFilter {
    let elsewhere = ListenerFilterChainMatchPredicate { rule: Some(Rule::NotMatch(Box::new(to_port(port)))) };
    ListenerFilter { filter_disabled: Some(elsewhere), ..tls_inspector() }
}

fn to(port: NonZeroU16) -> FilterChainMatch {
    FilterChainMatch {
        destination_port: Some(UInt32Value { value: u32::from(port.get()) }),
        ..Default::default()
    }
}

/// A port that services ask for.
fn to_claim(scope: &Scope<'_>, port: NonZeroU16, claim: &Claim<'_, '_>) -> FilterChain {
    match claim {
        Claim::Http(services) => {
            let routes = naming::egress_routes_of(family(services), port);
            let filter = http::outbound(scope, naming::EGRESS_STAT_PREFIX.to_owned(), routes);
            FilterChain {
                name: naming::egress_chain(port),
                filter_chain_match: Some(to(port)),
                filters: vec![filter],
                ..Default::default()
            }
        }
        Claim::Tcp(service) => to_service(scope, port, service, to(port)),
    }
}

/// Connections to a TCP service; closed at once where it leads nowhere.
fn to_service(
    scope: &Scope<'_>,
    port: NonZeroU16,
    service: &BackendPort<'_>,
    to: FilterChainMatch,
) -> FilterChain {
    let mesh = &scope.proxy.workload.mesh;
    let filter = service.routes.first().and_then(|route| {
        let clusters = route.targets.iter().map(|(destination, weight)| (destination.cluster(mesh), *weight));
        tcp::to_clusters(scope, naming::egress_tcp_stats(port), clusters, route.timeout.idle)
    });
    FilterChain { filters: filter.into_iter().collect(), ..closed(&naming::egress_chain(port), to) }
}

/// AWS's own APIs can always be called, whatever the egress filter.
fn to_aws(scope: &Scope<'_>) -> FilterChain {
    let cluster = naming::aws_cluster(&scope.proxy.workload.mesh);
    FilterChain {
        name: naming::AWS.to_owned(),
        filter_chain_match: Some(FilterChainMatch { server_names: vec![AWS.to_owned()], ..to(HTTPS) }),
        filters: vec![tcp::to_cluster(scope, naming::AWS_STATS.to_owned(), cluster, None)],
        ..Default::default()
    }
}
