//! How often a request is tried, and for how long.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use signet_tests::bed::{Bed, app::App, call, listening};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{duration, http_route, standing_alone, to};

const SERVICE: &str = "bounded.test";
/// Longer than any bound of these tests, shorter than App Mesh's 15 s.
const SLOW: Duration = Duration::from_secs(8);

fn with(mut route: Value, member: &str, value: Value) -> Value {
    route["httpRoute"][member] = value;
    route
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_bounded_by_its_route_and_by_fifteen_seconds_where_that_says_nothing() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = standing_alone(&bed, "m", "app", "http").await?;
    bed.router("m", SERVICE, "r", &[(80, "http")]).await?;
    let route = |prefix: &str| http_route(json!({"prefix": prefix}), "app");
    let routes = [
        ("unset", route("/unset")),
        ("long", with(route("/long"), "timeout", json!({"perRequest": {"unit": "s", "value": 60}}))),
        ("none", with(route("/none"), "timeout", json!({"perRequest": duration(0)}))),
        ("short", with(route("/short"), "timeout", json!({"perRequest": duration(300)}))),
        ("idle", with(route("/idle"), "timeout", json!({"perRequest": duration(0), "idle": duration(300)}))),
    ];
    for (name, route) in routes {
        bed.route("m", "r", name, route).await?;
    }
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    // What Envoy will wait for, it tells the application.
    for (path, millis) in [("/unset", json!("15000")), ("/long", json!("60000")), ("/none", Value::Null)] {
        let told = caller.call(SERVICE).path(path).send().await?.json()?;
        assert_eq!(told["headers"]["x-envoy-expected-rq-timeout-ms"], millis, "{path}: {told}");
    }
    app.delay(SLOW);
    for (path, words) in [("/short", "upstream request timeout"), ("/idle", "stream timeout")] {
        let started = Instant::now();
        let answer = caller.call(SERVICE).path(path).send().await?;
        assert_eq!((answer.code(), answer.body.as_str()), (504, words), "{path}: {answer:?}");
        let taken = started.elapsed();
        assert!(taken > Duration::from_millis(250) && taken < SLOW, "{path} took {taken:?}");
    }
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_try_is_bounded_and_a_connection_that_is_refused_is_tried_again() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = standing_alone(&bed, "m", "app", "http").await?;
    let port = call::free_port()?;
    bed.virtual_node("m", "gone", listening("127.0.0.1", port, "http")).await?;
    bed.router("m", SERVICE, "r", &[(80, "http")]).await?;
    let policy = |retries: u32, millis: u64, events: Value| {
        let mut policy = json!({"maxRetries": retries, "perRetryTimeout": duration(millis)});
        policy.as_object_mut().into_iter().for_each(|members| {
            members.extend(events.as_object().cloned().unwrap_or_default());
        });
        policy
    };
    let tries = policy(2, 200, json!({"httpRetryEvents": ["server-error"]}));
    let connects = policy(3, 1000, json!({"tcpRetryEvents": ["connection-error"]}));
    let other = policy(3, 1000, json!({"httpRetryEvents": ["client-error"]}));
    let routes = [
        ("tries", with(http_route(json!({"prefix": "/tries"}), "app"), "retryPolicy", tries)),
        ("gone", with(http_route(json!({"prefix": "/gone"}), "gone"), "retryPolicy", connects)),
        ("other", with(http_route(json!({"prefix": "/other"}), "gone"), "retryPolicy", other)),
    ];
    for (name, route) in routes {
        bed.route("m", "r", name, route).await?;
    }
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    app.delay(SLOW);
    let started = Instant::now();
    let answer = caller.call(SERVICE).path("/tries").send().await?;
    assert_eq!((answer.code(), app.take_requests()), (504, 3), "{answer:?}");
    let taken = started.elapsed();
    assert!(taken > Duration::from_millis(550) && taken < SLOW, "three tries took {taken:?}");

    let retries = || caller.total("cds_egress_m_gone_http_.*upstream_rq_retry$");
    assert_eq!(caller.call(SERVICE).path("/other").send().await?.code(), 503);
    assert_eq!(retries().await?, 0);
    assert_eq!(caller.call(SERVICE).path("/gone").send().await?.code(), 503);
    assert_eq!(retries().await?, 3);
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_connection_goes_by_its_port_and_ends_when_it_has_been_silent_for_long_enough() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let (one, two) = (App::tcp("one", true).await?, App::tcp("two", true).await?);
    for (name, app) in [("one", &one), ("two", &two)] {
        bed.virtual_node("m", name, listening("127.0.0.1", app.port, "tcp")).await?;
    }
    let ports = [call::free_port()?, call::free_port()?];
    bed.router("m", SERVICE, "r", &ports.map(|port| (port, "tcp"))).await?;
    for (name, port, timeout) in [("one", ports[0], duration(400)), ("two", ports[1], duration(60_000))] {
        let route = json!({"match": {"port": port}, "action": to(name), "timeout": {"idle": timeout}});
        bed.route("m", "r", name, json!({"tcpRoute": route})).await?;
    }
    let _caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    let mut streams = Vec::new();
    for (port, greeting) in ports.into_iter().zip(["one\n", "two\n"]) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut read = [0; 4];
        stream.read_exact(&mut read).await?;
        assert_eq!(read, greeting.as_bytes());
        streams.push(stream);
    }
    let [silent, other] = &mut streams[..] else { unreachable!("two ports") };
    let started = Instant::now();
    assert_eq!(timeout(SLOW, silent.read(&mut [0])).await??, 0, "closed");
    assert!(started.elapsed() > Duration::from_millis(300), "closed after {:?}", started.elapsed());
    other.write_all(b"ping").await?;
    let mut echo = [0; 4];
    timeout(SLOW, other.read_exact(&mut echo)).await??;
    assert_eq!(&echo, b"ping");
    bed.end().await;
    Ok(())
}
