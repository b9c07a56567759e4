//! The binary as people use it: help, exit codes, and clear words.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::Result;
use serde_json::Value;
use signet::local::mesh::Server;
use signet_tests::{clock, envoy_binary, machine, program};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

fn signet(args: &[&str]) -> Result<Output> {
    Ok(Command::new(program()?).args(args).env_remove("AWS_SHARED_CREDENTIALS_FILE").output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_explains_itself_with_an_example() -> Result<()> {
    for command in [
        &["demo"][..],
        &["server"],
        &["agent"],
        &["ca", "seal"],
        &["credentials", "create"],
        &["credentials", "list"],
        &["token", "create"],
        &["proxies"],
        &["apply"],
        &["diff"],
        &["export"],
        &["backup"],
        &["restore"],
    ] {
        let output = signet(&[command, &["--help"]].concat())?;
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("Examples:"), "{command:?} has no example");
    }
    Ok(())
}

#[test]
fn wrong_usage_ends_with_2() -> Result<()> {
    for args in [
        &["nonsense"][..],
        &["token", "create"],
        &["credentials", "create", "ci"],
        &["credentials", "create", "ci", "--admin", "--read-only"],
        &["credentials", "disable", "../x"],
        &["server", "--api-addr", "nowhere"],
        &["demo", "--format", "xml"],
    ] {
        assert_eq!(signet(args)?.status.code(), Some(2), "{args:?}");
    }
    Ok(())
}

#[test]
fn a_plaintext_api_beyond_loopback_needs_an_explicit_word() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    let output = signet(&["server", "--data-dir", &data, "--api-addr", "0.0.0.0:0"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--dangerously-plaintext-api"), "{}", text(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn a_certificate_from_a_file_is_judged_as_what_it_is_and_another_file_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&program()?, folder.path()).await?;
    let data = folder.path().join("data");
    let read = |name: &str| std::fs::read(data.join(name));
    let (root, issuer, key) = (read("ca.pem")?, read("ca/server/cert.pem")?, read("ca/server/key.pem")?);
    let crlf = String::from_utf8(root.clone())?.replace('\n', "\r\n").into_bytes();
    let der = pem::parse(&root)?.into_contents();
    let file = folder.path().join("file");
    for (what, bytes, code, says) in [
        ("the root", root.clone(), 0, "judged as a root ("),
        ("the root, DER", der.clone(), 0, "judged as a root ("),
        ("the root, CRLF", crlf, 0, "judged as a root ("),
        ("the root, with text before it", [b"subject=\xfc\n", &*root].concat(), 0, "judged as a root ("),
        ("an issuer", issuer.clone(), 0, "judged as an issuer ("),
        ("an issuer and its root", [&*issuer, &*root].concat(), 0, "judged as an issuer ("),
        ("an issuer and its key", [&*key, &*issuer].concat(), 0, "judged as an issuer ("),
        ("a key", key, 1, " holds no certificate, but PRIVATE KEY"),
        ("nothing", Vec::new(), 1, " is empty"),
        ("text", b"hello\n".to_vec(), 1, " holds no certificate, PEM or DER"),
        ("a part", der[..100].to_vec(), 1, "it is cut short, at 100 of "),
    ] {
        std::fs::write(&file, bytes)?;
        let output = signet(&["audit", "cert", &file.display().to_string()])?;
        let printed = text(&[output.stdout, output.stderr].concat());
        assert_eq!(output.status.code(), Some(code), "{what}: {printed}");
        assert!(printed.contains(says), "{what}: {printed}");
    }
    drop(server);
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_told_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut first = Server::start(&program()?, folder.path()).await?;
    let data = folder.path().join("data").display().to_string();
    let free = "127.0.0.1:0";
    let output = signet(&[
        "server",
        "--data-dir",
        &data,
        "--api-addr",
        free,
        "--grpc-addr",
        free,
        "--ops-addr",
        free,
    ])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("in use by another signet process"), "{}", text(&output.stderr));
    first.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_agent_without_token_or_identity_says_how_to_get_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let output = signet(&[
        "agent",
        "--server",
        server.grpc_address(),
        "--ca-file",
        &server.ca_file().display().to_string(),
        "--resource",
        "mesh/m/virtualNode/n",
        "--state-dir",
        &path("state"),
        "--socket",
        &path("agent.sock"),
        "--envoy",
        &envoy_binary()?.display().to_string(),
        "--ingress-address",
        "127.0.0.21",
    ])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("signet token create"), "{}", text(&output.stderr));
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn health_and_metrics_are_served_and_no_silent_peer_delays_sigterm_beyond_ten_seconds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let ops = server.ready.ops.trim_start_matches("http://").parse()?;
    let ops = signet::local::admin::Admin::new(ops);
    ops.text("/healthz").await?;
    ops.text("/readyz").await?;
    let metrics = ops.text("/metrics").await?;
    for one in ["signet_proxies{state=\"synced\"} 0\n", "signet_resources_encoded_total 0\n"] {
        assert!(metrics.contains(one) && metrics.trim_end().ends_with("# EOF"), "{metrics}");
    }
    let api = server.ready.api.trim_start_matches("http://").to_owned();
    let mut silent = TcpStream::connect(api).await?;
    silent.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await?;
    let _mute = TcpStream::connect(server.grpc_address()).await?;
    let status = server.terminate(std::time::Duration::from_secs(10)).await?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn credentials_and_keys_are_readable_by_their_owner_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    signet::local::mesh::put(&server.client(clock())?, "meshes", serde_json::json!({"meshName": "m"}))
        .await?;
    let mut secrets = vec![server.credentials()];
    for entry in walk(&server.ready.data_dir.join("ca"))? {
        if entry.ends_with("key.pem") {
            secrets.push(entry);
        }
    }
    assert!(secrets.len() >= 3, "{secrets:?}");
    for secret in secrets {
        let mode = std::fs::metadata(&secret)?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", secret.display());
    }
    server.stop().await;
    Ok(())
}

fn walk(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(walk(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[tokio::test]
async fn the_demo_passes_and_its_document_holds_what_it_promises() -> Result<()> {
    let _machine = machine().await?;
    let envoy = envoy_binary()?.display().to_string();
    let output =
        tokio::task::spawn_blocking(move || signet(&["demo", "--format", "json", "--envoy", &envoy]))
            .await??;
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", text(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["passed"], true);
    let steps = report["steps"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(
        names,
        ["DISABLED", "PERMISSIVE", "STRICT", "STRICT, client verified", "rotation of every leaf"]
    );
    for step in &steps {
        assert_eq!(step["failed"], 0, "{step}");
        assert!(step["requests"].as_u64().is_some_and(|requests| requests > 500), "{step}");
        assert_eq!(step["probes"].as_array().map(Vec::len), Some(8), "{step}");
        for number in ["p50Ms", "p99Ms", "inForceAfterMs", "shareV1"] {
            assert!(step[number].as_f64().is_some_and(|value| value > 0.0), "{number} in {step}");
        }
    }
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds < 90.0), "{}", report["seconds"]);
    Ok(())
}
