//! New certificates under load, seen in handshakes.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use signet::{demo::steps::ModeStep, local::load::Load};
use signet_tests::{TestMesh, eventually, tally_of};

#[tokio::test(flavor = "multi_thread")]
async fn ten_rotations_of_every_leaf_under_load_fail_no_request_and_repeat_no_serial() -> Result<()> {
    let mesh = TestMesh::start().await?;
    mesh.stage.set_mode(ModeStep::StrictVerified).await?;
    mesh.stage.until_in_force(ModeStep::StrictVerified).await;
    let load = Load::start(&mesh.stage.load_plan()?);
    let mut serials = mesh.stage.serials().await?;
    let mut seen: BTreeSet<String> = serials.iter().map(|(_, serial)| serial.clone()).collect();
    for _ in 0..10 {
        mesh.stage.rotate(&serials).await?;
        serials = mesh.stage.serials().await?;
        for (node, serial) in &serials {
            assert!(seen.insert(serial.clone()), "{node} shows serial {serial} again");
        }
    }
    let tally = tally_of(load, 600).await?;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    mesh.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_counts_every_rotation_and_refuses_none() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let admin = mesh.stage.sidecars[1].admin();
    let updates = admin.counter("sds.default.update_success").await?;
    let before = mesh.stage.caller()?.admin().serials().await?;
    assert_eq!(before.len(), 1, "the caller's Envoy holds one certificate");
    for sidecar in &mesh.stage.sidecars {
        sidecar.rotate()?;
    }
    eventually("the update", Duration::from_secs(10), || async {
        ensure!(admin.counter("sds.default.update_success").await? > updates, "no update yet");
        Ok(())
    })
    .await?;
    assert_eq!(admin.counter("sds.default.update_rejected").await?, 0);
    mesh.end().await;
    Ok(())
}
