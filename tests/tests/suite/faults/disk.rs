//! F8: the disk of the authority is full.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::json;
use signet::local::mesh::{Server, create_token, put};
use signet_policies::identity::Workload;
use signet_tests::{
    asker::Asker,
    bed::{
        disk::Disk,
        ledger::{entries, serials, verified},
    },
    clock, eventually, program,
};
use tokio::task::JoinSet;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(20);
/// Certificates that are asked for while the disk is full.
const ASKED: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn f08_on_a_full_disk_no_certificate_leaves_without_its_record_and_with_room_the_same_token_is_good()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = Disk::mount(folder.path(), 48)?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": "a", "spec": {}})).await?;
    let asker = Asker::join(&server, &client, "m", "a").await?;
    let mut held = BTreeSet::from([asker.renew().await?.serial]);
    let token = create_token(&client, &Workload::virtual_node("m", "a")?).await?;
    let before = entries(&client, 0).await?;
    let shown = format!("/v1/ca/certificates/{}", held.first().context("none")?);
    let proven = client.call(Method::GET, &shown, None).await?;

    // The server's log is on that disk, too: what cannot be logged is lost, and nothing else.
    disk.fill()?;
    let mut asked = JoinSet::new();
    for _ in 0..ASKED {
        let asker = asker.clone();
        asked.spawn(async move { asker.renew().await });
    }
    for answer in asked.join_all().await {
        let refused = answer.err().context("a certificate left without a record")?;
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    let refused = asker.redeem(&token).await.err().context("a token was redeemed on a full disk")?;
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(entries(&client, 0).await?, before, "reading goes on, and nothing was added");
    // What is already issued can still be proven, as far as the last checkpoint.
    assert_eq!(client.call(Method::GET, &shown, None).await?, proven);

    disk.free()?;
    let renewed = eventually("there are certificates again", PATIENCE, || async {
        let got = asker.renew().await;
        ensure!(got.is_ok(), "{got:?}");
        Ok(got?)
    })
    .await?;
    held.insert(renewed.serial);
    held.insert(asker.redeem(&token).await.context("the token is gone")?.serial);
    let all = entries(&client, 0).await?;
    assert_eq!(all[..before.len()], before[..]);
    let recorded = serials(&all)?;
    assert!(held.is_subset(&recorded), "{held:?} were given out, {recorded:?} are recorded");
    server.stop().await;
    verified(&server)
}
