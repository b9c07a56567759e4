//! F9: the authority is killed while it writes, and what it wrote last is torn.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use signet::{
    client::Client,
    local::mesh::{Server, put},
};
use signet_tests::{
    asker::Asker,
    bed::ledger::{entries, serials, verified},
    clock,
    dice::Dice,
    eventually, machine, program,
};
use tokio::{sync::mpsc, task::JoinSet};

const SEED: u64 = 0x7021_6e65_7421;
/// Kills of an authority that issues.
const KILLS: usize = 4;
/// In which phases the server is killed while a root is replaced, each time at another moment. From the last on, folders are
/// put in place.
const PHASES: [&str; 4] = ["distribute", "issue", "retire", "retire"];
/// Who ask for certificates at the same time.
const ASKERS: usize = 8;
/// Most certificates of a round.
const MOST: u64 = 120;
/// Ends that are torn off.
const CUTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(folder: &Path) -> Result<(Server, Client)> {
    let server = Server::start(&program()?, folder).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": "a", "spec": {}})).await?;
    Ok((server, client))
}

/// Asks for certificate after certificate until nobody answers, and returns those that came.
async fn ask(asker: Asker, acknowledged: mpsc::UnboundedSender<()>) -> Vec<String> {
    let mut held = Vec::new();
    while let Ok(got) = asker.renew().await {
        held.push(got.serial);
        let _ = acknowledged.send(());
    }
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_an_authority_killed_while_it_issues_has_a_record_of_all_that_left_and_no_serial_twice()
-> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let (mut server, mut client) = start(folder.path()).await?;
    let mut dice = Dice::new(SEED);
    let (mut held, mut known) = (BTreeSet::new(), Vec::new());
    for round in 0..KILLS {
        let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for _ in 0..ASKERS {
            let asker = Asker::join(&server, &client, "m", "a").await?;
            tasks.spawn(ask(asker, acknowledge.clone()));
        }
        drop(acknowledge);
        for _ in 0..dice.roll(MOST) {
            acknowledged.recv().await;
        }
        server.kill().await?;
        for serial in tasks.join_all().await.into_iter().flatten() {
            ensure!(
                held.insert(serial.clone()),
                "serial {serial} was given out twice; round {round}, seed {SEED:#x}"
            );
        }
        verified(&server).with_context(|| format!("in round {round}, seed {SEED:#x}"))?;
        server.restart().await?;
        client = server.client(clock())?;
        let all = entries(&client, 0).await?;
        ensure!(all.starts_with(&known), "an entry was lost or altered; round {round}, seed {SEED:#x}");
        let recorded = serials(&all)?;
        let lost: Vec<_> = held.difference(&recorded).collect();
        ensure!(lost.is_empty(), "{lost:?} left, and are not recorded; round {round}, seed {SEED:#x}");
        known = all;
    }
    println!("{KILLS} kills, {} certificates that left, {} entries", held.len(), known.len());
    server.stop().await;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "{} cannot be copied", from.display());
    Ok(())
}

