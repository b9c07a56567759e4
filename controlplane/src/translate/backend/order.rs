//! In which order the routes of a router, or of a gateway, are tried. Envoy takes the first that matches.
//!
//! App Mesh promises the order of priorities, and among gateway routes that longer prefixes come first; its
//! proxies were seen to do so for all routes, and to go by name after that. The rest makes the order total, and
//! such that a narrower route is not hidden by a wider one:
//!
//! 1. priority, 0 first, none last;
//! 2. exact paths, then regular expressions, then prefixes, and of each the longest first;
//! 3. more conditions (method, scheme, headers, query parameters) before fewer;
//! 4. name.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use signet_policies::identity::ResourceName;

use crate::model::{GatewayRoute, GatewayRule, GrpcMatch, HttpMatch, PathMatch, Route, RouteRule};

/// What routes are sorted by before their names.
type Rank = (u32, PathRank, Reverse<usize>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact(Reverse<usize>),
    Regex(Reverse<usize>),
    Prefix(Reverse<usize>),
}

/// A router's routes.
pub(in crate::translate) fn of_router(routes: &BTreeMap<ResourceName, Arc<Route>>) -> Vec<&Route> {
    sorted(routes, rank)
}

/// A gateway's routes.
pub(in crate::translate) fn of_gateway(
    routes: &BTreeMap<ResourceName, Arc<GatewayRoute>>,
) -> Vec<&GatewayRoute> {
    sorted(routes, |route| {
        let (path, conditions) = match &route.rule {
            GatewayRule::Http(rule, _) | GatewayRule::Http2(rule, _) => http(rule),
            GatewayRule::Grpc(rule) => grpc(rule),
        };
        (priority(route.priority), path, Reverse(conditions))
    })
}

/// The map is in the order of names, and the sort keeps it among equals.
fn sorted<T>(routes: &BTreeMap<ResourceName, Arc<T>>, rank: impl Fn(&T) -> Rank) -> Vec<&T> {
    let mut routes: Vec<&T> = routes.values().map(|route| &**route).collect();
    routes.sort_by_key(|route| rank(route));
    routes
}

fn rank(route: &Route) -> Rank {
    let (path, conditions) = match &route.rule {
        RouteRule::Http(rule) | RouteRule::Http2(rule) => http(rule),
        RouteRule::Grpc(rule) => grpc(rule),
        RouteRule::Tcp => (PathRank::Prefix(Reverse(0)), 0),
    };
    (priority(route.priority), path, Reverse(conditions))
}

fn priority(asked: Option<u16>) -> u32 {
    asked.map_or(u32::MAX, u32::from)
}

fn http(rule: &HttpMatch) -> (PathRank, usize) {
    let HttpMatch { path, method, scheme, headers, query_parameters } = rule;
    let path = match path {
        PathMatch::Exact(path) => PathRank::Exact(Reverse(path.len())),
        PathMatch::Regex(regex) => PathRank::Regex(Reverse(regex.len())),
        PathMatch::Prefix(prefix) => PathRank::Prefix(Reverse(prefix.len())),
    };
    let conditions = usize::from(method.is_some())
        + usize::from(scheme.is_some())
        + headers.len()
        + query_parameters.len();
    (path, conditions)
}

fn grpc(rule: &GrpcMatch) -> (PathRank, usize) {
    let GrpcMatch { service_name, method_name, metadata } = rule;
    let path = match (service_name, method_name) {
        (Some(service), Some(method)) => PathRank::Exact(Reverse(service.len() + method.len() + 2)),
        (Some(service), None) => PathRank::Prefix(Reverse(service.len() + 2)),
        (None, _) => PathRank::Prefix(Reverse(1)),
    };
    (path, metadata.len())
}
