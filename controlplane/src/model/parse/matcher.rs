//! The `match` of routes and gateway routes: paths, methods, headers, query parameters and gRPC services.

use crate::model::{
    GrpcMatch, HeaderMatch, HttpMatch, Method, PathMatch, QueryMatch, Scheme, ValueMatch, regex,
    shape::{Field, Invalid, Object, shown},
};

/// Most headers, metadata entries or query parameters of a match.
const MAX_CONDITIONS: usize = 10;
/// Longest text of a match.
const MAX_TEXT: usize = 255;
/// Longest name of a query parameter, in bytes, that Envoy takes.
const MAX_PARAMETER: usize = 1024;

/// `HttpRouteMatch` but for the scheme, which gateway routes lack, and `HttpGatewayRouteMatch`.
pub(super) fn http(matched: &Object<'_>) -> Result<HttpMatch, Invalid> {
    let methods = [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("CONNECT", Method::Connect),
        ("OPTIONS", Method::Options),
        ("TRACE", Method::Trace),
        ("PATCH", Method::Patch),
    ];
    Ok(HttpMatch {
        path: path(matched)?,
        method: matched.read("method", |field| field.one_of(&methods))?,
        scheme: None,
        headers: matched.each("headers", 1..=MAX_CONDITIONS, header)?,
        query_parameters: matched.each("queryParameters", 1..=MAX_CONDITIONS, query_parameter)?,
    })
}

/// `HttpRouteMatch.scheme`.
pub(super) fn scheme(matched: &Object<'_>) -> Result<Option<Scheme>, Invalid> {
    matched.read("scheme", |field| field.one_of(&[("http", Scheme::Http), ("https", Scheme::Https)]))
}

/// A prefix or a path (constraint C23). App Mesh took a match that has neither.
fn path(matched: &Object<'_>) -> Result<PathMatch, Invalid> {
    match (matched.optional("prefix"), matched.optional("path")) {
        (None, None) => Ok(PathMatch::Prefix("/".to_owned())),
        (Some(field), None) => prefix(&field),
        (None, Some(field)) => field.object()?.union(&[("exact", &exact_path), ("regex", &path_expression)]),
        (Some(field), Some(_)) => {
            let rule = || "must not be there, because there is a prefix".to_owned();
            matched.check("path", false, rule)?;
            prefix(&field)
        }
    }
}

fn prefix(field: &Field<'_>) -> Result<PathMatch, Invalid> {
    let prefix = field.text(0..=usize::MAX)?;
    field.check(prefix.starts_with('/'), || format!("must start with '/'; it is {:?}", shown(prefix)))?;
    Ok(PathMatch::Prefix(prefix.to_owned()))
}

fn exact_path(field: &Field<'_>) -> Result<PathMatch, Invalid> {
    text(field).map(PathMatch::Exact)
}

fn path_expression(field: &Field<'_>) -> Result<PathMatch, Invalid> {
    expression(field).map(PathMatch::Regex)
}

fn text(field: &Field<'_>) -> Result<String, Invalid> {
    field.text(1..=MAX_TEXT).map(str::to_owned)
}

/// An RE2 expression: the one door for all of them.
fn expression(field: &Field<'_>) -> Result<String, Invalid> {
    let pattern = text(field)?;
    let checked = regex::check(&pattern).map_err(|refused| refused.to_string());
    field.check(checked.is_ok(), || checked.err().unwrap_or_default())?;
    Ok(pattern)
}

/// A header or a gRPC metadata entry.
fn header(field: &Field<'_>) -> Result<HeaderMatch, Invalid> {
    let header = field.object()?;
    let name = header.required("name")?;
    let text = name.text(1..=50)?;
    // Pseudo headers among them, which App Mesh could not match either (constraint C24).
    let is_name = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    name.check(is_name, || "must be of visible ASCII characters other than ':'".to_owned())?;
    Ok(HeaderMatch {
        name: text.to_owned(),
        value: header.read("match", value)?.unwrap_or(ValueMatch::Present),
        invert: header.read("invert", Field::boolean)?.unwrap_or(false),
    })
}

/// `HeaderMatchMethod`.
fn value(field: &Field<'_>) -> Result<ValueMatch, Invalid> {
    field.object()?.union(&[
        ("exact", &|field| text(field).map(ValueMatch::Exact)),
        ("prefix", &|field| text(field).map(ValueMatch::Prefix)),
        ("range", &range),
        ("regex", &|field| expression(field).map(ValueMatch::Regex)),
        ("suffix", &|field| text(field).map(ValueMatch::Suffix)),
    ])
}

/// `MatchRange`.
fn range(field: &Field<'_>) -> Result<ValueMatch, Invalid> {
    let range = field.object()?;
    let bound = |name| range.required(name)?.integer(i64::MIN..=i64::MAX);
    let (start, end): (i64, i64) = (bound("start")?, bound("end")?);
    field.check(start < end, || format!("start must be less than end; they are {start} and {end}"))?;
    Ok(ValueMatch::Range { start, end })
}

/// `HttpQueryParameter`.
fn query_parameter(field: &Field<'_>) -> Result<QueryMatch, Invalid> {
    let parameter = field.object()?;
    let name = parameter.required("name")?;
    let text = name.text(1..=usize::MAX)?;
    let rule = || format!("must have at most {MAX_PARAMETER} bytes; it has {}", text.len());
    name.check(text.len() <= MAX_PARAMETER, rule)?;
    let exact = |field: &Field<'_>| field.text(0..=usize::MAX).map(str::to_owned);
    let matched = parameter.read("match", |field| field.object()?.read("exact", exact))?;
    Ok(QueryMatch { name: text.to_owned(), exact: matched.flatten() })
}

/// `GrpcRouteMatch` but for the method, which gateway routes lack, and `GrpcGatewayRouteMatch`.
pub(super) fn grpc(matched: &Object<'_>) -> Result<GrpcMatch, Invalid> {
    let service_name = matched.read("serviceName", |field| field.text(1..=usize::MAX))?;
    Ok(GrpcMatch {
        service_name: service_name.map(str::to_owned),
        method_name: None,
        metadata: matched.each("metadata", 1..=MAX_CONDITIONS, header)?,
    })
}

/// `GrpcRouteMatch.methodName`, which is one of a service (constraint C26).
pub(super) fn method_name(matched: &Object<'_>) -> Result<Option<String>, Invalid> {
    let method = matched.read("methodName", |field| field.text(1..=50))?;
    let is_kept = method.is_none() || matched.optional("serviceName").is_some();
    matched.check("serviceName", is_kept, || "is required, because there is a methodName".to_owned())?;
    Ok(method.map(str::to_owned))
}
