//! Applications behind nodes, as their callers see them.

use anyhow::Result;
use serde_json::json;
use signet_tests::bed::{Bed, app::App, at, call, grpc};
use tokio::net::TcpStream;
use tonic::metadata::MetadataMap;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_the_application_as_it_was_made_and_a_websocket_stays_open() -> Result<()> {
    let mut bed = Bed::start().await?;
    let app = App::http("one").await?;
    bed.mesh("m").await?;
    let served = bed.served("m", "one", &app, "http", |_| {}).await?;
    bed.service_of_node("m", "one.test", "one").await?;
    let caller = bed.caller("m", "caller", &["one.test"]).await?;
    bed.synced().await?;

    let answer = caller.call("one.test").path("/a?b=c").header("x-test", "yes").send().await?;
    assert_eq!((answer.code(), answer.app()), (200, "one"), "{answer:?}");
    let told = answer.json()?;
    assert_eq!((&told["path"], &told["host"]), (&"/a?b=c".into(), &"one.test".into()), "{told}");
    assert_eq!(told["headers"]["x-test"], "yes", "{told}");
    assert_eq!(app.take_requests(), 1);
    assert_eq!(served.total("http.ingress_http_.*_plaintext.downstream_rq_total").await?, 1);

    app.fail(1, 404);
    assert_eq!(caller.call("one.test").send().await?.code(), 404);
    assert_eq!(caller.call("two.test").send().await?.code(), 404, "no backend, and DROP_ALL");
    let socket = TcpStream::connect(caller.sidecar.ready.egress).await?;
    assert_eq!(call::websocket(socket, "one.test", "ping").await?, "ping");
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_each_protocol_on_a_port_of_its_own() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let (one, two, rpc) = (App::http("one").await?, App::http("two").await?, App::http("rpc").await?);
    let (echo, greeter) = (App::tcp("echo", false).await?, App::tcp("greeter", true).await?);
    let ports = [(&one, "http"), (&two, "http2"), (&rpc, "grpc"), (&echo, "tcp"), (&greeter, "tcp")];
    let served = bed
        .served("m", "many", &one, "http", |spec| {
            let listener = |(app, protocol): &(&App, &str)| {
                json!({"portMapping": {"port": app.port, "protocol": protocol}})
            };
            spec["listeners"] = ports.iter().map(listener).collect();
        })
        .await?;
    bed.router("m", "many.test", "r", &[(81, "http"), (82, "http2"), (83, "grpc")]).await?;
    for (port, (app, protocol)) in (81..).zip(&ports[..3]) {
        let to = json!([{"virtualNode": "many", "weight": 1, "port": app.port}]);
        let kind = format!("{protocol}Route");
        let spec = json!({kind: {"match": {"port": port}, "action": {"weightedTargets": to}}});
        bed.route("m", "r", protocol, spec).await?;
    }
    // On loopback the applications' own ports are taken, so a router gives the service another one.
    let dialed = call::free_port()?;
    bed.router("m", "echo.test", "tcp", &[(dialed, "tcp")]).await?;
    let to = json!([{"virtualNode": "many", "weight": 1, "port": echo.port}]);
    bed.route("m", "tcp", "echo", json!({"tcpRoute": {"action": {"weightedTargets": to}}})).await?;
    let caller = bed.caller("m", "caller", &["many.test", "echo.test"]).await?;
    bed.synced().await?;

    let on = |app: &App| {
        let port = (81..).zip(&ports).find(|(_, (served, _))| served.port == app.port).map(|(port, _)| port);
        format!("many.test:{}", port.unwrap_or(0))
    };
    let told = caller.call(&on(&one)).send().await?.json()?;
    assert_eq!((&told["app"], &told["version"]), (&"one".into(), &"1.1".into()), "{told}");
    for call in [caller.call(&on(&two)), caller.call(&on(&two)).h2()] {
        let told = call.send().await?.json()?;
        assert_eq!((&told["app"], &told["version"]), (&"two".into(), &"2".into()), "{told}");
    }
    let egress = caller.sidecar.ready.egress;
    let said = grpc::call(egress, &on(&rpc), "/test.Greeter/Hello", MetadataMap::new()).await??;
    assert_eq!((&said["app"], &said["path"]), (&"rpc".into(), &"/test.Greeter/Hello".into()), "{said}");
    rpc.fail(1, 5);
    let refused = grpc::call(egress, &on(&rpc), "/test.Greeter/Hello", MetadataMap::new()).await?;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::NotFound);

    // A server that speaks first is waited for by nobody, neither at its node nor at its caller.
    for target in [at(&served, echo.port), ([127, 0, 0, 1], dialed).into()] {
        assert_eq!(call::tcp(target, "ping", 4).await?, "ping");
    }
    assert_eq!(call::tcp(at(&served, greeter.port), "", 8).await?, "greeter\n");
    assert_eq!(served.total("tcp.ingress_tcp_.*_plaintext.downstream_cx_total").await?, 3);
    bed.end().await;
    Ok(())
}
