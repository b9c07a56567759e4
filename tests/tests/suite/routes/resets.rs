//! Streams that the application itself resets, and which of them a route has tried again.

use anyhow::Result;
use serde_json::{Value, json};
use signet_tests::bed::{
    Bed, Node, grpc, listening,
    resets::{Reason, Resetting},
};
use tonic::metadata::MetadataMap;

use super::{duration, to};

const REFUSED: Reason = Reason::REFUSED_STREAM;
const BROKEN: Reason = Reason::INTERNAL_ERROR;

/// A route's name, its list of events, and whether it has a refused stream tried again, and a broken one.
type Case = (&'static str, Option<(&'static str, &'static str)>, bool, bool);

const HTTP: [Case; 5] = [
    ("stream-error", Some(("httpRetryEvents", "stream-error")), true, false),
    ("server-error", Some(("httpRetryEvents", "server-error")), true, true),
    ("gateway-error", Some(("httpRetryEvents", "gateway-error")), true, true),
    ("client-error", Some(("httpRetryEvents", "client-error")), false, false),
    ("default", None, true, true),
];

const GRPC: [Case; 5] = [
    ("stream-error", Some(("httpRetryEvents", "stream-error")), true, false),
    ("server-error", Some(("httpRetryEvents", "server-error")), true, true),
    // A status that the application says is none that a reset stands for.
    ("unavailable", Some(("grpcRetryEvents", "unavailable")), false, false),
    ("internal", Some(("grpcRetryEvents", "internal")), false, false),
    ("default", None, true, true),
];

/// A mesh in which `caller` calls `s.test`, whose routes are named after what they have tried again.
async fn start(protocol: &str, cases: &[Case], matched: fn(&str) -> Value) -> Result<(Bed, Node, Resetting)> {
    let mut bed = Bed::start().await?;
    let app = Resetting::start().await?;
    bed.mesh("m").await?;
    bed.virtual_node("m", "app", listening("127.0.0.1", app.port, protocol)).await?;
    bed.router("m", "s.test", "r", &[(80, protocol)]).await?;
    for (name, events, ..) in cases {
        let mut route = json!({"match": matched(name), "action": to("app")});
        if let Some((list, event)) = events {
            route["retryPolicy"] =
                json!({"maxRetries": 3, "perRetryTimeout": duration(5000), *list: [event]});
        }
        bed.route("m", "r", name, json!({format!("{protocol}Route"): route})).await?;
    }
    let caller = bed.caller("m", "caller", &["s.test"]).await?;
    bed.synced().await?;
    Ok((bed, caller, app))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_http2_resets_is_tried_again_for_the_events_of_its_route_alone() -> Result<()> {
    let (bed, caller, app) = start("http2", &HTTP, |name| json!({"prefix": format!("/{name}")})).await?;
    for (name, _, refused, broken) in HTTP {
        for (reason, again) in [(REFUSED, refused), (BROKEN, broken)] {
            app.reset(2, reason);
            let answer = caller.call("s.test").path(&format!("/{name}")).h2().send().await?;
            let expected = if again { (200, 3) } else { (503, 1) };
            assert_eq!((answer.code(), app.take_streams()), expected, "{name} and {reason:?}: {answer:?}");
        }
    }
    // Four streams are all that three retries make of it.
    app.reset(9, REFUSED);
    assert_eq!(caller.call("s.test").path("/stream-error").h2().send().await?.code(), 503);
    assert_eq!(app.take_streams(), 4);
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_whose_stream_is_reset_is_tried_again_for_the_events_of_its_route_alone() -> Result<()> {
    let (bed, caller, app) = start("grpc", &GRPC, |name| json!({"serviceName": name})).await?;
    let egress = caller.sidecar.ready.egress;
    for (name, _, refused, broken) in GRPC {
        for (reason, again) in [(REFUSED, refused), (BROKEN, broken)] {
            app.reset(2, reason);
            let answer = grpc::call(egress, "s.test", &format!("/{name}/M"), MetadataMap::new()).await?;
            let expected = if again { (true, 3) } else { (false, 1) };
            assert_eq!((answer.is_ok(), app.take_streams()), expected, "{name} and {reason:?}: {answer:?}");
        }
    }
    bed.end().await;
    Ok(())
}
