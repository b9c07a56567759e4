//! Connection managers.

use signet_xds::pb::{
    envoy::{
        config::listener::v3 as envoy,
        extensions::filters::{
            http::router::v3::Router,
            network::http_connection_manager::v3::{
                HttpConnectionManager, HttpFilter, Rds, http_connection_manager as hcm, http_filter,
            },
        },
    },
    pack,
};

use super::super::{
    Scope, log,
    naming::Chain,
    scalar::{same_stream, yes},
};

/// Requests that come in over `chain`.
pub(super) fn inbound(scope: &Scope<'_>, chain: Chain, stat_prefix: String, routes: String) -> envoy::Filter {
    let manager = manager(scope, stat_prefix, routes);
    // What the application is told of the client. What a client says of itself is never passed on.
    network_filter(match chain {
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
    })
}

/// The application's own requests.
pub(super) fn outbound(scope: &Scope<'_>, stat_prefix: String, routes: String) -> envoy::Filter {
    network_filter(manager(scope, stat_prefix, routes))
}

fn manager(scope: &Scope<'_>, stat_prefix: String, routes: String) -> HttpConnectionManager {
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
        // The bootstrap says which tracer; without one, nothing is traced.
        tracing: Some(hcm::Tracing::default()),
        access_log: log::of(scope.access_log()),
        ..Default::default()
    }
}

fn network_filter(manager: HttpConnectionManager) -> envoy::Filter {
    envoy::Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(envoy::filter::ConfigType::TypedConfig(pack(&manager))),
    }
}
