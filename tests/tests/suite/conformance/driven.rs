//! A real server, driven through its API: the command is run as anybody would.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use signet::local::mesh::Server;
use signet::local::probe::ClientCertificate;
use signet_policies::identity::Workload;
use signet_tests::{clock, conformance::signet::Signet, program};

use super::*;

async fn lane(server: &Server, mesh: &str, variant: Variant) -> Result<Lane> {
    let client = || server.client(clock());
    let signet = Signet::start(client()?, mesh, Some(server.log_file())).await?;
    let workload = Workload::virtual_node(mesh, signet_tests::conformance::signet::NODE)?;
    let secrets = server.join(&client()?, &workload, clock()).await?;
    let own = ClientCertificate::of(&secrets);
    let channel = signet_tests::channel(server.grpc_address(), secrets.bundle().roots(), Some(own)).await?;
    Ok(Lane {
        target: Target { channel, node: signet.node(), proves_identity: true },
        variant,
        service: None,
        names: Vec::new(),
        driver: Some(Arc::new(signet)),
        quiet: Duration::from_millis(300),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_to_every_statement_while_its_api_changes_the_mesh() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let mut lanes = JoinSet::new();
    for (mesh, variant) in [("sotw", Variant::Sotw), ("delta", Variant::Delta)] {
        let lane = lane(&server, mesh, variant).await?;
        lanes.spawn(async move { lane.judge().await });
    }
    // A service that is not there is no broken statement.
    let (address, ca_file) = (server.grpc_address().to_owned(), server.ca_file());
    let mut judge = Command::new(env!("CARGO_BIN_EXE_xds-conformance"));
    judge.args(["--services", "ads,rds", "--target", &address, "--ca-file"]).arg(ca_file);
    let told = tokio::task::block_in_place(|| judge.output())?;
    let words = String::from_utf8(told.stderr)?;
    let names = "does not serve sotw route, delta route;";
    assert!(told.status.code() == Some(2) && words.contains(names), "{words}");
    for findings in lanes.join_all().await {
        assert!(!findings.iter().any(Finding::is_fail), "{}", table(&findings));
        let passed = findings.iter().filter(|finding| finding.verdict == Verdict::Pass).count();
        assert!(passed >= 24, "{passed} statements are tried:\n{}", table(&findings));
    }
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_judges_a_server_and_says_so_by_its_exit_code() -> Result<()> {
    let server = InProcess::start(ResourceType::Cluster).await?;
    server.publish(signet_tests::conformance::World::Base).await?;
    let run = |args: &[&str]| -> Result<(Option<i32>, String)> {
        let output = Command::new(env!("CARGO_BIN_EXE_xds-conformance")).args(args).output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    let address = server.address.to_string();
    let (code, text) = tokio::task::block_in_place(|| {
        run(&["--target", &address, "--quiet", "50", "--variants", "delta", "--format", "json"])
    })?;
    ensure!(code == Some(0), "exit code {code:?}: {text}");
    let findings: Vec<Value> = serde_json::from_str(&text)?;
    ensure!(findings.len() == 34 && findings[0]["verdict"] == "pass", "{text}");
    let (code, _) = tokio::task::block_in_place(|| run(&["--target", "127.0.0.1:1"]))?;
    ensure!(code == Some(2), "exit code {code:?} for a server that is not there");
    Ok(())
}
