//! The second pass: the services behind the gateway, as a node would call them.

use std::collections::BTreeSet;

use signet_xds::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteConfiguration, VirtualHost, route::Action,
    route_action::HostRewriteSpecifier,
};

use super::{SERVICE_HEADER, authority, first_port};
use crate::{
    model::VirtualGateway,
    translate::{
        Scope,
        backend::{Backend, BackendPort, Rule, order},
        naming,
        route::{self, matcher, to_service},
    },
};

/// What a request meets whose service has no route for it.
const NOT_FOUND: u32 = 404;

/// One virtual host per service and port. Where gateway routes keep the Host of the request, a stranger may write
/// any service's into it; so in all of them the header decides before the Host.
pub(in crate::translate) fn egress(
    scope: &Scope<'_>,
    gateway: &VirtualGateway,
    backends: &[Backend<'_>],
) -> RouteConfiguration {
    let by_header = by_header(scope, gateway, backends);
    let before_host: Vec<Route> = by_header.iter().cloned().chain(keeps_hosts(gateway).then(lost)).collect();
    let mut taken = BTreeSet::new();
    let mut hosts = Vec::new();
    for backend in backends {
        let own = [backend.name.to_owned(), format!("{}:{}", backend.name, scope.proxy.egress_port)];
        let first = first_port(backend);
        if first.is_none() {
            hosts.extend(route::virtual_host(
                backend.name.to_owned(),
                own.clone().into(),
                before_host.clone(),
                &mut taken,
            ));
        }
        for port in &backend.ports {
            let name = authority(backend.name, port.mapping.port, first);
            let is_first = first == Some(port.mapping.port);
            let domains = if is_first { own.clone().into() } else { vec![name.clone()] };
            let by_host = port.routes.iter().map(|route| {
                let route = to_service(scope, backend.name, route);
                if is_first { route } else { with_host(route, backend.name) }
            });
            let routes = before_host.iter().cloned().chain(by_host).collect();
            hosts.extend(route::virtual_host(name, domains, routes, &mut taken));
        }
    }
    if !by_header.is_empty() {
        hosts.push(VirtualHost {
            name: naming::DEFAULT_BACKEND.to_owned(),
            domains: vec!["*".to_owned()],
            routes: by_header,
            ..Default::default()
        });
    }
    RouteConfiguration {
        name: naming::egress_routes(scope.proxy.egress_port),
        virtual_hosts: hosts,
        ..Default::default()
    }
}

fn keeps_hosts(gateway: &VirtualGateway) -> bool {
    gateway.routes.values().any(|route| !route.rewrites_hostname)
}

/// For requests to a service that has no route for them.
fn lost() -> Route {
    let mut matched = matcher::of_rule(Rule::Everything);
    matched.headers.push(matcher::present(SERVICE_HEADER));
    let answer = DirectResponseAction { status: NOT_FOUND, ..Default::default() };
    Route { r#match: Some(matched), action: Some(Action::DirectResponse(answer)), ..Default::default() }
}

/// The routes of every service that some gateway route sends requests to with the Host that they came with.
fn by_header(scope: &Scope<'_>, gateway: &VirtualGateway, backends: &[Backend<'_>]) -> Vec<Route> {
    let mut done = BTreeSet::new();
    let mut routes = Vec::new();
    for route in order::of_gateway(&gateway.routes) {
        if route.rewrites_hostname {
            continue;
        }
        let backend = backends.iter().find(|backend| backend.name == route.virtual_service.as_str());
        let Some((backend, first)) = backend.and_then(|backend| Some((backend, first_port(backend)?))) else {
            continue;
        };
        let asked = route.target_port.unwrap_or(first);
        let port = backend.ports.iter().find(|port| port.mapping.port == asked);
        let name = authority(backend.name, asked, Some(first));
        if let Some(BackendPort { routes: targets, .. }) = port.filter(|_| done.insert(name.clone())) {
            routes.extend(
                targets.iter().map(|target| with_header(to_service(scope, backend.name, target), &name)),
            );
        }
    }
    routes
}

/// As App Mesh's proxies had it, down to the response header that nobody sends.
fn with_header(mut route: Route, service: &str) -> Route {
    if let Some(matched) = &mut route.r#match {
        matched.headers.push(matcher::exactly(SERVICE_HEADER, service));
    }
    Route { response_headers_to_remove: vec![SERVICE_HEADER.to_owned()], ..route }
}

/// The application sees the service's name whichever port was meant.
fn with_host(mut route: Route, service: &str) -> Route {
    if let Some(Action::Route(action)) = &mut route.action {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(service.to_owned()));
    }
    route
}
