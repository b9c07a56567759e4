//! The audit while a root takes another's place.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use signet_policies::identity::Workload;
use signet_tests::{
    bed::{Bed, PATIENCE},
    clock, eventually,
};
use tokio::task::JoinSet;

use super::{
    comes_to,
    reported::{good, watch},
    strict_mesh,
};

async fn until(bed: &Bed, phase: &str) -> Result<()> {
    eventually(phase, PATIENCE, || async {
        let status = bed.client.call(Method::GET, "/v1/ca/rotation", None).await?;
        ensure!(status["phase"] == phase, "{status:#}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_root_is_no_fault_in_any_phase_and_who_missed_it_is_one() -> Result<()> {
    let (bed, _app, served, caller) = strict_mesh().await?;
    bed.virtual_node("shop", "late", json!({})).await?;
    let late = bed.server.join(&bed.client, &Workload::virtual_node("shop", "late")?, clock()).await?;
    let thresholds = bed.path("thresholds.json");
    std::fs::write(&thresholds, json!({"retiredWithinSeconds": 0}).to_string())?;
    let args = ["--thresholds".to_owned(), thresholds.display().to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    comes_to(&bed, &args, 0, &[]).await?;

    // The new root signs, and everybody that lives has it; then there is one that has not.
    let start = json!({"what": "root", "spreadSeconds": 86_400});
    bed.client.call(Method::POST, "/v1/ca/rotation", Some(&start)).await?;
    // Nobody is known to hold that one's certificate, and it is not waited for.
    let excused = json!({"overrides": [late.leaf().serial()]});
    bed.client.call(Method::POST, "/v1/ca/rotation/resume", Some(&excused)).await?;
    until(&bed, "issue").await?;
    comes_to(&bed, &args, 0, &[]).await?;
    let mut tasks = JoinSet::new();
    let near = Ipv4Addr::LOCALHOST;
    let reports = watch(&mut tasks, &bed, &late, near, good("1", &late)).await?;
    let report = comes_to(&bed, &args, 4, &["B08 critical"]).await?;
    assert_eq!(report["findings"][0]["subject"]["node"], "mesh/shop/virtualNode/late");
    reports.send(signet_tests::node_service::NodeReport { leaving: true, ..good("1", &late) }).await?;
    comes_to(&bed, &args, 0, &[]).await?;

    // The old one is retired, and nobody trusts it or serves what it signed.
    served.sidecar.rotate()?;
    caller.sidecar.rotate()?;
    until(&bed, "completed").await?;
    comes_to(&bed, &args, 0, &[]).await?;
    bed.end().await;
    Ok(())
}