/// The journal of a data folder, and where what was written to it ends.
fn journal(data: &Path) -> Result<(PathBuf, usize)> {
    let path = data.join("store/journal");
    let bytes = fs::read(&path).with_context(|| format!("no {}", path.display()))?;
    let end = bytes.iter().rposition(|byte| *byte != 0).context("an empty journal")?;
    Ok((path, end + 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_a_torn_end_leaves_a_beginning_that_verifies_and_goes_on_with_new_serials() -> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let (mut server, client) = start(folder.path()).await?;
    let asker = Asker::join(&server, &client, "m", "a").await?;
    for _ in 0..60 {
        asker.renew().await?;
    }
    let before = entries(&client, 0).await?;
    let used = serials(&before)?;
    server.kill().await?;
    let (_, end) = journal(&server.ready.data_dir)?;
    let mut dice = Dice::new(SEED);
    let mut lost = BTreeSet::new();
    for number in 0..CUTS {
        let torn = folder.path().join(format!("torn-{number}"));
        fs::create_dir(&torn)?;
        copy(&server.ready.data_dir, &torn.join("data"))?;
        let (path, _) = journal(&torn.join("data"))?;
        // As a disk leaves it that lost power: the last blocks were never written, or half of one was.
        let cut = end - usize::try_from(dice.roll(40_000))?.min(end / 2);
        let mut bytes = fs::read(&path)?;
        bytes[cut..].fill(0);
        fs::write(&path, bytes)?;
        lost.insert(
            before.len()
                - went_on(&torn, &before, &used).await.with_context(|| format!("cut at {cut} of {end}"))?,
        );
    }
    println!("{CUTS} torn ends cost {lost:?} entries");
    ensure!(lost.iter().any(|lost| *lost > 0), "nothing was torn off");
    Ok(())
}

/// Starts on a folder whose end is torn off, and says how many entries are left.
async fn went_on(folder: &Path, before: &[Value], used: &BTreeSet<String>) -> Result<usize> {
    let mut server = Server::start(&program()?, folder).await?;
    let client = server.client(clock())?;
    let asker = Asker::join(&server, &client, "m", "a").await?;
    let got = asker.renew().await?;
    ensure!(!used.contains(&got.serial), "serial {} is used again", got.serial);
    let all = entries(&client, 0).await?;
    let kept = all.iter().zip(before).take_while(|(now, before)| now == before).count();
    let added = serials(&all[kept..])?;
    ensure!(added.is_disjoint(used), "a serial came again");
    ensure!(added.contains(&got.serial), "no record");
    server.stop().await;
    verified(&server)?;
    Ok(kept)
}

/// The phases of each change by the ledger, in its order. An order to wait no longer repeats the one that it was given in.
fn told(entries: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut changes = BTreeMap::<String, Vec<String>>::new();
    for entered in entries.iter().map(|entry| &entry["what"]["phase"]) {
        let (Some(change), Some(phase)) = (entered["rotation"].as_str(), entered["phase"].as_str()) else {
            continue;
        };
        let phases = changes.entry(change.to_owned()).or_default();
        if phases.last().is_none_or(|last| last != phase) || phase == "completed" {
            phases.push(phase.to_owned());
        }
    }
    changes
}

/// The folder of the authority's keys is written by renames: a kill between two of them.
#[tokio::test(flavor = "multi_thread")]
async fn f09_a_root_that_is_replaced_while_the_server_is_killed_is_the_old_or_the_new_and_never_half()
-> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let (mut server, mut client) = start(folder.path()).await?;
    let mut dice = Dice::new(SEED);
    let mut phases = BTreeSet::new();
    // Where there is nobody, nothing is waited for.
    Asker::join(&server, &client, "m", "a").await?;
    for (round, phase) in PHASES.into_iter().enumerate() {
        let call = |path: &str, body: Value| {
            let (client, path) = (client.clone(), format!("/v1/ca/rotation{path}"));
            async move { client.call(Method::POST, &path, Some(&body)).await }
        };
        call("", json!({"what": "root", "spreadSeconds": 0})).await?;
        // Whoever joined for a moment is waited for by nobody.
        call("/resume", json!({"overrides": ["mesh/m/virtualNode/a"]})).await?;
        eventually("the phase begins", PATIENCE, || async {
            let status = client.call(Method::GET, "/v1/ca/rotation", None).await?;
            ensure!(status["phase"] == phase || status["isOver"] == true, "{status:#}");
            Ok(())
        })
        .await?;
        let looks = 1 + dice.roll(300);
        let mut status = Value::Null;
        for _ in 0..looks {
            status = client.call(Method::GET, "/v1/ca/rotation", None).await?;
        }
        phases.insert(status["phase"].to_string());
        server.kill().await?;
        verified(&server).with_context(|| format!("in round {round}"))?;
        server.restart().await.with_context(|| format!("in round {round}, after {looks} looks: {status}"))?;
        client = server.client(clock())?;
        // Whoever reads ca.pem now can join, whatever signs.
        Asker::join(&server, &client, "m", "a").await?.renew().await?;
        eventually("the change is over", PATIENCE, || async {
            let status = client.call(Method::GET, "/v1/ca/rotation", None).await?;
            ensure!(status["isOver"] == true, "{status:#}");
            Ok(())
        })
        .await?;
        Asker::join(&server, &client, "m", "a").await?.renew().await?;
    }
    println!("killed in {phases:?}");
    let told = told(&entries(&client, 0).await?);
    ensure!(told.len() == PHASES.len(), "{told:?}");
    for (change, phases) in told {
        let all = ["distribute", "issue", "retire", "promote", "completed"];
        ensure!(phases == all, "{change} has {phases:?} in the ledger");
    }
    server.stop().await;
    verified(&server)
}
