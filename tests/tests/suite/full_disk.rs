//! The disk of a running server fills up, and is emptied again.

use std::time::Duration;

use anyhow::{Context, Result};
use http::{Method, StatusCode};
use serde_json::json;
use signet::{
    client::{Client, Refusal},
    local::mesh::Server,
};
use signet_tests::{bed::disk::Disk, clock, eventually, program};

const PATIENCE: Duration = Duration::from_secs(10);

async fn create(client: &Client, mesh: &str) -> Result<()> {
    client.call(Method::PUT, "/v20190125/meshes", Some(&json!({"meshName": mesh}))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_503_that_changes_nothing_and_goes_away_with_its_cause() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = Disk::mount(folder.path(), 48)?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    create(&client, "before").await?;
    disk.fill()?;
    let error = create(&client, "meanwhile").await.err().context("a full disk took a write")?;
    let refusal = error.downcast_ref::<Refusal>().context("no answer")?;
    assert_eq!(
        (refusal.status, &*refusal.code),
        (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException")
    );
    assert!(refusal.message.contains("the disk is full") && refusal.message.contains("nothing was changed"));
    client.call(Method::GET, "/v20190125/meshes/before", None).await.context("reading goes on")?;
    disk.free()?;
    eventually("the server takes writes again", PATIENCE, || create(&client, "after")).await?;
    // Its own certificate is on record before it serves with it, so it does not start on a full disk. It says why,
    // and loses nothing.
    disk.fill()?;
    server.kill().await?;
    let refused = server.restart().await.err().context("it started without a record of its certificate")?;
    assert!(format!("{refused:#}").contains("the disk is full"), "{refused:#}");
    disk.free()?;
    server.restart().await?;
    let listed = server.client(clock())?.call(Method::GET, "/v20190125/meshes", None).await?;
    let names: Vec<_> =
        listed["meshes"].as_array().into_iter().flatten().map(|mesh| &mesh["meshName"]).collect();
    assert_eq!(names, ["after", "before"]);
    server.stop().await;
    Ok(())
}
