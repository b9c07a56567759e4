//! The agent is killed or stopped; its Envoy is replaced.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use rustix::process::{Pid, Signal};
use signet::local::{admin::Admin, load::Load, mesh::create_token, process::Process};
use signet_policies::identity::Workload;
use signet_tests::{
    bed::{
        Bed,
        call::free_port,
        observer::{Observer, presented},
        pair::Pair,
        trial::{Trial, resident},
    },
    clock, envoy_binary, eventually,
};
use tokio::time::Instant;

use super::{PATIENCE, RATE, flawless, guest, held, renewed, until_logged, until_presented};
use crate::secrets::bed::{Shape, Variant, bootstrap};

#[tokio::test(flavor = "multi_thread")]
async fn f03_an_agent_that_is_killed_during_a_push_serves_from_its_sealed_cache_while_the_server_is_away()
-> Result<()> {
    let mut pair = Pair::start(RATE).await?;
    let key = pair.bed.path("cache.key");
    std::fs::write(&key, [7; 32])?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    let sidecar = &mut pair.server.sidecar;
    sidecar.add_flags(&["--cache-key-file".to_owned(), key.display().to_string()]);
    sidecar.kill_agent().await?;
    sidecar.restart_agent().await?;
    let before = super::authority::held_again(&pair).await?;
    pair.server.sidecar.rotate()?;
    pair.caller.sidecar.rotate()?;
    renewed(&pair, &before).await?;
    let kept = std::fs::read_to_string(pair.server.sidecar.state_file("identity.json"))?;
    ensure!(kept.contains("\"version\": \"3\"") && !kept.contains("PRIVATE"), "it is not sealed");

    let mut trial = Trial::begin(&pair).await?;
    trial.answered(&pair, 60).await?;
    pair.server.sidecar.rotate()?;
    pair.server.sidecar.kill_agent().await?;
    pair.bed.server.kill().await?;
    let started = Instant::now();
    pair.server.sidecar.restart_agent().await?;
    println!("ready {} ms after its start", started.elapsed().as_millis());
    let newcomer = guest(&pair.server.sidecar.ready.socket, Variant::Sotw).await?;
    until_presented(&newcomer, &presented(pair.listener()).await?).await?;
    trial.answered(&pair, 60).await?;

    pair.bed.server.restart().await?;
    let back = Instant::now();
    let before = super::authority::held_again(&pair).await?;
    pair.server.sidecar.rotate()?;
    pair.caller.sidecar.rotate()?;
    renewed(&pair, &before).await?;
    trial.converged(&pair, back).await?;
    let serial = held(&pair).await?.pop().context("the server's")?;
    until_presented(&newcomer, &serial).await?;
    pair.until_converged(PATIENCE).await?;
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}

/// How long an application takes whose connections are never idle: longer than from one request to the next.
const WAIT: Duration = Duration::from_millis(300);

/// Of the certificates of who sleeps beyond their end.
const LIFE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn f04_an_agent_that_slept_beyond_its_certificates_end_says_how_it_gets_another_and_gets_it_so()
-> Result<()> {
    let mut bed = Bed::start().await?;
    let life = LIFE.as_secs().to_string();
    bed.server.add_flags(&["--leaf-lifetime", &life, "--dangerously-short-leaves"]);
    bed.server.stop().await;
    bed.server.restart().await?;
    let mut pair = Pair::start_in(bed, RATE).await?;
    let sleeper = &mut pair.server;
    sleeper.sidecar.signal(Signal::STOP)?;
    let asleep = clock()();
    eventually("no certificate that it may hold is good", PATIENCE, || async {
        ensure!(clock()() > asleep + LIFE + Duration::from_secs(1));
        Ok(())
    })
    .await?;
    // It is seen where somebody looks.
    let command = "signet token create --mesh m --virtual-node server > FILE";
    eventually("the server says what to do", PATIENCE, || async {
        pair.bed.client.call(Method::GET, "/v1/nodes", None).await?;
        ensure!(pair.bed.server.log().contains(command), "not yet");
        Ok(())
    })
    .await?;
    ensure!(
        expired(&pair.bed).await? == ["mesh/m/virtualNode/server"],
        "the list of agents shows another state"
    );
    let listed = said(&pair.bed, &["proxies", "list"])?;
    ensure!(listed.contains("ended at") && listed.contains("mesh/m/virtualNode/server"), "{listed}");
    let found = said(&pair.bed, &["audit", "--only", "E05", "--format", "json"])?;
    ensure!(found.contains("while it was away, so it cannot renew"), "{found}");
    sleeper.sidecar.signal(Signal::CONT)?;
    until_logged(sleeper, "the certificate has expired and is not served any more", 1).await?;
    until_logged(sleeper, command, 1).await?;

    // As it says, with an Envoy that went on meanwhile.
    let envoy = sleeper.sidecar.ready.envoy_pid;
    let token = create_token(&pair.bed.client, &Workload::virtual_node("m", "server")?).await?;
    std::fs::write(sleeper.sidecar.state_file("../token"), token)?;
    sleeper.sidecar.kill_agent().await?;
    sleeper.sidecar.restart_agent().await?;
    ensure!(sleeper.sidecar.ready.envoy_pid == envoy, "another Envoy");
    pair.until_converged(PATIENCE).await?;
    ensure!(expired(&pair.bed).await?.is_empty(), "it is back");
    let trial = Trial::begin(&pair).await?;
    trial.answered(&pair, 60).await?;
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}

