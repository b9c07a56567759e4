//! Changes of routes under load.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use signet::local::load::{Load, Plan};
use signet_tests::{
    bed::{Bed, PATIENCE, app::App, listening},
    eventually,
};

use super::{duration, http_route};

const SERVICE: &str = "moving.test";
const ROUNDS: u32 = 12;
/// Long enough that requests are under way whenever something changes.
const WORK: Duration = Duration::from_millis(25);

/// Everything to one node. Nothing that a change could break is tried again, so that no failure is hidden.
fn route(node: &str) -> Value {
    let mut route = http_route(json!({"prefix": "/"}), node);
    route["httpRoute"]["retryPolicy"] =
        json!({"maxRetries": 1, "perRetryTimeout": duration(15_000), "httpRetryEvents": ["client-error"]});
    route
}

/// A node that is found by name in every other round, so that its cluster has to warm first.
async fn node(bed: &Bed, round: u32) -> Result<App> {
    let app = App::http(&format!("n{round}")).await?;
    app.delay(WORK);
    let host = if round.is_multiple_of(2) { "127.0.0.1" } else { "localhost" };
    bed.virtual_node("m", &format!("n{round}"), listening(host, app.port, "http")).await?;
    Ok(app)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_moves_to_a_new_node_while_the_old_one_is_deleted_fails_no_request() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let mut apps = vec![node(&bed, 0).await?];
    bed.router("m", SERVICE, "r", &[(80, "http")]).await?;
    bed.route("m", "r", "route", route("n0")).await?;
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    bed.synced().await?;

    let egress = caller.sidecar.ready.egress;
    let plan =
        Plan { address: egress, host: SERVICE.into(), new_connections: 50, kept_alive: 250, connections: 10 };
    let load = Load::start(&plan);
    let mut tally = load.take();
    for round in 1..=ROUNDS {
        apps.push(node(&bed, round).await?);
        let new = format!("n{round}");
        bed.put("meshes/m/virtualRouter/r/routes/route", json!({"spec": route(&new)})).await?;
        bed.delete(&format!("meshes/m/virtualNodes/n{}", round - 1)).await?;
        let mut seen = 0;
        eventually(&format!("{new} is called"), PATIENCE, || {
            seen += apps.last().map_or(0, App::take_requests);
            let calls = seen;
            async move {
                ensure!(calls >= 30, "{calls} times so far");
                Ok(())
            }
        })
        .await?;
    }
    bed.synced().await?;
    tally.add(load.stop().await);
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    assert!(
        tally.requests() > 200 && tally.answered.len() > usize::try_from(ROUNDS)?,
        "{:?}",
        tally.answered
    );
    assert_eq!(caller.total("cds_egress_m_.*upstream_rq_retry$").await?, 0);
    // What is not called any more goes last, after everything else was accepted.
    eventually("only the last cluster is left", PATIENCE, || async {
        let clusters = caller.admin().text("/clusters").await?;
        let left = |round: u32| clusters.contains(&format!("cds_egress_m_n{round}_http_"));
        ensure!(left(ROUNDS) && !(0..ROUNDS).any(left), "there are {clusters}");
        Ok(())
    })
    .await?;
    bed.end().await;
    Ok(())
}
