//! The node's ports towards the mesh.
//!
//! A listener for HTTP is always the same but for its filter chains: the TLS inspector runs and every chain has a match
//! in DISABLED too. So a change of the mode is an update in place, which leaves the connections of an unchanged chain
//! alone; any other difference would drain them all. A TCP port that takes no TLS is not inspected, because a server
//! that speaks first would be kept waiting; when it begins to take TLS, its listener is another one.

use std::num::NonZeroU16;

use signet_xds::pb::{
    envoy::config::{
        core::v3::{Address, SocketAddress, TrafficDirection, TransportSocket, address, socket_address},
        listener::v3::{
            self as envoy, FilterChain, FilterChainMatch, ListenerFilter, ListenerFilterChainMatchPredicate,
            listener_filter_chain_match_predicate::{MatchSet, Rule},
        },
    },
    google::protobuf::UInt32Value,
};

use super::{
    super::{
        Interception, Offer, Scope, metadata,
        naming::{self, Chain},
        scalar::{duration, ip_address},
        tls,
    },
    INSPECTION_TIMEOUT, SHORT_INSPECTION_TIMEOUT, http, original_destination, tcp, tls_inspector, to_port,
};
use crate::model::{Listener, Protocol};

/// Every listener that takes calls of others.
pub(in super::super) fn ingress(scope: &Scope<'_>) -> Vec<envoy::Listener> {
    let listeners = scope.listeners();
    match scope.proxy.interception {
        Interception::None => listeners.iter().map(|listener| on_its_port(scope, listener)).collect(),
        Interception::Redirected { .. } if listeners.is_empty() => Vec::new(),
        Interception::Redirected { ingress_port } => vec![redirected(scope, listeners, ingress_port)],
    }
}

fn on_its_port(scope: &Scope<'_>, listener: &Listener) -> envoy::Listener {
    let port = listener.port_mapping.port;
    let inspector = (!is_left_alone(scope, listener)).then(tls_inspector);
    envoy::Listener {
        address: Some(match scope.proxy.ingress_address.is_unspecified() {
            true => everywhere(scope, port),
            false => ip_address(scope.proxy.ingress_address, port),
        }),
        stat_prefix: naming::ingress_listener_stats(port),
        listener_filters: inspector.into_iter().collect(),
        filter_chains: chains(scope, listener, &FilterChainMatch::default()),
        ..shaped(scope.proxy.ingress_listener(port), std::slice::from_ref(listener))
    }
}

/// What was redirected here, told apart by the port that it was meant for.
fn redirected(scope: &Scope<'_>, listeners: &[Listener], ingress_port: NonZeroU16) -> envoy::Listener {
    let uninspected = listeners.iter().filter(|listener| is_left_alone(scope, listener));
    let uninspected = uninspected.map(|listener| to_port(listener.port_mapping.port)).collect();
    let inspector = ListenerFilter { filter_disabled: any_of(uninspected), ..tls_inspector() };
    let to = |listener: &Listener| FilterChainMatch {
        destination_port: Some(UInt32Value { value: u32::from(listener.port_mapping.port.get()) }),
        ..Default::default()
    };
    let chains = listeners.iter().flat_map(|listener| chains(scope, listener, &to(listener)));
    envoy::Listener {
        address: Some(everywhere(scope, ingress_port)),
        stat_prefix: naming::redirected_listener_stats(ingress_port),
        listener_filters: vec![original_destination(), inspector],
        filter_chains: chains.collect(),
        ..shaped(scope.proxy.ingress_listener(ingress_port), listeners)
    }
}

/// Without an IP preference, IPv4 alone; with one, both.
fn everywhere(scope: &Scope<'_>, port: NonZeroU16) -> Address {
    let both = scope.ip_preference().is_some();
    let socket = SocketAddress {
        address: if both { "::" } else { "0.0.0.0" }.to_owned(),
        ipv4_compat: both,
        port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(port.get()))),
        ..Default::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

/// Whether nobody looks for TLS on it.
fn is_left_alone(scope: &Scope<'_>, listener: &Listener) -> bool {
    match listener.port_mapping.protocol {
        Protocol::Http | Protocol::Http2 | Protocol::Grpc => false,
        Protocol::Tcp => offer(scope, listener).tls.is_none(),
    }
}

fn any_of(mut rules: Vec<ListenerFilterChainMatchPredicate>) -> Option<ListenerFilterChainMatchPredicate> {
    match rules.len() {
        0 | 1 => rules.pop(),
        _ => Some(ListenerFilterChainMatchPredicate { rule: Some(Rule::OrMatch(MatchSet { rules })) }),
    }
}

fn shaped(name: String, listeners: &[Listener]) -> envoy::Listener {
    let has_tcp = listeners.iter().any(|listener| listener.port_mapping.protocol == Protocol::Tcp);
    envoy::Listener {
        name,
        traffic_direction: TrafficDirection::Inbound.into(),
        listener_filters_timeout: duration(if has_tcp {
            SHORT_INSPECTION_TIMEOUT
        } else {
            INSPECTION_TIMEOUT
        }),
        continue_on_listener_filters_timeout: true,
        metadata: Some(metadata::of_listener()),
        ..Default::default()
    }
}

fn offer(scope: &Scope<'_>, listener: &Listener) -> Offer {
    let port = scope.own_port(listener.port_mapping.port);
    scope.in_force.standing(&port, listener, scope.trust_domain).offer
}

/// The chains of one port, each with counters of its own.
fn chains(scope: &Scope<'_>, listener: &Listener, to: &FilterChainMatch) -> Vec<FilterChain> {
    let mapping = listener.port_mapping;
    let workload = &scope.proxy.workload;
    let Offer { plaintext, tls } = offer(scope, listener);
    let chain = |chain: Chain, transport_socket: Option<TransportSocket>| {
        let name = naming::ingress_chain(mapping, chain);
        let filter = match mapping.protocol {
            Protocol::Http | Protocol::Http2 | Protocol::Grpc => {
                http::inbound(scope, chain, name.clone(), naming::ingress_routes(mapping))
            }
            Protocol::Tcp => {
                let local = naming::local_cluster(&workload.mesh, &workload.name, mapping);
                tcp::to_cluster(scope, name.clone(), local, listener.timeout.idle)
            }
        };
        let transport_protocol = match chain {
            Chain::Tls => "tls",
            Chain::Plaintext => "raw_buffer",
        };
        FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                transport_protocol: transport_protocol.to_owned(),
                ..to.clone()
            }),
            filters: vec![filter],
            transport_socket,
            name,
            ..Default::default()
        }
    };
    let tls = tls.map(|offer| {
        let socket = tls::downstream(&offer, mapping.protocol, workload, scope.trust_domain);
        // Where no client's certificate is verified, none is missed.
        let verifies = offer.settings.validation.is_some();
        let generation = if verifies { scope.in_force.generations.verified_clients } else { 0 };
        let metadata = metadata::with_generation(None, generation);
        FilterChain { metadata, ..chain(Chain::Tls, Some(socket)) }
    });
    let plaintext = plaintext.then(|| chain(Chain::Plaintext, None));
    tls.into_iter().chain(plaintext).collect()
}
