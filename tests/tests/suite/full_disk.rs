//! The disk of a running server fills up, and is emptied again.

use std::{fs::File, io::Write as _, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use http::{Method, StatusCode};
use serde_json::json;
use signet::{
    client::{Client, Refusal},
    local::mesh::Server,
};
use signet_tests::{clock, eventually, program};

const PATIENCE: Duration = Duration::from_secs(10);

/// A small disk, mounted until it is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(folder.path()).status()?;
        ensure!(mounted.success(), "a tmpfs cannot be mounted; run this test as root");
        Ok(Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
    Ok(())
}

/// Gives back what [`fill`] took. Emptied first: a process that another test starts holds the open file until it
/// has become what it starts, and its bytes with it.
fn free(path: &Path) -> Result<()> {
    File::create(path)?;
    Ok(std::fs::remove_file(path)?)
}

async fn create(client: &Client, mesh: &str) -> Result<()> {
    client.call(Method::PUT, "/v20190125/meshes", Some(&json!({"meshName": mesh}))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_503_that_changes_nothing_and_goes_away_with_its_cause() -> Result<()> {
    let disk = Disk::mount()?;
    let mut server = Server::start(&program()?, disk.0.path()).await?;
    let client = server.client(clock())?;
    create(&client, "before").await?;
    let filler = disk.0.path().join("filler");
    fill(&filler)?;
    let error = create(&client, "meanwhile").await.err().context("a full disk took a write")?;
    let refusal = error.downcast_ref::<Refusal>().context("no answer")?;
    assert_eq!(
        (refusal.status, &*refusal.code),
        (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException")
    );
    assert!(refusal.message.contains("the disk is full") && refusal.message.contains("nothing was changed"));
    client.call(Method::GET, "/v20190125/meshes/before", None).await.context("reading goes on")?;
    free(&filler)?;
    eventually("the server takes writes again", PATIENCE, || create(&client, "after")).await?;
    // Its own certificate is on record before it serves with it, so it does not start on a full disk. It says why,
    // and loses nothing.
    fill(&filler)?;
    server.kill().await?;
    let refused = server.restart().await.err().context("it started without a record of its certificate")?;
    assert!(format!("{refused:#}").contains("the disk is full"), "{refused:#}");
    free(&filler)?;
    server.restart().await?;
    let listed = server.client(clock())?.call(Method::GET, "/v20190125/meshes", None).await?;
    let names: Vec<_> =
        listed["meshes"].as_array().into_iter().flatten().map(|mesh| &mesh["meshName"]).collect();
    assert_eq!(names, ["after", "before"]);
    server.stop().await;
    Ok(())
}
