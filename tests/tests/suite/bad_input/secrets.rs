//! What nobody reads: keys, PINs and tokens are in no answer, no metric and no log, however much is logged.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;
use signet::local::mesh::{Server, create_token, put};
use signet_policies::identity::Workload;
use signet_tests::{ceremony::Signet, clock};

use super::place::exchange;

/// The private numbers of every key file below a folder, each as hexadecimal digits and as Base64 wherever it may start.
fn secrets(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(secrets(&path)?);
        } else if path.file_name().is_some_and(|name| name == "key.pem") {
            let key = pem::parse(fs::read_to_string(&path)?)?;
            let key = key.contents();
            // In PKCS #8 of P-256 and of Ed25519 it is an OCTET STRING of 32 bytes.
            let at = key.windows(2).position(|w| w == [4, 32]).context("no private number")? + 2;
            found.extend(spellings(&key[at..at + 32]));
        }
    }
    Ok(found)
}

fn spellings(number: &[u8]) -> Vec<String> {
    let hex = number.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{number:?}").trim_matches(['[', ']']).to_owned();
    // 27 bytes from each of three starts are 36 characters that do not depend on what is around them.
    let base64 = (0..3).map(|start| {
        let text = pem::encode(&pem::Pem::new("X", &number[start..start + 27]));
        text.lines().nth(1).unwrap_or_default().to_owned()
    });
    [hex, list].into_iter().chain(base64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_are_in_no_answer_no_metric_and_no_log_at_trace() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let signet = Signet::new(folder.path(), &[("SIGNET_LOG", "trace")])?;
    let mut server = Server::start(&signet.program, folder.path()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    for name in ["a", "b"] {
        put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": name, "spec": {}})).await?;
    }
    let workload = Workload::virtual_node("m", "a")?;
    let held = server.join(&client, &workload, clock()).await?;
    let token = create_token(&client, &Workload::virtual_node("m", "b")?).await?;
    let mut read = String::new();
    for path in [
        "/v1/ca",
        "/v1/ca/bundle",
        "/v1/credentials",
        "/v1/proxies",
        "/v1/audit",
        "/v1/ca/checkpoint",
        "/v20190125/meshes",
    ] {
        read += &client.call(Method::GET, path, None).await.with_context(|| path.to_owned())?.to_string();
    }
    let requested = client.call(Method::POST, "/v1/ca/requests", Some(&json!({"issuer": "mesh/m"}))).await?;
    read += &requested.to_string();
    for path in ["/metrics", "/healthz", "/readyz", "/debug", "/config_dump"] {
        read += &exchange(
            &server.ready.ops,
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        )
        .await?;
    }
    server.stop().await;
    read += &server.log();
    let mut wanted = secrets(&server.ready.data_dir)?;
    // Root, server, mesh, the request's and the ledger's.
    assert!(wanted.len() >= 5 * 5, "{} secrets", wanted.len());
    let credentials = fs::read_to_string(server.credentials())?;
    let secret =
        credentials.lines().find_map(|line| line.strip_prefix("aws_secret_access_key")?.split('=').nth(1));
    wanted.extend([secret.context("no secret")?.trim().to_owned(), token]);
    assert!(read.contains("TRACE"), "nothing was logged at trace");
    for secret in wanted {
        assert!(!secret.is_empty() && !read.contains(&secret), "a secret can be read: {secret}");
    }
    assert!(!held.leaf().serial().is_empty());
    Ok(())
}
