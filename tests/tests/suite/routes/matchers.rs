//! Every kind of match, hit and missed.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use signet_tests::bed::{Bed, call::Call};

use super::{http_route, standing_alone, to};

const SERVICE: &str = "matched.test";

/// Looks at one header in every way there is, by the prefix that the path has.
pub(super) fn by_header() -> [(&'static str, Value); 8] {
    let header = |matched: Value| json!([{"name": "x-k", "match": matched}]);
    [
        ("/exact", header(json!({"exact": "abc"}))),
        ("/prefix", header(json!({"prefix": "ab"}))),
        ("/suffix", header(json!({"suffix": "bc"}))),
        ("/regex", header(json!({"regex": "a[0-9]+"}))),
        ("/range", header(json!({"range": {"start": -5, "end": 10}}))),
        ("/present", json!([{"name": "x-k"}])),
        ("/not", json!([{"name": "x-k", "match": {"exact": "abc"}, "invert": true}])),
        ("/absent", json!([{"name": "x-k", "invert": true}])),
    ]
}

/// A path, the header's value, and whether the route takes it.
pub(super) const BY_HEADER: [(&str, Option<&str>, bool); 26] = [
    ("/exact", Some("abc"), true),
    ("/exact", Some("ABC"), false),
    ("/exact", Some("abcd"), false),
    ("/exact", None, false),
    ("/prefix", Some("abz"), true),
    ("/prefix", Some("zab"), false),
    ("/suffix", Some("zbc"), true),
    ("/suffix", Some("bcz"), false),
    ("/regex", Some("a12"), true),
    ("/regex", Some("za12"), false),
    ("/regex", Some("a12z"), false),
    ("/regex", None, false),
    ("/range", Some("-5"), true),
    ("/range", Some("9"), true),
    ("/range", Some("10"), false),
    ("/range", Some("-6"), false),
    ("/range", Some("1.5"), false),
    ("/range", Some("x"), false),
    ("/present", Some("anything"), true),
    ("/present", Some(""), true),
    ("/present", None, false),
    ("/not", Some("other"), true),
    ("/not", Some("abc"), false),
    ("/not", None, false),
    ("/absent", None, true),
    ("/absent", Some("abc"), false),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_the_headers_that_it_asks_for_and_no_others() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _hit = standing_alone(&bed, "m", "hit", "http").await?;
    let _miss = standing_alone(&bed, "m", "miss", "http").await?;
    bed.router("m", SERVICE, "r", &[(80, "http")]).await?;
    for (path, headers) in by_header() {
        let route = http_route(json!({"prefix": path, "headers": headers}), "hit");
        bed.route("m", "r", path.trim_matches('/'), route).await?;
    }
    let both = json!([{"name": "x-a", "match": {"exact": "1"}}, {"name": "X-B", "match": {"exact": "2"}}]);
    bed.route("m", "r", "both", http_route(json!({"prefix": "/both", "headers": both}), "hit")).await?;
    bed.route("m", "r", "else", http_route(json!({"prefix": "/"}), "miss")).await?;
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    for (path, value, hits) in BY_HEADER {
        let call = caller.call(SERVICE).path(path);
        let call = value.iter().fold(call, |call, value| call.header("x-k", value));
        expect(&call, hits, &format!("{path} with {value:?}")).await?;
    }
    let both = caller.call(SERVICE).path("/both").header("X-A", "1");
    expect(&both, false, "one of two").await?;
    expect(&both.header("x-b", "2"), true, "both of two").await?;
    bed.end().await;
    Ok(())
}

async fn expect(call: &Call, hits: bool, what: &str) -> Result<()> {
    let answer = call.send().await?;
    assert_eq!(answer.app(), if hits { "hit" } else { "miss" }, "{what}: {answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_the_paths_methods_schemes_and_queries_that_it_asks_for_and_no_others() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _hit = standing_alone(&bed, "m", "hit", "http").await?;
    let _miss = standing_alone(&bed, "m", "miss", "http").await?;
    bed.router("m", SERVICE, "r", &[(80, "http")]).await?;
    let routes = [
        ("exact", json!({"path": {"exact": "/exact"}})),
        ("regex", json!({"path": {"regex": "/re/[0-9]+"}})),
        ("prefix", json!({"prefix": "/p"})),
        ("method", json!({"prefix": "/method", "method": "POST"})),
        ("scheme", json!({"prefix": "/scheme", "scheme": "https"})),
        ("query", json!({"prefix": "/query", "queryParameters": [{"name": "k", "match": {"exact": "v"}}]})),
        ("given", json!({"prefix": "/given", "queryParameters": [{"name": "k"}]})),
    ];
    for (name, matched) in routes {
        bed.route("m", "r", name, http_route(matched, "hit")).await?;
    }
    bed.route("m", "r", "else", http_route(json!({"prefix": "/"}), "miss")).await?;
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    let paths = [
        ("/exact", true),
        ("/exact?query=is&not=path", true),
        ("/exact/", false),
        ("/exactly", false),
        ("//exact", true),
        ("/a/../exact", true),
        ("/re/12", true),
        ("/re/12x", false),
        ("/z/re/12", false),
        ("/p", true),
        ("/p/q", true),
        ("/pq", true),
        ("/method", false),
        ("/scheme", false),
        ("/query?k=v", true),
        ("/query?k=v&more", true),
        ("/query?k=w", false),
        ("/query?kk=v", false),
        ("/query", false),
        ("/given?k", true),
        ("/given?k=w", true),
        ("/given?j", false),
    ];
    for (path, hits) in paths {
        expect(&caller.call(SERVICE).path(path), hits, path).await?;
    }
    let post = |path: &str| caller.call(SERVICE).path(path).method(Method::POST);
    expect(&post("/method"), true, "POST /method").await?;
    expect(&post("/other"), false, "POST /other").await?;
    // An application speaks plaintext to its Envoy; what its own caller spoke it says so.
    let scheme = caller.call(SERVICE).path("/scheme").header("x-forwarded-proto", "https");
    expect(&scheme, true, "https").await?;
    bed.end().await;
    Ok(())
}

/// Of routes that all match, the one that is meant answers: by priority, then the narrowest, then by name.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_routes_that_match_the_right_one_is_taken_on_each_port() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let mut apps = Vec::new();
    for name in ["first", "exact", "regex", "longer", "method", "a-name", "b-name", "other-port"] {
        apps.push(standing_alone(&bed, "m", name, "http").await?);
    }
    bed.router("m", SERVICE, "r", &[(80, "http"), (90, "http")]).await?;
    let on = |port: u16, matched: Value, node: &str| {
        let mut matched = matched;
        matched["port"] = port.into();
        let targets = to(node);
        json!({"httpRoute": {"match": matched, "action": targets}})
    };
    let mut first = on(80, json!({"prefix": "/p/first"}), "first");
    first["priority"] = 1000.into();
    let routes = [
        ("a-name", on(80, json!({"prefix": "/p"}), "a-name")),
        ("b-name", on(80, json!({"prefix": "/p"}), "b-name")),
        ("c-longer", on(80, json!({"prefix": "/p/longer"}), "longer")),
        ("d-method", on(80, json!({"prefix": "/p", "method": "PUT"}), "method")),
        ("e-regex", on(80, json!({"path": {"regex": "/p/longer/r.*"}}), "regex")),
        ("f-exact", on(80, json!({"path": {"exact": "/p/longer/rx"}}), "exact")),
        ("g-first", first),
        ("h-port", on(90, json!({"prefix": "/"}), "other-port")),
    ];
    for (name, route) in routes {
        bed.route("m", "r", name, route).await?;
    }
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    let cases = [
        ("/p/first/longer", "first"),
        ("/p/longer/rx", "exact"),
        ("/p/longer/ry", "regex"),
        ("/p/longer", "longer"),
        ("/p", "a-name"),
    ];
    for (path, app) in cases {
        assert_eq!(caller.call(SERVICE).path(path).send().await?.app(), app, "{path}");
    }
    let put = caller.call(SERVICE).path("/p").method(Method::PUT);
    assert_eq!(put.send().await?.app(), "method");
    assert_eq!(caller.call(SERVICE).path("/q").send().await?.code(), 404);
    assert_eq!(caller.call(&format!("{SERVICE}:90")).path("/p").send().await?.app(), "other-port");
    assert_eq!(caller.call(&format!("{SERVICE}:80")).path("/p").send().await?.app(), "a-name");
    bed.end().await;
    Ok(())
}
