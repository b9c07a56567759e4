//! Virtual gateways: what the application sees of a request from outside the mesh.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use signet_tests::bed::{
    Bed, Node, at,
    call::{self, Call},
    listening,
};
use tokio::net::TcpStream;

use super::{
    matchers::{BY_HEADER, by_header},
    standing_alone,
};

const PORT: u16 = 8088;

/// A gateway that exists, with its Envoy.
async fn gateway(bed: &mut Bed, name: &str, spec: Value) -> Result<Node> {
    bed.put("meshes/m/virtualGateways", json!({"virtualGatewayName": name, "spec": spec})).await?;
    let address = bed.address();
    bed.gateway_at("m", name, address).await
}

fn on(ports: &[u16], protocol: &str) -> Value {
    let listeners: Vec<Value> =
        ports.iter().map(|port| json!({"portMapping": {"port": port, "protocol": protocol}})).collect();
    json!({"listeners": listeners})
}

async fn gateway_route(bed: &Bed, name: &str, spec: Value) -> Result<()> {
    let body = json!({"gatewayRouteName": name, "spec": spec});
    bed.put("meshes/m/virtualGateway/g/gatewayRoutes", body).await.map(drop)
}

/// `httpRoute` with a match, to a service.
fn route(matched: Value, service: &str) -> Value {
    let target = json!({"virtualService": {"virtualServiceName": service}});
    json!({"httpRoute": {"match": matched, "action": {"target": target}}})
}

fn rewritten(matched: Value, service: &str, rewrite: Value) -> Value {
    let mut route = route(matched, service);
    route["httpRoute"]["action"]["rewrite"] = rewrite;
    route
}

/// A service of its node's name, which an application provides alone.
async fn service(bed: &Bed, name: &str) -> Result<signet_tests::bed::app::App> {
    let app = standing_alone(bed, "m", name, "http").await?;
    bed.service_of_node("m", &format!("{name}.test"), name).await?;
    Ok(app)
}

