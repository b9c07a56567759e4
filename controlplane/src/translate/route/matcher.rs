//! Which requests a route takes: App Mesh's matches in Envoy's terms. All conditions of a match must hold.

use signet_xds::pb::envoy::{
    config::route::v3::{
        HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::GrpcRouteMatchOptions,
        route_match::PathSpecifier,
    },
    r#type::{
        matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
        v3::Int64Range,
    },
};

use crate::{
    model::{GrpcMatch, HeaderMatch, HttpMatch, Method, PathMatch, QueryMatch, Scheme, ValueMatch},
    translate::backend::Rule,
};

/// What a rule asks.
pub(in crate::translate) fn of_rule(rule: Rule<'_>) -> RouteMatch {
    match rule {
        Rule::Everything => on_path(PathSpecifier::Prefix("/".to_owned())),
        Rule::Http(rule) => of_http(rule),
        Rule::Grpc(rule) => of_grpc(rule),
    }
}

/// A prefix is one of text, not of path segments: `/p` takes `/pq` too, as it did in App Mesh.
fn of_http(rule: &HttpMatch) -> RouteMatch {
    let HttpMatch { path, method, scheme, headers, query_parameters } = rule;
    let path = match path {
        PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.clone()),
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(self::regex(regex)),
    };
    let method = method.map(|method| exactly(":method", method_name(method)));
    let scheme = scheme.map(|scheme| exactly(":scheme", scheme_name(scheme)));
    RouteMatch {
        headers: method.into_iter().chain(scheme).chain(headers.iter().map(header)).collect(),
        query_parameters: query_parameters.iter().map(query_parameter).collect(),
        ..on_path(path)
    }
}

/// Requests that say they are gRPC, by `/<service>/<method>`.
fn of_grpc(rule: &GrpcMatch) -> RouteMatch {
    let GrpcMatch { service_name, method_name, metadata } = rule;
    let path = match (service_name, method_name) {
        (Some(service), Some(method)) => PathSpecifier::Path(format!("/{service}/{method}")),
        (Some(service), None) => PathSpecifier::Prefix(format!("/{service}/")),
        (None, _) => PathSpecifier::Prefix("/".to_owned()),
    };
    RouteMatch {
        headers: metadata.iter().map(header).collect(),
        grpc: Some(GrpcRouteMatchOptions::default()),
        ..on_path(path)
    }
}

/// A path, and nothing else.
fn on_path(path: PathSpecifier) -> RouteMatch {
    RouteMatch { path_specifier: Some(path), ..Default::default() }
}

/// A header or pseudo-header that must have this value.
pub(in crate::translate) fn exactly(name: &str, value: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(text(MatchPattern::Exact(value.to_owned()))),
        ..Default::default()
    }
}

/// A header that must be there.
pub(in crate::translate) fn present(name: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(true)),
        ..Default::default()
    }
}

/// An inverted match of a value does not hold where the header is absent; Envoy sees to that.
fn header(asked: &HeaderMatch) -> HeaderMatcher {
    let HeaderMatch { name, value, invert } = asked;
    let specifier = match value {
        ValueMatch::Present => HeaderMatchSpecifier::PresentMatch(true),
        ValueMatch::Exact(value) => text(MatchPattern::Exact(value.clone())),
        ValueMatch::Prefix(value) => text(MatchPattern::Prefix(value.clone())),
        ValueMatch::Suffix(value) => text(MatchPattern::Suffix(value.clone())),
        ValueMatch::Regex(value) => text(MatchPattern::SafeRegex(regex(value))),
        ValueMatch::Range { start, end } => {
            HeaderMatchSpecifier::RangeMatch(Int64Range { start: *start, end: *end })
        }
    };
    HeaderMatcher {
        name: name.clone(),
        header_match_specifier: Some(specifier),
        invert_match: *invert,
        ..Default::default()
    }
}

fn query_parameter(asked: &QueryMatch) -> QueryParameterMatcher {
    let QueryMatch { name, exact } = asked;
    let specifier = match exact {
        Some(value) => QueryParameterMatchSpecifier::StringMatch(matcher(MatchPattern::Exact(value.clone()))),
        None => QueryParameterMatchSpecifier::PresentMatch(true),
    };
    QueryParameterMatcher { name: name.clone(), query_parameter_match_specifier: Some(specifier) }
}

fn text(pattern: MatchPattern) -> HeaderMatchSpecifier {
    HeaderMatchSpecifier::StringMatch(matcher(pattern))
}

fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

/// RE2, of the whole value.
fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..Default::default() }
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
    }
}

fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}
