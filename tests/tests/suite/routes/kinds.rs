//! What is said of `httpRoute` elsewhere, of `http2Route` and of the gateway routes of all kinds.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use signet_tests::bed::{
    Bed, Node,
    app::App,
    at,
    call::{self, Call},
    grpc, listening,
};
use tokio::time::Instant;
use tonic::metadata::{MetadataKey, MetadataMap};

use super::{duration, standing_alone, to};

const SERVICE: &str = "kinds.test";

/// Every way to look at one header or metadata entry, by a name, and a value that it takes and one that it does not.
fn by_value() -> [(&'static str, Value, Option<&'static str>, Option<&'static str>); 8] {
    let entry = |matched: Value| json!([{"name": "x-k", "match": matched}]);
    [
        ("exact", entry(json!({"exact": "abc"})), Some("abc"), Some("abcd")),
        ("prefix", entry(json!({"prefix": "ab"})), Some("abz"), Some("zab")),
        ("suffix", entry(json!({"suffix": "bc"})), Some("zbc"), Some("bcz")),
        ("regex", entry(json!({"regex": "a[0-9]+"})), Some("a12"), Some("a12z")),
        ("range", entry(json!({"range": {"start": -5, "end": 10}})), Some("9"), Some("10")),
        ("present", json!([{"name": "x-k"}]), Some("any"), None),
        (
            "not",
            json!([{"name": "x-k", "match": {"exact": "abc"}, "invert": true}]),
            Some("other"),
            Some("abc"),
        ),
        ("absent", json!([{"name": "x-k", "invert": true}]), None, Some("abc")),
    ]
}

async fn expect(call: &Call, hits: bool) -> Result<()> {
    let answer = call.send().await?;
    assert_eq!(answer.app(), if hits { "hit" } else { "miss" }, "{call:?}: {answer:?}");
    Ok(())
}

fn with(call: Call, value: Option<&str>) -> Call {
    value.iter().fold(call, |call, value| call.header("x-k", value))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_route_takes_what_it_asks_for_and_no_others() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _hit = standing_alone(&bed, "m", "hit", "http2").await?;
    let _miss = standing_alone(&bed, "m", "miss", "http2").await?;
    bed.router("m", SERVICE, "r", &[(80, "http2")]).await?;
    // The other one has the weight 0, so that any call to it is a miss.
    let route = |matched: Value, node: &str| {
        let targets = ["hit", "miss"].map(|it| json!({"virtualNode": it, "weight": u8::from(it == node)}));
        json!({"http2Route": {"match": matched, "action": {"weightedTargets": targets}}})
    };
    for (name, headers, ..) in by_value() {
        bed.route("m", "r", name, route(json!({"prefix": format!("/{name}"), "headers": headers}), "hit"))
            .await?;
    }
    let others = [
        ("path", json!({"path": {"exact": "/path"}})),
        ("expression", json!({"path": {"regex": "/re/[0-9]+"}})),
        ("method", json!({"prefix": "/method", "method": "POST"})),
        ("scheme", json!({"prefix": "/scheme", "scheme": "http"})),
        ("secure", json!({"prefix": "/secure", "scheme": "https"})),
        ("query", json!({"prefix": "/query", "queryParameters": [{"name": "k", "match": {"exact": "v"}}]})),
    ];
    for (name, matched) in others {
        bed.route("m", "r", name, route(matched, "hit")).await?;
    }
    bed.route("m", "r", "else", route(json!({"prefix": "/"}), "miss")).await?;
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    let get = |path: &str| caller.call(SERVICE).h2().path(path);
    for (name, _, taken, left) in by_value() {
        expect(&with(get(&format!("/{name}")), taken), true).await?;
        expect(&with(get(&format!("/{name}")), left), false).await?;
    }
    let cases = [
        (get("/path"), true),
        (get("/paths"), false),
        (get("/re/12"), true),
        (get("/re/12x"), false),
        (get("/method").method(Method::POST), true),
        (get("/method"), false),
        (get("/scheme"), true),
        (get("/secure"), false),
        (get("/query?k=v"), true),
        (get("/query?k=w"), false),
    ];
    for (call, hits) in cases {
        expect(&call, hits).await?;
    }
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_and_grpc_calls_are_bounded_and_tried_again_as_their_routes_say() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = standing_alone(&bed, "m", "app", "http2").await?;
    let rpc = standing_alone(&bed, "m", "rpc", "grpc").await?;
    for (name, protocol) in [("gone", "http2"), ("gone-rpc", "grpc")] {
        let port = call::free_port()?;
        bed.virtual_node("m", name, listening("127.0.0.1", port, protocol)).await?;
    }
    bed.router("m", SERVICE, "r", &[(80, "http2")]).await?;
    bed.router("m", "rpc.test", "g", &[(81, "grpc")]).await?;
    let policy = |events: &str, event: &str, retries: u32| json!({"maxRetries": retries, "perRetryTimeout": duration(200), events: [event]});
    let short = json!({"perRequest": duration(300)});
    let idle = json!({"perRequest": duration(0), "idle": duration(300)});
    let routes = [
        ("short", "app", "timeout", short.clone()),
        ("idle", "app", "timeout", idle.clone()),
        ("tries", "app", "retryPolicy", policy("httpRetryEvents", "server-error", 2)),
        ("gone", "gone", "retryPolicy", policy("tcpRetryEvents", "connection-error", 3)),
    ];
    for (name, node, member, value) in routes {
        let mut http2 = json!({"match": {"prefix": format!("/{name}")}, "action": to(node)});
        http2[member] = value;
        bed.route("m", "r", name, json!({"http2Route": http2})).await?;
    }
    let routes = [
        ("short", "rpc", "timeout", short),
        ("idle", "rpc", "timeout", idle),
        ("tcp", "gone-rpc", "retryPolicy", policy("tcpRetryEvents", "connection-error", 3)),
        ("http", "gone-rpc", "retryPolicy", policy("httpRetryEvents", "gateway-error", 2)),
        ("other", "gone-rpc", "retryPolicy", policy("httpRetryEvents", "client-error", 2)),
    ];
    for (name, node, member, value) in routes {
        let mut grpc = json!({"match": {"serviceName": name}, "action": to(node)});
        grpc[member] = value;
        bed.route("m", "g", name, json!({"grpcRoute": grpc})).await?;
    }
    let caller = bed.caller("m", "caller", &[SERVICE, "rpc.test"]).await?;
    bed.synced().await?;

    app.fail(2, 503);
    assert_eq!(caller.call(SERVICE).h2().path("/tries").send().await?.code(), 200);
    assert_eq!(app.take_requests(), 3);
    assert_eq!(caller.call(SERVICE).h2().path("/gone").send().await?.code(), 503);
    assert_eq!(caller.total("cds_egress_m_gone_http2_.*upstream_rq_retry$").await?, 3);
    let slow = Duration::from_secs(8);
    app.delay(slow);
    rpc.delay(slow);
    for (path, tries) in [("/short", 1), ("/idle", 1), ("/tries", 3)] {
        assert_eq!(caller.call(SERVICE).h2().path(path).send().await?.code(), 504, "{path}");
        assert_eq!(app.take_requests(), tries, "{path}");
    }
    let said = |service: &'static str| grpc_call(&caller, "rpc.test", service, None);
    for service in ["short", "idle"] {
        assert!(said(service).await?.is_none(), "{service}");
        assert_eq!(rpc.take_requests(), 1, "{service}");
    }
    let mut before = 0;
    for (service, retries) in [("tcp", 3), ("http", 2), ("other", 0)] {
        assert!(said(service).await?.is_none(), "{service}");
        let all = caller.total("cds_egress_m_gone-rpc_grpc_.*upstream_rq_retry$").await?;
        assert_eq!(all - before, retries, "{service}");
        before = all;
    }
    bed.end().await;
    Ok(())
}

/// Who answered a gRPC call, if anybody did.
async fn grpc_call(caller: &Node, host: &str, service: &str, value: Option<&str>) -> Result<Option<String>> {
    grpc_at(caller.sidecar.ready.egress, host, service, value).await
}

async fn grpc_at(
    address: SocketAddr,
    host: &str,
    service: &str,
    value: Option<&str>,
) -> Result<Option<String>> {
    let mut metadata = MetadataMap::new();
    if let Some(value) = value {
        metadata.insert(MetadataKey::from_static("x-k"), value.parse()?);
    }
    let answer = grpc::call(address, host, &format!("/{service}/M"), metadata).await?;
    Ok(answer.ok().map(|told| told["app"].as_str().unwrap_or_default().to_owned()))
}

/// The ports of a gateway, and the kind of the routes on each.
const GATEWAY: [(u16, &str, &str); 3] =
    [(8088, "http", "httpRoute"), (8089, "http2", "http2Route"), (8090, "grpc", "grpcRoute")];

fn target(service: &str) -> Value {
    json!({"target": {"virtualService": {"virtualServiceName": service}}})
}

async fn gateway_route(bed: &Bed, name: String, kind: &str, matched: Value, action: Value) -> Result<()> {
    let body = json!({"gatewayRouteName": name, "spec": {kind: {"match": matched, "action": action}}});
    bed.put("meshes/m/virtualGateway/g/gatewayRoutes", body).await.map(drop)
}

/// The gateway's routes: to the service that hits where they match, else to the one that misses.
async fn create_gateway_routes(bed: &Bed) -> Result<()> {
    for (port, protocol, kind) in GATEWAY {
        let (hit, miss) = (target(&format!("hit-{protocol}.test")), target(&format!("miss-{protocol}.test")));
        let route = |name: &str, matched: Value, action: &Value| {
            let mut matched = matched;
            matched["port"] = port.into();
            gateway_route(bed, format!("{protocol}-{name}"), kind, matched, action.clone())
        };
        for (name, entries, ..) in by_value() {
            if protocol == "grpc" {
                route(name, json!({"serviceName": name, "metadata": entries}), &hit).await?;
                route(&format!("{name}-else"), json!({"serviceName": name}), &miss).await?;
            } else {
                route(name, json!({"prefix": format!("/{name}/"), "headers": entries}), &hit).await?;
            }
        }
        route("suffix-host", json!({"hostname": {"suffix": ".example.org"}}), &hit).await?;
        if protocol == "grpc" {
            continue;
        }
        let query = json!([{"name": "k", "match": {"exact": "v"}}]);
        route("path", json!({"path": {"exact": "/whole"}}), &hit).await?;
        route("query", json!({"prefix": "/query/", "queryParameters": query}), &hit).await?;
        route("host", json!({"prefix": "/only/", "hostname": {"exact": "www.example.com"}}), &hit).await?;
        let mut whole = hit.clone();
        whole["rewrite"] = json!({"path": {"exact": "/one"}});
        route("expression", json!({"path": {"regex": "/re/[0-9]+"}}), &whole).await?;
        let mut valued = hit.clone();
        valued["rewrite"] =
            json!({"prefix": {"value": "/new/"}, "hostname": {"defaultTargetHostname": "DISABLED"}});
        route("rewrite", json!({"prefix": "/old/"}), &valued).await?;
        let mut kept = hit.clone();
        kept["rewrite"] = json!({"prefix": {"defaultPrefix": "DISABLED"}});
        route("kept", json!({"prefix": "/kept/"}), &kept).await?;
        route("else", json!({"prefix": "/"}), &miss).await?;
    }
    Ok(())
}

/// Applications, services, and a gateway before them, with its Envoy.
async fn gateway(bed: &mut Bed) -> Result<(Node, Vec<App>)> {
    bed.mesh("m").await?;
    let mut apps = Vec::new();
    for (_, protocol, _) in GATEWAY {
        for name in ["hit", "miss"] {
            let (node, app) = (format!("{name}-{protocol}"), App::http(name).await?);
            bed.virtual_node("m", &node, listening("127.0.0.1", app.port, protocol)).await?;
            bed.service_of_node("m", &format!("{node}.test"), &node).await?;
            apps.push(app);
        }
    }
    let listeners: Vec<Value> = GATEWAY
        .iter()
        .map(|(port, protocol, _)| json!({"portMapping": {"port": port, "protocol": protocol}}))
        .collect();
    let spec = json!({"virtualGatewayName": "g", "spec": {"listeners": listeners}});
    bed.put("meshes/m/virtualGateways", spec).await?;
    create_gateway_routes(bed).await?;
    let address = bed.address();
    let gateway = bed.gateway_at("m", "g", address).await?;
    bed.synced().await?;
    Ok((gateway, apps))
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_routes_of_every_kind_take_what_they_ask_for_and_no_others() -> Result<()> {
    let mut bed = Bed::start().await?;
    let (gateway, _apps) = gateway(&mut bed).await?;
    for (port, protocol, _) in &GATEWAY[..2] {
        let call = Call::to(at(&gateway, *port), "h");
        let call = if *protocol == "http2" { call.h2() } else { call };
        for (name, _, taken, left) in by_value() {
            let call = call.clone().path(&format!("/{name}/"));
            expect(&with(call.clone(), taken), true).await?;
            expect(&with(call, left), false).await?;
        }
        for (path, hits) in [
            ("/whole", true),
            ("/wholes", false),
            ("/query/?k=v", true),
            ("/query/?k=w", false),
            ("/only/", false),
        ] {
            expect(&call.clone().path(path), hits).await?;
        }
        let at_host = |host: &str, path: &str| {
            let call = Call::to(at(&gateway, *port), host).path(path);
            if *protocol == "http2" { call.h2() } else { call }
        };
        expect(&at_host("www.example.com", "/only/"), true).await?;
        expect(&at_host("a.example.org", "/any"), true).await?;
        for (path, seen, host) in [
            ("/re/12", "/one", format!("hit-{protocol}.test")),
            ("/old/x", "/new/x", "h".to_owned()),
            ("/kept/x", "/kept/x", format!("hit-{protocol}.test")),
        ] {
            let told = call.clone().path(path).send().await?.json()?;
            assert_eq!((&told["path"], &told["host"]), (&seen.into(), &host.into()), "{told}");
        }
    }
    let (port, ..) = GATEWAY[2];
    for (name, _, taken, left) in by_value() {
        for (value, app) in [(taken, "hit"), (left, "miss")] {
            let answered = grpc_at(at(&gateway, port), "h", name, value).await?;
            assert_eq!(answered.as_deref(), Some(app), "{name} with {value:?}");
        }
    }
    let suffix = grpc_at(at(&gateway, port), "a.example.org", "any", None).await?;
    assert_eq!(suffix.as_deref(), Some("hit"));
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_route_is_for_its_port_and_ends_connections_on_which_nothing_happens() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let (first, second) = (App::tcp("first", true).await?, App::tcp("second", true).await?);
    let ports = [call::free_port()?, call::free_port()?];
    bed.router("m", "tcp.test", "r", &ports.map(|port| (port, "tcp"))).await?;
    for (port, (name, app)) in ports.into_iter().zip([("first", &first), ("second", &second)]) {
        bed.virtual_node("m", name, listening("127.0.0.1", app.port, "tcp")).await?;
        let mut tcp = json!({"match": {"port": port}, "action": to(name)});
        if name == "second" {
            tcp["timeout"] = json!({"idle": duration(300)});
        }
        bed.route("m", "r", name, json!({"tcpRoute": tcp})).await?;
    }
    let _caller = bed.caller("m", "caller", &["tcp.test"]).await?;
    bed.synced().await?;

    let [one, other] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(call::tcp(one, "", 6).await?, "first\n");
    let started = Instant::now();
    // More than it ever says, so that only the end of the connection ends the call.
    assert_eq!(call::tcp(other, "", 1000).await?, "second\n");
    let taken = started.elapsed();
    assert!(taken > Duration::from_millis(250) && taken < Duration::from_secs(8), "it took {taken:?}");
    bed.end().await;
    Ok(())
}
