//! `signet proxies` and `signet instances` beside real Envoys.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use signet_tests::{
    bed::{Bed, Node, PATIENCE, app::App},
    clock, eventually, program,
};
use tokio::net::TcpListener;

/// Runs the binary as an operator would.
fn signet(bed: &Bed, args: &[&str]) -> Result<Output> {
    let credentials = bed.server.credentials().display().to_string();
    let connect = ["--endpoint", &bed.server.ready.api, "--credentials", &credentials];
    Ok(Command::new(program()?).args(args).args(connect).output()?)
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn json_of(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| printed(output))
}

fn diff(bed: &Bed, node: &str, envoy: &Node, format: &str) -> Result<Output> {
    let admin = format!("127.0.0.1:{}", envoy.sidecar.ready.admin.port());
    signet(bed, &["proxies", "diff", node, "--admin-addr", &admin, "--format", format])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_each_proxy_was_sent_and_how_its_envoy_differs() -> Result<()> {
    let mut bed = Bed::start().await?;
    let app = App::http("one").await?;
    bed.mesh("m").await?;
    let served = bed.served("m", "one", &app, "http", |_| {}).await?;
    bed.service_of_node("m", "one.test", "one").await?;
    let caller = bed.caller("m", "caller", &["one.test"]).await?;
    bed.synced().await?;
    let (one, calls) = ("mesh/m/virtualNode/one", "mesh/m/virtualNode/caller");

    let list = printed(&signet(&bed, &["proxies"])?);
    assert!(list.contains(one) && list.contains("2 connected: 2 synced, 0 pending, 0 rejected"), "{list}");
    let list = printed(&signet(&bed, &["proxies", "list", "--workload", calls])?);
    assert!(!list.contains(one) && list.contains("1 connected"), "{list}");
    let list = json_of(&signet(&bed, &["proxies", "--mesh", "other", "--format", "json"])?)?;
    assert_eq!(list["proxies"], json!([]));

    let shown = json_of(&signet(&bed, &["proxies", "show", calls, "--format", "json"])?)?;
    assert_eq!(shown["identity"], "spiffe://signet.internal/mesh/m/virtual-node/caller");
    let resources = shown["proxies"][0]["resources"].as_array().cloned().unwrap_or_default();
    let kinds: BTreeSet<&str> = resources.iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["cluster", "listener", "route"].into());
    assert!(
        resources.iter().all(|one| one["state"] == "acked" && one["wanted"] == one["accepted"]),
        "{shown}"
    );
    eventually("the agent's report of the secrets", PATIENCE, || async {
        let shown = json_of(&signet(&bed, &["proxies", "show", calls, "--format", "json"])?)?;
        let secrets = shown["agents"][0]["secrets"].as_array().cloned().unwrap_or_default();
        let is_acked =
            |name: &str| secrets.iter().any(|one| one["name"] == name && one["sent"] == one["accepted"]);
        ensure!(is_acked("default") && is_acked("ROOTCA"), "{shown}");
        Ok(())
    })
    .await?;
    let table = printed(&signet(&bed, &["proxies", "show", calls])?);
    let of_agent = table.split_once("secrets from the agent of mesh/m/virtualNode/caller");
    assert!(of_agent.is_some_and(|(_, secrets)| secrets.contains("ROOTCA")), "{table}");
    assert!(table.contains("cds_egress_m_one_http_") && table.contains("acked"), "{table}");

    for (node, envoy) in [(one, &served), (calls, &caller)] {
        let same = diff(&bed, node, envoy, "table")?;
        assert_eq!(same.status.code(), Some(0), "{}", printed(&same));
    }
    let wrong = diff(&bed, one, &caller, "table")?;
    assert!(wrong.status.code() == Some(2) && printed(&wrong).contains("is mesh/m/virtualNode/caller's"));
    let nobody = signet(&bed, &["proxies", "show", "mesh/m/virtualNode/nobody"])?;
    assert!(printed(&nobody).contains("does not exist"), "{}", printed(&nobody));

    differs_in_fields(&bed, one, &served).await?;
    refused_and_mended(&mut bed, one, &served, app.port).await?;
    bed.end().await;
    Ok(())
}