fn call(gateway: &Node, host: &str, path: &str) -> Call {
    Call::to(at(gateway, PORT), host).path(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_sees_the_path_and_the_host_that_its_gateway_route_makes_of_them() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _app = service(&bed, "app").await?;
    let gateway = gateway(&mut bed, "g", on(&[PORT], "http")).await?;
    let host = json!({"hostname": {"defaultTargetHostname": "DISABLED"}});
    let off = json!({"prefix": {"defaultPrefix": "DISABLED"}});
    let value = json!({"prefix": {"value": "/new/"}});
    let whole = json!({"path": {"exact": "/one"}});
    let routes = [
        ("pair", route(json!({"prefix": "/pair"}), "app.test")),
        ("folder", route(json!({"prefix": "/folder/"}), "app.test")),
        ("off", rewritten(json!({"prefix": "/off/"}), "app.test", off)),
        ("value", rewritten(json!({"prefix": "/value/"}), "app.test", value.clone())),
        ("short", rewritten(json!({"prefix": "/short"}), "app.test", value)),
        ("exact", rewritten(json!({"path": {"exact": "/exact"}}), "app.test", whole.clone())),
        ("regex", rewritten(json!({"path": {"regex": "/re/[0-9]+"}}), "app.test", whole)),
        ("kept", route(json!({"path": {"exact": "/kept"}}), "app.test")),
        ("host", rewritten(json!({"prefix": "/host"}), "app.test", host)),
    ];
    for (name, spec) in routes {
        gateway_route(&bed, name, spec).await?;
    }
    bed.synced().await?;

    let cases = [
        ("/pair", "/"),
        ("/pair/", "/"),
        ("/pair/x?y=z", "/x?y=z"),
        ("/pairx", "/x"),
        ("/folder/x", "/x"),
        ("/off/x", "/off/x"),
        ("/value/x", "/new/x"),
        ("/short/x", "/new/x"),
        ("/short", "/new/"),
        ("/exact?y=z", "/one?y=z"),
        ("/re/12?y=z", "/one?y=z"),
        ("/kept", "/kept"),
    ];
    for (asked, path) in cases {
        let told = call(&gateway, "www.example.com", asked).send().await?.json()?;
        assert_eq!((&told["path"], &told["host"]), (&path.into(), &"app.test".into()), "{asked}: {told}");
        assert_eq!(told["headers"]["x-app-mesh-virtual-service"], Value::Null, "{told}");
    }
    let told = call(&gateway, "www.example.com", "/host/x").send().await?.json()?;
    assert_eq!((&told["path"], &told["host"]), (&"/x".into(), &"www.example.com".into()), "{told}");
    for missed in ["/", "/folder", "/exact/", "/re/x"] {
        assert_eq!(call(&gateway, "www.example.com", missed).send().await?.code(), 404, "{missed}");
    }
    let passes = gateway.total("cluster.cds_ingress_m_g_self_redirect_http_.*upstream_rq_total").await?;
    assert_eq!(passes, 13, "every request that a route took passed twice");
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_route_takes_what_it_asks_for_and_no_others() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _hit = service(&bed, "hit").await?;
    let _miss = service(&bed, "miss").await?;
    let gateway = gateway(&mut bed, "g", on(&[PORT], "http")).await?;
    let headers = json!([{"name": "x-k", "match": {"suffix": "c"}}, {"name": "x-n", "invert": true}]);
    let query = json!([{"name": "k", "match": {"exact": "v"}}]);
    let mut first = route(json!({"prefix": "/first/"}), "hit.test");
    first["priority"] = 0.into();
    let routes = [
        ("a-else", route(json!({"prefix": "/"}), "miss.test")),
        ("b-longer", route(json!({"prefix": "/first/longer/"}), "miss.test")),
        ("c-first", first),
        ("d-headers", route(json!({"prefix": "/headers/", "headers": headers}), "hit.test")),
        ("e-method", route(json!({"prefix": "/method/", "method": "DELETE"}), "hit.test")),
        ("f-query", route(json!({"prefix": "/query/", "queryParameters": query}), "hit.test")),
        ("g-host", route(json!({"prefix": "/only/", "hostname": {"exact": "www.example.com"}}), "hit.test")),
        ("h-suffix", route(json!({"hostname": {"suffix": ".example.org"}}), "hit.test")),
    ];
    for (name, spec) in routes {
        gateway_route(&bed, name, spec).await?;
    }
    bed.synced().await?;

    let get = |host: &str, path: &str| call(&gateway, host, path);
    let cases = [
        (get("h", "/first/longer/x"), "hit"),
        (get("h", "/headers/").header("x-k", "abc"), "hit"),
        (get("h", "/headers/").header("x-k", "abd"), "miss"),
        (get("h", "/headers/").header("x-k", "abc").header("x-n", ""), "miss"),
        (get("h", "/method/").method(Method::DELETE), "hit"),
        (get("h", "/method/"), "miss"),
        (get("h", "/query/?k=v"), "hit"),
        (get("h", "/query/?k=w"), "miss"),
        (get("h", "/only/"), "miss"),
        (get("www.example.com", "/only/"), "hit"),
        (get("WWW.example.com:8088", "/only/"), "hit"),
        (get("a.b.example.org", "/anything"), "hit"),
        (get("example.org", "/anything"), "miss"),
    ];
    for (call, app) in cases {
        let answer = call.send().await?;
        assert_eq!(answer.app(), app, "{call:?}: {answer:?}");
    }
    // The narrowest host is taken, and what it has no route for is not looked up elsewhere.
    assert_eq!(get("www.example.com", "/").send().await?.code(), 404);
    let socket = TcpStream::connect(at(&gateway, PORT)).await?;
    assert_eq!(call::websocket(socket, "h", "ping").await?, "ping");
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_route_takes_the_headers_that_it_asks_for_and_no_others() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _hit = service(&bed, "hit").await?;
    let _miss = service(&bed, "miss").await?;
    let gateway = gateway(&mut bed, "g", on(&[PORT], "http")).await?;
    for (path, headers) in by_header() {
        let matched = json!({"prefix": path, "headers": headers});
        gateway_route(&bed, path.trim_matches('/'), route(matched, "hit.test")).await?;
    }
    gateway_route(&bed, "else", route(json!({"prefix": "/"}), "miss.test")).await?;
    bed.synced().await?;

    for (path, value, hits) in BY_HEADER {
        let call = call(&gateway, "h", path);
        let call = value.iter().fold(call, |call, value| call.header("x-k", value));
        let answer = call.send().await?;
        assert_eq!(answer.app(), if hits { "hit" } else { "miss" }, "{path} with {value:?}: {answer:?}");
    }
    bed.end().await;
    Ok(())
}

/// One node serves two ports, one gateway too.
#[tokio::test(flavor = "multi_thread")]
async fn ports_of_gateway_and_service_are_chosen_and_no_host_leads_elsewhere() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let (one, other) = (standing_alone(&bed, "m", "one", "http").await?, service(&bed, "other").await?);
    let second = signet_tests::bed::app::App::http("second").await?;
    let mut two = listening("127.0.0.1", one.port, "http");
    two["listeners"] = json!([two["listeners"][0], listening("", second.port, "http")["listeners"][0]]);
    bed.virtual_node("m", "two", two).await?;
    bed.service_of_node("m", "two.test", "two").await?;
    let gateway = gateway(&mut bed, "g", on(&[PORT, 8089], "http")).await?;
    let to = |port: u16, prefix: &str, target: u16, keep: bool| {
        let hostname = if keep { "DISABLED" } else { "ENABLED" };
        let rewrite = json!({"hostname": {"defaultTargetHostname": hostname}});
        let mut spec = rewritten(json!({"prefix": prefix, "port": port}), "two.test", rewrite);
        spec["httpRoute"]["action"]["target"]["port"] = target.into();
        spec
    };
    let routes = [
        ("first", to(PORT, "/first/", one.port, false)),
        ("second", to(PORT, "/second/", second.port, false)),
        ("kept", to(PORT, "/kept/", second.port, true)),
        ("elsewhere", to(8089, "/", one.port, true)),
        ("other", route(json!({"prefix": "/other/", "method": "PUT", "port": PORT}), "other.test")),
    ];
    for (name, spec) in routes {
        gateway_route(&bed, name, spec).await?;
    }
    bed.synced().await?;

    for (path, app, host) in
        [("/first/", "one", "two.test"), ("/second/", "second", "two.test"), ("/kept/", "second", "h")]
    {
        let told = call(&gateway, "h", path).send().await?.json()?;
        assert_eq!((&told["app"], &told["host"]), (&app.into(), &host.into()), "{path}: {told}");
    }
    assert_eq!(call(&gateway, "h", "/").send().await?.code(), 404, "no route of this port");
    let elsewhere = |host: &str| Call::to(at(&gateway, 8089), host);
    assert_eq!(elsewhere("h").send().await?.app(), "one");
    // Neither a service's name as host nor the gateway's own header opens what no route does.
    for host in ["other.test", "two.test"] {
        assert_eq!(elsewhere(host).send().await?.app(), "one", "{host}");
        let forged = elsewhere(host).header("x-app-mesh-virtual-service", "other.test");
        assert_eq!(forged.send().await?.app(), "one", "{host}");
    }
    let forged = call(&gateway, "h", "/first/").header("x-app-mesh-virtual-service", "other.test");
    assert_eq!(forged.send().await?.app(), "one");
    assert_eq!(other.take_requests(), 0);
    let put = call(&gateway, "h", "/other/x").method(Method::PUT);
    assert_eq!(put.send().await?.app(), "other");
    bed.end().await;
    Ok(())
}
