//! `RouteSpec`.

use super::{port, retry, virtual_service::resource_name};
use crate::model::{
    HttpMatch, PathMatch, Route, RouteRule, Timeout, WeightedTarget,
    shape::{Field, Invalid, Object, Rule, shown},
};

/// Most targets of a route.
const MAX_TARGETS: usize = 10;

pub(super) fn parse(spec: &Object<'_>) -> Result<Route, Invalid> {
    let (_, route) = spec.union(&["httpRoute"], &["http2Route", "tcpRoute", "grpcRoute"])?;
    let route = route.object()?;
    route.refuse(&["timeout"])?;
    let matched = route.required("match")?.object()?;
    matched.refuse(&["headers", "method", "path", "queryParameters", "scheme"])?;
    let prefix = matched.optional("prefix").map(|field| prefix(&field)).transpose()?;
    let action = route.required("action")?.object()?;
    Ok(Route {
        priority: spec.optional("priority").map(|field| field.integer(0..=1000)).transpose()?,
        // App Mesh took routes that match by port alone.
        rule: RouteRule::Http(HttpMatch::new(PathMatch::Prefix(prefix.unwrap_or("/").to_owned()))),
        timeout: Timeout::default(),
        port: port::optional(&matched, "port")?,
        targets: targets(&action.required("weightedTargets")?)?,
        retry: route.optional("retryPolicy").map(|field| retry::parse(&field)).transpose()?,
    })
}

fn prefix<'a>(field: &Field<'a>) -> Result<&'a str, Invalid> {
    let prefix = field.text(0..=usize::MAX)?;
    match prefix.starts_with('/') {
        true => Ok(prefix),
        false => Err(field.invalid(Rule::Other(format!("must start with '/'; it is {:?}", shown(prefix))))),
    }
}

fn targets(field: &Field<'_>) -> Result<Vec<WeightedTarget>, Invalid> {
    let targets = field.items(1..=MAX_TARGETS)?.iter().map(target).collect::<Result<Vec<_>, _>>()?;
    // Weights are relative; App Mesh's text limits their sum to 100 (constraint C21).
    let sum: u32 = targets.iter().map(|target| u32::from(target.weight)).sum();
    match (1..=100).contains(&sum) {
        true => Ok(targets),
        false => {
            Err(field
                .invalid(Rule::Other(format!("the weights must add up to 1 to 100; their sum is {sum}"))))
        }
    }
}

fn target(field: &Field<'_>) -> Result<WeightedTarget, Invalid> {
    let target = field.object()?;
    Ok(WeightedTarget {
        virtual_node: resource_name(&target.required("virtualNode")?)?,
        weight: target.required("weight")?.integer(0..=100)?,
        port: port::optional(&target, "port")?,
    })
}
