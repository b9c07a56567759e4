//! What the documentation asks of a spec beyond the model, brought about in one that was put together at random.
//! What is malformed stays so.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Changes as little as it takes, so that a spec whose parts are legal is legal as a whole.
pub(super) fn mend(root: &str, spec: &mut Value) {
    match root {
        "VirtualNodeSpec" => node(spec),
        "VirtualGatewaySpec" => gateway(spec),
        "VirtualRouterSpec" => listeners(spec),
        "RouteSpec" | "GatewayRouteSpec" => route(spec),
        _ => {}
    }
}

fn items<'a>(value: &'a mut Value, name: &str) -> Vec<&'a mut Value> {
    value
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .map(|items| items.iter_mut().collect())
        .unwrap_or_default()
}

fn node(spec: &mut Value) {
    listeners(spec);
    // C5.
    if !items(spec, "listeners").is_empty() && spec["serviceDiscovery"].is_null() {
        spec["serviceDiscovery"] = json!({"dns": {"hostname": "a"}});
    }
    // C13.
    let backends = items(spec, "backends");
    apart(
        backends.into_iter().filter_map(|backend| backend.pointer_mut("/virtualService/virtualServiceName")),
    );
    // No instance can have two values of one attribute.
    if let Some(map) = spec.pointer_mut("/serviceDiscovery/awsCloudMap") {
        apart(items(map, "attributes").into_iter().filter_map(|attribute| attribute.get_mut("key")));
    }
    log(spec);
}

fn gateway(spec: &mut Value) {
    listeners(spec);
    log(spec);
}

/// A line of a log can have a key once.
fn log(spec: &mut Value) {
    if let Some(format) = spec.pointer_mut("/logging/accessLog/file/format") {
        apart(items(format, "json").into_iter().filter_map(|member| member.get_mut("key")));
    }
}

/// Gives another text to each that was there before.
fn apart<'a>(texts: impl Iterator<Item = &'a mut Value>) {
    let mut seen = BTreeSet::new();
    for (index, text) in texts.enumerate() {
        if text.is_string() && !seen.insert(text.to_string()) {
            *text = json!(format!("other-{index}"));
        }
    }
}

fn listeners(spec: &mut Value) {
    let mut ports = BTreeSet::new();
    for listener in items(spec, "listeners") {
        protocols(listener);
        // C7 and C11.
        let port_at = |pointer| listener.pointer(pointer)?.as_i64().filter(|port| (1..=65535).contains(port));
        let checked = port_at("/healthCheck/port");
        if let Some(port) = checked.or(port_at("/portMapping/port")) {
            let free = (port..=65535).chain(1..port).find(|port| ports.insert(*port));
            listener["portMapping"]["port"] = json!(free);
            if checked.is_some() {
                listener["healthCheck"]["port"] = json!(free);
            }
        }
        for name in ["interval", "baseEjectionDuration"] {
            if let Some(value) = listener.pointer_mut(&format!("/outlierDetection/{name}/value"))
                && *value == json!(0)
            {
                *value = json!(1);
            }
        }
    }
}

/// C6, C8 and C9: pool, timeout and health check fit what is spoken.
fn protocols(listener: &mut Value) {
    let member = |value: &Value| {
        let members = value.as_object().filter(|members| members.len() == 1)?;
        members.keys().next().cloned()
    };
    let pool = member(&listener["connectionPool"]);
    let timeout = member(&listener["timeout"]);
    if let Some(spoken) = pool.as_ref().or(timeout.as_ref()) {
        listener["portMapping"]["protocol"] = json!(spoken);
    }
    if let (Some(pool), Some(timeout)) = (pool, timeout) {
        let mut value = listener["timeout"][&timeout].take();
        if let Some(members) = value.as_object_mut().filter(|_| pool == "tcp") {
            members.remove("perRequest");
        }
        listener["timeout"] = json!({pool: value});
    }
    let is_bound = !listener["connectionPool"].is_null() || !listener["timeout"].is_null();
    let spoken = listener["portMapping"]["protocol"].clone();
    if let Some(check) = listener.get_mut("healthCheck").filter(|check| check.is_object())
        && check["protocol"] == json!("grpc")
        && spoken != json!("http2")
        && spoken != json!("grpc")
    {
        match is_bound {
            true => check["protocol"] = json!("http"),
            false => listener["portMapping"]["protocol"] = json!("grpc"),
        }
    }
    if let Some(check) = listener.get_mut("healthCheck").filter(|check| check.is_object())
        && (check["protocol"] == json!("http") || check["protocol"] == json!("http2"))
        && check["path"].is_null()
    {
        check["path"] = json!("/");
    }
}

fn route(spec: &mut Value) {
    for kind in ["httpRoute", "http2Route", "grpcRoute", "tcpRoute"] {
        let Some(route) = spec.get_mut(kind).filter(|route| route.is_object()) else { continue };
        retries(route);
        if let Some(action) = route.get_mut("action") {
            weights(action);
        }
        if let Some(matched) = route.get_mut("match").filter(|matched| matched.is_object()) {
            // C26.
            if matched.get("methodName").is_some_and(Value::is_string) && matched.get("serviceName").is_none()
            {
                matched["serviceName"] = json!("a");
            }
            for name in ["headers", "metadata"] {
                items(matched, name).into_iter().for_each(ranges);
            }
        }
        rewrites(route);
    }
}

/// C27.
fn retries(route: &mut Value) {
    if let Some(policy) = route.get_mut("retryPolicy").and_then(Value::as_object_mut) {
        let events = ["httpRetryEvents", "grpcRetryEvents", "tcpRetryEvents"];
        if events.iter().all(|name| policy.get(*name).is_none_or(Value::is_null)) {
            policy.insert("tcpRetryEvents".to_owned(), json!(["connection-error"]));
        }
    }
}

/// C21.
fn weights(action: &mut Value) {
    let weights: Option<Vec<i64>> =
        items(action, "weightedTargets").iter().map(|target| target["weight"].as_i64()).collect();
    let Some(weights) = weights.filter(|weights| weights.iter().all(|weight| (0..=100).contains(weight)))
    else {
        return;
    };
    let sum: i64 = weights.iter().sum();
    if sum == 0 && weights.len() == 1 {
        let other = json!({"virtualNode": "other", "weight": 1});
        if let Some(targets) = action["weightedTargets"].as_array_mut() {
            targets.push(other);
        }
    } else if sum == 0 || sum > 100 {
        for target in items(action, "weightedTargets") {
            target["weight"] = json!(1);
        }
    }
}

/// C24.
fn ranges(header: &mut Value) {
    let bound = |name: &str| header.pointer(&format!("/match/range/{name}")).and_then(Value::as_i64);
    if let (Some(start), Some(end)) = (bound("start"), bound("end"))
        && start >= end
    {
        let less = end.min(i64::MAX - 1);
        header["match"]["range"] = json!({"start": less, "end": start.max(less + 1)});
    }
}

/// C36: a path is rewritten as a path, and a prefix as a prefix.
fn rewrites(route: &mut Value) {
    let has = |pointer: &str| route.pointer(pointer).is_some_and(|value| !value.is_null());
    if has("/action/rewrite/path") && !has("/match/path") {
        if let Some(matched) = route.get_mut("match").and_then(Value::as_object_mut) {
            matched.remove("prefix");
            matched.insert("path".to_owned(), json!({"exact": "/a"}));
        }
    } else if has("/action/rewrite/prefix")
        && has("/match/path")
        && let Some(rewrite) = route.pointer_mut("/action/rewrite").and_then(Value::as_object_mut)
    {
        rewrite.remove("prefix");
    }
}
