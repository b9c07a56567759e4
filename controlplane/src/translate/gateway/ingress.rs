//! The first pass: the gateway's own routes.

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use signet_xds::pb::envoy::{
    config::{
        core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        route::v3::{
            Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
            route::Action,
            route_action::{ClusterSpecifier, HostRewriteSpecifier},
            route_match::PathSpecifier,
        },
    },
    r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher},
};

use super::{SERVICE_HEADER, authority, cluster_name, first_port};
use crate::{
    model::{
        GatewayRoute, GatewayRule, HostnameMatch, HttpMatch, Listener, PathMatch, PathRewrite, VirtualGateway,
    },
    translate::{
        Scope,
        backend::{Backend, BackendRoute, Rule, order},
        naming,
        route::{self, REQUEST_TIMEOUT, matcher},
        scalar::duration,
    },
};

/// Silence that Envoy and App Mesh bear where nothing else is said.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// What becomes of the path.
enum Path {
    Kept,
    /// What the match took of it becomes this.
    Matched(String),
    /// All of it becomes this.
    Whole(String),
}

/// One virtual host per host name that routes ask for, and one for all the others. Envoy takes the narrowest that
/// fits, and does not look into another if that has no route for the request: so it was in App Mesh.
pub(in crate::translate) fn ingress(
    scope: &Scope<'_>,
    gateway: &VirtualGateway,
    listener: &Listener,
    backends: &[Backend<'_>],
) -> RouteConfiguration {
    let mapping = listener.port_mapping;
    let cluster = cluster_name(scope, gateway, listener);
    let mut any_host = Vec::new();
    let mut by_domain: BTreeMap<String, Vec<Route>> = BTreeMap::new();
    let is_for_port = |route: &&GatewayRoute| route.port.is_none_or(|port| port == mapping.port);
    for route in order::of_gateway(&gateway.routes).into_iter().filter(is_for_port) {
        let routes = match &route.hostname {
            None => &mut any_host,
            Some(hostname) => by_domain.entry(domain(hostname)).or_default(),
        };
        routes.extend(inbound(route, &cluster, backends));
    }
    let named = by_domain.into_iter().filter(|(domain, _)| is_domain(domain)).map(|(domain, routes)| {
        VirtualHost { name: domain.clone(), domains: vec![domain], routes, ..Default::default() }
    });
    let others = VirtualHost {
        name: naming::SELF_REDIRECT.to_owned(),
        domains: vec!["*".to_owned()],
        routes: any_host,
        ..Default::default()
    };
    RouteConfiguration {
        name: naming::ingress_routes(mapping),
        virtual_hosts: named.chain([others]).collect(),
        // `www.example.com:8088` is meant by `www.example.com`.
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}

fn domain(hostname: &HostnameMatch) -> String {
    match hostname {
        HostnameMatch::Exact(name) => name.to_ascii_lowercase(),
        HostnameMatch::Suffix(suffix) => format!("*{}", suffix.to_ascii_lowercase()),
    }
}

/// Envoy refuses a whole table for one domain that is none.
fn is_domain(domain: &str) -> bool {
    let name = domain.strip_prefix('*').unwrap_or(domain);
    !name.is_empty() && route::is_host(name)
}

fn inbound(route: &GatewayRoute, cluster: &str, backends: &[Backend<'_>]) -> Vec<Route> {
    let GatewayRoute {
        priority: _,
        port: _,
        hostname: _,
        rule,
        virtual_service,
        target_port,
        rewrites_hostname,
    } = route;
    let service = virtual_service.as_str();
    let backend = backends.iter().find(|backend| backend.name == service);
    let first = backend.and_then(first_port);
    let port = target_port.or(first);
    let authority = port.map_or_else(|| service.to_owned(), |port| authority(service, port, first));
    let bounds = backend.map(|backend| bounds(backend, port)).unwrap_or_default();
    let matches = match rule {
        GatewayRule::Http(rule, rewrite) | GatewayRule::Http2(rule, rewrite) => http(rule, rewrite),
        GatewayRule::Grpc(rule) => vec![(matcher::of_rule(Rule::Grpc(rule)), Path::Kept)],
    };
    let route = |(matched, path): (RouteMatch, Path)| {
        let action = RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
            host_rewrite_specifier: rewrites_hostname
                .then(|| HostRewriteSpecifier::HostRewriteLiteral(authority.clone())),
            ..bounds.clone()
        };
        let route = Route {
            r#match: Some(matched),
            action: Some(Action::Route(rewritten(action, path))),
            ..Default::default()
        };
        told_apart(route, (!rewrites_hostname).then(|| authority.clone()))
    };
    matches.into_iter().map(route).collect()
}

/// Only the gateway itself may say which service is meant: what a client says is overwritten or removed.
fn told_apart(route: Route, service: Option<String>) -> Route {
    match service {
        Some(value) => {
            let header = HeaderValue { key: SERVICE_HEADER.to_owned(), value, ..Default::default() };
            let header = HeaderValueOption {
                header: Some(header),
                append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
                ..Default::default()
            };
            Route { request_headers_to_add: vec![header], ..route }
        }
        None => Route { request_headers_to_remove: vec![SERVICE_HEADER.to_owned()], ..route },
    }
}

fn http(rule: &HttpMatch, rewrite: &PathRewrite) -> Vec<(RouteMatch, Path)> {
    let matched = || matcher::of_rule(Rule::Http(rule));
    match (&rule.path, rewrite) {
        (PathMatch::Prefix(prefix), PathRewrite::DefaultPrefix) => with_prefix(&matched(), prefix, "/"),
        (PathMatch::Prefix(prefix), PathRewrite::Prefix(to)) => with_prefix(&matched(), prefix, to),
        (PathMatch::Exact(_), PathRewrite::Exact(to)) => vec![(matched(), Path::Matched(to.clone()))],
        (PathMatch::Prefix(_) | PathMatch::Regex(_), PathRewrite::Exact(to)) => {
            vec![(matched(), Path::Whole(to.clone()))]
        }
        (_, PathRewrite::Keep)
        | (PathMatch::Exact(_) | PathMatch::Regex(_), PathRewrite::DefaultPrefix | PathRewrite::Prefix(_)) => {
            vec![(matched(), Path::Kept)]
        }
    }
}

/// A pair for `/p`, one of them for `/p/`, so that `/p/x` becomes `/x` and not `//x`.
fn with_prefix(matched: &RouteMatch, prefix: &str, to: &str) -> Vec<(RouteMatch, Path)> {
    let one = (matched.clone(), Path::Matched(to.to_owned()));
    if prefix.ends_with('/') || !to.ends_with('/') {
        return vec![one];
    }
    let folder = PathSpecifier::Prefix(format!("{prefix}/"));
    let folder = RouteMatch { path_specifier: Some(folder), ..matched.clone() };
    vec![(folder, Path::Matched(to.to_owned())), one]
}

fn rewritten(action: RouteAction, path: Path) -> RouteAction {
    match path {
        Path::Kept => action,
        Path::Matched(to) => RouteAction { prefix_rewrite: to, ..action },
        Path::Whole(to) => {
            let pattern = RegexMatcher { regex: "^/.*$".to_owned(), ..Default::default() };
            // A backslash would begin a reference to a group.
            let substitution = to.replace('\\', "\\\\");
            let rewrite = RegexMatchAndSubstitute { pattern: Some(pattern), substitution };
            RouteAction { regex_rewrite: Some(rewrite), ..action }
        }
    }
}

/// Gateways have no timeouts of their own: each bears the longest of those that the target's routes have. Without
/// routes nothing is said.
fn bounds(backend: &Backend<'_>, port: Option<NonZeroU16>) -> RouteAction {
    let routes = backend.ports.iter().find(|candidate| Some(candidate.mapping.port) == port);
    let routes = routes.map_or(&[][..], |port| &port.routes[..]);
    let per_request = routes.iter().map(|route| route.timeout.per_request.unwrap_or(REQUEST_TIMEOUT));
    let says_idle = |route: &BackendRoute<'_>| route.timeout.idle.is_some();
    let idle = routes.iter().map(|route| route.timeout.idle.unwrap_or(IDLE_TIMEOUT));
    let idle = if routes.iter().any(says_idle) { longest(idle) } else { None };
    RouteAction {
        timeout: longest(per_request).and_then(duration),
        idle_timeout: idle.and_then(duration),
        ..Default::default()
    }
}

/// Zero is no bound, so it is the longest of all.
fn longest(spans: impl Iterator<Item = Duration>) -> Option<Duration> {
    spans.reduce(|one, other| if one.is_zero() || other.is_zero() { Duration::ZERO } else { one.max(other) })
}
