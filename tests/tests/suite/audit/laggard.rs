//! A proxy that an operator let a change of the root leave behind.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use signet_policies::identity::Workload;
use signet_tests::{
    bed::{Bed, PATIENCE, listening},
    clock, eventually,
};
use tokio::task::JoinSet;

use super::{
    comes_to, mutual,
    reported::{good, watch},
};

async fn waits_in(bed: &Bed, phase: &str) -> Result<()> {
    eventually(phase, PATIENCE, || async {
        let status = bed.client.call(Method::GET, "/v1/ca/rotation", None).await?;
        ensure!(status["phase"] == phase, "{status:#}");
        Ok(())
    })
    .await
}

async fn nobody_waits_for(bed: &Bed, nodes: &[&str]) -> Result<()> {
    let overrides = json!({"overrides": nodes});
    bed.client.call(Method::POST, "/v1/ca/rotation/resume", Some(&overrides)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_a_change_of_the_root_left_behind_is_named_in_each_phase() -> Result<()> {
    let bed = Bed::start().await?;
    bed.mesh("shop").await?;
    for node in ["behind", "slow", "ahead"] {
        let mut spec = listening(&format!("{node}.shop.local"), 8080, "http");
        spec["listeners"][0]["tls"] = mutual();
        bed.virtual_node("shop", node, spec).await?;
    }
    let join = async |node: &str| -> Result<_> {
        bed.server.join(&bed.client, &Workload::virtual_node("shop", node)?, clock()).await
    };
    let behind = join("behind").await?;
    let thresholds = bed.path("thresholds.json");
    std::fs::write(&thresholds, json!({"retiredWithinSeconds": 0}).to_string())?;
    let args = ["--thresholds".to_owned(), thresholds.display().to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut tasks = JoinSet::new();
    let near = Ipv4Addr::LOCALHOST;
    let _behind = watch(&mut tasks, &bed, &behind, near, good("1", &behind)).await?;
    comes_to(&bed, &args, 0, &[]).await?;

    // It never takes the new root, and the change does not wait for it.
    let start = json!({"what": "root", "spreadSeconds": 1});
    bed.client.call(Method::POST, "/v1/ca/rotation", Some(&start)).await?;
    waits_in(&bed, "distribute").await?;
    comes_to(&bed, &args, 0, &[]).await?;
    // One that has both roots, and keeps what the old one signed.
    let slow = join("slow").await?;
    let _slow = watch(&mut tasks, &bed, &slow, near, good("1", &slow)).await?;
    nobody_waits_for(&bed, &["mesh/shop/virtualNode/behind"]).await?;
    waits_in(&bed, "issue").await?;
    comes_to(&bed, &args, 4, &["B08 critical"]).await?;

    // A peer has a certificate of the new one, and it cannot verify that.
    let ahead = join("ahead").await?;
    let _ahead = watch(&mut tasks, &bed, &ahead, near, good("1", &ahead)).await?;
    let report = comes_to(&bed, &args, 4, &["B01 critical", "B08 critical"]).await?;
    let subject = &report["findings"][0]["subject"]["node"];
    assert_eq!(subject, "mesh/shop/virtualNode/behind");

    // The old one is retired. All three still trust it, and two serve what it signed.
    nobody_waits_for(&bed, &["mesh/shop/virtualNode/slow", "mesh/shop/virtualNode/ahead"]).await?;
    waits_in(&bed, "completed").await?;
    let served = ["E03 critical"; 2];
    let trusted = ["B09 warning"; 3];
    let retired = [&["B01 critical"], &served[..], &trusted[..]].concat();
    let report = comes_to(&bed, &args, 4, &retired).await?;
    assert!(report["findings"].to_string().contains("it still trusts root, which is retired"), "{report:#}");
    bed.end().await;
    Ok(())
}