/// The workloads of agents whose certificates ended while they were away.
async fn expired(bed: &Bed) -> Result<Vec<String>> {
    let answer = bed.client.call(Method::GET, "/v1/nodes", None).await?;
    let nodes = answer["nodes"].as_array().context("no nodes")?;
    let expired = nodes.iter().filter(|node| node["state"] == "expired" && node["expiredAt"].is_string());
    Ok(expired.filter_map(|node| node["workload"].as_str().map(str::to_owned)).collect())
}

/// What a command of an operator's prints.
fn said(bed: &Bed, args: &[&str]) -> Result<String> {
    let mut command = Command::new(&bed.programs.server);
    command
        .args(args)
        .args(["--endpoint", &bed.server.ready.api, "--credentials"])
        .arg(bed.server.credentials());
    Ok(String::from_utf8(command.output()?.stdout)?)
}

/// One life of an Envoy that hands its listeners on to the next; `met` says by what number they know each other.
async fn epoch(number: u8, met: &[String], config: &Path, folder: &Path) -> Result<Process> {
    let address = folder.join(format!("admin-{number}"));
    let args = [
        ("-c", config.display().to_string()),
        ("--restart-epoch", number.to_string()),
        ("--socket-path", folder.join("hot").display().to_string()),
        ("--admin-address-path", address.display().to_string()),
        ("--concurrency", "1".to_owned()),
        ("--drain-time-s", "1".to_owned()),
        ("--parent-shutdown-time-s", "3".to_owned()),
    ];
    let args = args.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    let args: Vec<String> = args.chain(met.iter().cloned()).collect();
    let process = Process::start(&format!("epoch-{number}"), &envoy_binary()?, &args, folder)?;
    eventually("Envoy is live", PATIENCE, || async {
        let admin = Admin::new(std::fs::read_to_string(&address)?.trim().parse()?);
        ensure!(admin.text("/ready").await?.starts_with("LIVE"), "not live");
        Ok(())
    })
    .await?;
    Ok(process)
}

/// What Envoys share, and leave behind.
struct Memory(PathBuf);

