//! gRPC through routes and gateways, by tonic.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};
use signet_tests::bed::{Bed, Node, at, call, grpc, listening};
use tokio::time::Instant;
use tonic::{
    Code,
    metadata::{MetadataKey, MetadataMap},
};

use super::{duration, standing_alone, to};

const SERVICE: &str = "grpc.test";
const PORT: u16 = 50_051;

fn route(matched: Value, node: &str) -> Value {
    json!({"grpcRoute": {"match": matched, "action": to(node)}})
}

fn metadata(entries: &[(&'static str, &str)]) -> Result<MetadataMap> {
    let mut map = MetadataMap::new();
    for (key, value) in entries {
        map.insert(MetadataKey::from_static(key), value.parse()?);
    }
    Ok(map)
}

/// Who answered, or with which code the call failed.
async fn answer(
    caller: &Node,
    method: &str,
    entries: &[(&'static str, &str)],
) -> Result<Result<String, Code>> {
    let answer = grpc::call(caller.sidecar.ready.egress, SERVICE, method, metadata(entries)?).await?;
    Ok(answer.map(|told| told["app"].as_str().unwrap_or_default().to_owned()).map_err(|status| status.code()))
}

/// A method, the metadata of the call, and who answers or with which code it fails.
type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], Result<&'a str, Code>);

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_route_takes_the_services_methods_and_metadata_that_it_asks_for() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let hit = standing_alone(&bed, "m", "hit", "grpc").await?;
    let _miss = standing_alone(&bed, "m", "miss", "grpc").await?;
    bed.router("m", SERVICE, "r", &[(PORT, "grpc")]).await?;
    let by_metadata = |matched: Value| {
        let entry = json!({"name": "x-k", "match": matched});
        json!({"serviceName": "pkg.Meta", "metadata": [entry]})
    };
    let absent = json!({"serviceName": "pkg.Meta", "metadata": [{"name": "x-k", "invert": true}]});
    let routes = [
        ("method", route(json!({"serviceName": "pkg.Shop", "methodName": "Buy"}), "hit")),
        ("service", route(json!({"serviceName": "pkg.Cart"}), "hit")),
        ("exact", route(by_metadata(json!({"exact": "abc"})), "hit")),
        ("prefix", route(by_metadata(json!({"prefix": "p-"})), "hit")),
        ("suffix", route(by_metadata(json!({"suffix": "-s"})), "hit")),
        ("regex", route(by_metadata(json!({"regex": "r[0-9]+"})), "hit")),
        ("range", route(by_metadata(json!({"range": {"start": 1, "end": 10}})), "hit")),
        ("absent", route(absent, "hit")),
        ("else", route(json!({"serviceName": "pkg.Meta"}), "miss")),
    ];
    for (name, spec) in routes {
        bed.route("m", "r", name, spec).await?;
    }
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    let cases: [Case<'_>; 13] = [
        ("/pkg.Shop/Buy", &[], Ok("hit")),
        ("/pkg.Shop/Sell", &[], Err(Code::Unimplemented)),
        ("/pkg.Cart/Anything", &[], Ok("hit")),
        ("/pkg.Carts/Anything", &[], Err(Code::Unimplemented)),
        ("/pkg.Meta/M", &[], Ok("hit")),
        ("/pkg.Meta/M", &[("x-k", "abc")], Ok("hit")),
        ("/pkg.Meta/M", &[("x-k", "abcd")], Ok("miss")),
        ("/pkg.Meta/M", &[("x-k", "p-1")], Ok("hit")),
        ("/pkg.Meta/M", &[("x-k", "1-s")], Ok("hit")),
        ("/pkg.Meta/M", &[("x-k", "r1")], Ok("hit")),
        ("/pkg.Meta/M", &[("x-k", "xr1")], Ok("miss")),
        ("/pkg.Meta/M", &[("x-k", "9")], Ok("hit")),
        ("/pkg.Meta/M", &[("x-k", "10")], Ok("miss")),
    ];
    for (method, entries, expected) in cases {
        let found = answer(&caller, method, entries).await?;
        assert_eq!(found, expected.map(str::to_owned), "{method} {entries:?}");
    }
    assert_eq!(hit.last()["version"], "2");
    let plain = caller.call(SERVICE).h2().path("/pkg.Cart/Anything").method(Method::POST).send().await?;
    assert_eq!(plain.code(), 404, "it does not say that it is gRPC");
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_is_tried_again_for_the_events_of_its_route_alone() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = standing_alone(&bed, "m", "app", "grpc").await?;
    bed.router("m", SERVICE, "r", &[(PORT, "grpc")]).await?;
    let events = [
        ("cancelled", Code::Cancelled),
        ("deadline-exceeded", Code::DeadlineExceeded),
        ("internal", Code::Internal),
        ("resource-exhausted", Code::ResourceExhausted),
        ("unavailable", Code::Unavailable),
    ];
    for (event, _) in events {
        let mut spec = route(json!({"serviceName": event}), "app");
        let timeout = duration(if event == "deadline-exceeded" { 300 } else { 5000 });
        spec["grpcRoute"]["retryPolicy"] =
            json!({"maxRetries": 2, "perRetryTimeout": timeout, "grpcRetryEvents": [event]});
        bed.route("m", "r", event, spec).await?;
    }
    bed.route("m", "r", "default", route(json!({"serviceName": "default"}), "app")).await?;
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    let calls = |service: &str| format!("/{service}/M");
    for (event, _) in events {
        for (other, code) in events {
            app.fail(2, u16::try_from(i32::from(code))?);
            let served = answer(&caller, &calls(event), &[]).await?;
            let expected = if event == other { (Ok("app".to_owned()), 3) } else { (Err(code), 1) };
            assert_eq!((served, app.take_requests()), expected, "{event} and {other}");
        }
    }
    app.fail(2, u16::try_from(i32::from(Code::Unavailable))?);
    assert_eq!(answer(&caller, &calls("default"), &[]).await?, Ok("app".to_owned()));
    assert_eq!(app.take_requests(), 3);
    app.delay(Duration::from_secs(5));
    assert!(answer(&caller, &calls("deadline-exceeded"), &[]).await?.is_err());
    assert_eq!(app.take_requests(), 3, "each try had its own deadline");
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_is_bounded_by_its_route_and_tried_again_for_what_http_and_tcp_have_too() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = standing_alone(&bed, "m", "app", "grpc").await?;
    bed.virtual_node("m", "gone", listening("127.0.0.1", call::free_port()?, "grpc")).await?;
    bed.router("m", SERVICE, "r", &[(PORT, "grpc")]).await?;
    let with = |service: &str, node: &str, member: &str, value: Value| {
        let mut spec = route(json!({"serviceName": service}), node);
        spec["grpcRoute"][member] = value;
        (service.to_owned(), spec)
    };
    let policy = |millis: u64, member: &str, event: &str| json!({"maxRetries": 2, "perRetryTimeout": duration(millis), member: [event]});
    let routes = [
        with("long", "app", "timeout", json!({"perRequest": {"unit": "s", "value": 60}})),
        with("short", "app", "timeout", json!({"perRequest": duration(300)})),
        with("idle", "app", "timeout", json!({"perRequest": duration(0), "idle": duration(300)})),
        with("http", "app", "retryPolicy", policy(200, "httpRetryEvents", "gateway-error")),
        with("tcp", "gone", "retryPolicy", policy(2000, "tcpRetryEvents", "connection-error")),
    ];
    for (name, spec) in routes {
        bed.route("m", "r", &name, spec).await?;
    }
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    assert_eq!(answer(&caller, "/long/M", &[]).await?, Ok("app".to_owned()));
    assert_eq!(app.last()["headers"]["x-envoy-expected-rq-timeout-ms"], "60000");
    app.delay(Duration::from_secs(8));
    for (method, tries) in [("/short/M", 1), ("/idle/M", 1), ("/http/M", 3)] {
        let _earlier = app.take_requests();
        let started = Instant::now();
        assert!(answer(&caller, method, &[]).await?.is_err(), "{method}");
        assert!(started.elapsed() < Duration::from_secs(5), "{method} took {:?}", started.elapsed());
        assert_eq!(app.take_requests(), tries, "{method}");
    }
    assert_eq!(answer(&caller, "/tcp/M", &[]).await?, Err(Code::Unavailable));
    assert_eq!(caller.total("^cluster.cds_egress_m_gone_grpc_.*upstream_rq_retry$").await?, 2);
    bed.end().await;
    Ok(())
}

/// Gateway routes of each kind; those that look at metadata are named after how.
fn gateway_routes() -> Vec<(&'static str, Value)> {
    let target = |service: &str| json!({"target": {"virtualService": {"virtualServiceName": service}}});
    let rpc = |mut matched: Value| {
        matched["port"] = PORT.into();
        json!({"grpcRoute": {"match": matched, "action": target("rpc.test")}})
    };
    let entry = |matched: Value| {
        rpc(json!({"serviceName": "pkg.Meta", "metadata": [{"name": "x-k", "match": matched}]}))
    };
    let absent = json!([{"name": "x-none"}, {"name": "x-k", "invert": true}]);
    let mut kept = rpc(json!({"hostname": {"exact": "rpc.example.com"}}));
    kept["grpcRoute"]["action"]["rewrite"] = json!({"hostname": {"defaultTargetHostname": "DISABLED"}});
    let web = json!({"prefix": "/web/", "method": "PUT", "port": 8080});
    vec![
        ("shop", rpc(json!({"serviceName": "pkg.Shop"}))),
        ("kept", kept),
        ("host-suffix", rpc(json!({"hostname": {"suffix": ".example.org"}}))),
        ("exact", entry(json!({"exact": "v"}))),
        ("prefix", entry(json!({"prefix": "p-"}))),
        ("suffix", entry(json!({"suffix": "-s"}))),
        ("regex", entry(json!({"regex": "r[0-9]+"}))),
        ("range", entry(json!({"range": {"start": 1, "end": 10}}))),
        ("absent", rpc(json!({"serviceName": "pkg.Meta", "metadata": absent}))),
        ("web", json!({"http2Route": {"match": web, "action": target("web.test")}})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_and_http2_pass_a_gateway_by_service_host_and_metadata() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _rpc = standing_alone(&bed, "m", "rpc", "grpc").await?;
    let _web = standing_alone(&bed, "m", "web", "http2").await?;
    bed.service_of_node("m", "rpc.test", "rpc").await?;
    bed.service_of_node("m", "web.test", "web").await?;
    let listeners = json!([
        {"portMapping": {"port": PORT, "protocol": "grpc"}},
        {"portMapping": {"port": 8080, "protocol": "http2"}}
    ]);
    let spec = json!({"virtualGatewayName": "g", "spec": {"listeners": listeners}});
    bed.put("meshes/m/virtualGateways", spec).await?;
    for (name, spec) in gateway_routes() {
        let body = json!({"gatewayRouteName": name, "spec": spec});
        bed.put("meshes/m/virtualGateway/g/gatewayRoutes", body).await?;
    }
    let address = bed.address();
    let gateway = bed.gateway_at("m", "g", address).await?;
    bed.synced().await?;

    let meta = |value: &'static str, expected| ("h", "/pkg.Meta/M", vec![("x-k", value)], expected);
    let missed = || Err(Code::Unimplemented);
    let cases = [
        ("h", "/pkg.Shop/Buy", vec![], Ok("rpc.test")),
        ("rpc.example.com", "/pkg.Other/M", vec![], Ok("rpc.example.com")),
        ("rpc.example.org", "/pkg.Other/M", vec![], Ok("rpc.test")),
        ("h", "/pkg.Other/M", vec![], missed()),
        ("h", "/pkg.Meta/M", vec![], missed()),
        ("h", "/pkg.Meta/M", vec![("x-none", "")], Ok("rpc.test")),
        meta("v", Ok("rpc.test")),
        meta("vv", missed()),
        meta("p-1", Ok("rpc.test")),
        meta("1-s", Ok("rpc.test")),
        meta("r1", Ok("rpc.test")),
        meta("xr1", missed()),
        meta("9", Ok("rpc.test")),
        meta("10", missed()),
    ];
    for (host, method, entries, expected) in cases {
        let found = grpc::call(at(&gateway, PORT), host, method, metadata(&entries)?).await?;
        let found = found.map_err(|status| status.code());
        let found =
            found.as_ref().map(|told| told["host"].as_str().unwrap_or_default()).map_err(|code| *code);
        assert_eq!(found, expected, "{host} {method} {entries:?}");
    }
    let web = call::Call::to(at(&gateway, 8080), "h").h2().path("/web/x");
    assert_eq!(web.send().await?.code(), 404);
    let told = web.method(Method::PUT).send().await?.json().context("PUT")?;
    let found = (&told["app"], &told["path"], &told["version"]);
    assert_eq!(found, (&"web".into(), &"/x".into(), &"2".into()), "{told}");
    let passes = gateway.stats("^cluster.cds_ingress_m_g_self_redirect_.*upstream_rq_total$").await?;
    assert_eq!(passes.len(), 2, "one cluster for each port: {passes:?}");
    bed.end().await;
    Ok(())
}
