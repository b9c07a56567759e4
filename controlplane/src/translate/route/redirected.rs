//! Tables of a proxy that calls are redirected to: one for each port that the application dials.

use std::{collections::BTreeSet, num::NonZeroU16, time::Duration};

use signet_xds::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, VirtualHost, route::Action, route_action::ClusterSpecifier,
};

use super::{
    super::{
        Scope,
        backend::{Backend, BackendPort, Claim, Rule, claims, family},
        naming,
        scalar::duration,
    },
    matcher, to_service, virtual_host,
};
use crate::model::EgressFilter;

/// By port, then by Host, then by rule. A Host that is no backend's goes where it was meant for, if the mesh lets it;
/// else it is answered 404.
pub(in super::super) fn redirected(scope: &Scope<'_>, backends: &[Backend<'_>]) -> Vec<RouteConfiguration> {
    let claims = claims(backends);
    let http = claims.iter().filter_map(|(port, claim)| match claim {
        Claim::Http(services) => Some(table(scope, *port, services)),
        Claim::Tcp(_) => None,
    });
    http.collect()
}

fn table(
    scope: &Scope<'_>,
    port: NonZeroU16,
    services: &[(&Backend<'_>, &BackendPort<'_>)],
) -> RouteConfiguration {
    let mut taken = BTreeSet::new();
    let hosts = services.iter().filter_map(|(backend, service)| {
        let name = backend.name;
        let routes = service.routes.iter().map(|route| to_service(scope, name, route)).collect();
        virtual_host(name.to_owned(), vec![name.to_owned(), format!("{name}:{port}")], routes, &mut taken)
    });
    let elsewhere = match scope.mesh.settings.egress_filter {
        EgressFilter::AllowAll => Some(anywhere(scope)),
        EgressFilter::DropAll => None,
    };
    RouteConfiguration {
        name: naming::egress_routes_of(family(services), port),
        virtual_hosts: hosts.chain(elsewhere).collect(),
        ..Default::default()
    }
}

/// Nobody in the mesh says how long such a request may take.
fn anywhere(scope: &Scope<'_>) -> VirtualHost {
    let cluster = naming::passthrough_cluster(&scope.proxy.workload.mesh);
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        timeout: duration(Duration::ZERO),
        ..Default::default()
    };
    VirtualHost {
        name: naming::PASSTHROUGH.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![Route {
            r#match: Some(matcher::of_rule(Rule::Everything)),
            action: Some(Action::Route(action)),
            ..Default::default()
        }],
        ..Default::default()
    }
}