impl Drop for Memory {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_an_envoy_that_hands_over_to_its_next_epoch_misses_no_handshake_and_needs_no_certificate()
-> Result<()> {
    let pair = Pair::start(RATE).await?;
    let trial = Trial::begin(&pair).await?;
    let port = free_port()?;
    let shape = Shape { variant: Variant::Delta, roots: "ROOTCA", second: None, caller: None };
    let mut bootstrap = bootstrap(&pair.server.sidecar.ready.socket, &shape);
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    listener["address"]["socket_address"]["port_value"] = port.into();
    let config = pair.bed.path("hot.json");
    std::fs::write(&config, bootstrap.to_string())?;
    let issued = pair.issued().await?;
    let (folder, number) = (pair.bed.folder.path(), pair.bed.path("base-id"));

    // One that nobody has; another user's memory may lie under any that we chose.
    let chosen =
        ["--use-dynamic-base-id".to_owned(), "--base-id-path".to_owned(), number.display().to_string()];
    let mut old = epoch(0, &chosen, &config, folder).await?;
    let base = std::fs::read_to_string(&number)?.trim().to_owned();
    let _memory = Memory(PathBuf::from(format!("/dev/shm/envoy_shared_memory_{base}0")));
    let address = ([127, 0, 0, 1], port).into();
    let held = held(&pair).await?.pop().context("the server's")?;
    eventually("it presents the certificate", PATIENCE, || presented(address)).await?;
    let observer = Observer::start(&[address], &clock());
    let _new = epoch(1, &["--base-id".to_owned(), base], &config, folder).await?;
    old.wait(PATIENCE).await?;
    let seen = observer.observed(address).handshakes;
    eventually("the new one is seen alone", PATIENCE, || async {
        ensure!(observer.observed(address).handshakes > seen + 10);
        Ok(())
    })
    .await?;
    let observed = observer.stop().await.remove(&address).context("it was watched")?;
    ensure!(observed.missed == 0, "{} handshakes were missed: {:?}", observed.missed, observed.misses);
    ensure!(observed.serials() == [held.trim_start_matches('0').to_owned()].into(), "{observed:?}");
    ensure!(pair.issued().await? == issued, "a certificate was issued for it");
    println!("{} handshakes through the change; {}", observed.handshakes, flawless(trial, pair).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_an_agent_that_wants_another_bootstrap_has_a_new_envoy_take_over_and_no_request_is_lost()
-> Result<()> {
    let mut pair = Pair::start(RATE).await?;
    let (web, lasting) = pair.and_back().await?;
    // Those of TCP are cut in the end, with what is under way on them.
    (pair.plan.kept_alive, pair.plan.connections) = (0, 0);
    // So that at each moment something is under way on each of the connections that last.
    web.delay(WAIT);
    let load = Load::start(&lasting);
    let trial = Trial::begin(&pair).await?;
    trial.answered(&pair, 60).await?;
    for is_called in [true, false] {
        let sidecar = if is_called { &mut pair.server.sidecar } else { &mut pair.caller.sidecar };
        let before = (sidecar.ready.envoy_pid, sidecar.ready.admin, sidecar.ready.egress);
        sidecar.kill_agent().await?;
        // As an agent of another version would have written it.
        let bootstrap = sidecar.state_file("bootstrap.json");
        let text = std::fs::read_to_string(&bootstrap)?;
        let other = text.replace("\"max_interval\": \"5s\"", "\"max_interval\": \"4s\"");
        ensure!(other != text, "{text}");
        std::fs::write(&bootstrap, other)?;
        let started = Instant::now();
        sidecar.restart_agent().await?;
        println!("ready {} ms after its start", started.elapsed().as_millis());
        ensure!(sidecar.ready.envoy_pid != before.0, "the same Envoy");
        ensure!((sidecar.ready.admin, sidecar.ready.egress) == (before.1, before.2), "other ports");
        let old = Pid::from_raw(before.0).context("no Envoy")?;
        eventually("the Envoy before has drained and ended", PATIENCE, || async {
            ensure!(resident(old).is_none(), "it is still there");
            Ok(())
        })
        .await?;
        println!("the one before ended {} ms after that start", started.elapsed().as_millis());
        trial.answered(&pair, 60).await?;
    }
    let before = held(&pair).await?;
    pair.server.sidecar.rotate()?;
    pair.caller.sidecar.rotate()?;
    renewed(&pair, &before).await?;
    let tally = load.stop().await;
    println!("{} requests on connections that last", tally.requests());
    ensure!(tally.failed == 0, "{} of {}: {:?}", tally.failed, tally.requests(), tally.failures);
    // Told so with an answer by the Envoy that they lead to; what is behind it is no matter of theirs.
    ensure!(tally.reopened == u64::from(lasting.connections), "{} were opened again", tally.reopened);
    let verdict = trial.end(&pair).await?;
    println!("{verdict}");
    verdict.flawless()?;
    pair.end().await?;
    Ok(())
}
