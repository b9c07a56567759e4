//! Applications behind nodes, as their callers see them.

use anyhow::Result;
use signet_tests::bed::{Bed, app::App, call};
use tokio::net::TcpStream;

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
