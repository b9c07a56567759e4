//! Listeners: the node's ports towards the mesh, and the one that takes the application's own calls.
//!
//! An ingress listener is always the same but for its filter chains: the TLS inspector runs and every chain has
//! a match in DISABLED too. So a change of the mode is an update in place, which leaves the connections of an
//! unchanged chain alone; any other difference would drain them all.

use std::time::Duration;

use signet_xds::pb::{
    envoy::{
        config::{
            core::v3::{TrafficDirection, TransportSocket},
            listener::v3::{self as envoy, FilterChain, FilterChainMatch, ListenerFilter},
        },
        extensions::filters::{
            http::router::v3::Router,
            listener::tls_inspector::v3::TlsInspector,
            network::http_connection_manager::v3::{
                HttpConnectionManager, HttpFilter, Rds, http_connection_manager as hcm, http_filter,
            },
        },
    },
    pack,
};

use super::{
    EGRESS_ADDRESS, Offer, Scope,
    naming::{self, Chain},
    scalar::{duration, ip_address, same_stream, yes},
    tls,
};
use crate::model::Listener;

/// How long a connection may be silent before it is taken for plaintext.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// One of the node's ports.
pub(super) fn ingress(scope: &Scope<'_>, listener: &Listener) -> envoy::Listener {
    let mapping = listener.port_mapping;
    let workload = &scope.proxy.workload;
    let port = scope.own_port(mapping.port);
    let Offer { plaintext, tls } = scope.in_force.standing(&port, listener, scope.trust_domain).offer;
    let chain = |chain: Chain, transport_socket: Option<TransportSocket>| {
        let name = naming::ingress_chain(mapping, chain);
        let routes = naming::ingress_routes(mapping);
        let manager = client_details(chain, manager(name.clone(), routes));
        let transport_protocol = match chain {
            Chain::Tls => "tls",
            Chain::Plaintext => "raw_buffer",
        };
        FilterChain {
            filter_chain_match: Some(FilterChainMatch {
                transport_protocol: transport_protocol.to_owned(),
                ..Default::default()
            }),
            filters: vec![network_filter(manager)],
            transport_socket,
            name,
            ..Default::default()
        }
    };
    let tls = tls.map(|offer| chain(Chain::Tls, Some(tls::downstream(&offer, workload, scope.trust_domain))));
    let plaintext = plaintext.then(|| chain(Chain::Plaintext, None));
    envoy::Listener {
        name: naming::ingress_listener(scope.proxy.ingress_address, mapping.port),
        address: Some(ip_address(scope.proxy.ingress_address, mapping.port)),
        stat_prefix: naming::ingress_listener_stats(mapping.port),
        traffic_direction: TrafficDirection::Inbound.into(),
        listener_filters: vec![tls_inspector()],
        listener_filters_timeout: duration(INSPECTION_TIMEOUT),
        continue_on_listener_filters_timeout: true,
        filter_chains: tls.into_iter().chain(plaintext).collect(),
        ..Default::default()
    }
}

/// Where the application calls from; the Host header says whom.
pub(super) fn egress(scope: &Scope<'_>) -> envoy::Listener {
    let port = scope.proxy.egress_port;
    let manager = manager(naming::EGRESS_STAT_PREFIX.to_owned(), naming::egress_routes(port));
    envoy::Listener {
        name: naming::egress_listener(port),
        address: Some(ip_address(EGRESS_ADDRESS, port)),
        stat_prefix: naming::egress_listener_stats(port),
        traffic_direction: TrafficDirection::Outbound.into(),
        filter_chains: vec![FilterChain {
            name: naming::EGRESS_STAT_PREFIX.to_owned(),
            filters: vec![network_filter(manager)],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What the application is told of the client. What a client says of itself is never passed on.
fn client_details(chain: Chain, manager: HttpConnectionManager) -> HttpConnectionManager {
    match chain {
        Chain::Plaintext => HttpConnectionManager {
            forward_client_cert_details: hcm::ForwardClientCertDetails::Sanitize.into(),
            ..manager
        },
        Chain::Tls => HttpConnectionManager {
            forward_client_cert_details: hcm::ForwardClientCertDetails::SanitizeSet.into(),
            set_current_client_cert_details: Some(hcm::SetCurrentClientCertDetails {
                subject: yes(),
                uri: true,
                ..Default::default()
            }),
            ..manager
        },
    }
}

fn manager(stat_prefix: String, routes: String) -> HttpConnectionManager {
    let rds = Rds { config_source: Some(same_stream()), route_config_name: routes };
    HttpConnectionManager {
        stat_prefix,
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
            ..Default::default()
        }],
        upgrade_configs: vec![hcm::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        // Otherwise `//x` and `/y/../x` would slip past a route for `/x`.
        normalize_path: yes(),
        merge_slashes: true,
        path_with_escaped_slashes_action: hcm::PathWithEscapedSlashesAction::KeepUnchanged.into(),
        route_specifier: Some(hcm::RouteSpecifier::Rds(rds)),
        ..Default::default()
    }
}

fn network_filter(manager: HttpConnectionManager) -> envoy::Filter {
    envoy::Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(envoy::filter::ConfigType::TypedConfig(pack(&manager))),
    }
}

fn tls_inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(envoy::listener_filter::ConfigType::TypedConfig(pack(&TlsInspector::default()))),
        ..Default::default()
    }
}
