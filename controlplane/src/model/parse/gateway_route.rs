//! `GatewayRouteSpec`.

use super::{matcher, name, port, route::priority};
use crate::model::{
    GatewayRoute, GatewayRule, HostnameMatch, HttpMatch, PathMatch, PathRewrite,
    shape::{Field, Invalid, Object, shown},
};

/// Longest host name.
const MAX_HOSTNAME: usize = 253;
/// Prefixes of paths that App Mesh kept to itself (constraint C34).
const RESERVED_PATHS: [&str; 2] = ["/aws-appmesh", "/aws-app-mesh"];
/// Prefixes of gRPC services that App Mesh kept to itself (constraint C34).
const RESERVED_SERVICES: [&str; 2] = ["aws.appmesh", "aws.app-mesh"];

pub(super) fn parse(spec: &Object<'_>) -> Result<GatewayRoute, Invalid> {
    let priority = priority(spec)?;
    // Constraint C3.
    let route = spec.union(&[
        ("httpRoute", &|field| http(field, GatewayRule::Http)),
        ("http2Route", &|field| http(field, GatewayRule::Http2)),
        ("grpcRoute", &grpc),
    ])?;
    Ok(GatewayRoute { priority, ..route })
}

fn http(field: &Field<'_>, rule: fn(HttpMatch, PathRewrite) -> GatewayRule) -> Result<GatewayRoute, Invalid> {
    let route = field.object()?;
    let (matched, action) = (route.required("match")?.object()?, route.required("action")?.object()?);
    let http = matcher::http(&matched)?;
    if let PathMatch::Prefix(prefix) = &http.path {
        check_reserved(&matched, "prefix", prefix, &RESERVED_PATHS)?;
    }
    let rewrite = action.read("rewrite", |field| path_rewrite(&field.object()?, &http.path))?;
    let rewrite = rewrite.unwrap_or_else(|| unasked_rewrite(&http.path));
    common(&matched, &action, rule(http, rewrite))
}

fn grpc(field: &Field<'_>) -> Result<GatewayRoute, Invalid> {
    let route = field.object()?;
    let (matched, action) = (route.required("match")?.object()?, route.required("action")?.object()?);
    let grpc = matcher::grpc(&matched)?;
    if let Some(service) = &grpc.service_name {
        check_reserved(&matched, "serviceName", service, &RESERVED_SERVICES)?;
    }
    common(&matched, &action, GatewayRule::Grpc(grpc))
}

fn common(matched: &Object<'_>, action: &Object<'_>, rule: GatewayRule) -> Result<GatewayRoute, Invalid> {
    let target = action.required("target")?.object()?;
    let service = target.required("virtualService")?.object()?;
    let rewrites =
        action.read("rewrite", |field| field.object()?.read("hostname", hostname_rewrite))?.flatten();
    Ok(GatewayRoute {
        priority: None,
        port: matched.read("port", port::port)?,
        hostname: matched.read("hostname", |field| {
            field.object()?.union(&[("exact", &exact_hostname), ("suffix", &hostname_suffix)])
        })?,
        rule,
        virtual_service: name::service(&service.required("virtualServiceName")?)?,
        target_port: target.read("port", port::port)?,
        rewrites_hostname: rewrites.unwrap_or(true),
    })
}

fn check_reserved(matched: &Object<'_>, member: &str, text: &str, reserved: &[&str]) -> Result<(), Invalid> {
    let is_kept = !reserved.iter().any(|prefix| text.starts_with(prefix));
    let rule = || format!("must not start with any of {}, which are reserved", reserved.join(", "));
    matched.check(member, is_kept, rule)
}

fn exact_hostname(field: &Field<'_>) -> Result<HostnameMatch, Invalid> {
    host(field, |name| !name.starts_with('.')).map(HostnameMatch::Exact)
}

fn hostname_suffix(field: &Field<'_>) -> Result<HostnameMatch, Invalid> {
    host(field, |suffix| suffix.starts_with('.') && suffix.len() > 1).map(HostnameMatch::Suffix)
}

/// Ports are none of it, and neither are wildcards, which would mean something else to Envoy (constraint C33).
fn host(field: &Field<'_>, fits: fn(&str) -> bool) -> Result<String, Invalid> {
    let name = field.text(1..=MAX_HOSTNAME)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let rule = || {
        let rule = "must be a host name without port, such as example.com, and a suffix one that starts with a \
                    dot, such as .example.com";
        format!("{rule}; it is {:?}", shown(name))
    };
    field.check(fits(name) && name.chars().all(is_allowed), rule)?;
    Ok(name.to_owned())
}

/// `GatewayRouteHostnameRewrite`: absent means that App Mesh's default holds.
fn hostname_rewrite(field: &Field<'_>) -> Result<bool, Invalid> {
    Ok(field.object()?.read("defaultTargetHostname", enabled)?.unwrap_or(true))
}

fn enabled(field: &Field<'_>) -> Result<bool, Invalid> {
    field.one_of(&[("ENABLED", true), ("DISABLED", false)])
}

/// What becomes of the path where nothing is said of it.
fn unasked_rewrite(path: &PathMatch) -> PathRewrite {
    match path {
        PathMatch::Prefix(_) => PathRewrite::DefaultPrefix,
        PathMatch::Exact(_) | PathMatch::Regex(_) => PathRewrite::Keep,
    }
}

/// A prefix is rewritten as a prefix, and a path as a path (constraint C36).
fn path_rewrite(rewrite: &Object<'_>, matched: &PathMatch) -> Result<PathRewrite, Invalid> {
    let misfit = |name, of| {
        rewrite.check(name, false, || format!("must not be there, because the match is by {of}"))?;
        Ok(unasked_rewrite(matched))
    };
    match (rewrite.optional("prefix"), rewrite.optional("path"), matched) {
        (None, None, _) => Ok(unasked_rewrite(matched)),
        (Some(field), None, PathMatch::Prefix(_)) => prefix_rewrite(&field),
        (None, Some(field), PathMatch::Exact(_) | PathMatch::Regex(_)) => {
            let exact = field.object()?.read("exact", rewritten_path)?;
            Ok(exact.map_or(PathRewrite::Keep, PathRewrite::Exact))
        }
        (_, Some(_), PathMatch::Prefix(_)) => misfit("path", "prefix"),
        (Some(_), _, PathMatch::Exact(_) | PathMatch::Regex(_)) => misfit("prefix", "path"),
    }
}

fn prefix_rewrite(field: &Field<'_>) -> Result<PathRewrite, Invalid> {
    let prefix = field.object()?;
    let default =
        |field: &Field<'_>| Ok(if enabled(field)? { PathRewrite::DefaultPrefix } else { PathRewrite::Keep });
    match prefix.optional("defaultPrefix").is_none() && prefix.optional("value").is_none() {
        true => Ok(PathRewrite::DefaultPrefix),
        false => prefix.union(&[("defaultPrefix", &default), ("value", &prefix_value)]),
    }
}

fn prefix_value(field: &Field<'_>) -> Result<PathRewrite, Invalid> {
    let value = rewritten_path(field)?;
    let rule = || format!("must start and end with '/'; it is {:?}", shown(&value));
    field.check(value.ends_with('/'), rule)?;
    Ok(PathRewrite::Prefix(value))
}

/// What does not start with a slash is no request target.
fn rewritten_path(field: &Field<'_>) -> Result<String, Invalid> {
    let path = field.text(1..=255)?;
    field.check(path.starts_with('/'), || format!("must start with '/'; it is {:?}", shown(path)))?;
    Ok(path.to_owned())
}
