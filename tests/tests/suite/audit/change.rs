//! The audit while a root takes another's place.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use signet_tests::{
    bed::{Bed, PATIENCE},
    eventually,
};

use super::{comes_to, strict_mesh};

async fn until(bed: &Bed, phase: &str) -> Result<()> {
    eventually(phase, PATIENCE, || async {
        let status = bed.client.call(Method::GET, "/v1/ca/rotation", None).await?;
        ensure!(status["phase"] == phase, "{status:#}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_root_is_no_fault_while_both_sign_nor_when_the_old_one_is_gone() -> Result<()> {
    let (bed, _app, served, caller) = strict_mesh().await?;
    let thresholds = bed.path("thresholds.json");
    std::fs::write(&thresholds, json!({"retiredWithinSeconds": 0}).to_string())?;
    let args = ["--thresholds".to_owned(), thresholds.display().to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    comes_to(&bed, &args, 0, &[]).await?;

    // The new root signs, and for a day everybody may serve what the old one signed.
    let start = json!({"what": "root", "spreadSeconds": 86_400});
    bed.client.call(Method::POST, "/v1/ca/rotation", Some(&start)).await?;
    until(&bed, "issue").await?;
    comes_to(&bed, &args, 0, &[]).await?;

    // The old one is retired, and nobody trusts it or serves what it signed.
    served.sidecar.rotate()?;
    caller.sidecar.rotate()?;
    until(&bed, "completed").await?;
    comes_to(&bed, &args, 0, &[]).await?;
    bed.end().await;
    Ok(())
}
