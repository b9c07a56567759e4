//! What bounds a node's requests: connection pools, and timeouts of its listeners.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use signet_tests::{
    bed::{Bed, Node, PATIENCE, app::App, at, call, grpc},
    eventually,
};
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tonic::metadata::MetadataMap;

/// Sends a request, more as soon as the application has it, and returns the statuses of all in their order.
async fn one_and(node: &Node, app: &App, host: &str, more: usize, h2: bool) -> Result<Vec<u16>> {
    app.take_requests();
    let mut calls = JoinSet::new();
    for place in 0..=more {
        let call = if h2 { node.call(host).h2() } else { node.call(host) };
        calls.spawn(async move { call.send().await });
        if place == 0 {
            has_one(app).await?;
        }
    }
    let mut codes = Vec::new();
    while let Some(answer) = calls.join_next().await {
        codes.push(answer??.code());
    }
    codes.sort_unstable();
    Ok(codes)
}

async fn has_one(app: &App) -> Result<()> {
    eventually("the application has the first", PATIENCE, || async {
        ensure!(app.take_requests() > 0, "not yet");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_full_refuses_and_counts() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let (one, two, rpc, raw) = (
        App::http("one").await?,
        App::http("two").await?,
        App::http("rpc").await?,
        App::tcp("raw", true).await?,
    );
    let pools = [
        (&one, "http", json!({"http": {"maxConnections": 1, "maxPendingRequests": 1}})),
        (&two, "http2", json!({"http2": {"maxRequests": 2}})),
        (&rpc, "grpc", json!({"grpc": {"maxRequests": 1}})),
        (&raw, "tcp", json!({"tcp": {"maxConnections": 1}})),
    ];
    let served = bed
        .served("m", "many", &one, "http", |spec| {
            let listener = |(app, protocol, pool): &(&App, &str, Value)| {
                json!({"portMapping": {"port": app.port, "protocol": protocol}, "connectionPool": {*protocol: pool[protocol]}})
            };
            spec["listeners"] = pools.iter().map(listener).collect();
        })
        .await?;
    bed.router("m", "s.test", "r", &[(81, "http"), (82, "http2"), (83, "grpc")]).await?;
    for (port, (app, protocol, _)) in (81..).zip(&pools[..3]) {
        let to = json!([{"virtualNode": "many", "weight": 1, "port": app.port}]);
        let mut spec = json!({"match": {"port": port}, "action": {"weightedTargets": to}});
        // The default policy would try again what was refused.
        spec["retryPolicy"] = json!({"maxRetries": 0, "perRetryTimeout": {"unit": "s", "value": 15},
            "httpRetryEvents": ["client-error"]});
        bed.route("m", "r", protocol, json!({format!("{protocol}Route"): spec})).await?;
    }
    let caller = bed.caller("m", "caller", &["s.test"]).await?;
    bed.synced().await?;
    for app in [&one, &two, &rpc] {
        app.delay(Duration::from_millis(700));
    }

    assert_eq!(one_and(&caller, &one, "s.test:81", 3, false).await?, [200, 200, 503, 503], "one waits");
    let overflow = |name: &'static str| served.total(name);
    assert_eq!(overflow("cluster.cds_ingress_m_many_http_.*upstream_rq_pending_overflow").await?, 2);
    assert_eq!(one_and(&caller, &two, "s.test:82", 3, true).await?, [200, 200, 503, 503]);
    assert_eq!(overflow("cluster.cds_ingress_m_many_http2_.*rq_(active|pending)_overflow").await?, 2);
    let egress = caller.sidecar.ready.egress;
    let hello = || grpc::call(egress, "s.test:83", "/t.T/Hello", MetadataMap::new());
    let second = async {
        has_one(&rpc).await?;
        hello().await
    };
    let (first, second) = tokio::try_join!(hello(), second)?;
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(second.unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!(overflow("cluster.cds_ingress_m_many_grpc_.*rq_(active|pending)_overflow").await?, 1);

    let held = TcpStream::connect(at(&served, raw.port)).await?;
    has_one(&raw).await?;
    assert!(call::tcp(at(&served, raw.port), "", 4).await.is_err(), "the second is closed");
    assert_eq!(overflow("cluster.cds_ingress_m_many_tcp_.*upstream_cx_overflow").await?, 1);
    drop(held);
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_gives_a_request_the_time_that_its_spec_says() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let (app, raw) = (App::http("app").await?, App::tcp("raw", false).await?);
    let spec = |timeout: Value| {
        move |spec: &mut Value| {
            spec["listeners"][0]["timeout"] = timeout;
            spec["listeners"].as_array_mut().unwrap().push(json!({
                "portMapping": {"port": raw.port, "protocol": "tcp"}, "timeout": {"tcp": {"idle": {"unit": "ms", "value": 300}}}
            }));
        }
    };
    let bound = json!({"http": {"perRequest": {"unit": "ms", "value": 300}}});
    let raw_port = raw.port;
    let served = bed.served("m", "app", &app, "http", spec(bound)).await?;
    bed.synced().await?;
    app.delay(Duration::from_millis(900));
    let direct = || call::Call::to(at(&served, app.port), "app");
    assert_eq!(direct().send().await?.code(), 504);

    let respec = |timeout: Value| {
        let mut spec = signet_tests::bed::listening(&served.ingress.to_string(), app.port, "http");
        spec["listeners"][0]["timeout"] = timeout;
        spec
    };
    let idle =
        json!({"http": {"perRequest": {"unit": "s", "value": 0}, "idle": {"unit": "ms", "value": 300}}});
    let (silent, since) = (TcpStream::connect(at(&served, raw_port)).await?, Instant::now());
    assert!(call::tcp_on(silent, "", 1).await.is_err(), "a silent connection is closed");
    assert!(since.elapsed() < Duration::from_secs(10), "it was given up here, and not closed there");
    bed.respec("m", "app", respec(idle)).await?;
    bed.synced().await?;
    assert_eq!(direct().send().await?.code(), 504, "nothing happened for longer than the idle time");
    bed.respec("m", "app", respec(json!({"http": {"perRequest": {"unit": "s", "value": 0}}}))).await?;
    bed.synced().await?;
    assert_eq!(direct().send().await?.code(), 200, "zero is no bound");
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_http2_or_grpc_bounds_its_requests_and_their_silence_too() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let per_request = json!({"perRequest": {"unit": "ms", "value": 300}});
    let idle = json!({"perRequest": {"unit": "s", "value": 0}, "idle": {"unit": "ms", "value": 300}});
    let mut ports = Vec::new();
    for (protocol, timeout, counter) in [
        ("http2", &per_request, "^cluster.cds_ingress_m_app_http2_PORT.*upstream_rq_timeout$"),
        ("http2", &idle, "^http.ingress_http2_PORT_.*downstream_rq_idle_timeout$"),
        ("grpc", &per_request, "^cluster.cds_ingress_m_app_grpc_PORT.*upstream_rq_timeout$"),
        ("grpc", &idle, "^http.ingress_grpc_PORT_.*downstream_rq_idle_timeout$"),
    ] {
        let app = App::http("app").await?;
        let counter = counter.replace("PORT", &app.port.to_string());
        ports.push((app, protocol, timeout, counter));
    }
    let first = &ports[0].0;
    let served = bed
        .served("m", "app", first, "http2", |spec| {
            let listener = |(app, protocol, timeout, _): &(App, &str, &Value, String)| {
                json!({"portMapping": {"port": app.port, "protocol": protocol}, "timeout": {*protocol: timeout}})
            };
            spec["listeners"] = ports.iter().map(listener).collect();
        })
        .await?;
    bed.synced().await?;
    for (app, protocol, timeout, counter) in &ports {
        for (delay, answers) in [(0, true), (2000, false)] {
            let case = format!("{protocol} with {timeout}, answered after {delay} ms");
            app.delay(Duration::from_millis(delay));
            if *protocol == "http2" {
                let code = call::Call::to(at(&served, app.port), "app").h2().send().await?.code();
                assert_eq!(code, if answers { 200 } else { 504 }, "{case}");
            } else {
                let said = grpc::call(at(&served, app.port), "app", "/t.T/Hello", MetadataMap::new()).await?;
                assert_eq!(said.is_ok(), answers, "{case}: {said:?}");
            }
            assert_eq!(served.total(counter).await?, u64::from(!answers), "{case}: {counter}");
        }
    }
    bed.end().await;
    Ok(())
}