/// An access log that Envoy cannot open is a change that it refuses, of listeners that it goes on with as they were.
async fn differs_in_fields(bed: &Bed, one: &str, served: &Node) -> Result<()> {
    let path = "/v20190125/meshes/m/virtualNodes/one";
    let good = bed.client.call(Method::GET, path, None).await?["spec"].take();
    let logging = |file: &str| {
        let mut spec = good.clone();
        spec["logging"] = json!({"accessLog": {"file": {"path": file}}});
        spec
    };
    bed.respec("m", "one", logging("/no/such/folder/log")).await?;
    eventually("the refusal", PATIENCE, || async {
        let list = printed(&signet(bed, &["proxies"])?);
        ensure!(list.contains("1 rejected") && list.contains("/no/such/folder/log"), "{list}");
        Ok(())
    })
    .await?;
    let differs = diff(bed, one, served, "json")?;
    assert_eq!(differs.status.code(), Some(1), "{}", printed(&differs));
    let differences = json_of(&differs)?["differences"].take();
    let listener = format!("lds_ingress_{}_", served.ingress);
    let is_it = |one: &&Value| one["name"].as_str().is_some_and(|name| name.starts_with(&listener));
    let found = differences.as_array().into_iter().flatten().find(is_it);
    let found = found.with_context(|| differences.to_string())?;
    let fields = found["fields"].as_array().cloned().unwrap_or_default();
    assert_eq!(fields.len(), 1, "one field differs: {found}");
    let field = fields[0]["path"].as_str().unwrap_or_default();
    assert!(field.starts_with("filter_chains[") && field.ends_with(".typed_config.access_log"), "{found}");
    assert_eq!(fields[0]["sent"][0]["typed_config"]["path"], "/no/such/folder/log", "{found}");
    assert!(fields[0].get("runs").is_none(), "{found}");
    let table = printed(&diff(bed, one, served, "table")?);
    assert!(
        table.contains("FIELD") && table.contains(field) && table.contains("/no/such/folder/log"),
        "{table}"
    );

    // Envoy changes the filter chains in place, and goes on calling the listener by the version that it had before.
    for spec in [logging("/dev/null"), good] {
        bed.respec("m", "one", spec).await?;
        bed.synced().await?;
        eventually("Envoy runs what it was sent", PATIENCE, || async {
            let same = diff(bed, one, served, "table")?;
            ensure!(same.status.code() == Some(0), "{}", printed(&same));
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn the_refusal_is_shown(bed: &Bed) -> Result<()> {
    eventually("the refusal", PATIENCE, || async {
        let list = printed(&signet(bed, &["proxies"])?);
        ensure!(list.contains("1 rejected") && list.contains("Address already in use"), "{list}");
        Ok(())
    })
    .await
}

/// What is said to have brought what `one` refuses: the same in the list, of the node, and in the history.
fn names_its_change(bed: &Bed, one: &str) -> Result<Value> {
    let credentials = std::fs::read_to_string(bed.server.credentials())?;
    let key = credentials.lines().find_map(|line| line.strip_prefix("aws_access_key_id")).context("a key")?;
    let key = key.trim_start_matches([' ', '=']).trim();
    let list = json_of(&signet(bed, &["proxies", "--workload", one, "--format", "json"])?)?;
    let changes = list["proxies"][0]["rejections"][0]["changes"].clone();
    let change = &changes[0];
    let said = [&change["operation"], &change["resource"], &change["accessKeyId"]];
    assert_eq!(said, ["UpdateVirtualNode", one, key], "{list}");
    assert!(
        change["revision"].is_u64() && change["at"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{list}"
    );
    assert_eq!(changes.as_array().map(Vec::len), Some(1), "{list}");
    let shown = json_of(&signet(bed, &["proxies", "show", one, "--format", "json"])?)?;
    assert_eq!(shown["proxies"][0]["rejections"][0]["changes"], changes, "{shown}");
    let resources = shown["proxies"][0]["resources"].as_array().cloned().unwrap_or_default();
    let refused = resources.iter().find(|one| one["state"] == "rejected").context("none is rejected")?;
    assert_eq!(refused["changes"], changes, "{shown}");
    let history = json_of(&signet(bed, &["proxies", "history", "--format", "json"])?)?;
    assert_eq!(history["refusals"][0]["changes"], changes, "{history}");
    for args in [&["proxies"][..], &["proxies", "show", one], &["proxies", "history"]] {
        let table = printed(&signet(bed, args)?);
        assert!(table.contains(&format!("UpdateVirtualNode {one} by ")) && table.contains(key), "{table}");
    }
    Ok(changes)
}

/// A listener that Envoy cannot bind is a difference and a refusal, and stays in the history when it is mended.
async fn refused_and_mended(bed: &mut Bed, one: &str, served: &Node, port: u16) -> Result<()> {
    let path = "/v20190125/meshes/m/virtualNodes/one";
    let good = bed.client.call(Method::GET, path, None).await?["spec"].take();
    let taken = TcpListener::bind((served.ingress, 0)).await?;
    let (mut bad, second) = (good.clone(), taken.local_addr()?.port());
    let listener = json!({"portMapping": {"port": second, "protocol": "http"}});
    bad["listeners"].as_array_mut().context("listeners")?.push(listener);
    assert_ne!(port, second);
    bed.respec("m", "one", bad).await?;
    the_refusal_is_shown(bed).await?;
    let change = names_its_change(bed, one)?;
    // The server forgets the writes, and not what they led to.
    bed.server.kill().await?;
    bed.server.restart().await?;
    bed.client = bed.server.client(clock())?;
    the_refusal_is_shown(bed).await?;
    assert_eq!(names_its_change(bed, one)?, change);
    let differs = diff(bed, one, served, "json")?;
    assert_eq!(differs.status.code(), Some(1));
    let differences = json_of(&differs)?["differences"].take();
    let text = differences.to_string();
    assert!(text.contains(&format!("_{second}")) && text.contains("Envoy runs none"), "{text}");

    bed.respec("m", "one", good).await?;
    drop(taken);
    bed.synced().await?;
    eventually("Envoy runs what it was sent", PATIENCE, || async {
        let same = diff(bed, one, served, "table")?;
        ensure!(same.status.code() == Some(0), "{}", printed(&same));
        Ok(())
    })
    .await?;
    let history = json_of(&signet(bed, &["proxies", "history", "--mesh", "m", "--format", "json"])?)?;
    let refusal = &history["refusals"][0];
    assert_eq!(refusal["workload"], one, "{history}");
    assert!(
        refusal["reason"].as_str().is_some_and(|why| why.contains("Address already in use")),
        "{history}"
    );
    assert!(refusal["revision"].is_u64() && refusal["endedAt"].is_string(), "{history}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_registered_shown_and_taken_away_on_the_command_line() -> Result<()> {
    let bed = Bed::start().await?;
    let of = ["--namespace", "apps.local", "--service", "colors"];
    let run = |args: &[&str]| -> Result<String> {
        let output = signet(&bed, &[&["instances"], args].concat())?;
        ensure!(output.status.success(), "{}", printed(&output));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let register = ["register", "i/1", "--ipv4", "10.0.3.7", "--attribute", "stack=blue"];
    assert_eq!(run(&[&register[..], &of].concat())?, "i/1 of colors.apps.local registered");
    assert_eq!(run(&[&register[..], &of].concat())?, "i/1 of colors.apps.local was registered already");
    let sick = run(&[&["health", "i/1", "unhealthy"][..], &of].concat())?;
    assert_eq!(sick, "i/1 of colors.apps.local is UNHEALTHY now");
    let list = run(&["list"])?;
    for word in ["colors.apps.local", "i/1", "UNHEALTHY", "10.0.3.7", "stack=blue"] {
        assert!(list.contains(word), "{list}");
    }
    assert_eq!(run(&[&["deregister", "i/1"][..], &of].concat())?, "i/1 of colors.apps.local deregistered");
    assert_eq!(
        run(&[&["deregister", "i/1"][..], &of].concat())?,
        "i/1 of colors.apps.local was not registered"
    );
    assert_eq!(run(&["list"])?, "no instance is registered");
    let nowhere = signet(&bed, &[&["instances", "register", "i-2"], &of[..]].concat())?;
    assert_eq!(nowhere.status.code(), Some(2), "{}", printed(&nowhere));
    bed.end().await;
    Ok(())
}
