//! `RouteSpec`.

use super::{matcher, name, port, retry, traffic};
use crate::model::{
    GrpcMatch, HttpMatch, Route, RouteRule, Timeout, WeightedTarget,
    shape::{Field, Invalid, Object},
};

/// Most targets of a route.
const MAX_TARGETS: usize = 10;

pub(super) fn parse(spec: &Object<'_>) -> Result<Route, Invalid> {
    let priority = priority(spec)?;
    // Constraint C3.
    let route = spec.union(&[
        ("httpRoute", &|field| http(field, RouteRule::Http)),
        ("http2Route", &|field| http(field, RouteRule::Http2)),
        ("tcpRoute", &tcp),
        ("grpcRoute", &grpc),
    ])?;
    Ok(Route { priority, ..route })
}

/// Of a route or a gateway route.
pub(super) fn priority(spec: &Object<'_>) -> Result<Option<u16>, Invalid> {
    spec.read("priority", |field| field.integer(0..=1000))
}

fn http(field: &Field<'_>, rule: fn(HttpMatch) -> RouteRule) -> Result<Route, Invalid> {
    let route = field.object()?;
    let matched = route.required("match")?.object()?;
    let scheme = matcher::scheme(&matched)?;
    Ok(Route {
        port: matched.read("port", port::port)?,
        timeout: route.read("timeout", traffic::request_timeout)?.unwrap_or_default(),
        retry: route.read("retryPolicy", retry::http)?,
        ..Route::new(rule(HttpMatch { scheme, ..matcher::http(&matched)? }), targets(&route)?)
    })
}

fn grpc(field: &Field<'_>) -> Result<Route, Invalid> {
    let route = field.object()?;
    let matched = route.required("match")?.object()?;
    let method_name = matcher::method_name(&matched)?;
    Ok(Route {
        port: matched.read("port", port::port)?,
        timeout: route.read("timeout", traffic::request_timeout)?.unwrap_or_default(),
        retry: route.read("retryPolicy", retry::grpc)?,
        ..Route::new(RouteRule::Grpc(GrpcMatch { method_name, ..matcher::grpc(&matched)? }), targets(&route)?)
    })
}

/// One that matches by port alone, and retries nothing (constraint C29).
fn tcp(field: &Field<'_>) -> Result<Route, Invalid> {
    let route = field.object()?;
    let port = route.read("match", |field| field.object()?.read("port", port::port))?.flatten();
    let timeout: Option<Timeout> = route.read("timeout", traffic::connection_timeout)?;
    Ok(Route { port, timeout: timeout.unwrap_or_default(), ..Route::new(RouteRule::Tcp, targets(&route)?) })
}

fn targets(route: &Object<'_>) -> Result<Vec<WeightedTarget>, Invalid> {
    let field = route.required("action")?.object()?.required("weightedTargets")?;
    let targets = field.items(1..=MAX_TARGETS)?.iter().map(target).collect::<Result<Vec<_>, _>>()?;
    // Weights are relative; App Mesh's text limits their sum to 100 (constraint C21).
    let sum: u32 = targets.iter().map(|target| u32::from(target.weight)).sum();
    let rule = || format!("the weights must add up to 1 to 100; their sum is {sum}");
    field.check((1..=100).contains(&sum), rule)?;
    Ok(targets)
}

fn target(field: &Field<'_>) -> Result<WeightedTarget, Invalid> {
    let target = field.object()?;
    Ok(WeightedTarget {
        virtual_node: name::resource(&target.required("virtualNode")?)?,
        weight: target.required("weight")?.integer(0..=100)?,
        port: target.read("port", port::port)?,
    })
}
